"""Spans of issue time whose rows nothing is learned from and nothing is judged by.

A quarantined period's labels vanish with its units. What was issued while the wrong value was the known one still carries
features made of it, the lags of healthy days after the fault among them: such rows lie within a mask, which begins when the
wrong value became known and ends when its repair did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, Self

import polars as pl

from platform_assets.errors import ConfigurationError
from platform_assets.names import ISSUED_AT, SERIES_ID


@dataclass(frozen=True, order=True)
class Mask:
    """Issue instants in [since, until), of series whose id begins with `series`; of all where that is empty.

    `until` is None while the wrong value is still the known one.
    """

    since: datetime
    until: datetime | None = None
    series: str = ""

    def __post_init__(self) -> None:
        for at in (self.since, self.until):
            if at is not None and at.tzinfo is None:
                raise ConfigurationError(f"mask: {at.isoformat()} has no time zone", hint="pass a UTC instant")
        if self.until is not None and self.until <= self.since:
            raise ConfigurationError(f"mask: it ends at {self.until.isoformat()}, not after {self.since.isoformat()}")

    def covers(self) -> pl.Expr:
        """True for the rows within it."""
        issued = pl.col(ISSUED_AT)
        within = issued >= self.since
        if self.until is not None:
            within &= issued < self.until
        return within & pl.col(SERIES_ID).str.starts_with(self.series) if self.series else within

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        until = None if self.until is None else self.until.astimezone(UTC).isoformat()
        return {"since": self.since.astimezone(UTC).isoformat(), "until": until, "series": self.series}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `to_dict` wrote."""
        until = None if raw["until"] is None else datetime.fromisoformat(raw["until"])
        return cls(datetime.fromisoformat(raw["since"]), until, raw["series"])


def masked(rows: pl.DataFrame, masks: Iterable[Mask]) -> pl.DataFrame:
    """The rows without those within a mask, in order. rows: with `series_id` and `issued_at`."""
    within = [mask.covers() for mask in masks]
    return rows.filter(~reduce(or_, within)) if within else rows


def not_in(masks: Sequence[Mask], others: Iterable[Mask]) -> list[Mask]:
    """Those of `masks` that none of `others` contains."""
    known = list(others)
    return [mask for mask in masks if not any(_contains(other, mask) for other in known)]


def _contains(outer: Mask, inner: Mask) -> bool:
    ends_later = outer.until is None or (inner.until is not None and inner.until <= outer.until)
    return outer.since <= inner.since and ends_later and inner.series.startswith(outer.series)
