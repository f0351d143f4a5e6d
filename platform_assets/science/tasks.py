"""The kinds of target that the platform knows: what a model must predict, and how it is judged.

A task is all that the lifecycle asks about a target, so a new kind of target is one class here and nothing elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.science import metrics
from platform_assets.science.stock_cost import UnitCosts, period_costs

Array = NDArray[np.float64]

LEVELS: Final = (0.015, 0.25, 0.5, 0.75, 0.95, 0.99)
CROSSING_TOLERANCE: Final = 1e-9  # of a quantile's size: what float32 weights and a sum leave


class Task(Protocol):
    """What the lifecycle asks of a kind of target."""

    @property
    def name(self) -> str:
        """Name in a model's defs.yaml."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Columns that a model must predict, in order."""
        ...

    @property
    def levels(self) -> tuple[float, ...]:
        """Quantile levels of the outputs; empty for other tasks."""
        ...

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines that a model of this task is compared with by default."""
        ...

    @property
    def primary(self) -> str:
        """Name of the loss that decides, as in `row_figures`."""
        ...

    def loss(self, label: pl.Series, predictions: pl.DataFrame) -> pl.Series:
        """Primary loss of each row, >= 0."""
        ...

    def row_figures(self, label: Array, predictions: Array, costs: UnitCosts) -> dict[str, Array]:
        """Figures of each row whose means over rows are reported."""
        ...

    def metrics(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        weight: pl.Series | None = None,
        costs: UnitCosts | None = None,
    ) -> dict[str, float]:
        """Every figure of the task over all rows."""
        ...

    def validate(self, predictions: pl.DataFrame, rows: int | None = None) -> None:
        """Nothing, if the predictions have the task's shape and range; raises ModelError."""
        ...


def quantile_column(level: float) -> str:
    """Column of a quantile level: .015 is q015, .5 is q500.

    Raises: ConfigurationError if the level is not inside (0, 1) or is finer than a thousandth.
    """
    thousandths = round(level * 1000)
    if not 0 < level < 1 or abs(thousandths - level * 1000) > 1e-6:
        raise ConfigurationError(
            f"quantile level {level} is not a whole number of thousandths between 0 and 1",
            hint="use levels such as 0.015, 0.5, 0.99",
        )
    return f"q{thousandths:03d}"


@dataclass(frozen=True)
class QuantileTask:
    """Demand as quantiles, judged by the pinball loss summed over the levels."""

    levels: tuple[float, ...] = LEVELS
    name: str = "quantiles"
    primary: str = "pinball"
    baselines: tuple[str, ...] = (
        "moving_average",
        "seasonal_naive",
        "historical_quantile",
        "recent_quantile",
        "weekday_quantile",
        "exponential_smoothing",
        "arima",
    )
    outputs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", tuple(quantile_column(level) for level in self.levels))
        if len(self.levels) < 2 or list(self.levels) != sorted(set(self.levels)):
            raise ConfigurationError(
                f"quantile levels {list(self.levels)} are not at least two, ascending and different",
                hint=f"the default is {list(LEVELS)}",
            )

    def loss(self, label: pl.Series, predictions: pl.DataFrame) -> pl.Series:
        """Pinball loss of each row summed over the levels."""
        return pl.Series("loss", metrics.pinball(*self._arrays(label, predictions), self.levels))

    def row_figures(self, label: Array, predictions: Array, costs: UnitCosts) -> dict[str, Array]:
        """Pinball, absolute error of the median, squared error of the implied mean, and costs in prices."""
        overstock, stockout = period_costs(label, predictions, self.levels, costs)
        median = metrics.quantile_at(predictions, self.levels, 0.5)
        return {
            "pinball": metrics.pinball(label, predictions, self.levels),
            "mae": np.abs(label - median),
            "mse": (label - metrics.implied_mean(predictions, self.levels)) ** 2,
            "overstock_cost": overstock,
            "stockout_cost": stockout,
            "stock_cost": overstock + stockout,
        }

    def metrics(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        weight: pl.Series | None = None,
        costs: UnitCosts | None = None,
    ) -> dict[str, float]:
        """Pinball and its levels, MAE (median), MSE and RMSE (implied mean), costs per row, calibration distances.

        With a weight, such as the price, also `pinball_weighted`, `mae_weighted`; costs are multiplied by it, as they
        are shares of the price.
        """
        truth, quantiles = self._arrays(label, predictions)
        share = None if weight is None else metrics.column(weight)
        figures = self.row_figures(truth, quantiles, costs or UnitCosts())
        found = {
            name: metrics.weighted_mean(values if share is None or not name.endswith("_cost") else values * share)
            for name, values in figures.items()
        }
        found["rmse"] = float(np.sqrt(found["mse"]))
        if share is not None:
            found["pinball_weighted"] = metrics.weighted_mean(figures["pinball"], share)
            found["mae_weighted"] = metrics.weighted_mean(figures["mae"], share)
        per_level = metrics.pinball_per_level(truth, quantiles, self.levels)
        for place, output in enumerate(self.outputs):
            found[f"pinball_{output}"] = metrics.weighted_mean(per_level[:, place])
        for output, level in zip(self.outputs, metrics.calibration(truth, quantiles, self.levels), strict=True):
            found[f"calibration_{output}"] = level.distance
        return found

    def validate(self, predictions: pl.DataFrame, rows: int | None = None) -> None:
        """Nothing, if the columns are the outputs, finite, >= 0 and ascending in every row."""
        values = _checked_shape(self.name, self.outputs, predictions, rows)
        if values.size and values.min() < 0:
            _refuse_rows(self.name, "negative quantiles", (values < 0).any(axis=1), values, "clip predictions at 0")
        slack = CROSSING_TOLERANCE * np.maximum(1.0, np.abs(values[:, :-1]))
        crossing = (np.diff(values, axis=1) < -slack).any(axis=1)
        _refuse_rows(self.name, "crossing quantiles", crossing, values, "sort the quantiles of each row")

    def _arrays(self, label: pl.Series, predictions: pl.DataFrame) -> tuple[Array, Array]:
        return metrics.column(label), metrics.matrix(predictions.select(self.outputs))


