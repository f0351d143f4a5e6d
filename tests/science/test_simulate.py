"""The simulated retailer against the law that it is said to follow."""

import time
from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError
from platform_assets.science.simulate import Scenario, SimulatorConfig, World, arrivals, simulate, simulate_stores
from platform_assets.science.simulate import assortment as goods_module
from platform_assets.science.simulate.assortment import assortment
from platform_assets.science.simulate.demand import negative_binomial

KEYS = ["store", "sku", "sold_on"]
DEFAULT = SimulatorConfig()
WIDE = SimulatorConfig(stores=2, skus=1500, days=400, seed=3)  # many SKUs, to see the law of their parameters


@cache
def world(config: SimulatorConfig) -> World:
    return simulate(config)


def test_the_export_has_its_columns_and_one_row_per_series_and_day() -> None:
    found = world(DEFAULT)
    assert found.lines.schema == pl.Schema(
        {
            "store": pl.String,
            "sku": pl.String,
            "sold_on": pl.Date,
            "units": pl.Int64,
            "price": pl.Float64,
            "is_promoted": pl.Boolean,
            "stock": pl.Int64,
            "lines": pl.Int64,
            "tickets": pl.Int64,
        }
    )
    assert found.plans.schema == pl.Schema(
        {
            "store": pl.String,
            "sku": pl.String,
            "target_on": pl.Date,
            "announced_on": pl.Date,
            "planned_price": pl.Float64,
            "is_planned_promotion": pl.Boolean,
        }
    )
    for frame in (found.lines, found.truth):
        assert not frame.select(KEYS).is_duplicated().any()
        assert frame.null_count().sum_horizontal().item() == 0
    assert not found.plans.select("store", "sku", "target_on", "announced_on").is_duplicated().any()
    assert found.lines["sold_on"].min() == DEFAULT.starts_on
    assert found.lines["sold_on"].max() == DEFAULT.ends_on - timedelta(days=1)


def test_sales_are_demand_while_in_stock_and_nothing_while_out() -> None:
    both = world(DEFAULT).lines.join(world(DEFAULT).truth, on=KEYS)
    assert both.filter(pl.col("stock") == 0)["units"].sum() == 0
    assert both.filter(pl.col("is_out_of_stock") != (pl.col("stock") == 0)).is_empty()
    sold = both.filter(pl.col("stock") > 0)
    assert (sold["units"] == sold["demand"]).all()
    assert (sold["stock"] >= sold["units"]).all()
    assert both.filter(pl.col("is_out_of_stock"))["demand"].sum() > 0  # the truth is not censored


def test_every_unit_has_a_line_and_every_line_a_ticket() -> None:
    lines = world(DEFAULT).lines
    assert lines.filter(~((pl.col("tickets") <= pl.col("lines")) & (pl.col("lines") <= pl.col("units")))).is_empty()
    assert lines.filter((pl.col("units") > 0) != (pl.col("tickets") > 0)).is_empty()


# --- one world is one world ------------------------------------------------------------------------------------------


def test_the_same_configuration_gives_the_same_bytes_and_another_seed_others() -> None:
    small = SimulatorConfig(stores=2, skus=20, days=90)
    assert_frame_equal(simulate(small).lines, simulate(small).lines)
    assert not simulate(small).lines.equals(simulate(SimulatorConfig(stores=2, skus=20, days=90, seed=1)).lines)


@pytest.mark.parametrize("starts_on", [date(2024, 1, 1), date(2023, 7, 6)])  # a Monday, a Thursday
def test_a_longer_world_begins_with_the_shorter_one(starts_on: date) -> None:
    """A living demo appends days: what has been delivered must not change with the length of the world."""
    short = simulate(SimulatorConfig(stores=2, skus=30, days=100, starts_on=starts_on))
    long = simulate(SimulatorConfig(stores=2, skus=30, days=163, starts_on=starts_on))
    begun = arrivals(long, starts_on - timedelta(days=100), short.config.ends_on)
    assert_frame_equal(begun.lines, short.lines)
    assert_frame_equal(begun.truth, short.truth)
    assert_frame_equal(begun.plans, short.plans)


def test_more_stores_contain_fewer_and_parts_make_the_whole() -> None:
    two, three = (SimulatorConfig(stores=n, skus=15, days=60) for n in (2, 3))
    shared = simulate(three).lines.filter(pl.col("store") != "store_03")
    assert_frame_equal(shared, simulate(two).lines)
    parts = pl.concat([part.lines for part in simulate_stores(three)])
    assert_frame_equal(parts.sort("sold_on", "store", "sku"), simulate(three).lines)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 60), st.integers(0, 5), st.integers(0, 400))
