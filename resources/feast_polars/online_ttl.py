"""Which now the TTL is judged at: a value counts while now - event time <= TTL, in elapsed time; 0 is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from feast.repo_config import FeastConfigBaseModel, RepoConfig

_asked_now: ContextVar[datetime | None] = ContextVar("asked_now", default=None)


class NowConfig(FeastConfigBaseModel):
    """Which instant TTLs are judged at. Left out, both of them: the wall clock, as any Feast repository wants it."""

    as_of: datetime | None = None
    """A pinned now, for history, simulation and tests."""

    ends_at: datetime | None = None
    """The source tells nothing after this instant, so now is never later: what was valid at its end stays served."""


@contextmanager
def judged_at(now: datetime | None) -> Iterator[None]:
    """Within it TTLs are judged at `now`, whatever the configuration says; None leaves it to the configuration."""
    token = _asked_now.set(now)
    try:
        yield
    finally:
        _asked_now.reset(token)


def now_of(config: RepoConfig) -> datetime:
    """The instant at which TTLs are judged."""
    if (asked := _asked_now.get()) is not None:
        return asked
    store: Any = config.online_store
    now = _aware(store.as_of) if store.as_of else datetime.now(tz=UTC)
    return min(now, _aware(store.ends_at)) if store.ends_at else now


def microseconds(instant: datetime) -> int:
    """Since 1970 in UTC, exactly."""
    gone = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
