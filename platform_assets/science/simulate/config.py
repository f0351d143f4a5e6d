"""What a simulated retailer is made from: its size, its seed and the scenarios that befall it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from platform_assets.errors import ConfigurationError

# Scenario -> days after which it ends by itself; None lasts until the end of the world.
SCENARIOS: Final[Mapping[str, int | None]] = {
    "none": None,
    "step": None,
    "trend": None,
    "elastic": None,
    "pricehike": None,
    "weekly": None,
    "covshift": None,
    "disp": None,
    "supply": 28,
    "fault": 28,
    "dup": 14,
    "feed": None,
    "promo_flag": None,
}


@dataclass(frozen=True)
class Scenario:
    """One change of the world or of its data, from `onset_on` to the day before `ends_on`.

    Without `ends_on` it lasts as long as `SCENARIOS` says.
    """

    name: str
    onset_on: date
    ends_on: date | None = None

    def __post_init__(self) -> None:
        if self.name not in SCENARIOS:
            raise ConfigurationError(
                f"simulator: unknown scenario {self.name!r}", hint=f"choose one of {', '.join(SCENARIOS)}"
            )
        if self.ends_on is not None and self.ends_on <= self.onset_on:
            raise ConfigurationError(
                f"simulator: scenario {self.name!r} ends on {self.ends_on}, not after its onset {self.onset_on}",
                hint="`ends_on` is the first day without the scenario",
            )

    def until_on(self) -> date | None:
        """First day without the scenario; None if it never ends."""
        lasting = SCENARIOS[self.name]
        if self.ends_on is not None or lasting is None:
            return self.ends_on
        return self.onset_on + timedelta(days=lasting)


@dataclass(frozen=True)
class SimulatorConfig:
    """A world in full: the same configuration gives the same bytes.

    A longer world (`days`) begins with the shorter one, and a world of more stores contains that of fewer.
    """

    stores: int = 5
    skus: int = 60
    days: int = 730
    starts_on: date = date(2024, 1, 1)
    seed: int = 0
    timezone: str = "Europe/Berlin"  # the shops' zone: dates are local dates there
    scenarios: tuple[Scenario, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("stores", "skus", "days"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"simulator: `{name}` is {getattr(self, name)}, expected at least 1")
        if self.seed < 0:
            raise ConfigurationError(f"simulator: `seed` is {self.seed}, expected at least 0")

    @property
    def ends_on(self) -> date:
        """First day after the world."""
        return self.starts_on + timedelta(days=self.days)
