"""How far a sample is from a reference: two-sample statistics, with the reference sorted once and kept.

Nulls and NaN are no values: they are counted apart, since a feed that goes missing is another fault than one that moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, SchemaError
from platform_assets.science.sorted_reference import Current, Floats, Reference

EMPTY_SHARE: Final = 1e-4  # stands for the share of a bin without rows: its logarithm must be finite


def kolmogorov_smirnov(reference: Reference, current: Current) -> float:
    """Greatest distance between the two empirical distribution functions, exactly, within [0, 1].

    At the end of each cell of the grid both are known by counting. Within a cell they can be apart by no more than the
    one's end less the other's beginning; only the cells where that exceeds the greatest distance seen are sorted.
    Source: Smirnov (1939), two-sample statistic D.
    """
    n, m = reference.values.size, current.values.size
    first, second = np.r_[0, reference.up_to] / n, np.r_[0, current.up_to] / m
    greatest = float(np.abs(first - second).max())
    is_open = np.maximum(first[1:] - second[:-1], second[1:] - first[:-1]) > greatest
    if (is_open & ~np.isnan(reference.only)).any():  # ties: such a cell has no inside where both hold one value
        is_open = current.differs(is_open, reference)
    if not is_open.any():
        return greatest
    inner = current.inside(is_open, reference.grid)
    outer = reference.values[np.repeat(is_open, np.diff(reference.up_to, prepend=0))]
    # How many values of the cells that were not opened lie below each point: of the current ones only.
    closed = np.cumsum(np.where(is_open, 0, np.diff(current.up_to, prepend=0)))
    for points in (inner, outer):
        below = closed[reference.grid.cells(points)] + np.searchsorted(inner, points, side="right")
        up_to = np.searchsorted(reference.values, points, side="right")
        greatest = max(greatest, float(np.abs(up_to / n - below / m).max(initial=0.0)))
    return greatest


def kolmogorov_smirnov_p(statistic: float, rows_reference: int, rows_current: int) -> float:
    """Probability that independent rows of one distribution are at least this far apart.

    Smirnov's limit, with the terms that make it right to some 1 / n for n = n m / (n + m) rows; the exact sum of n terms
    takes longer than all the rest.
    Source: Vrbik (2018), Small-sample corrections to Kolmogorov-Smirnov test statistic, eq. 5.
    """
    from scipy.special import kolmogorov

    rows = rows_reference * rows_current / (rows_reference + rows_current)
    scaled = statistic * np.sqrt(rows)
    return float(kolmogorov(scaled + 1 / (6 * np.sqrt(rows)) + (scaled - 1) / (4 * rows)))


def wasserstein(reference: Reference, current: Current) -> float:
    """Area between the two distribution functions, in the column's unit: the mean distance that a value has moved.

    In a cell of the grid throughout which one function is above the other, the area between them follows from how many
    values the cell holds and from their sum. Only the cells in which they may cross are sorted.
    Returns: NaN where a value is infinite.
    Source: Vallender (1974), first Wasserstein distance on the line.
    """
    ends = np.array([reference.values[0], reference.values[-1], current.values.min(), current.values.max()])
    if not np.isfinite(ends).all():
        return float("nan")
    n, m = reference.values.size, current.values.size
    bounds = reference.grid.bounds()
    width = np.diff(bounds, append=bounds[-1])
    kept, came = np.diff(reference.up_to, prepend=0), np.diff(current.up_to, prepend=0)
    first, second = np.r_[0, reference.up_to] / n, np.r_[0, current.up_to] / m
    is_open = (first[:-1] < second[1:]) & (second[:-1] < first[1:]) & (kept + came > 0)
    is_open[[0, -1]] = True  # no end on the outside
    ties = is_open & ~np.isnan(reference.only)
    if ties.any():
        ties &= ~current.differs(ties, reference)
        is_open &= ~ties
    area = (first - second)[:-1] * width
    area += (kept * width - reference.above) / n - (came * width - current.above(reference.grid, bounds)) / m
    up_to_tie = np.where(ties, reference.only - bounds, 0.0)
    gaps = np.abs(first - second)
    tied = gaps[:-1] * up_to_tie + gaps[1:] * (width - up_to_tie)
    closed = np.where(ties, tied, np.abs(area))[~is_open].sum()
    return float(closed + _area_in(is_open, bounds, reference, current))


def _area_in(is_open: NDArray[np.bool_], bounds: Floats, reference: Reference, current: Current) -> float:
    """Area between the distribution functions within some cells, value by value; the end cells reach to the last values."""
    kept, came = (np.diff(side.up_to, prepend=0) for side in (reference, current))
    outer, inner = reference.values[np.repeat(is_open, kept)], current.inside(is_open, reference.grid)
    cells = np.flatnonzero(is_open)
    if not cells.size:
        return 0.0
    low, high = bounds[cells], np.r_[bounds[1:], bounds[-1]][cells]
    if cells[0] == 0:
        low[0] = min([*inner[:1], *outer[:1], high[0]])
    if cells[-1] == bounds.size - 1:
        high[-1] = max([*inner[-1:], *outer[-1:], low[-1]])
    # By rounding a value can be a hair outside its cell: moved to the cell's end it is counted where it belongs.
    outer, inner = (
        np.clip(values, np.repeat(low, rows[cells]), np.repeat(high, rows[cells]))
        for values, rows in ((outer, kept), (inner, came))
    )
    points = np.concatenate([low, inner, outer, high])
    cell = np.concatenate([cells, np.repeat(cells, came[cells]), np.repeat(cells, kept[cells]), cells])
    order = np.lexsort((points, cell))
    points, cell = points[order], cell[order]
    before, after = (
        (np.cumsum(np.where(is_open, 0, rows))[cell] + np.searchsorted(values, points, side="right")) / rows.sum()
        for values, rows in ((outer, kept), (inner, came))
    )
    steps = np.where(cell[1:] == cell[:-1], np.diff(points), 0.0)
    return float(np.abs(before - after)[:-1] @ steps)


def stability_index(reference: Reference, current: Current, *, bins: int = 10) -> float:
    """Population stability index over bins of equal share in the reference, rows without a value a bin of their own.

    Returns: nats, >= 0; 0 where the binned distributions are equal.
    Source: Siddiqi (2006), Credit Risk Scorecards, ch. 6.
    """
    return stability(*binned(reference, current, bins))


def stability_threshold(rows_expected: int, rows_observed: int, *, bins: int = 10, alpha: float = 0.01) -> float:
    """Index that independent rows of one distribution exceed with probability `alpha`.

    The index times n m / (n + m) is asymptotically chi-squared with `bins` - 1 degrees of freedom. Rows of few series
    are not independent: compare with past occasions instead.
    Source: Yurdakul and Naranjo (2020), Statistical properties of the population stability index.
    """
    from scipy.stats import chi2

    return float(chi2.isf(alpha, bins - 1) * (1.0 / rows_expected + 1.0 / rows_observed))


def jensen_shannon(reference: Reference, current: Current, *, bins: int = 10) -> float:
    """Jensen-Shannon divergence over the same bins as the stability index, in bits, within [0, 1].

    Source: Lin (1991), IEEE Transactions on Information Theory 37, eq. 3.1.
    """
    return divergence(*binned(reference, current, bins))


def binned(reference: Reference, current: Current, bins: int) -> tuple[Floats, Floats]:
    """Share of each sample's rows in each bin (..., edge], and last the share without a value; each sums to 1."""
    edges = reference.edges(bins)
    cells = reference.grid.cells(edges)
    is_wanted = np.zeros(reference.grid.count, dtype=np.bool_)
    is_wanted[cells] = True
    # Values in closed cells below an edge's cell are counted; those in its own cell and other open ones are compared.
    inner = current.inside(is_wanted, reference.grid)
    closed = np.cumsum(np.where(is_wanted, 0, np.diff(current.up_to, prepend=0)))
    up_to = closed[cells] + np.searchsorted(inner, edges, side="right")
    before = np.searchsorted(reference.values, edges, side="right")
    return (
        _shares(before, reference.values.size, reference.missing),
        _shares(up_to, current.values.size, current.missing),
    )