def test_any_size_works(stores: int, skus: int, days: int, seed: int, offset: int) -> None:
    config = SimulatorConfig(stores, skus, days, date(2024, 1, 1) + timedelta(days=offset), seed)
    found = simulate(config)
    assert found.lines.height <= stores * skus * days
    assert found.lines.height == found.truth.height
    assert (found.truth["lam"] > 0).all()


def test_the_default_world_takes_less_than_two_cpu_seconds() -> None:
    simulate(SimulatorConfig(stores=1, skus=2, days=2))
    began = time.process_time()
    simulate(DEFAULT)
    assert time.process_time() - began < 2


def test_arrivals_are_a_days_lines_and_the_plans_announced_on_it() -> None:
    found = world(DEFAULT)
    monday = date(2024, 6, 3)
    day = arrivals(found, monday, monday + timedelta(days=1))
    assert set(day.lines["sold_on"]) == {monday}
    assert set(day.plans["announced_on"]) == {monday}
    assert arrivals(found, monday, monday).lines.is_empty()
    weeks = [
        arrivals(found, monday + timedelta(days=7 * n), monday + timedelta(days=7 * n + 7)).lines for n in range(3)
    ]
    assert_frame_equal(pl.concat(weeks), arrivals(found, monday, monday + timedelta(days=21)).lines)


# --- the law ---------------------------------------------------------------------------------------------------------


def test_demand_given_its_mean_is_negative_binomial() -> None:
    """Probability integral transform against scipy's distribution, randomised at the steps: uniform, by chi-squared."""
    from scipy.stats import chisquare, nbinom

    truth = world(DEFAULT).truth.sample(30_000, seed=0)
    lam, size, demand = (truth[name].to_numpy() for name in ("lam", "size", "demand"))
    below, up_to = (nbinom.cdf(n, size, size / (size + lam)) for n in (demand - 1, demand))
    place = below + np.random.default_rng(0).random(demand.size) * (up_to - below)
    counts = np.histogram(place, bins=50, range=(0, 1))[0]
    assert chisquare(counts).pvalue > 1e-3


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.floats(1e-3, 3e3), st.floats(0.05, 60))
def test_inversion_is_the_quantile_function(uniform: float, mean: float, size: float) -> None:
    from scipy.stats import nbinom

    found = negative_binomial(np.array([uniform]), np.array([mean]), np.array([size]))[0]
    law = nbinom(size, size / (size + mean))
    assert law.cdf(found) >= uniform - 1e-9
    assert found == 0 or law.cdf(found - 1) <= uniform + 1e-9


def test_the_greatest_uniform_number_ends_and_a_mean_of_zero_is_zero() -> None:
    almost = np.array([np.nextafter(1.0, 0.0)] * 3 + [0.5])
    found = negative_binomial(almost, np.array([0.01, 5.0, 900.0, 0.0]), np.array([0.05, 0.8, 40.0, 1.0]))
    assert found[0] > 0
    assert found[2] > 900
    assert found[3] == 0


def residual(truth: pl.DataFrame, factor: str) -> pl.DataFrame:
    """Geometric mean of lam by a factor over that of its series, so that only the factor is left."""
    logs = truth.with_columns(log=pl.col("lam").log())
    return (
        logs.with_columns(pl.col("log") - pl.col("log").mean().over("store", "sku"))
        .group_by(factor)
        .agg(effect=pl.col("log").mean().exp())
        .sort(factor)
    )


def test_weekdays_have_their_factors() -> None:
    truth = world(WIDE).truth.with_columns(weekday=pl.col("sold_on").dt.weekday())
    found = residual(truth, "weekday")["effect"].to_numpy()
    # SKUs' own factors 1 + N(0, .15) have mean log -.0117; relative to the geometric mean they cancel.
    expected = goods_module.WEEKDAY_FACTORS / np.exp(np.log(goods_module.WEEKDAY_FACTORS).mean())
    assert found == pytest.approx(expected, rel=0.02)


def test_months_have_their_factors_and_gift_skus_their_own() -> None:
    config = SimulatorConfig(stores=1, skus=3000, days=366, seed=5)
    goods = assortment(config, config.days)
    july, november = (date(2024, 7, 15) - config.starts_on).days, (date(2024, 11, 15) - config.starts_on).days
    ratio = np.exp(goods.season[november] - goods.season[july])
    gift, other = 1.647 / 0.839, 1.006 / 0.903
    assert np.isclose(ratio, gift).sum() == round(0.15 * config.skus)
    assert np.isclose(ratio, other).sum() == config.skus - round(0.15 * config.skus)
    august = residual(world(WIDE).truth.with_columns(month=pl.col("sold_on").dt.month()), "month")
    assert august["effect"].arg_min() == 7


