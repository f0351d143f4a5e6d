"""The newsvendor's level costs least, and costs are counted as stated."""

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.science import metrics
from platform_assets.science.stock_cost import UnitCosts, critical_ratio, period_costs, stock_level

LEVELS = (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("overstock", "stockout", "level", "why"),
    [
        (1.0, 1.0, 10.0, "equal costs: the median"),
        (1.0, 3.0, 20.0, "ratio .75 is a level of its own"),
        (3.0, 5.0, 15.0, "ratio .625 lies half way between the median and the upper quartile"),
        (1.0, 99.0, 20.0, "beyond the highest level: constant"),
        (99.0, 1.0, 2.0, "beyond the lowest level: constant"),
        (1.0, 1.1, 11.0, "a bit above the median: 10.95 of whole goods are 11"),
        (1.0, 1.0001, 11.0, "the least bit above: rounded up, never down"),
    ],
)
def test_the_level_is_the_quantile_at_the_critical_ratio_in_whole_units(
    overstock: float, stockout: float, level: float, why: str
) -> None:
    predictions = pl.DataFrame({"q250": [2.0], "q500": [10.0], "q750": [20.0]})
    assert stock_level(predictions, LEVELS, overstock, stockout).to_list() == [level], why


def test_rounding_of_an_interpolation_costs_no_unit_and_what_is_unknown_stays_so() -> None:
    almost = 3 * 1.1 - 0.3  # 3.0000000000000004
    assert almost > 3
    predictions = pl.DataFrame({"low": [almost, 0.0, None], "high": [almost, 0.0, 1.0]})
    found = stock_level(predictions, (0.4, 0.6), 1.0, 1.0)
    assert found.to_list() == [3, 0, None]
    assert found.dtype == pl.Int64


def test_no_other_level_costs_less_on_average() -> None:
    demand = np.random.default_rng(0).gamma(2, 5, 200_000)
    levels = tuple(np.linspace(0.01, 0.99, 99))
    quantiles = np.quantile(demand, levels)[None, :]
    costs = UnitCosts(overstock=0.2, stockout=0.6)
    named = pl.DataFrame(quantiles, schema=[f"q{place}" for place in range(99)])
    best = float(metrics.quantile_at(quantiles, levels, costs.critical_ratio)[0])

    def mean_cost(stock: float) -> float:
        return float((0.2 * np.maximum(stock - demand, 0) + 0.6 * np.maximum(demand - stock, 0)).mean())

    assert all(mean_cost(best) <= mean_cost(best * factor) for factor in (0.8, 0.95, 1.05, 1.2))
    whole = stock_level(named, levels, 0.2, 0.6)[0]
    assert best <= whole < best + 1
    assert all(mean_cost(whole) <= mean_cost(other) for other in (whole - 2, whole + 1, whole + 2))
    over, out = period_costs(demand, np.repeat(quantiles, demand.size, axis=0), levels, costs)
    assert (over + out).mean() == pytest.approx(mean_cost(best))
    assert critical_ratio(0.2, 0.6) == pytest.approx(0.75)


def test_costs_come_from_a_mapping_and_faults_are_named() -> None:
    assert UnitCosts.from_mapping({"overstock": 1, "stockout": 3}).critical_ratio == 0.75
    assert UnitCosts.from_mapping(None) == UnitCosts()
    with pytest.raises(ConfigurationError, match="unknown keys \\['stock_out'\\]"):
        UnitCosts.from_mapping({"stock_out": 1.0})
    assert UnitCosts(0, 1).critical_ratio == 1
    with pytest.raises(ConfigurationError, match="both are 0"):
        UnitCosts(0, 0)
    for wrong in (-1.0, float("inf"), float("nan"), "1", True, None):
        with pytest.raises(ConfigurationError, match="`overstock` is"):
            UnitCosts.from_mapping({"overstock": wrong})
