"""Policies of the literature: what they are fitted on, and when they train."""

from datetime import date, timedelta

import numpy as np

from platform_assets.science import backtest
from platform_assets.science import backtest_rivals as rivals
from platform_assets.science.backtest import Losses


def losses(seed: int, periods: int, series: int, *, drift: float = 0.0) -> Losses:
    """Losses that grow with the age of a training by `drift` a period, with noise."""
    draws = np.random.default_rng(seed)
    age = np.arange(periods)[None, :] - np.arange(periods)[:, None]
    loss = draws.gamma(4, 0.25, (periods, periods, series)) * (1 + drift * np.maximum(age, 0))[:, :, None]
    loss[age < 0] = np.nan
    days = tuple(date(2025, 1, 6) + timedelta(weeks=n) for n in range(periods))
    return Losses(days, loss, draws.gamma(4, 0.5, (periods, series)), np.full(periods, 3.0))


def test_a_threshold_is_chosen_where_it_costs_least_and_knows_the_lead_alone() -> None:
    ageing = losses(2, 24, series=400, drift=0.1)
    trained = [backtest.walk(ageing, rivals.tuned_threshold(ageing, price))[1] for price in (0.02, 0.5, 20.0)]
    counts = [len(one) for one in trained]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0] > 3, counts[-1] <= 1) == (True, True)
    for share in rivals.SHARES:
        cheapest, other = (
            backtest.walked(ageing, *backtest.walk(ageing, policy))
            for policy in (rivals.tuned_threshold(ageing, 0.5), backtest.worse_by(share, window=2))
        )
        price = 0.5 * ageing.summed()[0].mean()
        assert (
            cheapest.lost.sum() + price * len(cheapest.trained) <= other.lost.sum() + price * len(other.trained) + 1e-9
        )


def test_a_forecast_trains_the_more_often_the_faster_models_age_and_the_less_it_costs() -> None:
    def trained(drift: float, price: float) -> int:
        return len(backtest.walk(losses(1, 24, series=400), rivals.forecast(losses(2, 12, 400, drift=drift), price))[1])

    assert [trained(drift, 0.5) for drift in (0.0, 0.02, 0.2)] == sorted(trained(d, 0.5) for d in (0.0, 0.02, 0.2))
    assert [trained(0.05, price) for price in (50.0, 1.0, 0.1)] == sorted(trained(0.05, p) for p in (50.0, 1.0, 0.1))
    assert (trained(0.0, 0.5), trained(0.2, 0.1)) == (0, 23)
