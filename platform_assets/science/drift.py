"""Whether inputs, or errors, have left the range in which they were when the champion was trained.

Thresholds from textbooks do not hold here: rows of one series resemble each other, days too, and seasons move every
feature. So a statistic is compared with its own past: each past occasion is judged against the whole reference as the
current rows are, and what is unusual among those is drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import distances

Floats = NDArray[np.float64]

MAD_TO_SD: Final = 1.4826  # of a normal distribution
# In robust standard deviations. On 88 simulated worlds in which nothing happened, with a backtest of 84 days and a weekly
# look over 102 days, 5 exceeded it at some time (4: 9; 3: 18); prices up by 30% did in half of 10.
ERROR_THRESHOLD: Final = 5.0
LEAST_WINDOWS: Final = 8  # fewer past windows say nothing about what is usual
DRIFT_SCHEMA: Final = {
    "feature": pl.String,
    "statistic": pl.Float64,
    "usual": pl.Float64,
    "stability_index": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "has_drifted": pl.Boolean,
}


def population_stability(expected: pl.Series, observed: pl.Series, *, bins: int = 10) -> float:
    """Population stability index of `observed` against `expected`.

    Shapes: (n,) and (m,), numeric; bins are quantiles of `expected`, nulls and NaN are a bin of their own.
    Returns: nats, >= 0; 0 where the binned distributions are equal.
    Raises: EmptyFrameError if either series is empty.
    Source: Siddiqi (2006), Credit Risk Scorecards, ch. 6.
    """
    known, observed_known = _known(expected), _known(observed)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if known.size else np.empty(0)
    before = _binned(known, expected.len(), edges)
    after = _binned(observed_known, observed.len(), edges)
    return distances.stability(before, after)


def stability_threshold(rows_expected: int, rows_observed: int, *, bins: int = 10, alpha: float = 0.01) -> float:
    """Index that independent rows of one distribution exceed with probability `alpha`.

    The index times n m / (n + m) is asymptotically chi-squared with `bins` - 1 degrees of freedom. Rows of few series
    are not independent: compare with past occasions instead.
    Source: Yurdakul and Naranjo (2020), Statistical properties of the population stability index.
    """
    from scipy.stats import chi2

    return float(chi2.isf(alpha, bins - 1) * (1.0 / rows_expected + 1.0 / rows_observed))


def kolmogorov_smirnov(expected: pl.Series, observed: pl.Series) -> float:
    """Greatest distance between the two empirical distribution functions; nulls and NaN are a value below all others.

    Shapes: (n,) and (m,), numeric. Returns: within [0, 1].
    Raises: EmptyFrameError if either series is empty.
    """
    return _distance(np.sort(_filled(expected)), np.sort(_filled(observed)))


def feature_drift(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    columns: Sequence[str],
    *,
    window: str | None = None,
    alpha: float = 0.01,
) -> pl.DataFrame:
    """One row per feature: how far its current distribution is from the reference, and whether that is more than usual.

    reference, current: rows with `columns`, numeric or Boolean. `window` names a column of the reference that says to
    which past occasion a row belongs (an issue day or week), each about as many rows as the current ones: then `usual`
    is the median distance of an occasion from the reference, and the p-value the one-sided tail of the robust z of the
    logarithm; occasions on which a feature was null in every row do not count. Without it rows are taken as independent
    and the p-value is the asymptotic one.
    `q_value` is adjusted over the features for the false discovery rate; drift is q < alpha. On 8 simulated worlds in
    which nothing happened, looked at 8 times within 112 days, the features of demand and price raised no alarm;
    with prices up by 12% 15 of 16 looks did, by 30% all, with demand up by half 5 of 16.
    Raises: SchemaError naming columns that a frame lacks; EmptyFrameError where a frame has no rows.
    """
    for role, rows in (("reference", reference), ("current", current)):
        if missing := sorted(set(columns) - set(rows.columns)):
            raise SchemaError(f"feature drift: {role} rows lack {missing}; columns: {', '.join(rows.columns)}")
    occasions = None if window is None else reference[window].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    if not columns:
        return pl.DataFrame(schema=DRIFT_SCHEMA)
    rows = [_judged(reference[name], current[name], occasions) for name in columns]
    statistic, usual, index, p_values = (np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))
    q_values = benjamini_hochberg(p_values)
    return pl.DataFrame(
        {
            "feature": list(columns),
            "statistic": statistic,
            "usual": usual,
            "stability_index": index,
            "p_value": p_values,
            "q_value": q_values,
            "has_drifted": q_values < alpha,
        },
        schema=DRIFT_SCHEMA,
    )


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Each p-value adjusted for the false discovery rate, in the given order; NaN stays and counts as no test.

    Source: Benjamini and Hochberg (1995), Journal of the Royal Statistical Society B 57.
    """
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    scaled = p_values[order] * order.size / np.arange(1, order.size + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


@dataclass(frozen=True)
class ErrorDrift:
    """Where the model's loss over a baseline's stands against the reference.

    `relative` and `usual` are ratios of summed losses; `statistic` is the distance of their logarithms in robust
    standard deviations of the reference's windows.
    """

    relative: float
    usual: float
    statistic: float
    threshold: float
    onset_on: date | None  # first day of the present run of alarms; None where there is none
    has_drifted: bool
    is_judged: bool  # False where the reference or the days since are too short to say anything


def error_drift(
    losses: pl.DataFrame,
    *,
    reference_until: date,
    window_days: int = 28,
    threshold: float = ERROR_THRESHOLD,
    least_scale: float = 0.02,
) -> ErrorDrift:
    """Whether the last `window_days` days' loss over the baseline's is above that of the reference.

    losses: one row per judged period: day (Date), loss, baseline_loss, summed over the same rows. The reference is all
    up to `reference_until`. Its windows overlap and days depend on each other, so the spread of few windows is
    uncertain: it is not taken below `least_scale` (in log, so .02 is 2% of the ratio).
    """
    ordered = losses.sort("day").filter(pl.col("baseline_loss") > 0)
    _, past = _log_ratios(ordered.filter(pl.col("day") <= reference_until), window_days)
    days, now = _log_ratios(ordered.filter(pl.col("day") > reference_until), window_days)
    centre = float(np.median(past)) if past.size else float("nan")
    if past.size < LEAST_WINDOWS or not now.size:
        usual = float(np.exp(centre))
        return ErrorDrift(float("nan"), usual, 0.0, threshold, None, has_drifted=False, is_judged=False)
    scale = max(MAD_TO_SD * float(np.median(np.abs(past - centre))), least_scale)
    scores = (now - centre) / scale
    alarms = scores > threshold
    quiet = np.flatnonzero(~alarms)
    onset_on = None if not alarms[-1] else days[int(quiet[-1]) + 1 if quiet.size else 0]
    return ErrorDrift(
        relative=float(np.exp(now[-1])),
        usual=float(np.exp(centre)),
        statistic=float(scores[-1]),
        threshold=threshold,
        onset_on=onset_on,
        has_drifted=bool(alarms[-1]),
        is_judged=True,
    )


def _log_ratios(losses: pl.DataFrame, window_days: int) -> tuple[list[date], Floats]:
    """Last day, and log of summed loss over summed baseline loss, of each window of `window_days` that is covered.

    A window is covered once it reaches back to the first row; days without a row, such as closed ones, count as days.
    """
    if losses.height < 2:
        return [], np.empty(0)
    day = losses["day"].cast(pl.Int32).to_numpy().astype(np.int64)
    period = int(np.median(np.diff(day)))
    ends = np.flatnonzero(day - day[0] + period >= window_days)
    starts = np.searchsorted(day, day[ends] - window_days, side="right")
    totals = [np.cumsum(np.r_[0.0, losses[name].cast(pl.Float64).to_numpy()]) for name in ("loss", "baseline_loss")]
    loss, baseline = (total[ends + 1] - total[starts] for total in totals)
    ratios = np.log(np.maximum(loss, np.finfo(np.float64).tiny)) - np.log(baseline)
    return losses["day"].gather(ends).to_list(), ratios


def _values(series: pl.Series) -> Floats:
    if series.len() == 0:
        raise EmptyFrameError(f"drift: no rows of `{series.name}`")
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _known(series: pl.Series) -> Floats:
    values = _values(series)
    return values[~np.isnan(values)]


def _filled(series: pl.Series) -> Floats:
    values = _values(series)
    return np.where(np.isnan(values), -np.inf, values)


def _binned(known: Floats, rows: int, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=edges.size + 1)
    return np.r_[counts, rows - known.size] / rows


def _distance(first: Floats, second: Floats) -> float:
    """Kolmogorov-Smirnov distance of two sorted samples."""
    return float(_distances(first, second, np.zeros(second.size, dtype=np.int64))[0])


def _distances(pooled: Floats, values: Floats, occasion: NDArray[np.int64]) -> Floats:
    """Distance of each occasion's values from the sorted `pooled` ones, in the order of the occasions' numbers.

    Between two values of the occasion its distribution function is flat and the other one rises, so the greatest gap is at
    a value or just below one.
    """
    order = np.lexsort((values, occasion))
    values, occasion = values[order], occasion[order]
    is_first = np.r_[True, occasion[1:] != occasion[:-1]]
    starts = np.flatnonzero(is_first)
    sizes = np.diff(np.r_[starts, values.size])
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    ties = np.flatnonzero(is_first | np.r_[True, values[1:] != values[:-1]])
    lengths = np.diff(np.r_[ties, values.size])
    below, up_to = np.repeat(ties, lengths) - start, np.repeat(ties + lengths, lengths) - start
    at = np.abs(up_to / size - np.searchsorted(pooled, values, side="right") / pooled.size)
    just_below = np.abs(below / size - np.searchsorted(pooled, values, side="left") / pooled.size)
    return np.maximum.reduceat(np.maximum(at, just_below), starts)


def _judged(
    reference: pl.Series, current: pl.Series, occasions: NDArray[np.int64] | None
) -> tuple[float, float, float, float]:
    """Distance, usual distance, stability index and p-value of one feature."""
    if occasions is not None and (exists := _is_known_on(reference, occasions)).any():
        reference, occasions = reference.filter(exists), occasions[exists]
    index = population_stability(reference, current)
    known, now = _filled(reference), np.sort(_filled(current))
    pooled = np.sort(known)
    distance = _distance(pooled, now)
    if occasions is None:
        from scipy.special import kolmogorov

        rows = known.size * now.size / (known.size + now.size)
        return distance, 0.0, index, float(kolmogorov(distance * np.sqrt(rows)))
    past = _distances(pooled, known, occasions)
    if past.size < LEAST_WINDOWS:
        return distance, float(np.median(past)), index, float("nan")
    return distance, float(np.median(past)), index, _tail(distance, past)


def _is_known_on(values: pl.Series, occasions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows of the occasions on which the feature has a value in any row.

    A feature that looks back a year is null throughout the first one: occasions without it say nothing about
    what is usual.
    """
    has_value = ~np.isnan(_values(values))
    return np.bincount(occasions, weights=has_value)[occasions] > 0


def _tail(distance: float, past: Floats) -> float:
    """One-sided normal tail of the robust z of log distance among past ones."""
    from scipy.special import ndtr

    logs, now = np.log(np.maximum(past, 1e-6)), np.log(max(distance, 1e-6))
    centre = np.median(logs)
    scale = max(MAD_TO_SD * float(np.median(np.abs(logs - centre))), 0.05)
    return float(ndtr(-(now - centre) / scale))
