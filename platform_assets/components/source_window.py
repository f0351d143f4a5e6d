"""The active source's months, set once by the assembly before any component is built."""

from dataclasses import dataclass
from datetime import date

import dagster as dg

from platform_assets import policies
from platform_assets.errors import ConfigurationError

ARRIVAL_TAG = "perennial/arrival"  # where the file lies that a run makes part of the source
DIGEST_TAG = "perennial/arrival-sha256"  # its content
RULES_TAG = "perennial/arrival-rules"  # digest of the contract and the code that it is examined by


def arrival_completion(source: str, digest: str) -> str:
    """Key under which the ledger knows that a file of this content stands in the source's tables."""
    return f"arrival/{source}/{digest[:16]}"


def quarantine_completion(entry: int) -> str:
    """Key under which the ledger knows the version of `sales` from which a row of the quarantine holds."""
    return f"quarantine/{entry}"


@dataclass(frozen=True)
class SourceWindow:
    """Which source is active, and its first and last local day; `ends_on` is None for one whose end nobody stated.

    Where it `is_open` files arrive after `ends_on` too, and there are months for them as the wall clock goes on.
    """

    source: str
    starts_on: date
    ends_on: date | None
    is_open: bool = False

    @property
    def partitions(self) -> dg.MonthlyPartitionsDefinition:
        """Months of the source; every partitioned asset of the graph has these."""
        return policies.months(self.starts_on, self.ends_on, is_open=self.is_open)


_active: SourceWindow | None = None


def set_window(source: str, starts_on: date, ends_on: date | None, *, is_open: bool = False) -> None:
    """Name the active source and its days; the last call holds."""
    global _active  # noqa: PLW0603  # one process assembles one source
    if ends_on is not None and ends_on < starts_on:
        raise ConfigurationError(f"source {source}: its last day {ends_on} is before its first day {starts_on}")
    _active = SourceWindow(source, starts_on, ends_on, is_open)


def active_window() -> SourceWindow:
    """The window that was set.

    Raises: ConfigurationError where definitions are built before it was.
    """
    if _active is None:
        raise ConfigurationError(
            "no source window is set", hint="call set_window(source, starts_on, ends_on) before building definitions"
        )
    return _active
