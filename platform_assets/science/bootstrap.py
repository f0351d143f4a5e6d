"""Confidence intervals by resampling whole series, paired over models.

Rows of one series hang together, so series are drawn, not rows: the cluster bootstrap. One `Resampler` draws the
series once; every figure of every model and segment is then computed on the same draws, so that differences between
models are paired.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError

Array = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

DRAWS = 2000
CONFIDENCE = 0.95
_CHUNK = 250  # draws multiplied at once: 250 x 5,000 series x 8 bytes = 10 MB


@dataclass(frozen=True)
class Interval:
    """A point estimate with the percentile interval of its bootstrap draws."""

    estimate: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Fields for JSON; NaN as null."""
        return {name: _finite(getattr(self, name)) for name in ("estimate", "low", "high")}

    def from_one(self) -> "Interval":
        """The interval of 1 - figure: of an improvement, from one of a ratio of losses."""
        return Interval(1.0 - self.estimate, 1.0 - self.high, 1.0 - self.low)

    @property
    def is_known(self) -> bool:
        """Whether all three figures are finite."""
        return all(np.isfinite([self.estimate, self.low, self.high]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


class Resampler:
    """Paired cluster bootstrap over the values of `clusters`.

    Percentiles of few clusters' draws lie too close together, so they are taken further out, as far as Student's t lies
    beyond the normal distribution; one cluster alone has no interval.
    Source: Davison and Hinkley (1997), Bootstrap Methods and their Application, sections 3.8 (clusters) and 5.3.1
    (percentile intervals); Hesterberg (2015), The American Statistician 69, section 5.3 (expanded percentiles).
    """

    def __init__(
        self, clusters: pl.Series, *, draws: int = DRAWS, seed: int = 0, confidence: float = CONFIDENCE
    ) -> None:
        if clusters.len() == 0:
            raise EmptyFrameError("bootstrap: no rows", hint="check that the evaluation window has labels")
        names = clusters.unique().sort()
        self.draws, self.confidence, self.clusters = draws, confidence, names.len()
        codes = pl.DataFrame({"name": clusters}).join(
            pl.DataFrame({"name": names}).with_row_index("code"), on="name", how="left", maintain_order="left"
        )
        self.codes = codes["code"].cast(pl.Int64).to_numpy()  # (rows,)
        self.tail = expanded_tail((1.0 - confidence) / 2.0, names.len())
        self.counts = _draw_counts(names.len(), draws, np.random.default_rng(seed))  # (draws, clusters)

    def sums(self, values: Array) -> Array:
        """Sum of (rows,) values over each cluster: (clusters,)."""
        return np.bincount(self.codes, weights=values, minlength=self.clusters).astype(np.float64)

    def drawn(self, sums: Array) -> Array:
        """Totals of each draw, from sums of clusters: (clusters, k) -> (draws, k)."""
        return np.concatenate(
            [self.counts[at : at + _CHUNK].astype(np.float64) @ sums for at in range(0, self.draws, _CHUNK)]
        )

    def interval(self, estimate: float, drawn: Array) -> Interval:
        """Interval of a figure from its draws; NaN where fewer than half of them are finite, or of one cluster."""
        finite = drawn[np.isfinite(drawn)]
        if self.clusters < 2 or finite.size * 2 < drawn.size or not np.isfinite(estimate):
            return Interval(float(estimate), float("nan"), float("nan"))
        low, high = np.quantile(finite, [self.tail, 1.0 - self.tail])
        return Interval(float(estimate), float(low), float(high))

    def ratio(self, above: Array, below: Array) -> Interval:
        """sum(above) / sum(below) of (rows,) values: a mean where `below` is 1, a weighted mean where it is weight."""
        return self.ratios({"": (self.sums(above), self.sums(below))})[""]

    def ratios(self, sums: Mapping[Key, tuple[Array, Array]]) -> dict[Key, Interval]:
        """`ratio` of many figures at once, from their sums over clusters: key -> ((clusters,), (clusters,))."""
        if not sums:
            return {}
        above = np.column_stack([pair[0] for pair in sums.values()])
        below = np.column_stack([pair[1] for pair in sums.values()])
        estimates = _divide(above.sum(axis=0), below.sum(axis=0))
        draws = _divide(self.drawn(above), self.drawn(below))
        return {key: self.interval(float(estimates[at]), draws[:, at]) for at, key in enumerate(sums)}

    def mean(self, values: Array, weight: Array | None = None) -> Interval:
        """(Weighted) mean of (rows,) values."""
        weights = np.ones_like(values) if weight is None else weight
        return self.ratio(values * weights, weights)

    def difference(self, ours: Array, theirs: Array, weight: Array | None = None) -> Interval:
        """(Weighted) mean of ours - theirs, paired by row."""
        return self.mean(ours - theirs, weight)

    def improvement(self, ours: Array, theirs: Array, weight: Array | None = None) -> Interval:
        """1 - sum(w ours) / sum(w theirs), paired: .05 where our loss is 5% less."""
        weights = np.ones_like(ours) if weight is None else weight
        return self.ratio(ours * weights, theirs * weights).from_one()

    def improvement_over_runs(self, ours: Array, theirs: Array) -> Interval:
        """`improvement` of (clusters, runs) sums: clusters and runs, such as training seeds, are drawn together, each anew.

        Of the runs one fewer than there are is drawn, as so few drawn in full would vary too little; a single run stays.
        Source: Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1; Rao and Wu (1988), Journal of the
        American Statistical Association 83, for the number drawn.
        """
        above, below = self.drawn(ours), self.drawn(theirs)  # (draws, runs)
        runs = ours.shape[1]
        if runs > 1:
            chosen = np.random.default_rng(self.draws + runs).multinomial(runs - 1, np.full(runs, 1 / runs), self.draws)
            above, below = above * chosen, below * chosen
        estimate = float(_divide(ours.sum(), theirs.sum()))
        return self.interval(estimate, _divide(above.sum(axis=1), below.sum(axis=1))).from_one()


def expanded_tail(tail: float, clusters: int) -> float:
    """Share of the draws to leave out on each side so that an interval of few clusters holds the truth as often as said."""
    from scipy.special import ndtr, stdtrit

    if clusters < 2:
        return tail
    return float(ndtr(np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, tail)))


def _divide(above: Array, below: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below == 0, np.nan, above / below)


def _draw_counts(clusters: int, draws: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """How often each cluster is in each draw of as many clusters, with replacement: (draws, clusters)."""
    counts = np.empty((draws, clusters), dtype=np.uint16)
    for at in range(draws):
        counts[at] = np.bincount(generator.integers(0, clusters, size=clusters), minlength=clusters)
    return counts
