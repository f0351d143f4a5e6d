"""The platform's now: the wall clock in production, a pinned or moved one for history, simulation and backtest."""

from dataclasses import dataclass
from datetime import UTC, datetime

from platform_assets.errors import ConfigurationError


@dataclass(frozen=True)
class Clock:
    """What time it is for the platform. `pinned_at` None: the wall clock."""

    pinned_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.pinned_at is not None and self.pinned_at.tzinfo is None:
            raise ConfigurationError(
                f"clock at {self.pinned_at.isoformat()}: no time zone",
                hint="write it in UTC: 2024-05-01T00:00:00Z",
            )

    def now(self) -> datetime:
        """The instant up to which things are known, in UTC: what a training set or a forecast may see."""
        return self.wall_now() if self.pinned_at is None else self.pinned_at.astimezone(UTC)

    def wall_now(self) -> datetime:
        """The instant of the wall clock, in UTC: when something was really done. For the audit, never for data."""
        return datetime.now(tz=UTC)

    def as_served(self, known_last: datetime, ends_at: datetime | None) -> datetime:
        """The instant at which what is served is judged: now, or the end of a source that has ended.

        Years after its end nothing would be within its TTL. `known_last`: the last known-at time of its rows.
        """
        return self.now() if ends_at is None else min(self.now(), max(known_last, ends_at))

    @property
    def is_pinned(self) -> bool:
        """Whether the platform lives in another time than its machine."""
        return self.pinned_at is not None
