"""A period of a segment that is plausible line by line and wrong as a whole: sums by ten, every line twice, no lines at all.

A segment, such as a store, is judged against its own last known periods and against the other segments of the same period:
what comes to all of them is the world, what comes to one alone and at once is its feed. Each period is judged when it has
arrived, on what was known then, so that a day's increment says what a bulk run over the history says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS
from platform_assets.science.fault_chain import Chain, Kind


@dataclass(frozen=True, order=True)
class Fault:
    """One period of a segment that is not to be believed. `factor`: found over expected, 0 for silence."""

    segment: str
    period_on: date
    kind: Kind
    factor: float
    found_at: datetime

    @property
    def told(self) -> str:
        """In words, with the number."""
        match self.kind:
            case "units":
                return f"units are {self.factor:.3g} times what they were, beside the other segments"
            case "repeats":
                return f"{self.factor:.3g} times as many lines a receipt as usual: each came more than once?"
            case _:
                return "no lines, where a usual period has many"


def segment_of(position: int | None) -> pl.Expr:
    """The segment of a row with `series_id`; "" where the source has none."""
    if position is None:
        return pl.lit("")
    part = pl.col(SERIES_ID).str.split("/").list.get(position)
    return part.str.replace_all("%2F", "/", literal=True).str.replace_all("%25", "%", literal=True)


def totals(sales: pl.DataFrame, position: int | None) -> pl.DataFrame:
    """Sums by segment, period and instant at which something of the period became known, as known then.

    Returns: segment, period_on, known_at, units (null: unknown), rest, lines, tickets, series. `rest` is the sum
    without the largest series: ten times where the segment is, and not moved by one that outsells all others.
    """
    instants = sales.select(PERIOD_ON, pl.col(KNOWN_AT).alias("at")).unique()
    key = [SERIES_ID, PERIOD_ON, "at"]
    return (
        sales.lazy()
        .select(SERIES_ID, PERIOD_ON, KNOWN_AT, UNITS, "lines", "tickets", segment_of(position).alias("segment"))
        .join(instants.lazy(), on=PERIOD_ON)
        .filter(pl.col(KNOWN_AT) <= pl.col("at"))
        .sort(KNOWN_AT, maintain_order=True)
        .unique(key, keep="last", maintain_order=True)
        .group_by("segment", PERIOD_ON, pl.col("at").alias(KNOWN_AT))
        .agg(
            pl.when(pl.col(UNITS).count() > 0).then(pl.col(UNITS).sum()).alias(UNITS),
            (pl.col(UNITS).sum() - pl.col(UNITS).max()).alias("rest"),
            pl.when(pl.col("lines").count() > 0).then(pl.col("lines").sum()).alias("lines"),
            pl.when(pl.col("tickets").count() > 0).then(pl.col("tickets").sum()).alias("tickets"),
            pl.len().cast(pl.Int64).alias("series"),
        )
        .sort(KNOWN_AT, PERIOD_ON, "segment")
        .collect()
    )


@dataclass(frozen=True)
class Statement:
    """What somebody has said of a segment's periods; the last word counts, whatever the detector finds.

    `segment` "" is all of them, `last_on` None is from `first_on` on.
    """

    segment: str
    first_on: date
    last_on: date | None
    is_unknown: bool  # else the values are right
    at: datetime

    def covers(self, segment: str, period_on: date) -> bool:
        is_within = self.first_on <= period_on and (self.last_on is None or period_on <= self.last_on)
        return is_within and self.segment in ("", segment)


def stated(statements: Iterable[Statement], segment: str, period_on: date, by: datetime) -> bool | None:
    """Whether the last statement known by then calls the period unknown; None where there is none."""
    said = [one for one in statements if one.at <= by and one.covers(segment, period_on)]
    return max(said, key=lambda one: one.at).is_unknown if said else None


def find(
    past: pl.DataFrame, arrived: pl.DataFrame, *, period_days: int = 1, statements: Sequence[Statement] = ()
) -> list[Fault]:
    """The faults among what `arrived`, judged in the order in which it became known, each on what was known then.

    `past`, `arrived`: as `totals` gives them; of `past` nothing is said, it is looked back on. `arrived` holds one instant
    for each period, and every segment of it. What a statement calls unknown is not judged, what it calls right is no fault.
    """
    if arrived.is_empty():
        return []
    events = pl.concat([past.with_columns(is_new=pl.lit(value=False)), arrived.with_columns(is_new=pl.lit(value=True))])
    chain = Chain(events, period_days)
    found: list[Fault] = []
    said = sorted(statements, key=lambda one: one.at)
    for (at, period_on), rows in events.group_by(KNOWN_AT, PERIOD_ON, maintain_order=True):
        chain.know(period_on, rows)  # pyright: ignore[reportArgumentType]
        if not rows["is_new"][0]:
            continue
        for one in said:
            if one.at <= at:
                chain.believe(one.segment, one.first_on, one.last_on, is_unknown=one.is_unknown)
        for segment, kind, factor in chain.judge(period_on):  # pyright: ignore[reportArgumentType]
            if stated(statements, segment, period_on, at) is None:  # pyright: ignore[reportArgumentType]
                chain.doubt(period_on, segment)  # pyright: ignore[reportArgumentType]
                found.append(Fault(segment, period_on, kind, factor, at))  # pyright: ignore[reportArgumentType]
    return sorted(found)
