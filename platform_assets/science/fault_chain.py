"""What is known of every segment of a chain, period by period, and the rules by which one of them is at fault."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.names import PERIOD_ON, UNITS

Kind = Literal["units", "repeats", "silence"]
Array = NDArray[np.float64]
Places = NDArray[np.intp]

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


@dataclass(frozen=True)
class _Beside:
    """Segments' logarithms over the chain's in their last known periods and the judged one, from their usual places.

    One column each. `shifts`: NaN where a period is none of these; the last row is the judged one. `spreads`: of the others,
    usually. `own`: the judged one's over its own past alone. `is_back`: the judged one is where many of the periods before
    those were.
    """

    numbers: Places
    shifts: Array
    spreads: Array
    own: Array
    is_back: NDArray[np.bool_]

    def among(self, numbers: Places) -> "_Beside":
        """Those of these segments, in their order."""
        at = np.searchsorted(self.numbers, numbers)
        return _Beside(self.numbers[at], self.shifts[:, at], self.spreads[at], self.own[at], self.is_back[at])

    def is_far(self, place: int, least: float, spreads: float) -> bool:
        """So many spreads off, of the judged one alone or of the last ones together that are off by so much at least."""
        shifts = self.shifts[~np.isnan(self.shifts[:, place]), place]
        run = math.copysign(1.0, shifts[-1]) * shifts[: -RUN - 1 : -1]
        ends = np.flatnonzero(run <= least)
        run = run[: ends[0]] if len(ends) else run
        spread = self.spreads[place]
        return any(run[:count].sum() > spreads * math.sqrt(count) * spread for count in range(1, len(run) + 1))


class Chain:
    """What is known of every segment and period so far; arrays are (periods, segments), NaN is unknown or closed."""

    def __init__(self, events: pl.DataFrame, period_days: int) -> None:
        self.segments: list[str] = events["segment"].unique().sort().to_list()
        self.periods: list[date] = events[PERIOD_ON].unique().sort().to_list()
        self.column = {segment: number for number, segment in enumerate(self.segments)}
        self.row = {period_on: number for number, period_on in enumerate(self.periods)}
        self.days = np.array(self.periods, dtype="datetime64[D]")
        self.weekdays = np.array([period_on.weekday() for period_on in self.periods])
        shape = len(self.periods), len(self.segments)
        self.units, self.rest, self.repeats, self.series = (np.full(shape, np.nan) for _ in range(4))
        self.has_come = np.zeros(len(self.periods), dtype=bool)
        self.doubted = np.zeros(shape, dtype=bool)
        self.needed = NEEDED[period_days]

    def know(self, period_on: date, rows: pl.DataFrame) -> None:
        """Take what has become known of a period: all of its segments; one that has no row has no lines."""
        at, columns = self.row[period_on], [self.column[segment] for segment in rows["segment"]]
        told = pl.col(UNITS, "rest", "lines", "tickets").cast(pl.Float64).fill_null(math.nan)
        units, rest, lines, tickets = rows.select(told).to_numpy().T
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

    def believe(self, segment: str, first_on: date, last_on: date | None, *, is_unknown: bool) -> None:
        """Doubt what somebody calls unknown, and believe what they call right; "" is every segment."""
        begin = int(np.searchsorted(self.days, np.datetime64(first_on)))
        end = (
            len(self.days) if last_on is None else int(np.searchsorted(self.days, np.datetime64(last_on), side="right"))
        )
        columns = [n for name, n in self.column.items() if segment in ("", name)]
        self.doubted[begin:end, columns] = is_unknown

    def judge(self, period_on: date) -> list[tuple[str, Kind, float]]:
        """Segments at fault in a period that has come: what is wrong, and by which factor."""
        at = self.row[period_on]
        begin = int(np.searchsorted(self.days, np.datetime64(period_on - timedelta(days=LOOKBACK_DAYS))))
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

    def _recent(self, table: Array, window: Places) -> Array:
        """The window's values, NaN where doubted and beyond the last known ones of each segment."""
        values = np.where(self.doubted[window], np.nan, table[window])
        later = np.cumsum(~np.isnan(values)[::-1], axis=0)[::-1]
        return np.where(later <= KNOWN_PERIODS, values, np.nan)

    def _off(self, at: int, window: Places) -> Iterable[tuple[int, float]]:
        """Segments whose units have left both their own past and the chain, in their sum and without the largest series.

        The farthest first, which the others are not compared with then.
        """
        week = window[self.days[at] - self.days[window] <= np.timedelta64(7, "D")]
        outside: list[int] = []
        while True:
            units, rest = (self._beside(table, at, window, outside) for table in (self.units, self.rest))
            both = np.intersect1d(units.numbers, rest.numbers)
            units, rest = units.among(both), rest.among(both)
            is_again = self.doubted[np.ix_(week, both)].any(axis=0)
            ratio = np.log(np.where(is_again, AGAIN_RATIO, UNITS_RATIO))
            shift, direction = units.shifts[-1], np.copysign(1.0, units.shifts[-1])
            is_large = np.minimum(np.abs(shift), direction * rest.shifts[-1]) > ratio
            has_left = is_large & ~units.is_back & (direction * units.own > math.log(ALONE_RATIO))
            spreads = np.where(is_again, AGAIN_SPREADS, UNITS_SPREADS)
            found = [
                n
                for n in np.flatnonzero(has_left)
                if any(one.is_far(int(n), ratio[n], spreads[n]) for one in (units, rest))
            ]
            if not found:
                return
            farthest = max(found, key=lambda n: abs(shift[n]))
            outside.append(int(both[farthest]))
            yield outside[-1], math.exp(shift[farthest])

    def _beside(self, table: Array, at: int, window: Places, outside: Sequence[int]) -> _Beside:
        """The segments that can be judged."""
        past = self._recent(table, window)
        is_judged = ((~np.isnan(past)).sum(axis=0) >= self.needed) & (self.series[at] > 0)
        is_judged[list(outside)] = False
        judged = np.flatnonzero(is_judged)
        known = np.where(self.doubted[window][:, judged], np.nan, table[np.ix_(window, judged)])
        own = np.vstack([known, table[at, judged]]) - _medians(past[:, judged])
        is_own = np.vstack([~np.isnan(past[:, judged]), np.ones(len(judged), dtype=bool)])
        beside = own - _of_others(own)
        # Of a segment that has been doubted for weeks these are older days than the others' last ones.
        is_known = ~np.isnan(beside)
        is_both, is_older = is_known & is_own, is_known & ~is_own
        last = np.where(is_both, beside, np.nan)
        usual = _medians(last[:-1])
        spreads = _MAD * _medians(np.abs(last[:-1] - usual))
        is_near = is_older & (np.abs(beside - beside[-1]) < np.maximum(math.log(ALONE_RATIO), 2 * spreads))
        older = is_older.sum(axis=0)
        is_back = (older >= self.needed) & (is_near.sum(axis=0) / np.maximum(older, 1) >= BACK_SHARE)
        told = np.flatnonzero(is_both[-1] & (is_both.sum(axis=0) >= self.needed))
        return _Beside(judged[told], (last - usual)[:, told], spreads[told], own[-1, told], is_back[told])

    def _repeated(self, at: int, window: Places) -> Iterable[tuple[int, float]]:
        """Segments with more lines a receipt than they ever have."""
        past = self._recent(self.repeats, window)
        usual = _medians(past)
        spreads = _MAD * _medians(np.abs(past - usual))
        shifts = self.repeats[at] - usual
        is_more = shifts > np.maximum(math.log(REPEATS_RATIO), REPEATS_SPREADS * spreads)
        for number in np.flatnonzero(is_more & ((~np.isnan(past)).sum(axis=0) >= self.needed)):
            yield int(number), math.exp(shifts[number])

    def _silent(self, at: int, window: Places) -> Iterable[int]:
        """Segments without a line, where a usual period of that weekday has many and most of the others have some."""
        is_known = (~np.isnan(self._recent(self.units, window))).sum(axis=0) >= self.needed
        silent, others = is_known & (self.series[at] == 0), is_known.sum() - 1
        if not silent.any() or not others or (is_known & (self.series[at] > 0)).sum() / others < 0.5:
            return
        same = window[self.weekdays[window] == self.weekdays[at]]
        for number in np.flatnonzero(silent):
            series, is_believed = self.series[:, number], ~self.doubted[:, number]
            if np.median(series[window][is_believed[window] & (series[window] > 0)]) < USUAL_SERIES:
                continue
            alike = series[same][is_believed[same]]
            alike = alike[np.argmax(alike > 0) :]  # before its first line it had not opened
            if len(alike) >= WEEKDAYS and (alike > 0).all() and self._gaps(int(number), window) <= 1:
                yield int(number)

    def _gaps(self, number: int, window: Places) -> int:
        """Recent periods without a line, on weekdays on which the segment has some: who sells now and then is silent now and then."""
        kept = window[~self.doubted[window, number]][-KNOWN_PERIODS:]
        open_on = self.weekdays[window[self.series[window, number] > 0]]
        return int(((self.series[kept, number] == 0) & np.isin(self.weekdays[kept], open_on)).sum())


def _medians(values: Array) -> Array:
    """Of each column's known values; NaN where it has none. As numpy's, at a tenth of its time."""
    ordered = np.sort(values, axis=0)  # NaN last
    count, places = (~np.isnan(values)).sum(axis=0), np.arange(values.shape[1])
    return (ordered[(count - 1) // 2, places] + ordered[count // 2, places]) / 2


def _of_others(own: Array) -> Array:
    """The chain's median of each period; where few are in it, for each segment that of the others."""
    if own.shape[1] < 2:
        return np.full(own.shape, np.nan)
    if own.shape[1] > _FEW:
        return _medians(own.T)[:, None]
    return np.stack([_medians(np.delete(own, place, axis=1).T) for place in range(own.shape[1])], axis=1)
