"""Expected losses against integrals, and against worlds in which they are known."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_assets.errors import SchemaError
from platform_assets.science import expected_loss, metrics
from platform_assets.science.tasks import PROBABILITY, QUANTILES, QuantileTask
from tests.science.forecasts import rows_of, world

Floats = expected_loss.Floats


@given(
    st.lists(st.floats(0, 1e4), min_size=6, max_size=6),
    st.lists(st.integers(1, 999), min_size=6, max_size=6, unique=True),
)
def test_a_forecasts_own_loss_is_the_integral_over_its_distribution(values: list[float], levels: list[int]) -> None:
    task = QuantileTask(levels=tuple(sorted(level / 1000 for level in levels)))
    quantiles = np.sort(values)
    said = pl.DataFrame({name: [value] for name, value in zip(task.outputs, quantiles, strict=True)})
    at = (np.arange(20_000) + 0.5) / 20_000
    drawn = np.interp(at, task.levels, quantiles)  # linear between the levels, constant beyond
    repeated = np.tile(quantiles, (at.size, 1))
    wanted = metrics.pinball(drawn, repeated, task.levels).mean()
    found = expected_loss.own_loss(said, task)[0]
    assert found == pytest.approx(max(wanted, expected_loss.FLOOR), rel=2e-3, abs=1e-5)


def test_a_probabilitys_own_loss_is_its_entropy() -> None:
    said = pl.DataFrame({"probability": [0.5, 0.1, 0.0]})
    found = expected_loss.own_loss(said, PROBABILITY)
    assert found[:2] == pytest.approx([np.log(2), -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))])
    assert 0 < found[2] < 1e-4


@pytest.mark.parametrize("method", expected_loss.METHODS)
def test_where_forecasts_are_right_the_estimate_is_the_loss_that_is_known_in_closed_form(method: str) -> None:
    """Labels are drawn from the forecasts themselves, so each row's expected loss is an integral; its noise is known."""
    past, ahead = world(1), world(2, size=3.0)  # sizes have moved by a factor of three: a shift of inputs alone
    estimator = expected_loss.learned(past.rows, past.said, past.loss, past.label, QUANTILES, method)
    found = estimator.expected(ahead.rows, ahead.said, QUANTILES).mean()
    truth = expected_loss.own_loss(ahead.said, QUANTILES).mean()
    assert found == pytest.approx(truth, rel=0.04)
    assert found == pytest.approx(ahead.loss.mean(), rel=0.06)
    assert found > 2.5 * expected_loss.own_loss(past.said, QUANTILES).mean()


def test_what_the_forecasts_do_not_say_of_themselves_is_learned() -> None:
    """Beyond two weeks these forecasts are twice as bad as they think."""

    def off(horizon: Floats) -> Floats:
        return np.where(horizon > 14, 2.0, 1.0)

    past, ahead = (world(seed, spread=off) for seed in (3, 4))
    far = ahead.part(ahead.rows["horizon_days"].to_numpy() > 14)
    errors = {
        method: abs(
            np.log(
                expected_loss.learned(past.rows, past.said, past.loss, past.label, QUANTILES, method)
                .expected(far.rows, far.said, QUANTILES)
                .mean()
                / far.loss.mean()
            )
        )
        for method in expected_loss.METHODS
    }
    assert errors[expected_loss.LEARNED] < 0.1 < errors[expected_loss.OWN]


def test_a_probability_that_is_too_sure_is_recalibrated_to_its_known_loss() -> None:
    draw = np.random.default_rng(5)
    place = draw.normal(0, 2, 30_000)
    true, said = 1 / (1 + np.exp(-0.5 * place - 0.4)), 1 / (1 + np.exp(-place))
    label = (draw.random(place.size) < true).astype(np.float64)
    frame = pl.DataFrame({"probability": said})
    loss = metrics.log_loss(label, said)
    rows = rows_of(place.size)
    found = expected_loss.learned(rows, frame, loss, label, PROBABILITY, expected_loss.LEARNED)
    wanted = -(true * np.log(said) + (1 - true) * np.log1p(-said))
    assert found.coefficients == pytest.approx([0.4, 0.5], abs=0.05)
    np.testing.assert_allclose(found.expected(rows, frame, PROBABILITY), wanted, rtol=0.1, atol=0.02)


@given(st.integers(0, 10_000), st.sampled_from(expected_loss.METHODS), st.floats(0.2, 5.0))
def test_the_learned_sum_is_the_observed_one_and_answers_in_its_unit(seed: int, method: str, unit: float) -> None:
    past = world(seed, count=400)
    loss = past.loss * unit
    estimator = expected_loss.learned(past.rows, past.said, loss, past.label, QUANTILES, method)
    found = estimator.expected(past.rows, past.said, QUANTILES)
    assert (found > 0).all()
    assert found.sum() == pytest.approx(loss.sum(), rel=1e-3)


def test_frames_of_other_lengths_are_refused() -> None:
    past = world(1, count=10)
    with pytest.raises(SchemaError, match="10 rows, 10 forecasts, 9 losses"):
        expected_loss.learned(past.rows, past.said, past.loss[:-1], past.label, QUANTILES, expected_loss.OWN)
