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


@dataclass(frozen=True)
class Ratio:
    """A figure as sum(above) / sum(below) over rows; (rows,) each."""

    above: Array
    below: Array

    @property
    def value(self) -> float:
        """The figure over all rows; NaN where there is nothing to divide by."""
        below = float(self.below.sum())
        return float(self.above.sum()) / below if below else float("nan")


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
        """Name of the loss that decides, as in `ratios`."""
        ...

    def loss(self, label: pl.Series, predictions: pl.DataFrame) -> pl.Series:
        """Primary loss of each row, >= 0."""
        ...

    @property
    def compared(self) -> tuple[str, ...]:
        """Names of the ratios that are losses, so that two models can be compared by them; the primary first."""
        ...

    def ratios(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        price: pl.Series | None,
        costs: UnitCosts,
        is_whole: pl.Series | None = None,
    ) -> dict[str, Ratio]:
        """Every figure that is a sum over rows divided by a sum over rows, so that rows can be resampled."""
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
    compared: tuple[str, ...] = (
        "pinball",
        "pinball_weighted",
        "mae",
        "mae_weighted",
        "mse",
        "stock_cost",
        "overstock_cost",
        "stockout_cost",
    )
    baselines: tuple[str, ...] = (
        "moving_average",
        "seasonal_naive",
        "historical_quantile",
        "recent_quantile",
        "weekday_quantile",
        "exponential_smoothing",
        "arima",
        "auto_ets",
        "auto_arima",
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

    def ratios(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        price: pl.Series | None,
        costs: UnitCosts,
        is_whole: pl.Series | None = None,
    ) -> dict[str, Ratio]:
        """Losses, bias, costs and both sides of each level's calibration.

        The median is judged by the absolute error, the implied mean by the squared error and by `bias`, the forecast
        surplus as a share of demand. Costs are in prices, of `stock_level` (`is_whole` as there); `_weighted` is by price.
        Rows without a price count in neither; without any price a cost is per unit, and nothing is weighted.
        """
        truth, quantiles = self._arrays(label, predictions)
        mean = metrics.implied_mean(quantiles, self.levels)
        absolute = np.abs(truth - metrics.quantile_at(quantiles, self.levels, 0.5))
        per_level = metrics.pinball_per_level(truth, quantiles, self.levels)  # (rows, levels)
        overstock, stockout = period_costs(truth, quantiles, self.levels, costs, is_whole)
        weight, has_price, is_priced = _weights(price, truth)
        one = np.ones_like(truth)
        found = {
            "pinball": Ratio(per_level.sum(axis=1), one),
            "mae": Ratio(absolute, one),
            "mse": Ratio((truth - mean) ** 2, one),
            "bias": Ratio(mean - truth, truth),
            "overstock_cost": Ratio(overstock * weight, has_price),
            "stockout_cost": Ratio(stockout * weight, has_price),
            "stock_cost": Ratio((overstock + stockout) * weight, has_price),
        }
        if is_priced:
            found["pinball_weighted"] = Ratio(found["pinball"].above * weight, weight)
            found["mae_weighted"] = Ratio(absolute * weight, weight)
        for place, output in enumerate(self.outputs):
            found[f"pinball_{output}"] = Ratio(per_level[:, place], one)
            found[f"below_{output}"] = Ratio((truth < quantiles[:, place]).astype(np.float64), one)
            found[f"not_above_{output}"] = Ratio((truth <= quantiles[:, place]).astype(np.float64), one)
        return found

    def metrics(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        weight: pl.Series | None = None,
        costs: UnitCosts | None = None,
    ) -> dict[str, float]:
        """The ratios, `rmse`, and `calibration_q...`: the distance of each level from calibration."""
        ratios = self.ratios(label, predictions, weight, costs or UnitCosts())
        found = {name: ratio.value for name, ratio in ratios.items()}
        found["rmse"] = float(np.sqrt(found["mse"]))
        for output, level in zip(self.outputs, self.levels, strict=True):
            sides = metrics.LevelCalibration(level, found.pop(f"below_{output}"), found.pop(f"not_above_{output}"))
            found[f"calibration_{output}"] = sides.distance
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
    compared: tuple[str, ...] = ("log_loss", "log_loss_weighted", "brier")
    outputs: tuple[str, ...] = ("probability",)
    levels: tuple[float, ...] = ()
    baselines: tuple[str, ...] = ("base_rate", "series_rate", "recency")

    def loss(self, label: pl.Series, predictions: pl.DataFrame) -> pl.Series:
        """Log loss of each row in nats."""
        return pl.Series("loss", metrics.log_loss(*self._arrays(label, predictions)))

    def ratios(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        price: pl.Series | None,
        costs: UnitCosts,
        is_whole: pl.Series | None = None,
    ) -> dict[str, Ratio]:
        """Log loss, also weighted by price, Brier score, and the rates said and observed; no stock, no costs."""
        del costs, is_whole
        truth, probability = self._arrays(label, predictions)
        weight, _, is_priced = _weights(price, truth)
        one = np.ones_like(truth)
        found = {
            "log_loss": Ratio(metrics.log_loss(truth, probability), one),
            "brier": Ratio(metrics.brier(truth, probability), one),
            "rate_predicted": Ratio(probability, one),
            "rate_observed": Ratio(truth, one),
        }
        if is_priced:
            found["log_loss_weighted"] = Ratio(found["log_loss"].above * weight, weight)
        return found

    def metrics(
        self,
        label: pl.Series,
        predictions: pl.DataFrame,
        weight: pl.Series | None = None,
        costs: UnitCosts | None = None,
    ) -> dict[str, float]:
        """The ratios, `auc` and `calibration_error`."""
        truth, probability = self._arrays(label, predictions)
        ratios = self.ratios(label, predictions, weight, costs or UnitCosts())
        found = {name: ratio.value for name, ratio in ratios.items()}
        found["auc"] = metrics.auc(truth, probability)
        found["calibration_error"] = metrics.calibration_error(truth, probability)
        return found

    def validate(self, predictions: pl.DataFrame, rows: int | None = None) -> None:
        """Nothing, if there is one column `probability` with values in [0, 1]."""
        values = _checked_shape(self.name, self.outputs, predictions, rows)
        outside = ((values < 0) | (values > 1)).any(axis=1)
        _refuse_rows(self.name, "probabilities outside 0 to 1", outside, values, "predict probabilities, not scores")

    def _arrays(self, label: pl.Series, predictions: pl.DataFrame) -> tuple[Array, Array]:
        return metrics.column(label), metrics.column(predictions["probability"])


def _weights(price: pl.Series | None, truth: Array) -> tuple[Array, Array, bool]:
    """Price of each row (0 where it is unknown), where it is known, and whether any is; all ones where none is."""
    known = np.full_like(truth, np.nan) if price is None else metrics.column(price)
    has_price = (known > 0).astype(np.float64)
    if not has_price.any():
        return np.ones_like(truth), np.ones_like(truth), False
    return np.nan_to_num(known) * has_price, has_price, True


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
