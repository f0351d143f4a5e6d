"""A feature store in memory that answers as the Feast gateway does; for tests and notebooks. Tested by the same suite."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from platform_assets import names
from platform_assets.errors import FeatureStoreError
from resources.feature_store import Applied

if TYPE_CHECKING:
    import polars as pl

_KEYS: Final = (names.SERIES_ID, names.TARGET_DAY)
_TIMES: Final = (names.EVENT_AT, names.KNOWN_AT)


@dataclass
class InMemoryFeatureStore:
    """Views are frames, services lists of their names; keys are `series_id` and, where a frame has it, `target_day`."""

    frames: "Mapping[str, pl.DataFrame]"
    services: Mapping[str, Sequence[str]]
    _online: "dict[str, pl.DataFrame]" = field(default_factory=dict)
    _is_applied: bool = False

    def apply(self, **settings: Any) -> Applied:
        """Nothing to bring in line."""
        before, self._is_applied = self._is_applied, True
        views, services = tuple(sorted(self.frames)), tuple(sorted(self.services))
        return Applied(views, services, (), not before, held=len(views) + len(services))

    def historical(self, rows: "pl.DataFrame", service: str, at: str = names.ISSUED_AT) -> "pl.DataFrame":
        """As the gateway's."""
        from platform_assets.science.point_in_time import View, join

        if at not in rows.columns:
            raise FeatureStoreError(f"entity rows have no column `{at}`; columns: {', '.join(rows.columns)}")
        if getattr(rows.schema[at], "time_zone", None) is None:
            raise FeatureStoreError(f"entity rows: `{at}` is {rows.schema[at]}, expected instants with a time zone")
        views = [View(view, self.frames[view], self._keys(view), self._own(view)) for view in self.views(service)]
        return join(rows, views, at=at)

    def online(self, rows: "pl.DataFrame", service: str, *, now: datetime | None = None) -> "pl.DataFrame":
        """As the gateway's; the frames of this store have no TTL."""
        keys = list(dict.fromkeys(key for view in self.views(service) for key in self._keys(view)))
        served = rows.select(keys)
        for view in self.views(service):
            held = self._online.get(view, self.frames[view].clear()).drop(_TIMES)
            served = served.join(held, on=self._keys(view), how="left", maintain_order="left")
        return served.select(*keys, *self.features(service))

    def load_online(self, view: str, start: datetime, end: datetime, *, targets: tuple[int, int] | None = None) -> int:
        """As the gateway's."""
        import polars as pl

        rows = self.frames[view].filter(pl.col(names.EVENT_AT).is_between(start, end), pl.col(names.KNOWN_AT) <= end)
        if targets is not None:
            rows = rows.filter(pl.col(names.TARGET_DAY).is_between(*targets))
        latest = _latest(rows, self._keys(view))
        held = self._online.get(view, rows.clear())
        self._online[view] = _latest(pl.concat([held, latest]), self._keys(view))
        return latest.height

    def views(self, service: str) -> tuple[str, ...]:
        """Names of the service's views."""
        if service not in self.services:
            raise FeatureStoreError(
                f"no feature service `{service}` in the registry; it has {', '.join(sorted(self.services))}"
            )
        return tuple(self.services[service])

    def features(self, service: str) -> tuple[str, ...]:
        """Names of the service's features."""
        return tuple(name for view in self.views(service) for name in self._own(view))

    def view_hashes(self, service: str) -> dict[str, str]:
        """View to hash of its columns."""
        return {
            view: hashlib.sha256(str(self.frames[view].schema).encode()).hexdigest() for view in self.views(service)
        }

    def _keys(self, view: str) -> list[str]:
        return [name for name in self.frames[view].columns if name in _KEYS]

    def _own(self, view: str) -> list[str]:
        return [name for name in self.frames[view].columns if name not in (*_KEYS, *_TIMES)]


def _latest(rows: "pl.DataFrame", keys: list[str]) -> "pl.DataFrame":
    return rows.sort(_TIMES, maintain_order=True).unique(keys, keep="last", maintain_order=True)
