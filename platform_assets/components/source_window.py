"""The active source's months, set once by the assembly before any component is built."""

from dataclasses import dataclass
from datetime import date

import dagster as dg

from platform_assets import policies
from platform_assets.errors import ConfigurationError


@dataclass(frozen=True)
class SourceWindow:
    """Which source is active, and its first and last local day; `ends_on` is None for one that goes on."""

    source: str
    starts_on: date
    ends_on: date | None

    @property
    def partitions(self) -> dg.MonthlyPartitionsDefinition:
        """Months of the source; every partitioned asset of the graph has these."""
        return policies.months(self.starts_on, self.ends_on)


_active: SourceWindow | None = None


def set_window(source: str, starts_on: date, ends_on: date | None) -> None:
    """Name the active source and its days; the last call holds."""
    global _active  # noqa: PLW0603  # one process assembles one source
    if ends_on is not None and ends_on < starts_on:
        raise ConfigurationError(f"source {source}: its last day {ends_on} is before its first day {starts_on}")
    _active = SourceWindow(source, starts_on, ends_on)


def active_window() -> SourceWindow:
    """The window that was set.

    Raises: ConfigurationError where definitions are built before it was.
    """
    if _active is None:
        raise ConfigurationError(
            "no source window is set", hint="call set_window(source, starts_on, ends_on) before building definitions"
        )
    return _active
