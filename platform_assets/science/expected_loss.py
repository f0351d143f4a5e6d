"""What a champion's forecasts will cost, estimated before their labels come.

Two estimates of a row's loss are compared on past weeks, each made without them, and the better one is taken:

- `own`: what the forecast itself implies. A loss that is the forecast's own expectation of it would be right if the
  forecast were; one factor, learned from past rows, makes up for what it is wrong by on the whole.
- `learned`: quantiles: a Poisson regression of the loss on that expectation, the forecast's level and spread, the horizon
  and the weekday, all known at issue (direct loss estimation). Probabilities: the expected loss under a recalibration of the
  probability, learned from past rows (confidence-based estimation).

What changes the relation of forecasts and labels is invisible before labels come: neither estimate can see it.

Source: Garg et al. (2022), Leveraging Unlabeled Data to Predict Out-of-Distribution Performance, ICLR; Guo et al. (2017),
On Calibration of Modern Neural Networks, ICML.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import SchemaError
from platform_assets.science import metrics
from platform_assets.science.tasks import Task

Floats = NDArray[np.float64]

OWN: Final = "own"
LEARNED: Final = "learned"
METHODS: Final = (OWN, LEARNED)
MOST_ROWS: Final = 40_000  # that are learned from; more add time and no weeks
FOLDS: Final = 6
STEPS: Final = 12  # of Newton's method; it converges in five or six
RIDGE: Final = 10.0  # rows' worth of doubt about each coefficient but the first
FLOOR: Final = 1e-6  # of an expected loss
WEEK_DAYS: Final = 7


@dataclass(frozen=True)
class Estimator:
    """Expected loss of a row from its forecast; `coefficients` as the method has them, `centre` and `scale` of its columns."""

    method: str
    coefficients: Floats
    centre: Floats
    scale: Floats

    def expected(self, rows: pl.DataFrame, said: pl.DataFrame, task: Task) -> Floats:
        """Loss of each row to expect, > 0: (rows,)."""
        own = own_loss(said, task)
        if self.method == OWN:
            return own * np.exp(self.coefficients[0])
        if not task.levels:
            probability = _clipped(metrics.column(said[task.outputs[0]]))
            came = _logistic(self.coefficients[0] + self.coefficients[1] * _logit(probability))
            return np.maximum(-(came * np.log(probability) + (1 - came) * np.log1p(-probability)), FLOOR)
        known = (_columns(rows, said, task, own) - self.centre) / self.scale
        return own * np.exp(np.clip(self.coefficients[0] + known @ self.coefficients[1:], -3.0, 3.0))


def own_loss(said: pl.DataFrame, task: Task) -> Floats:
    """The loss that a forecast expects of itself, > 0: (rows,).

    Of quantiles the pinball loss under their own distribution, whose quantile function is linear between the levels and
    constant beyond the outermost; of a probability its entropy.
    """
    if not task.levels:
        probability = _clipped(metrics.column(said[task.outputs[0]]))
        return np.maximum(-(probability * np.log(probability) + (1 - probability) * np.log1p(-probability)), FLOOR)
    quantiles = metrics.matrix(said.select(task.outputs))
    return np.maximum(quantiles @ _own_weights(task.levels), FLOOR)


def _own_weights(levels: Sequence[float]) -> Floats:
    """What each quantile counts in the expected pinball loss summed over the levels; they add up to 0."""
    knots = np.r_[0.0, levels, 1.0]
    width = np.diff(knots)  # of each piece, whose mean is that of its ends
    ends = np.zeros((knots.size - 1, len(levels)))
    for piece in range(knots.size - 1):
        for end in (piece - 1, piece):
            ends[piece, min(max(end, 0), len(levels) - 1)] += 0.5 * width[piece]
    weights = np.zeros(len(levels))
    for place, level in enumerate(levels):
        above, below = ends[place + 1 :].sum(axis=0), ends[: place + 1].sum(axis=0)
        above[place] -= 1 - level
        below[place] -= level
        weights += level * above - (1 - level) * below
    return weights


def learned(rows: pl.DataFrame, said: pl.DataFrame, loss: Floats, label: Floats, task: Task, method: str) -> Estimator:
    """The estimator of a method from rows whose labels have come. rows: horizon_days, target_on; all row for row."""
    if not rows.height == said.height == loss.size == label.size:
        raise SchemaError(
            f"expected loss: {rows.height} rows, {said.height} forecasts, {loss.size} losses and {label.size} labels",
            hint="give all of them row for row",
        )
    own = own_loss(said, task)
    factor = np.log(max(float(loss.sum()), FLOOR) / float(own.sum()))
    if method == OWN or rows.height < 2:
        return Estimator(OWN, np.array([factor]), np.zeros(0), np.ones(0))
    at = _some(rows.height)
    if not task.levels:
        place = _logit(_clipped(metrics.column(said[task.outputs[0]][at])))
        found = _newton(np.column_stack([np.ones(at.size), place]), label[at], np.array([0.0, 1.0]), None)
        return Estimator(LEARNED, found, np.zeros(0), np.ones(0))
    known = _columns(rows[at], said[at], task, own[at])
    centre, scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-3)
    design = np.column_stack([np.ones(at.size), (known - centre) / scale])
    start = np.r_[np.log(max(float(loss[at].sum()), FLOOR) / float(own[at].sum())), np.zeros(known.shape[1])]
    return Estimator(LEARNED, _newton(design, loss[at], start, own[at]), centre, scale)


def _columns(rows: pl.DataFrame, said: pl.DataFrame, task: Task, own: Floats) -> Floats:
    """What the loss is regressed on: (rows, columns)."""
    quantiles = metrics.matrix(said.select(task.outputs))
    level = np.log(np.maximum(metrics.implied_mean(quantiles, task.levels), 0.0) + 0.05)
    weekday = rows["target_on"].dt.weekday().to_numpy()
    horizon = rows["horizon_days"].cast(pl.Float64).to_numpy()
    return np.column_stack(
        [level, level**2, np.log(own + 0.01) - level, horizon, *(weekday == day for day in range(2, 8))]
    ).astype(np.float64)


def _newton(design: Floats, aim: Floats, start: Floats, offset: Floats | None) -> Floats:
    """Coefficients of a Poisson regression with a logarithmic link, or without `offset` of a logistic one; a slight ridge.

    The ridge draws towards `start`; the constant is free, so that the fitted sum is the observed one.
    """
    found = start.copy()
    ridge = np.full(start.size, RIDGE)
    ridge[0] = 1e-9
    for _ in range(STEPS):
        place = np.clip(design @ found, -20.0, 20.0)
        if offset is None:
            mean = _logistic(place)
            spread = mean * (1 - mean)
            unit = 1.0
        else:
            mean = offset * np.exp(np.clip(place, -3.0, 3.0))
            spread = mean
            unit = float(np.mean(aim)) or 1.0
        slope = design.T @ (aim - mean) / unit - ridge * (found - start)
        bend = (design * spread[:, None]).T @ design / unit + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        found = found + np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-8:
            break
    return found


def _some(height: int) -> NDArray[np.int64]:
    """Places of at most MOST_ROWS rows, evenly."""
    count = min(height, MOST_ROWS)
    return (np.arange(count) * (height / count)).astype(np.int64)


def _clipped(probability: Floats) -> Floats:
    return np.clip(probability, metrics.PROBABILITY_FLOOR, 1 - metrics.PROBABILITY_FLOOR)


def _logit(probability: Floats) -> Floats:
    return np.log(probability) - np.log1p(-probability)


def _logistic(place: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-place))