def test_promotions_take_a_fifth_of_days_in_runs_of_one_or_two_weeks() -> None:
    config = SimulatorConfig(stores=1, skus=2000, days=700, seed=1)
    goods = assortment(config, config.days)
    assert goods.promoted.mean() == pytest.approx(0.19, abs=0.005)
    assert goods.promoted[:28].mean() == pytest.approx(0.19, abs=0.02)  # stationary from the first day on
    flags = pl.DataFrame(goods.promoted[:, :300], schema=[f"{at}" for at in range(300)]).with_row_index("day")
    runs = (
        flags.unpivot(index="day", variable_name="sku", value_name="on")
        .with_columns(run=pl.col("on").rle_id().over("sku"))
        .filter("on")
        .group_by("sku", "run")
        .agg(pl.len(), pl.col("day").min())
    )
    whole = runs.filter(pl.col("day") > 0, pl.col("day") + pl.col("len") < config.days)["len"]
    assert set(whole) == {7, 14}
    assert (whole == 7).mean() == pytest.approx(0.5, abs=0.03)


def test_prices_are_cents_discounts_within_their_range_and_the_week_after_dips() -> None:
    config = SimulatorConfig(stores=1, skus=1000, days=365, seed=2)
    goods = assortment(config, config.days)
    assert np.allclose(goods.price * 100, np.round(goods.price * 100))
    assert np.log(goods.price[~goods.promoted]).mean() == pytest.approx(np.log(2.46), abs=0.15)
    dear = goods.price[0] > 1  # of cheap goods a cent is more than the rounding of a discount
    begins = goods.promoted & ~np.roll(goods.promoted, 1, axis=0)
    begins[0] = False
    day, sku = np.nonzero(begins & dear)
    same_list = goods.price[day - 1, sku]
    discount = 1 - goods.price[day, sku] / same_list
    usual = discount[np.abs(discount - 0.25) < 0.26]  # a list change on the same Monday moves a few out
    assert usual.size > 0.97 * discount.size
    assert np.median(discount) == pytest.approx(0.167, abs=0.012)
    dips = goods.dip < 0
    assert not (dips & goods.promoted).any()
    assert goods.dip.min() == pytest.approx(-0.15)
    ends = np.roll(goods.promoted, 1, axis=0) & ~goods.promoted
    ends[0] = False
    assert dips[1:][ends[1:]].all()


def test_demand_answers_the_price_as_each_sku_does() -> None:
    """The slope of log lam over log price, within a SKU and with the feature's lift taken out, is its elasticity."""
    config = SimulatorConfig(stores=1, skus=40, days=730, seed=4)
    goods = assortment(config, config.days)
    found = world(config)
    rows = found.truth.join(found.lines, on=KEYS).with_columns(log=pl.col("lam").log(), day=pl.col("sold_on"))
    slopes, expected = [], []
    for (sku,), one in rows.group_by("sku"):
        at = int(str(sku).split("_")[1]) - 1
        day = np.array((one["day"] - config.starts_on).dt.total_days())
        known = goods.weekday[(day + config.starts_on.weekday()) % 7, at] + goods.season[day, at] + goods.dip[day, at]
        left = one["log"].to_numpy() - known - goods.ramp[day, at]
        columns = np.column_stack([np.ones(day.size), np.log(one["price"].to_numpy()), one["is_promoted"].to_numpy()])
        slopes.append(np.linalg.lstsq(columns, left, rcond=None)[0][1])
        expected.append(goods.elasticity[at])
    errors = np.array(slopes) - np.array(expected)
    assert abs(np.median(errors)) < 0.25  # the wandering level, not the price, is what is left
    assert np.corrcoef(slopes, expected)[0, 1] > 0.6


def test_parameters_of_skus_keep_to_their_ranges_and_means() -> None:
    config = SimulatorConfig(stores=1, skus=6000, days=7, seed=6)
    goods = assortment(config, config.days)
    assert goods.elasticity.min() == -5.0
    assert goods.elasticity.max() == -0.8
    assert goods.elasticity.mean() == pytest.approx(-2.9, abs=0.05)
    assert goods.feature_lift.mean() == pytest.approx(0.64, abs=0.02)
    assert goods.level.mean() == pytest.approx(0.6 * np.log(2.35) + 0.4 * np.log(0.45), abs=0.05)
    assert np.log(goods.size).mean() == pytest.approx(0.6 * np.log(4.2) + 0.4 * np.log(0.8), abs=0.05)


