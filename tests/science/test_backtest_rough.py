"""The first answer: the same policies over four weeks at a time, from a quarter of the trainings."""

from datetime import date, timedelta

import numpy as np
import pytest

from platform_assets.science import backtest, backtest_rough
from platform_assets.science.backtest import Losses

LEAD, WEEKS = 3, 17


def world(*, drift: float) -> Losses:
    """What a training loses grows with its age, by series and week differently."""
    draws = np.random.default_rng(2)
    age = np.arange(WEEKS)[None, :] - np.arange(WEEKS)[:, None]
    loss = (1 + drift * age)[:, :, None] * np.exp(0.1 * draws.normal(size=(1, WEEKS, 40)))
    loss[age < 0] = np.nan
    days = tuple(date(2025, 1, 6) + timedelta(weeks=n) for n in range(WEEKS))
    return Losses(days, loss, np.ones((WEEKS, 40)), np.arange(float(WEEKS)), LEAD)


def test_four_weeks_are_one_and_other_trainings_do_not_count() -> None:
    full = world(drift=0.05)
    loss = full.loss.copy()
    first = backtest_rough.first_of(WEEKS, LEAD)
    assert first == [3, 7, 11, 15]
    loss[[at for at in range(WEEKS) if at not in first]] = np.nan
    found = backtest_rough.coarse(full.periods, loss, full.baseline, full.seconds, LEAD)
    assert found.periods == tuple(full.periods[at] for at in first)
    np.testing.assert_allclose(found.loss[1, 2], full.loss[7, 11:15].sum(axis=0))
    np.testing.assert_allclose(found.loss[0, 3], full.loss[3, 15:].sum(axis=0))  # the last is shorter
    np.testing.assert_allclose(found.loss[0].sum(), full.charged().loss[0].sum())
    assert found.seconds.tolist() == [3, 7, 11, 15]
    answers, trained = backtest.walk(full.charged(), backtest.every(4))
    lost, coarse = backtest.walked(full.charged(), answers, trained).lost.sum(), found.loss.diagonal().sum()
    assert coarse == pytest.approx(lost), "a training every four weeks costs the same in both"


@pytest.mark.parametrize(("drift", "sign"), [(0.05, "+"), (0.0, "-")])
def test_it_says_what_a_fixed_interval_saves(drift: float, sign: str) -> None:
    full = world(drift=drift)
    found = backtest_rough.coarse(full.periods, full.loss, full.baseline, full.seconds, LEAD)
    told = backtest_rough.rough_answer(found, 0.02 * found.loss[0].sum() / (WEEKS - LEAD))
    assert f"every 4 weeks {sign}" in told
    assert "every 12 weeks" in told
    assert "best in hindsight, cross-fitted" in told