def stability(before: Floats, after: Floats) -> float:
    """Population stability index of two distributions over the same bins, in nats."""
    before, after = np.maximum(before, EMPTY_SHARE), np.maximum(after, EMPTY_SHARE)
    return float(np.sum((after - before) * np.log(after / before)))


def divergence(before: Floats, after: Floats) -> float:
    """Jensen-Shannon divergence of two distributions over the same bins, in bits."""
    middle = (before + after) / 2
    parts = [np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (before, after)]
    return float(max(sum(parts) / 2, 0.0))


@dataclass(frozen=True)
class CategoryShift:
    """Chi-square of two samples of categories. `new`: values that the reference has not, with their rows."""

    statistic: float
    degrees: int
    p_value: float
    distance: float  # the statistic freed of the samples' sizes, >= 0
    stability_index: float  # nats
    divergence: float  # Jensen-Shannon, bits
    new: Mapping[str, int]


def chi_square(reference: pl.Series, current: pl.Series) -> CategoryShift:
    """Whether the categories' shares, nulls a category of their own, are those of the reference.

    Shapes: (n,) and (m,), of one dtype. The p-value takes rows as independent, and counts of less than five in a cell
    make it rough.
    Raises: EmptyFrameError if either is empty; SchemaError where their dtypes differ.
    Source: Pearson (1900), test of homogeneity in a 2 x k table.
    """
    from scipy.special import chdtrc

    if reference.dtype != current.dtype:
        raise SchemaError(f"drift: `{current.name}` is {current.dtype}, the reference's {reference.dtype}")
    for column in (reference, current):
        if column.is_empty():
            raise EmptyFrameError(f"drift: no rows of `{column.name}`")
    before, after = (
        column.rename("value").value_counts(name="rows").with_columns(pl.col("rows").cast(pl.Int64))
        for column in (reference, current)
    )
    table = before.join(after, on="value", how="full", coalesce=True, nulls_equal=True, suffix="_after")
    table = table.with_columns(pl.col("rows", "rows_after").fill_null(0))
    counts = table.select("rows", "rows_after").to_numpy().T.astype(np.float64)
    sizes, degrees = counts.sum(axis=1), counts.shape[1] - 1
    distance = float(chi_square_distances(counts[0], counts[1:])[0])
    statistic = distance**2 * sizes.prod() / sizes.sum()
    new = table.filter(pl.col("rows") == 0).sort("rows_after", "value", descending=[True, False])
    shares = counts / sizes[:, None]
    return CategoryShift(
        statistic,
        degrees,
        float(chdtrc(degrees, statistic)) if degrees else 1.0,
        distance,
        stability(shares[0], shares[1]),
        divergence(shares[0], shares[1]),
        {str(value): rows for value, rows in new.select("value", "rows_after").iter_rows()},
    )


def chi_square_distances(reference: Floats, others: Floats) -> Floats:
    """Root of the summed squares of differences of shares, each over the share in both samples together.

    Shapes: (k,) counts of the reference and (w, k) of other samples, each with a row. Returns: (w,); its square times
    n m / (n + m) is Pearson's statistic.
    """
    n, m = reference.sum(), others.sum(axis=1, keepdims=True)
    together = (reference + others) / (n + m)
    gap = (others / m - reference / n) ** 2
    return np.sqrt(np.divide(gap, together, out=np.zeros_like(gap), where=together > 0).sum(axis=1))


def _shares(up_to: NDArray[np.int64], known_rows: int, missing: int) -> Floats:
    return np.diff(np.r_[0, up_to, known_rows, known_rows + missing]) / (known_rows + missing)
