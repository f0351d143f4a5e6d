"""Losses and figures against naive loops, scikit-learn and SQL."""

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, mean_pinball_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from platform_assets.errors import EmptyFrameError, ModelError
from platform_assets.science import metrics

LEVELS = (0.015, 0.25, 0.5, 0.75, 0.95, 0.99)


def drawn(seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Demand with many zeros, sorted quantiles that often hit it exactly, and prices."""
    generator = np.random.default_rng(seed)
    demand = generator.negative_binomial(0.6, 0.25, rows).astype(float)
    quantiles = np.sort(generator.negative_binomial(0.6, 0.25, (rows, len(LEVELS))), axis=1).astype(float)
    return demand, quantiles, generator.uniform(0.1, 20, rows)


def test_pinball_equals_a_naive_loop_and_scikit_learn() -> None:
    demand, quantiles, price = drawn(0)
    found = metrics.pinball_per_level(demand, quantiles, LEVELS)
    for row in range(demand.size):
        for place, level in enumerate(LEVELS):
            gap = demand[row] - quantiles[row, place]
            assert found[row, place] == pytest.approx(level * gap if gap >= 0 else (level - 1) * gap, abs=1e-12)
    for place, level in enumerate(LEVELS):
        theirs = mean_pinball_loss(demand, quantiles[:, place], alpha=level, sample_weight=price)
        assert metrics.weighted_mean(found[:, place], price) == pytest.approx(theirs)
    np.testing.assert_allclose(metrics.pinball(demand, quantiles, LEVELS), found.sum(axis=1))


def test_calibration_equals_sql() -> None:
    demand, quantiles, price = drawn(1)
    frame = pl.DataFrame({"y": demand, "q": quantiles[:, 4], "price": price})
    below, not_above = duckdb.sql(
        "select sum(price * (y < q)::int) / sum(price), sum(price * (y <= q)::int) / sum(price) from frame"
    ).fetchone()
    assert frame.height
    found = metrics.calibration(demand, quantiles, LEVELS, price)[4]
    assert (found.share_below, found.share_not_above) == pytest.approx((below, not_above))


@pytest.mark.parametrize(
    ("below", "not_above", "distance", "why"),
    [
        (0.0, 0.8, 0.0, "a median of 0 where 80% of days are 0 is perfect, though coverage says 80%"),
        (0.5, 0.5, 0.0, "continuous and exact"),
        (0.0, 0.4, 0.1, "too low: only 40% at or below"),
        (0.7, 0.9, 0.2, "too high: 70% strictly below"),
    ],
)
def test_distance_of_a_median(below: float, not_above: float, distance: float, why: str) -> None:
    assert metrics.LevelCalibration(0.5, below, not_above).distance == pytest.approx(distance), why


def test_the_true_quantiles_of_discrete_demand_are_calibrated() -> None:
    """Plain coverage would call them wrong by far: most days are zero."""
    from scipy.stats import nbinom

    demand = np.random.default_rng(3).negative_binomial(0.3, 0.3, 20_000).astype(float)
    quantiles = np.tile(nbinom(0.3, 0.3).ppf(LEVELS), (demand.size, 1))
    found = metrics.calibration(demand, quantiles, LEVELS)
    assert max(level.distance for level in found) < 0.005
    assert abs(found[1].share_not_above - 0.25) > 0.3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 4)), min_size=2, max_size=40))
def test_auc_equals_all_pairs_and_scikit_learn(rows: list[tuple[int, int, int]]) -> None:
    label, score, weight = (np.array(values, dtype=float) for values in zip(*rows, strict=True))
    found = metrics.auc(label, score, weight)
    if label.min() == label.max():
        assert np.isnan(found)
        return
    won = total = 0.0
    for yes in np.flatnonzero(label == 1):
        for no in np.flatnonzero(label == 0):
            pair = weight[yes] * weight[no]
            won += pair * (1.0 if score[yes] > score[no] else 0.5 if score[yes] == score[no] else 0.0)
            total += pair
    assert found == pytest.approx(won / total)
    assert found == pytest.approx(roc_auc_score(label, score, sample_weight=weight))


def test_log_loss_and_brier_equal_scikit_learn_and_one_sure_mistake_is_finite() -> None:
    generator = np.random.default_rng(4)
    label, probability = (generator.random(500) < 0.3).astype(float), generator.uniform(0.01, 0.99, 500)
    assert metrics.log_loss(label, probability).mean() == pytest.approx(sklearn_log_loss(label, probability))
    assert metrics.brier(label, probability).mean() == pytest.approx(brier_score_loss(label, probability))
    assert metrics.log_loss(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(-np.log(metrics.PROBABILITY_FLOOR))


def test_reliability_bins_hold_every_row_once_and_give_the_error() -> None:
    generator = np.random.default_rng(5)
    probability = np.concatenate([generator.random(997), [0.0, 1.0, 0.1]])
    label = (generator.random(1000) < probability**2).astype(float)
    bins = metrics.reliability(label, probability)
    assert sum(b.rows for b in bins) == 1000
    by_hand = 0.0
    for low in np.arange(10) / 10:
        inside = (probability >= low) & ((probability < low + 0.1) | (low == 0.9))
        by_hand += abs(probability[inside].sum() - label[inside].sum()) / 1000
    assert metrics.calibration_error(label, probability) == pytest.approx(
        by_hand, abs=0.003
    )  # 0.3 may fall either side
    assert metrics.calibration_error(label, label) == 0.0


def test_roc_ends_in_its_corners_and_its_area_is_the_auc() -> None:
    generator = np.random.default_rng(6)
    label, score = (generator.random(200) < 0.4).astype(float), generator.integers(0, 9, 200).astype(float) + 0.0
    score += label
    false_rate, true_rate = metrics.roc_curve(label, score)
    assert (false_rate[0], true_rate[0], false_rate[-1], true_rate[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(metrics.auc(label, score))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 0.999), st.lists(st.floats(0, 100), min_size=6, max_size=6))
def test_a_quantile_between_levels_lies_between_them_and_equals_interp(level: float, values: list[float]) -> None:
    quantiles = np.sort(np.array([values]), axis=1)
    assert metrics.quantile_at(quantiles, LEVELS, level)[0] == pytest.approx(
        np.interp(level, LEVELS, quantiles[0]), abs=1e-9
    )


def test_implied_mean_integrates_the_quantile_function() -> None:
    levels = np.linspace(0.001, 0.999, 999)
    mean = metrics.implied_mean(np.array([-np.log1p(-levels)]), tuple(levels))[0]
    assert mean == pytest.approx(1.0, abs=0.01)  # exponential of mean 1, its last thousandth cut


def test_no_rows_and_no_weight_are_refused() -> None:
    with pytest.raises(EmptyFrameError, match="no rows"):
        metrics.weighted_mean(np.array([]))
    with pytest.raises(EmptyFrameError, match="weights are 0"):
        metrics.weighted_mean(np.ones(3), np.zeros(3))
    with pytest.raises(ModelError, match="no columns"):
        metrics.matrix(pl.DataFrame())