@dataclass(frozen=True)
class ProbabilityTask:
    """Probability of an event, judged by the log loss."""

    name: str = "probability"
    primary: str = "log_loss"
    outputs: tuple[str, ...] = ("probability",)
    levels: tuple[float, ...] = ()
    baselines: tuple[str, ...] = ("base_rate", "series_rate", "recency")

    def loss(self, label: pl.Series, predictions: pl.DataFrame) -> pl.Series:
        """Log loss of each row in nats."""
        return pl.Series("loss", metrics.log_loss(*self._arrays(label, predictions)))

    def row_figures(self, label: Array, predictions: Array, costs: UnitCosts) -> dict[str, Array]:
        """Log loss and Brier score of each row."""
        del costs  # a probability alone implies no stock
        probability = predictions[:, 0]
        return {"log_loss": metrics.log_loss(label, probability), "brier": metrics.brier(label, probability)}

    def metrics(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        weight: pl.Series | None = None,
        costs: UnitCosts | None = None,
    ) -> dict[str, float]:
        """Log loss, Brier score, AUC, calibration error and both rates; with a weight also `log_loss_weighted`."""
        truth, probability = self._arrays(label, predictions)
        figures = self.row_figures(truth, probability[:, None], costs or UnitCosts())
        found = {name: metrics.weighted_mean(values) for name, values in figures.items()}
        found["auc"] = metrics.auc(truth, probability)
        found["calibration_error"] = metrics.calibration_error(truth, probability)
        found["rate_predicted"] = metrics.weighted_mean(probability)
        found["rate_observed"] = metrics.weighted_mean(truth)
        if weight is not None:
            found["log_loss_weighted"] = metrics.weighted_mean(figures["log_loss"], metrics.column(weight))
        return found

    def validate(self, predictions: pl.DataFrame, rows: int | None = None) -> None:
        """Nothing, if there is one column `probability` with values in [0, 1]."""
        values = _checked_shape(self.name, self.outputs, predictions, rows)
        outside = ((values < 0) | (values > 1)).any(axis=1)
        _refuse_rows(self.name, "probabilities outside 0 to 1", outside, values, "predict probabilities, not scores")

    def _arrays(self, label: pl.Series, predictions: pl.DataFrame) -> tuple[Array, Array]:
        return metrics.column(label), metrics.column(predictions["probability"])


def _checked_shape(task: str, outputs: tuple[str, ...], predictions: pl.DataFrame, rows: int | None) -> Array:
    if tuple(predictions.columns) != outputs:
        raise ModelError(
            f"{task}: predictions have the columns {predictions.columns}, expected {list(outputs)}",
            hint="return exactly settings.outputs, in that order",
        )
    if rows is not None and predictions.height != rows:
        raise ModelError(
            f"{task}: {predictions.height} predictions for {rows} rows", hint="predict every row, in order"
        )
    wrong = {name: str(kind) for name, kind in predictions.schema.items() if kind != pl.Float64}
    if wrong:
        raise ModelError(f"{task}: predictions are {wrong}, expected Float64", hint="cast predictions to pl.Float64")
    values = metrics.matrix(predictions)
    _refuse_rows(
        task, "null or infinite predictions", ~np.isfinite(values).all(axis=1), values, "predict a number for every row"
    )
    return values


def _refuse_rows(task: str, what: str, bad: Any, values: Array, hint: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        shown = [float(value) for value in values[first]]
        raise ModelError(f"{task}: {what} in {int(bad.sum())} of {bad.size} rows; row {first}: {shown}", hint=hint)


QUANTILES: Final = QuantileTask()
PROBABILITY: Final = ProbabilityTask()
TASKS: Final[Mapping[str, Task]] = {QUANTILES.name: QUANTILES, PROBABILITY.name: PROBABILITY}


def task(name: str, levels: tuple[float, ...] | None = None) -> Task:
    """The task of a name, with other quantile levels where they are given.

    Raises: ConfigurationError if there is no such task, or if it has no levels.
    """
    if name not in TASKS:
        raise ConfigurationError(f"task {name!r} is unknown", hint=f"known tasks: {sorted(TASKS)}")
    if levels is None:
        return TASKS[name]
    if name != QUANTILES.name:
        raise ConfigurationError(f"task {name!r} takes no quantile levels", hint="remove `levels`")
    return QuantileTask(levels=tuple(levels))
