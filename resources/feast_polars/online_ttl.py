"""The TTL, the same online as offline: a value counts while now - event time <= TTL, in elapsed time; 0 is none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.repo_config import FeastConfigBaseModel, RepoConfig

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

    class _Reader:
        def _read_features_per_fv(self, *arguments: Any, **named: Any) -> None: ...
        async def _read_features_per_fv_async(self, *arguments: Any, **named: Any) -> None: ...
else:
    _Reader = object

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


class HonoursTtl(_Reader):
    """Mixed into an online store of Feast: expired values come back null, with the status OUTSIDE_MAX_AGE."""

    def _read_features_per_fv(
        self, config: RepoConfig, grouped_refs: Any, keys: Any, names: Any, response: Any, *rest: Any, **named: Any
    ) -> None:
        first = len(response.results)
        super()._read_features_per_fv(config, grouped_refs, keys, names, response, *rest, **named)
        _expire(response, first, grouped_refs, now_of(config))

    async def _read_features_per_fv_async(
        self, config: RepoConfig, grouped_refs: Any, keys: Any, names: Any, response: Any, *rest: Any, **named: Any
    ) -> None:
        first = len(response.results)
        await super()._read_features_per_fv_async(config, grouped_refs, keys, names, response, *rest, **named)
        _expire(response, first, grouped_refs, now_of(config))


def _expire(response: Any, first: int, asked: "Sequence[tuple[FeatureView, list[str]]]", now: datetime) -> None:
    """Vectors stand view after view, feature after feature, as asked; a view's vectors share their times."""
    for view, features in asked:
        vectors = response.results[first : first + len(features)]
        first += len(features)
        if not vectors or not isinstance(view.ttl, timedelta) or not view.ttl:
            continue
        oldest_us = microseconds(now - view.ttl)
        times = [at.seconds * 1_000_000 + at.nanos // 1000 for at in vectors[0].event_timestamps]
        expired = [n for n, at in enumerate(times) if at < oldest_us]
        for vector in vectors:
            for n in expired:
                if times[n] and vector.statuses[n] == FieldStatus.PRESENT:
                    vector.values[n].Clear()
                    vector.statuses[n] = FieldStatus.OUTSIDE_MAX_AGE


def microseconds(instant: datetime) -> int:
    """Since 1970 in UTC, exactly."""
    gone = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (gone.days * 86_400 + gone.seconds) * 1_000_000 + gone.microseconds


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
