"""How good predictions are: losses of one row, and figures over many rows.

Losses come per row, so that whoever compares two models can pair them; figures over rows take optional weights
(a price, say) and are weighted means, sum(w x) / sum(w).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import EmptyFrameError, ModelError

Array = NDArray[np.float64]

PROBABILITY_FLOOR = 1e-6  # of a probability inside a logarithm: one sure mistake costs 13.8 nats, not infinity
RELIABILITY_BINS = 10


def column(series: pl.Series) -> Array:
    """Values as float64, nulls as NaN."""
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def matrix(predictions: pl.DataFrame) -> Array:
    """Predictions as (n, outputs) float64, nulls as NaN."""
    if predictions.width == 0:
        raise ModelError("predictions have no columns", hint="pass the output columns, such as q500")
    return np.column_stack([column(predictions[name]) for name in predictions.columns])


def weighted_mean(values: Array, weight: Array | None = None) -> float:
    """Mean of (n,) values, weighted by (n,) weights >= 0.

    Raises: EmptyFrameError if there are no values or all weights are 0.
    """
    if values.size == 0:
        raise EmptyFrameError("a mean of no rows", hint="check that the evaluation window has labels")
    if weight is None:
        return float(values.mean())
    total = float(weight.sum())
    if not total > 0:
        raise EmptyFrameError(f"all {values.size} weights are 0", hint="weigh by something positive, or not at all")
    return float((values * weight).sum() / total)


def pinball_per_level(label: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """Pinball loss of each row at each level.

    Shapes: label (n,), quantiles (n, levels) -> (n, levels), >= 0.
    Source: Koenker and Bassett (1978), Regression Quantiles, Econometrica 46.
    """
    levels_row = np.asarray(levels, dtype=np.float64)[None, :]  # (1, levels)
    short = label[:, None] - quantiles  # (n, levels)
    return np.maximum(levels_row * short, (levels_row - 1.0) * short)


def pinball(label: Array, quantiles: Array, levels: Sequence[float]) -> Array:
    """Pinball loss of each row, summed over the levels: (n,)."""
    return pinball_per_level(label, quantiles, levels).sum(axis=1)


@dataclass(frozen=True)
class LevelCalibration:
    """How often demand fell below, and not above, the quantile of one level.

    Demand is a whole number, often 0, and then a perfect quantile is hit exactly: the level must lie between the two
    shares.
    """

    level: float
    share_below: float
    share_not_above: float

    @property
    def distance(self) -> float:
        """0 where share_below <= level <= share_not_above, else the distance to the nearer of them."""
        return max(0.0, self.share_below - self.level, self.level - self.share_not_above)

    def to_dict(self) -> dict[str, float]:
        """Fields and distance, for JSON."""
        return {**asdict(self), "distance": self.distance}


def calibration(
    label: Array, quantiles: Array, levels: Sequence[float], weight: Array | None = None
) -> list[LevelCalibration]:
    """Calibration of each level for discrete demand: P(y < q) <= level <= P(y <= q).

    Source: Czado, Gneiting and Held (2009), Predictive Model Assessment for Count Data, Biometrics 65 (the two sides
    of the nonrandomized probability integral transform).
    """
    return [
        LevelCalibration(
            level=float(level),
            share_below=weighted_mean((label < quantiles[:, place]).astype(np.float64), weight),
            share_not_above=weighted_mean((label <= quantiles[:, place]).astype(np.float64), weight),
        )
        for place, level in enumerate(levels)
    ]


def quantile_at(quantiles: Array, levels: Sequence[float], level: float) -> Array:
    """Quantile at any level, (n,): linear between the given levels, constant beyond the outermost."""
    knots = np.asarray(levels, dtype=np.float64)
    if level <= knots[0]:
        return quantiles[:, 0]
    if level >= knots[-1]:
        return quantiles[:, -1]
    right = int(np.searchsorted(knots, level, side="right"))
    share = (level - knots[right - 1]) / (knots[right] - knots[right - 1])
    return (1.0 - share) * quantiles[:, right - 1] + share * quantiles[:, right]


def implied_mean(quantiles: Array, levels: Sequence[float]) -> Array:
    """Mean of the distribution that the quantiles imply, (n,).

    The integral of the quantile function over (0, 1), linear between the levels and constant beyond the outermost:
    the tail above the highest level is cut, so for heavy tails this is a little low.
    """
    knots = np.concatenate([[0.0], np.asarray(levels, dtype=np.float64), [1.0]])
    padded = np.concatenate([quantiles[:, :1], quantiles, quantiles[:, -1:]], axis=1)
    return ((padded[:, 1:] + padded[:, :-1]) / 2.0 * np.diff(knots)[None, :]).sum(axis=1)


def log_loss(label: Array, probability: Array) -> Array:
    """Negative log likelihood of each row in nats, (n,); probabilities are kept PROBABILITY_FLOOR away from 0 and 1.

    Source: Good (1952), Rational Decisions, J. R. Stat. Soc. B 14.
    """
    kept = np.clip(probability, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return -(label * np.log(kept) + (1.0 - label) * np.log1p(-kept))


def brier(label: Array, probability: Array) -> Array:
    """Squared error of the probability of each row, (n,). Source: Brier (1950), Monthly Weather Review 78."""
    return (probability - label) ** 2


def auc(label: Array, score: Array, weight: Array | None = None) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN where one class is absent.

    Weights weigh rows as if repeated. Source: Hanley and McNeil (1982), Radiology 143.
    """
    weights = np.ones_like(label) if weight is None else weight
    return auc_of_places(label, np.unique(score, return_inverse=True)[1], weights)


