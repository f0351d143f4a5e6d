"""Whether features have left the range in which they were on past occasions.

Thresholds from textbooks do not hold here: rows of one series resemble each other, days too, and seasons move every
feature. So a statistic is compared with its own past: each past occasion is judged against the whole reference as the
current rows are, and what is unusual among those is drift. Rows without a value are no part of it: a feed that goes
missing is a fault, which `skew` names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science import distances
from platform_assets.science.sorted_reference import Current, Floats, Reference

MAD_TO_SD: Final = 1.4826  # of a normal distribution
LEAST_WINDOWS: Final = 8  # fewer past windows say nothing about what is usual
LEAST_KNOWN: Final = 0.5  # of the usual number of rows with a value; an occasion with fewer is too uncertain to compare
CATEGORIES: Final = (pl.String, pl.Categorical, pl.Enum)
DRIFT_SCHEMA: Final = {
    "feature": pl.String,
    "statistic": pl.Float64,
    "usual": pl.Float64,
    "stability_index": pl.Float64,
    "divergence": pl.Float64,
    "moved": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "has_drifted": pl.Boolean,
}


def feature_drift(
    reference: pl.DataFrame,
    current: pl.DataFrame | Sequence[pl.DataFrame],
    columns: Sequence[str],
    *,
    window: str | None = None,
    alpha: float = 0.01,
) -> pl.DataFrame:
    """One row per feature: how far its current distribution is from the reference, and whether that is more than usual.

    reference, current: rows with `columns`: numbers, Booleans or categories. `window` names a column of the reference
    that says to which past occasion a row belongs (an issue day or week), each about as many rows as the current ones:
    then `usual` is the median distance of an occasion from the reference, and the p-value the one-sided tail of the
    robust z of the logarithm; occasions on which a feature has few values do not count. Without it rows are taken as
    independent and the p-value is the asymptotic one. Where `current` is several draws, each as large as an occasion,
    `statistic` is the median of their distances, and the figures that nothing is judged by are those of all together.

    `statistic` is the Kolmogorov-Smirnov distance, of categories the chi-square distance; `stability_index` in nats and
    `divergence` (Jensen-Shannon) in bits are over ten bins or the categories; `moved` is the Wasserstein distance in the
    feature's unit, NaN for categories. `q_value` is adjusted over the features for the false discovery rate; drift is
    q < alpha. Where a feature has too few values, or too few occasions, p and q are NaN.
    Raises: SchemaError naming columns that a frame lacks, or that are of another type in each; EmptyFrameError where a
    frame has no rows.
    """
    draws = [current] if isinstance(current, pl.DataFrame) else list(current)
    for role, rows in (("reference", reference), *(("current", draw) for draw in draws)):
        if missing := sorted(set(columns) - set(rows.columns)):
            raise SchemaError(f"feature drift: {role} rows lack {missing}; columns: {', '.join(rows.columns)}")
        if rows.is_empty():
            raise EmptyFrameError(f"feature drift: no {role} rows")
    occasions = None if window is None else reference[window].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    if not columns:
        return pl.DataFrame(schema=DRIFT_SCHEMA)
    rows = [_judged(reference[name], [draw[name] for draw in draws], occasions) for name in columns]
    q_values = benjamini_hochberg(np.array([row.p_value for row in rows]))
    return pl.DataFrame(
        {
            "feature": list(columns),
            **{name: [getattr(row, name) for row in rows] for name in list(DRIFT_SCHEMA)[1:7]},
            "q_value": q_values,
            "has_drifted": q_values < alpha,
        },
        schema=DRIFT_SCHEMA,
    )


def worst_first(drift: pl.DataFrame) -> pl.DataFrame:
    """Drifted features first, by q-value; then by how many times the usual distance; those not judged last."""
    times = pl.col("statistic") / pl.when(pl.col("usual") > 0).then("usual")
    return (
        drift.with_columns(times=times.fill_nan(None), judged=pl.col("q_value").is_not_nan())
        .sort(
            "judged",
            "q_value",
            "times",
            "statistic",
            "feature",
            descending=[True, False, True, True, False],
            nulls_last=True,
        )
        .drop("times", "judged")
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


def unusual(now: float, past: Floats, *, least_scale: float = 0.05) -> float:
    """One-sided normal tail of the robust z of a distance's logarithm among past ones; NaN where they are too few.

    Few and quiet occasions would make any difference large: the spread is not taken below `least_scale`. Nor is the
    tail below the share of past ones that lay as far: most distances of a feature that is nearly always 0 are equal.
    """
    from scipy.special import ndtr

    if past.size < LEAST_WINDOWS:
        return float("nan")
    logs = np.log(np.maximum(past, 1e-6))
    centre = np.median(logs)
    scale = max(MAD_TO_SD * float(np.median(np.abs(logs - centre))), least_scale)
    tail = float(ndtr(-(np.log(max(now, 1e-6)) - centre) / scale))
    return max(tail, float(np.mean(past >= now)))


@dataclass(frozen=True)
class _Judged:
    statistic: float = float("nan")
    usual: float = float("nan")
    stability_index: float = float("nan")
    divergence: float = float("nan")
    moved: float = float("nan")
    p_value: float = float("nan")


def _judged(reference: pl.Series, draws: Sequence[pl.Series], occasions: NDArray[np.int64] | None) -> _Judged:
    if any(column.dtype in CATEGORIES for column in (reference, *draws)):
        return _judged_categories(reference, draws, occasions)
    known = reference.fill_nan(None) if reference.dtype.is_float() else reference
    is_known = known.is_not_null().to_numpy()
    counts = [(draw.fill_nan(None) if draw.dtype.is_float() else draw).count() for draw in draws]
    if not is_known.any() or not any(counts):
        return _Judged()
    if occasions is not None:
        is_known &= _is_full(occasions, is_known)
        known, occasions = known.filter(is_known), occasions[is_known]
    before = Reference.of(known)
    each = [Current.of(draw, before) for draw, count in zip(draws, counts, strict=True) if count]
    distance = float(np.median([distances.kolmogorov_smirnov(before, draw) for draw in each]))
    if occasions is None:
        past = np.empty(0)
        p_value = distances.kolmogorov_smirnov_p(distance, before.values.size, int(np.median(counts)))
    else:
        past = _distances(known.cast(pl.Float64).to_numpy() + 0.0, occasions)
        is_enough = np.median(counts) >= LEAST_KNOWN * known.len() / max(past.size, 1)
        p_value = unusual(distance, past) if is_enough else float("nan")
    now = each[0] if len(draws) == 1 else Current.of(pl.concat(draws), before)
    shares = distances.binned(before, now, 10)
    return _Judged(
        statistic=distance,
        usual=float(np.median(past)) if past.size else 0.0,
        stability_index=distances.stability(*shares),
        divergence=distances.divergence(*shares),
        moved=distances.wasserstein(before, now),
        p_value=p_value,
    )


def _is_full(occasions: NDArray[np.int64], is_known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of the occasions on which the feature has about as many values as usual.

    A feature that looks back a year is null throughout the first one: occasions without it say nothing about
    what is usual.
    """
    values = np.bincount(occasions, weights=is_known)
    usual = np.median(values[values > 0])
    return (values >= LEAST_KNOWN * usual)[occasions]


