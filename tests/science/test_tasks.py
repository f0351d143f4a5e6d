"""A task knows its outputs, judges them as the metrics do, and refuses what is no prediction."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, roc_auc_score

from platform_assets.errors import ConfigurationError, ModelError
from platform_assets.science import metrics
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import PROBABILITY, QUANTILES, TASKS, QuantileTask, quantile_column, task


def quantile_frame(seed: int, rows: int = 200) -> tuple[pl.Series, pl.DataFrame, pl.Series]:
    generator = np.random.default_rng(seed)
    values = np.sort(generator.gamma(1, 4, (rows, 6)), axis=1)
    return (
        pl.Series("units", generator.poisson(3, rows).astype(float)),
        pl.DataFrame(values, schema=list(QUANTILES.outputs)),
        pl.Series("price", generator.uniform(0.5, 9, rows)),
    )


def test_the_six_quantiles_have_their_columns() -> None:
    assert QUANTILES.outputs == ("q015", "q250", "q500", "q750", "q950", "q990")
    assert sorted(TASKS) == ["probability", "quantiles"]
    assert task("quantiles", (0.1, 0.9)).outputs == ("q100", "q900")
    assert task("probability") is PROBABILITY


@given(st.integers(1, 999))
def test_every_thousandth_has_a_column_of_its_own(thousandth: int) -> None:
    assert quantile_column(thousandth / 1000) == f"q{thousandth:03d}"


def test_metrics_equal_other_libraries() -> None:
    label, predictions, price = quantile_frame(0)
    found = QUANTILES.metrics(label, predictions, price)
    pinball = sum(
        mean_pinball_loss(label, predictions[c], alpha=a)
        for c, a in zip(QUANTILES.outputs, QUANTILES.levels, strict=True)
    )
    assert found["pinball"] == pytest.approx(pinball) == pytest.approx(QUANTILES.loss(label, predictions).mean())
    assert found["mae"] == pytest.approx(mean_absolute_error(label, predictions["q500"]))
    assert found["mae_weighted"] == pytest.approx(mean_absolute_error(label, predictions["q500"], sample_weight=price))
    mean = pl.Series(metrics.implied_mean(predictions.to_numpy(), QUANTILES.levels))
    assert found["rmse"] == pytest.approx(math.sqrt(((label - mean) ** 2).mean()))
    assert found["bias"] == pytest.approx((mean.sum() - label.sum()) / label.sum())
    assert found["pinball"] == pytest.approx(sum(found[f"pinball_{c}"] for c in QUANTILES.outputs))
    assert found["stock_cost"] == pytest.approx(found["overstock_cost"] + found["stockout_cost"])


def test_the_stock_cost_is_of_the_stated_costs_in_prices() -> None:
    label, predictions = pl.Series([10.0]), pl.DataFrame([[8.0] * 6], schema=list(QUANTILES.outputs), orient="row")
    costs = UnitCosts(overstock=0.1, stockout=0.5)
    assert QUANTILES.metrics(label, predictions, pl.Series([3.0]), costs)["stock_cost"] == pytest.approx(2 * 0.5 * 3)
    assert QUANTILES.metrics(label, predictions, None, costs)["stock_cost"] == pytest.approx(2 * 0.5)
    assert QUANTILES.metrics(pl.Series([5.0]), predictions, None, costs)["overstock_cost"] == pytest.approx(3 * 0.1)


def test_rows_without_a_price_count_in_nothing_that_is_weighted() -> None:
    label, predictions, price = quantile_frame(1)
    holes = price.set(pl.Series([place % 3 == 0 for place in range(price.len())]), None)
    kept = holes.is_not_null()
    whole = QUANTILES.metrics(label.filter(kept), predictions.filter(kept), price.filter(kept))
    found = QUANTILES.metrics(label, predictions, holes)
    for name in ("pinball_weighted", "mae_weighted", "stock_cost"):
        assert found[name] == pytest.approx(whole[name])
    assert "pinball_weighted" not in QUANTILES.metrics(label, predictions, pl.Series([None] * 200, dtype=pl.Float64))


def test_probability_metrics() -> None:
    generator = np.random.default_rng(2)
    label = pl.Series((generator.random(300) < 0.4).astype(float))
    predictions = pl.DataFrame(
        {"probability": np.clip(0.4 + 0.3 * (label.to_numpy() - 0.4) + generator.normal(0, 0.1, 300), 0, 1)}
    )
    found = PROBABILITY.metrics(label, predictions)
    assert found["auc"] == pytest.approx(roc_auc_score(label, predictions["probability"]))
    assert found["log_loss"] == pytest.approx(PROBABILITY.loss(label, predictions).mean())
    assert found["rate_observed"] == pytest.approx(label.mean())
    assert 0 < found["calibration_error"] < 0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_sorted_quantiles_are_valid_and_the_truth_itself_costs_nothing(seed: int) -> None:
    label, predictions, _ = quantile_frame(seed, rows=20)
    QUANTILES.validate(predictions, 20)
    exact = pl.DataFrame(dict.fromkeys(QUANTILES.outputs, label))
    found = QUANTILES.metrics(label, exact)
    assert found["pinball"] == found["mae"] == found["stock_cost"] == 0
    assert QUANTILES.loss(label, predictions).min() >= 0


def broken(change: str) -> pl.DataFrame:
    _, good, _ = quantile_frame(3, rows=4)
    return {
        "columns": good.select(reversed(good.columns)),
        "lacking": good.drop("q990"),
        "null": good.with_columns(q500=pl.lit(None, pl.Float64)),
        "nan": good.with_columns(q500=pl.lit(float("nan"))),
        "inf": good.with_columns(q990=pl.lit(float("inf"))),
        "dtype": good.cast(pl.Float32),
        "negative": good.with_columns(q015=pl.lit(-0.1)),
        "crossing": good.with_columns(q250=pl.col("q500") + 1),
        "rows": good.head(3),
    }[change]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("columns", "expected \\['q015'"),
        ("lacking", "expected \\['q015'"),
        ("null", "null or infinite predictions in 4 of 4 rows; row 0"),
        ("nan", "null or infinite"),
        ("inf", "null or infinite"),
        ("dtype", "Float32.*expected Float64"),
        ("negative", "negative quantiles in 4 of 4"),
        ("crossing", "crossing quantiles in 4 of 4"),
        ("rows", "3 predictions for 4 rows"),
    ],
)
def test_what_is_no_prediction_is_refused(change: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        QUANTILES.validate(broken(change), 4)


def test_a_rounding_error_is_no_crossing() -> None:
    QUANTILES.validate(
        pl.DataFrame([[1000.0, 1000.0 - 1e-7, 1e3, 1e3, 1e3, 1e3]], schema=list(QUANTILES.outputs), orient="row")
    )


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ModelError, match="1 of 2 rows; row 1"):
        PROBABILITY.validate(pl.DataFrame({"probability": [0.5, value]}))


def test_faults_of_configuration_are_named() -> None:
    for levels in ((0.5,), (0.9, 0.1), (0.5, 0.5)):
        with pytest.raises(ConfigurationError, match="ascending"):
            QuantileTask(levels=levels)
    for level in (0.0, 1.0, 0.0155, -0.5):
        with pytest.raises(ConfigurationError, match="thousandths"):
            quantile_column(level)
    with pytest.raises(ConfigurationError, match="'ranking' is unknown"):
        task("ranking")
    with pytest.raises(ConfigurationError, match="takes no quantile levels"):
        task("probability", (0.5, 0.9))
