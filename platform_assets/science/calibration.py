"""Which signals of the stream of results have left the range that they had in the champion's own backtest.

A signal's distance from the middle of its backtest is measured by the spread that it had there, and not by less than a
floor. Daily sales carry about four independent days a quarter, so a backtest of a quarter cannot say how far is too far:
the limits are those that simulated worlds in which nothing happened need for the stated rate, by the backtest's length.
They and the floors come from `benchmarks/detection_study.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science import streams
from platform_assets.science.tasks import Task

Floats = NDArray[np.float64]

MAD_TO_SD: Final = 1.4826  # of a normal distribution
LEAST_DAYS: Final = 7  # with results in a backtest, or weeks where periods are weeks
HOLD_DAYS: Final = 7  # that an alarm stays, so that who looks once a week sees it
SPAN_DAYS: Final = 28  # of the own history, judged by the rest of it
PROMISED: Final = 0.01  # false alarms in 90 days
LEAST_QUARTERS: Final = 299  # without an alarm that show such a rate with 95% confidence
DEFAULT: Final = (
    streams.LOWER_COVERAGE,
    streams.UPPER_COVERAGE,
    streams.WEEKDAY_PROFILE,
    streams.PRICE_PROFILE,
    streams.OVER_BASELINE,
)
INFINITE: Final = float("inf")
LENGTHS: Final = (7, 14, 28, 56, 84, 168)  # days of a backtest
FLOORS: Final[dict[str, float]] = {
    streams.LOWER_COVERAGE: 0.1076,
    streams.UPPER_COVERAGE: 0.04105,
    streams.WEEKDAY_PROFILE: 0.006568,
    streams.PRICE_PROFILE: 0.07382,
    streams.OVER_BASELINE: 0.05149,
    streams.BIAS: 0.03737,
}
# Signal to its limit for each of LENGTHS, on 400 null worlds; infinite where its window fits too seldom into the backtest.
LIMITS: Final[dict[str, tuple[float, ...]]] = {
    streams.LOWER_COVERAGE: (5.66, 5.65, 5.54, 6.50, 5.33, 5.35),
    streams.UPPER_COVERAGE: (6.10, 5.99, 6.03, 7.40, 5.64, 4.80),
    streams.WEEKDAY_PROFILE: (9.34, 6.34, 5.85, 6.72, 5.54, 5.46),
    streams.PRICE_PROFILE: (INFINITE, INFINITE, 5.71, 6.39, 5.34, 5.29),
    streams.OVER_BASELINE: (INFINITE, INFINITE, INFINITE, 7.50, 6.13, 4.81),
    streams.BIAS: (5.95, 5.84, 5.86, 5.47, 5.00, 4.34),
}


@dataclass(frozen=True)
class Standing:
    """Where a signal stands; `statistic` is its distance from `usual` over its usual spread, at its worst of late."""

    signal: str
    value: float
    usual: float
    statistic: float
    limit: float
    since: date | None  # first day of its present alarm

    @property
    def has_alarmed(self) -> bool:
        """Whether it is beyond its limit, or was within the last HOLD_DAYS."""
        return self.since is not None


@dataclass(frozen=True)
class OwnRate:
    """Spans of SPAN_DAYS of the backtest in which judging by its rest would have alarmed; `low`, `high`: 95% interval."""

    alarms: int
    spans: int
    low: float
    high: float


def default_signals(task: Task) -> tuple[str, ...]:
    """What the check `error` listens to; a source without prices, or of weeks, has fewer of them."""
    if not task.levels:
        return (streams.BIAS, streams.OVER_BASELINE)
    return DEFAULT


def distances(found: pl.DataFrame, signal: str, reference: Sequence[tuple[date, date]]) -> pl.DataFrame:
    """Of each day: value, usual, and their distance over the usual spread (`statistic`), as far as it is bad.

    found: as `streams.signals` gives it; `reference`: first and last days of what is usual. Empty where no
    window lies within it; where few do, the floor is their spread.
    """
    rows = found.filter((pl.col("signal") == signal) & pl.col("value").is_not_null())
    is_past = pl.any_horizontal(
        pl.col("day").is_between(streams.first_whole_day(first, signal), last) for first, last in reference
    )
    past = rows.select(is_past).to_series().to_numpy()
    if not past.any():
        return rows.clear().with_columns(usual=pl.lit(0.0), statistic=pl.lit(0.0))
    values, counts = rows["value"].to_numpy(), rows["rows"].to_numpy()
    usual, statistic = standardised(
        values, counts, past, floor=FLOORS.get(signal, 0.0), is_rising=signal in streams.ONLY_RISING
    )
    return rows.with_columns(usual=pl.lit(usual), statistic=pl.Series(statistic))


def standardised(
    values: Floats, rows: Floats, past: NDArray[np.bool_], *, floor: float, is_rising: bool
) -> tuple[float, Floats]:
    """The median of the past values, and each value's distance from it over their robust spread, at least `floor`.

    Shapes: (n,) each. A window of fewer rows than usual may stray further, as the root of the rows. What rises alone is
    bad where `is_rising`; else either way is.
    """
    usual = float(np.median(values[past]))
    scale = max(MAD_TO_SD * float(np.median(np.abs(values[past] - usual))), floor, 1e-9)
    thinner = np.sqrt(np.maximum(1.0, float(np.median(rows[past])) / np.maximum(rows, 1.0)))
    apart = (values - usual) / (scale * thinner)
    return usual, apart if is_rising else np.abs(apart)


def limit_of(signal: str, days: int) -> float:
    """Limit of a signal's statistic after a backtest of so many days; infinite where it is too short to say anything."""
    of_lengths = LIMITS.get(signal)
    known = [at for at, length in enumerate(LENGTHS) if length <= days]
    return of_lengths[known[-1]] if of_lengths and known else float("inf")