def _distances(values: Floats, occasion: NDArray[np.int64]) -> Floats:
    """Distance of each occasion's values from all of them, in the order of the occasions' numbers.

    Between two values of the occasion its distribution function is flat and the other one rises, so the greatest gap is at
    a value or just below one. Sorted once, a value's place among all is where its run of equal ones begins and ends.
    """
    order = np.argsort(values)
    runs = _run_starts(values[order])
    lengths = np.diff(np.r_[runs, values.size])
    all_below, all_up_to = np.repeat(runs, lengths), np.repeat(runs + lengths, lengths)
    by_occasion = np.argsort(occasion[order].astype(np.uint16 if occasion.max() < 1 << 16 else np.int64), kind="stable")
    all_below, all_up_to, order = all_below[by_occasion], all_up_to[by_occasion], order[by_occasion]
    occasion = occasion[order]
    starts = _run_starts(occasion)
    sizes = np.diff(np.r_[starts, values.size])
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    ties = _run_starts(occasion, all_below)
    lengths = np.diff(np.r_[ties, values.size])
    below, up_to = np.repeat(ties, lengths) - start, np.repeat(ties + lengths, lengths) - start
    at = np.abs(up_to / size - all_up_to / values.size)
    just_below = np.abs(below / size - all_below / values.size)
    return np.maximum.reduceat(np.maximum(at, just_below), starts)


def _run_starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Where a run of rows that are equal in all columns begins."""
    is_first = np.ones(columns[0].size, dtype=np.bool_)
    is_first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.flatnonzero(is_first)


def _judged_categories(
    reference: pl.Series, draws: Sequence[pl.Series], occasions: NDArray[np.int64] | None
) -> _Judged:
    before, now = reference.cast(pl.String), [draw.cast(pl.String) for draw in draws]
    found = distances.chi_square(before, pl.concat(now))
    past = np.empty(0)
    if occasions is not None:
        codes = before.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        counts = np.zeros((int(occasions.max()) + 1, int(codes.max()) + 1))
        np.add.at(counts, (occasions, codes), 1)
        past = distances.chi_square_distances(counts.sum(axis=0), counts[counts.sum(axis=1) > 0])
    each = [found] if len(now) == 1 else [distances.chi_square(before, draw) for draw in now]
    distance = float(np.median([one.distance for one in each]))
    return _Judged(
        statistic=distance,
        usual=float(np.median(past)) if past.size else 0.0,
        stability_index=found.stability_index,
        divergence=found.divergence,
        p_value=float(np.median([one.p_value for one in each])) if occasions is None else unusual(distance, past),
    )
