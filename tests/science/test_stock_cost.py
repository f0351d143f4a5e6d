"""The newsvendor's level costs least, and costs are counted as stated."""

import numpy as np
import polars as pl
import pytest

from platform_assets.errors import ConfigurationError
from platform_assets.science import metrics
from platform_assets.science.stock_cost import UnitCosts, critical_ratio, period_costs, sells_whole_units, stock_level

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
        (1.0, 1.0001, 10.0, "the least bit above: no unit more"),
        (1.05, 0.95, 9.0, "a bit below the median: 9.2 of whole goods are 9"),
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
    assert all(mean_cost(whole) <= mean_cost(whole + off) for off in (-2, -1, 1, 2))
    over, out = period_costs(demand, np.repeat(quantiles, demand.size, axis=0), levels, costs)
    assert (over + out).mean() == pytest.approx(mean_cost(whole))
    assert critical_ratio(0.2, 0.6) == pytest.approx(0.75)


@pytest.mark.parametrize("mean", [0.1, 0.3, 1.0, 4.0])
@pytest.mark.parametrize(("overstock", "stockout"), [(0.1, 0.3), (0.3, 0.3), (0.1, 1.9)])
def test_a_blurred_quantile_of_whole_demand_is_the_cheapest_whole_level(
    mean: float, overstock: float, stockout: float
) -> None:
    """Rounded up, a quantile of .009 made a stock of 1: of a sub-category that sells in one day of six, 14% dearer than none."""
    generator = np.random.default_rng(1)
    demand = generator.negative_binomial(1, 1 / (1 + mean), 20_000)
    ratio = critical_ratio(overstock, stockout)
    cost = [
        overstock * np.maximum(k - demand, 0).mean() + stockout * np.maximum(demand - k, 0).mean()
        for k in range(demand.max())
    ]
    least = float(np.argmin(cost))  # every whole level tried
    blurred = np.maximum(least + generator.uniform(-0.49, 0.49, 50), 0.0)
    found = stock_level(pl.DataFrame({"q": blurred, "r": blurred}), (ratio - 0.01, ratio + 0.01), overstock, stockout)
    assert set(found) == {least}


def test_what_is_priced_is_the_level_that_is_printed_of_whole_units_and_of_fractions() -> None:
    """A report priced the quantile itself: 4.6% less stock cost, of levels that nobody was shown."""
    generator = np.random.default_rng(2)
    quantiles = np.sort(generator.gamma(0.5, 2, (300, 3)), axis=1)
    demand, costs = generator.poisson(1, 300).astype(float), UnitCosts(0.1, 0.4)
    named = pl.DataFrame(quantiles, schema=["q250", "q500", "q750"])
    quantile = metrics.quantile_at(quantiles, LEVELS, costs.critical_ratio)
    some = pl.Series(generator.random(300) < 0.5)
    for is_whole, kind in ((None, pl.Int64), (pl.Series([True] * 300), pl.Int64), (some, pl.Float64)):
        stock = stock_level(named, LEVELS, 0.1, 0.4, is_whole)
        assert stock.dtype == kind
        over, out = period_costs(demand, quantiles, LEVELS, costs, is_whole)
        assert over == pytest.approx(0.1 * np.maximum(stock.to_numpy() - demand, 0))
        assert out == pytest.approx(0.4 * np.maximum(demand - stock.to_numpy(), 0))
        rounded = np.ones(300, dtype=bool) if is_whole is None else is_whole.to_numpy()
        assert (stock.to_numpy()[rounded] % 1 == 0).all()
        assert (stock.to_numpy()[~rounded] == quantile[~rounded]).all(), "kilograms are not rounded"


@pytest.mark.parametrize(
    ("units", "is_whole"), [([3.0, None, 0.0], True), ([3.0, 0.25], False), ([None], True), ([-1.0, 2.0], True)]
)
def test_a_quantity_with_a_fraction_is_not_sold_in_whole_units(units: list[float | None], is_whole: bool) -> None:
    known = pl.DataFrame({"units": units}, schema={"units": pl.Float64})
    assert known.select(sells_whole_units()).item() is is_whole


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