def standings(
    found: pl.DataFrame, names: Sequence[str], *, reference_until: date, until: date | None = None
) -> list[Standing]:
    """Each of the named signals that can be judged on the days after the reference, the worst first."""
    if found.is_empty():
        return []
    first: date = found["day"].min()  # pyright: ignore[reportAssignmentType]
    last: date = until or found["day"].max()  # pyright: ignore[reportAssignmentType]
    days = (reference_until - first).days + 1
    if found.filter(pl.col("day") <= reference_until)["day"].n_unique() < LEAST_DAYS:
        return []
    told = []
    for name in names:
        limit = limit_of(name, days)
        judged = distances(found, name, [(first, reference_until)])
        now = judged.filter(pl.col("day").is_between(reference_until + timedelta(days=1), last)).sort("day")
        if now.is_empty() or not np.isfinite(limit):
            continue
        recent = now.filter(pl.col("day") > last - timedelta(days=HOLD_DAYS))
        worst = (recent if recent.height else now.tail(1)).sort("statistic").row(-1, named=True)
        beyond = now.filter(pl.col("statistic") > limit)["day"].to_list()
        since = _since(beyond, last)
        told.append(Standing(name, worst["value"], worst["usual"], worst["statistic"], limit, since))
    return sorted(told, key=lambda one: -one.statistic / one.limit)


def own_rate(found: pl.DataFrame, names: Sequence[str], *, reference_until: date) -> OwnRate | None:
    """How often the backtest, span by span, would have alarmed judged by its other days; None where it is one span.

    The interval is Clopper and Pearson's, over spans.
    """
    from scipy.stats import beta

    first: date = found["day"].min()  # pyright: ignore[reportAssignmentType]
    days = (reference_until - first).days + 1
    spans = days // SPAN_DAYS
    if spans < 2:
        return None
    alarms = 0
    for number in range(spans):
        end = reference_until - timedelta(days=number * SPAN_DAYS)
        begin = end - timedelta(days=SPAN_DAYS - 1)
        rest = [(first, begin - timedelta(days=1)), (end + timedelta(days=1), reference_until)]
        alarms += any(
            (
                distances(found, name, rest).filter(pl.col("day").is_between(begin, end))["statistic"]
                > limit_of(name, days - SPAN_DAYS)
            ).any()
            for name in names
        )
    low = float(beta.ppf(0.025, alarms, spans - alarms + 1)) if alarms else 0.0
    high = float(beta.ppf(0.975, alarms + 1, spans - alarms)) if alarms < spans else 1.0
    return OwnRate(alarms, spans, low, high)


def log_ratio(found: pl.DataFrame, *, reference_until: date) -> tuple[float, float] | None:
    """Logarithm of the loss over the baseline's, at the last day and usually in the reference; None where unknown."""
    rows = found.filter((pl.col("signal") == streams.OVER_BASELINE) & pl.col("value").is_not_null()).sort("day")
    past, now = (
        rows.filter(part)["value"] for part in (pl.col("day") <= reference_until, pl.col("day") > reference_until)
    )
    return (float(now[-1]), float(past.median())) if past.len() and now.len() else None  # pyright: ignore[reportArgumentType]


def _since(beyond: list[date], last: date) -> date | None:
    """First day of the run of alarms, with pauses of less than HOLD_DAYS, that reaches into the last HOLD_DAYS."""
    if not beyond or (last - beyond[-1]).days >= HOLD_DAYS:
        return None
    at = len(beyond) - 1
    while at and (beyond[at] - beyond[at - 1]).days <= HOLD_DAYS:
        at -= 1
    return beyond[at]