def auc_of_places(label: Array, place: NDArray[np.intp], weight: Array) -> float:
    """`auc` of scores whose place among the different scores is known: for many weights of the same scores."""
    positive = np.bincount(place, weights=weight * label)
    negative = np.bincount(place, weights=weight * (1.0 - label))
    pairs = float(positive.sum() * negative.sum())
    if pairs == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2.0)).sum() / pairs)


def roc_curve(label: Array, score: Array) -> tuple[Array, Array]:
    """False and true positive rate at each threshold, from (0, 0) to (1, 1); NaN where one class is absent."""
    _, place = np.unique(-score, return_inverse=True)
    positive = np.cumsum(np.bincount(place, weights=label))
    negative = np.cumsum(np.bincount(place, weights=1.0 - label))
    with np.errstate(invalid="ignore", divide="ignore"):
        true_rate, false_rate = positive / positive[-1], negative / negative[-1]
    return np.concatenate([[0.0], false_rate]), np.concatenate([[0.0], true_rate])


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose probability fell into one bin: what was said on average, and what came."""

    low: float
    high: float
    rows: int
    said: float
    came: float


def bin_of(probability: Array, bins: int = RELIABILITY_BINS) -> NDArray[np.int64]:
    """Number of the equal-width bin of each probability; 1.0 falls into the last."""
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def reliability(label: Array, probability: Array, bins: int = RELIABILITY_BINS) -> list[ReliabilityBin]:
    """Non-empty equal-width bins of the predicted probability, ascending."""
    place = bin_of(probability, bins)
    rows = np.bincount(place, minlength=bins)
    said = np.bincount(place, weights=probability, minlength=bins)
    came = np.bincount(place, weights=label, minlength=bins)
    return [
        ReliabilityBin(i / bins, (i + 1) / bins, int(rows[i]), float(said[i] / rows[i]), float(came[i] / rows[i]))
        for i in range(bins)
        if rows[i]
    ]


def calibration_error(label: Array, probability: Array, bins: int = RELIABILITY_BINS) -> float:
    """Expected calibration error: mean over rows of |said - came| of the row's bin.

    Source: Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI.
    """
    filled = reliability(label, probability, bins)
    return sum(b.rows * abs(b.said - b.came) for b in filled) / label.size
