"""A period of a segment that is plausible line by line and wrong as a whole: sums by ten, every line twice, no lines at all.

A segment, such as a store, is judged against its own last known periods and against the other segments of the same period:
what comes to all of them is the world, what comes to one alone and at once is its feed. Each period is judged when it has
arrived, on what was known then, so that a day's increment says what a bulk run over the history says.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.names import KNOWN_AT, PERIOD_ON, SERIES_ID, UNITS

Kind = Literal["units", "repeats", "silence"]
Array = NDArray[np.float64]

KNOWN_PERIODS: Final = 28  # a segment's last known periods that it is compared with
LOOKBACK_DAYS: Final = 126  # these lie within so many days: a state that lasts three months is the new usual one
NEEDED: Final = {1: 14, 7: 8}  # known periods, by days of a period; with fewer nothing is said
UNITS_RATIO: Final = 4.0  # up or down; dozens, tens and cents are 10 and more, a store's own anniversary is 2 or 3
UNITS_SPREADS: Final = 6.0  # robust standard deviations of the segment's own logarithm beside the chain's
AGAIN_RATIO: Final = 3.0  # and these two within a week of what is doubted already: a fault seldom lasts a day
AGAIN_SPREADS: Final = 3.0
RUN: Final = 4  # periods in a row that are judged together
BACK_SHARE: Final = 0.3  # of the periods before the last known ones: who comes back to where these were is not at fault
ALONE_RATIO: Final = 2.0  # by which it has left its own past too: where all others have left theirs, it is not at fault
REPEATS_RATIO: Final = 1.6  # lines of a receipt over their usual number; every line twice is 2
REPEATS_SPREADS: Final = 8.0
USUAL_SERIES: Final = 10  # a segment with fewer in a usual period may well be silent once
WEEKDAYS: Final = 3  # same weekdays since it opened, all with lines, before a day without is a gap
_MAD: Final = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
_FEW: Final = 6  # segments, up to which one is left out of its own comparison


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
    chain = _Chain(events, period_days)
    found: list[Fault] = []
    for (at, period_on), rows in events.group_by(KNOWN_AT, PERIOD_ON, maintain_order=True):
        chain.know(period_on, rows)  # pyright: ignore[reportArgumentType]
        if not rows["is_new"][0]:
            continue
        chain.restate(statements, at)  # pyright: ignore[reportArgumentType]
        for segment, kind, factor in chain.judge(period_on):  # pyright: ignore[reportArgumentType]
            if stated(statements, segment, period_on, at) is None:  # pyright: ignore[reportArgumentType]
                chain.doubt(period_on, segment)  # pyright: ignore[reportArgumentType]
                found.append(Fault(segment, period_on, kind, factor, at))  # pyright: ignore[reportArgumentType]
    return sorted(found)


@dataclass(frozen=True)
class _Beside:
    """A segment's logarithm over the chain's in its last known periods and the judged one, from its usual place.

    `spread`: of that, usually. `own`: the judged one's over its own past alone. `is_back`: the judged one is where many of the
    periods before those were.
    """

    number: int
    shifts: Array
    spread: float
    own: float
    is_back: bool

    @property
    def shift(self) -> float:
        return float(self.shifts[-1])

    def is_far(self, least: float, spreads: float) -> bool:
        """So many spreads off, of the judged one alone or of the last ones together that are off by so much at least."""
        run = math.copysign(1.0, self.shift) * self.shifts[: -RUN - 1 : -1]
        ends = np.flatnonzero(run <= least)
        run = run[: ends[0]] if len(ends) else run
        return any(run[:count].sum() > spreads * math.sqrt(count) * self.spread for count in range(1, len(run) + 1))


class _Chain:
    """What is known of every segment and period so far; arrays are (periods, segments), NaN is unknown or closed."""

    def __init__(self, events: pl.DataFrame, period_days: int) -> None:
        self.segments: list[str] = events["segment"].unique().sort().to_list()
        self.periods: list[date] = events[PERIOD_ON].unique().sort().to_list()
        self.column = {segment: number for number, segment in enumerate(self.segments)}
        self.row = {period_on: number for number, period_on in enumerate(self.periods)}
        shape = len(self.periods), len(self.segments)
        self.units, self.rest, self.repeats, self.series = (np.full(shape, np.nan) for _ in range(4))
        self.has_come = np.zeros(len(self.periods), dtype=bool)
        self.doubted = np.zeros(shape, dtype=bool)
        self.needed, self.period_days = NEEDED[period_days], period_days

    def know(self, period_on: date, rows: pl.DataFrame) -> None:
        """Take what has become known of a period: all of its segments; one that has no row has no lines."""
        at, columns = self.row[period_on], [self.column[segment] for segment in rows["segment"]]
        units, rest, lines, tickets = (
            rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in (UNITS, "rest", "lines", "tickets")
        )
        for table in (self.units, self.rest, self.repeats):
            table[at] = np.nan
        self.series[at], self.doubted[at], self.has_come[at] = 0.0, False, True
        self.units[at, columns] = np.log(np.maximum(units, 0.5))
        self.rest[at, columns] = np.where(np.isnan(units), np.nan, np.log(np.maximum(rest, 0.5)))
        is_told = (lines > 0) & (tickets > 0)
        self.repeats[at, columns] = np.where(
            is_told, np.log(np.where(is_told, lines, 1) / np.where(is_told, tickets, 1)), np.nan
        )
        self.series[at, columns] = rows["series"].to_numpy()
        self.doubted[at, columns] = np.isnan(units)

    def doubt(self, period_on: date, segment: str) -> None:
        """Look back no more on a period of a segment."""
        self.doubted[self.row[period_on], self.column[segment]] = True

    def restate(self, statements: Sequence[Statement], by: datetime) -> None:
        """Doubt what somebody calls unknown by then, and believe what they call right."""
        for one in sorted(statements, key=lambda one: one.at):
            if one.at <= by:
                rows = [
                    n for on, n in self.row.items() if one.first_on <= on and (one.last_on is None or on <= one.last_on)
                ]
                columns = [n for name, n in self.column.items() if one.segment in ("", name)]
                self.doubted[np.ix_(rows, columns)] = one.is_unknown

    def judge(self, period_on: date) -> "list[tuple[str, Kind, float]]":
        """Segments at fault in a period that has come: what is wrong, and by which factor."""
        at = self.row[period_on]
        begin = int(
            np.searchsorted(
                np.array(self.periods, dtype="datetime64[D]"), np.datetime64(period_on - timedelta(days=LOOKBACK_DAYS))
            )
        )
        window = np.arange(begin, at)[self.has_come[begin:at]]
        if not len(window):
            return []
        found: dict[int, tuple[Kind, float]] = {}
        for number in self._silent(at, window):
            found[number] = ("silence", 0.0)
        for number, factor in self._repeated(at, window):
            found.setdefault(number, ("repeats", factor))
        for number, factor in self._off(at, window):
            found.setdefault(number, ("units", factor))
        return [(self.segments[n], *found[n]) for n in sorted(found) if not self.doubted[at, n]]

    def _recent(self, table: Array, window: NDArray[np.int64]) -> Array:
        """The window's values, NaN where doubted and beyond the last known ones of each segment."""
        values = np.where(self.doubted[window], np.nan, table[window])
        later = np.cumsum(~np.isnan(values)[::-1], axis=0)[::-1]
        return np.where(later <= KNOWN_PERIODS, values, np.nan)

    def _off(self, at: int, window: NDArray[np.int64]) -> "Iterable[tuple[int, float]]":
        """Segments whose units have left both their own past and the chain, in their sum and without the largest series.

        The farthest first, which the others are not compared with then.
        """
        week = [n for n in window if (self.periods[at] - self.periods[n]).days <= 7]
        outside: list[int] = []
        while True:
            rests = {one.number: one for one in self._beside(self.rest, at, window, outside)}
            found: list[tuple[float, int]] = []
            for one in self._beside(self.units, at, window, outside):
                rest = rests.get(one.number, _Beside(one.number, np.zeros(1), 0.0, 0.0, is_back=False))
                is_again = self.doubted[week, one.number].any()
                ratio, spreads = (AGAIN_RATIO, AGAIN_SPREADS) if is_again else (UNITS_RATIO, UNITS_SPREADS)
                is_far = any(told.is_far(math.log(ratio), spreads) for told in (one, rest))
                direction = math.copysign(1.0, one.shift)
                is_large = min(abs(one.shift), direction * rest.shift) > math.log(ratio)
                if is_far and is_large and not one.is_back and direction * one.own > math.log(ALONE_RATIO):
                    found.append((one.shift, one.number))
            if not found:
                return
            shift, number = max(found, key=lambda one: abs(one[0]))
            outside.append(number)
            yield number, math.exp(shift)

    def _beside(self, table: Array, at: int, window: NDArray[np.int64], outside: Sequence[int]) -> "Iterable[_Beside]":
        """Each segment that can be judged."""
        past = self._recent(table, window)
        judged = np.flatnonzero((~np.isnan(past)).sum(axis=0) >= self.needed)
        judged = np.setdiff1d(judged[self.series[at, judged] > 0], outside)
        if len(judged) < 2:
            return
        known = np.where(self.doubted[window], np.nan, table[window])[:, judged]
        own = np.vstack([known, table[at, judged]]) - np.nanmedian(past[:, judged], axis=0)
        is_own = np.vstack([~np.isnan(past[:, judged]), np.ones(len(judged), dtype=bool)])
        for place, number in enumerate(judged):
            others = np.delete(own, place, axis=1) if len(judged) <= _FEW else own
            # Of a segment that has been doubted for weeks these are older days than the others' last ones.
            is_known = ~np.isnan(others).all(axis=1) & ~np.isnan(own[:, place])
            is_both = is_known & is_own[:, place]
            if not is_both[-1] or is_both.sum() < self.needed:
                continue
            beside = own[is_known, place] - np.nanmedian(others[is_known], axis=1)
            is_last = is_own[is_known, place]
            usual = float(np.median(beside[is_last][:-1]))
            spread = _MAD * float(np.median(np.abs(beside[is_last][:-1] - usual)))
            older = np.abs(beside[~is_last] - beside[-1]) < max(math.log(ALONE_RATIO), 2 * spread)
            is_back = len(older) >= self.needed and float(older.mean()) >= BACK_SHARE
            yield _Beside(int(number), beside[is_last] - usual, spread, float(own[-1, place]), is_back=is_back)

    def _repeated(self, at: int, window: NDArray[np.int64]) -> "Iterable[tuple[int, float]]":
        """Segments with more lines a receipt than they ever have."""
        past = self._recent(self.repeats, window)
        for number in np.flatnonzero((~np.isnan(past)).sum(axis=0) >= self.needed):
            values = past[:, number][~np.isnan(past[:, number])]
            usual = float(np.median(values))
            spread = _MAD * float(np.median(np.abs(values - usual)))
            shift = self.repeats[at, number] - usual
            if shift > max(math.log(REPEATS_RATIO), REPEATS_SPREADS * spread):
                yield int(number), math.exp(shift)

    def _silent(self, at: int, window: NDArray[np.int64]) -> "Iterable[int]":
        """Segments without a line, where a usual period of that weekday has many and most of the others have some."""
        past = self._recent(self.units, window)
        is_known = (~np.isnan(past)).sum(axis=0) >= self.needed
        usual = np.where(self.doubted[window] | (self.series[window] == 0), np.nan, self.series[window])
        same = np.array([self.periods[n].weekday() for n in window]) == self.periods[at].weekday()
        for number in np.flatnonzero(is_known & (self.series[at] == 0)):
            others = np.delete(self.series[at] > 0, number)[np.delete(is_known, number)]
            if not len(others) or others.mean() < 0.5 or np.nanmedian(usual[:, number]) < USUAL_SERIES:
                continue
            alike = self.series[window[same], number][~self.doubted[window[same], number]]
            alike = alike[np.argmax(alike > 0) :]  # before its first line it had not opened
            if len(alike) >= WEEKDAYS and (alike > 0).all() and self._gaps(int(number), window) <= 1:
                yield int(number)

    def _gaps(self, number: int, window: NDArray[np.int64]) -> int:
        """Recent periods without a line, on weekdays on which the segment has some: who sells now and then is silent now and then."""
        kept = [n for n in window if not self.doubted[n, number]][-KNOWN_PERIODS:]
        open_on = {self.periods[n].weekday() for n in window if self.series[n, number] > 0}
        return sum(int(self.series[n, number] == 0) for n in kept if self.periods[n].weekday() in open_on)