def test_an_eighth_of_skus_is_born_with_a_ramp_and_a_twelfth_dies() -> None:
    config = SimulatorConfig(stores=1, skus=5000, days=730, seed=7)
    goods = assortment(config, config.days)
    born = ~goods.alive[0]
    assert born.mean() == pytest.approx(0.12, abs=0.015)
    survivors = goods.alive[0]
    assert (survivors & ~goods.alive[-1]).sum() / survivors.sum() == pytest.approx(0.08, abs=0.012)
    changes = np.abs(np.diff(goods.alive.astype(int), axis=0)).sum(axis=0)
    assert changes.max() <= 2  # born once, dead once
    sku = np.flatnonzero(born & goods.alive[-1])[0]
    birth = int(np.argmax(goods.alive[:, sku]))
    ramp = np.exp(goods.ramp[birth : birth + 22, sku])
    assert ramp[0] == pytest.approx(0.05)
    assert ramp[21] == pytest.approx(0.95)
    assert np.all(np.diff(ramp) > 0)
    assert (goods.ramp[:, survivors] == 0).all()


def test_supplier_failures_last_and_recur_as_stated() -> None:
    truth = world(WIDE).truth.sort("store", "sku", "sold_on")
    spells = (
        truth.with_columns(run=pl.col("is_out_of_stock").rle_id().over("store", "sku"))
        .filter("is_out_of_stock")
        .group_by("store", "sku", "run")
        .agg(pl.len(), first=pl.col("sold_on").min(), last=pl.col("sold_on").max())
        .join(truth.group_by("store", "sku").agg(born_on=pl.col("sold_on").min()), on=["store", "sku"])
        .filter(pl.col("first") > pl.col("born_on"), pl.col("first") < WIDE.ends_on - timedelta(days=90))
    )
    assert spells["len"].min() == 3
    assert spells["len"].max() >= 60  # type: ignore[operator]
    assert spells["len"].median() == pytest.approx(12, abs=1)
    # mean spell: of exp N(ln 12, .8) clipped to 3..80, about 16.2 days; mean gap 400
    assert truth["is_out_of_stock"].mean() == pytest.approx(16.2 / 416.2, rel=0.12)


def test_levels_wander_slowly_around_one() -> None:
    from platform_assets.science.simulate.demand import WANDER_SD, _wander

    wander = _wander(SimulatorConfig(stores=1, skus=800, days=700, seed=8), 0)
    assert wander.std() == pytest.approx(WANDER_SD, rel=0.03)
    assert wander[0].std() == pytest.approx(WANDER_SD, rel=0.08)
    assert (wander[1:] * wander[:-1]).mean() / (wander**2).mean() == pytest.approx(0.98, abs=0.005)


# --- plans -----------------------------------------------------------------------------------------------------------


def test_a_28_day_forecast_finds_every_plan_that_it_needs_and_the_plans_come_true() -> None:
    found = world(DEFAULT)
    lead = (found.plans["target_on"] - found.plans["announced_on"]).dt.total_days()
    assert lead.min() == 35
    assert lead.max() == 41
    both = found.lines.join(found.plans, left_on=KEYS, right_on=["store", "sku", "target_on"], how="left")
    assert (both["price"] == both["planned_price"]).all()
    assert (both["is_promoted"] == both["is_planned_promotion"]).all()
    last = DEFAULT.ends_on - timedelta(days=1)
    coming = found.plans.filter(pl.col("target_on").is_between(last + timedelta(days=1), last + timedelta(days=28)))
    on_sale = found.lines.filter(pl.col("sold_on") == last)
    days = coming.group_by("store", "sku").len()
    assert (days["len"] == 28).sum() > 0.95 * on_sale.height  # the others' end, or birth, has been announced


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: SimulatorConfig(stores=0), "`stores` is 0"),
        (lambda: SimulatorConfig(seed=-1), "`seed` is -1"),
        (lambda: Scenario("inflation", date(2024, 1, 1)), "unknown scenario 'inflation'"),
        (lambda: Scenario("step", date(2024, 1, 2), date(2024, 1, 2)), "not after its onset"),
    ],
)
def test_a_wrong_configuration_is_named(build: object, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        build()  # pyright: ignore[reportCallIssue]
