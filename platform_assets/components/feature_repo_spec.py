"""A described Feast repository, and what its component says of it: keys, versions, partitions."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import dagster as dg

from platform_assets.errors import ConfigurationError
from resources.feast_repository import description as d

_PERIODS: Final = {
    "hour": dg.HourlyPartitionsDefinition,
    "day": dg.DailyPartitionsDefinition,
    "week": dg.WeeklyPartitionsDefinition,
    "month": dg.MonthlyPartitionsDefinition,
}
PARTITIONS_TAG: Final = "partitions"  # of a Feast source: hour, day, week, month or never


@dataclass(frozen=True)
class Repository:
    """A described repository, and what its component says of it. `functions` have the hash of their code."""

    path: str
    description: d.Description
    prefix: tuple[str, ...]
    group: str
    functions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    partitions: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    freshness_hours: Mapping[str, float] = field(default_factory=dict)

    def key(self, kind: str, *name: str) -> dg.AssetKey:
        return dg.AssetKey([*self.prefix, kind, *(re.sub(r"[^A-Za-z0-9_.-]", "_", part) for part in name)])

    def table_key(self, view: str) -> dg.AssetKey:
        return self.key("features", view)

    @property
    def registry_key(self) -> dg.AssetKey:
        return self.key("registry")

    @cached_property
    def versions(self) -> dict[str, str]:
        """View to hash of its definition, of the function that computes it, and of the views that it reads."""
        return {view.name: self._version(view) for view in self.description.views}

    def _version(self, view: d.View) -> str:
        inputs = [self._version(found) for name in view.inputs if (found := self.description.view(name))]
        return _hash(view.fingerprint, self.functions.get(view.name, ("", ""))[1], *inputs)

    def service_version(self, service: d.Service) -> str:
        return _hash(service.fingerprint, *(self.versions.get(view, "") for view in service.features))

    @property
    def registry_version(self) -> str:
        return _hash(*(f"{o.name} {o.fingerprint}" for o in (*self.description.views, *self.description.services)))

    def cut(self, view: d.View) -> dg.TimeWindowPartitionsDefinition | None:
        """The view's partitions: as defs.yaml says, or its source's tag, or months from its first row on."""
        source = self.description.source(view.source)
        declared = source.tags.get(PARTITIONS_TAG) if source else None
        every, start = self.partitions.get(view.name, (declared or "month", None))
        start = start or (source.first_event if source else None)
        if every == "never" or start is None:
            return None
        if every not in _PERIODS:
            raise ConfigurationError(
                f"source `{view.source}`: tag {PARTITIONS_TAG} is {every!r}, expected {', '.join(_PERIODS)} or never"
            )
        first = f"{start[:7]}-01" if every == "month" else start[:10]
        first = f"{first}-00:00" if every == "hour" else first
        return _PERIODS[every](start_date=first, end_offset=1)


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
