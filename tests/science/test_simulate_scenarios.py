"""Each scenario changes what it says, from its onset to its end, and nothing else."""

from datetime import date, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.science.simulate import SCENARIOS, Scenario, SimulatorConfig, World, arrivals, simulate
from platform_assets.science.simulate.assortment import assortment

ONSET = date(2024, 7, 1)
BASE = SimulatorConfig(stores=3, skus=60, days=366)
KEYS = ["store", "sku", "sold_on"]
PLAN_KEYS = ["store", "sku", "target_on", "announced_on"]
# Columns of `lines` and `truth` in which a scenario's world may differ from `none` after the onset, and must somewhere.
CHANGES = {
    "none": set(),
    "step": {"lam", "demand", "units", "lines", "tickets", "stock"},
    "trend": {"lam", "demand", "units", "lines", "tickets", "stock"},
    "elastic": {"lam", "demand", "units", "lines", "tickets", "stock"},
    "pricehike": {"price", "lam", "demand", "units", "lines", "tickets", "stock"},
    "weekly": {"lam", "demand", "units", "lines", "tickets", "stock"},
    "covshift": {"price"},
    "disp": {"size", "demand", "units", "lines", "tickets", "stock"},
    "supply": {"is_out_of_stock", "units", "lines", "tickets", "stock"},
    "fault": {"units"},
    "dup": {"units", "lines"},
    "feed": set(),  # rows go, no value changes
    "promo_flag": {"is_promoted"},
}
RE_PLANNED = {"pricehike", "covshift"}


@cache
def world(*scenarios: Scenario) -> World:
    return simulate(SimulatorConfig(**{**BASE.__dict__, "scenarios": scenarios}))


def differing(found: World, base: World, first: date, until: date) -> set[str]:
    """Columns of lines and truth that differ on the days from `first` to the day before `until`, on shared rows."""
    days = pl.col("sold_on").is_between(first, until, closed="left")
    columns = set()
    for mine, theirs in ((found.lines, base.lines), (found.truth, base.truth)):
        both = mine.filter(days).join(theirs.filter(days), on=KEYS, suffix="_base")
        assert both.height == mine.filter(days).height
        columns |= {name for name in mine.columns if name not in KEYS and (both[name] != both[f"{name}_base"]).any()}
    return columns


def test_every_scenario_has_its_row() -> None:
    assert set(CHANGES) == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_before_the_onset_a_scenario_is_none_to_the_byte(name: str) -> None:
    found, base = (arrivals(w, date(2023, 1, 1), ONSET) for w in (world(Scenario(name, ONSET)), world()))
    for part in ("lines", "plans", "truth"):
        assert_frame_equal(getattr(found, part), getattr(base, part), check_exact=True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_the_onset_only_what_it_says_differs(name: str) -> None:
    found, base = world(Scenario(name, ONSET)), world()
    assert differing(found, base, ONSET, BASE.ends_on) == CHANGES[name]
    if name not in RE_PLANNED:
        assert_frame_equal(found.plans, base.plans, check_exact=True)
    assert (found.lines.height == base.lines.height) == (name != "feed")


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("none", "feed")])
def test_after_its_end_a_scenario_is_over(name: str) -> None:
    ends_on = ONSET + timedelta(days=40)
    assert differing(world(Scenario(name, ONSET, ends_on)), world(), ends_on, BASE.ends_on) == set()
    assert differing(world(Scenario(name, ONSET, ends_on)), world(), ONSET, ends_on) == CHANGES[name]


@pytest.mark.parametrize(("name", "days"), [(name, days) for name, days in SCENARIOS.items() if days is not None])
def test_a_passing_scenario_ends_by_itself(name: str, days: int) -> None:
    ends_on = ONSET + timedelta(days=days)
    assert differing(world(Scenario(name, ONSET)), world(), ends_on, BASE.ends_on) == set()
    last = ends_on - timedelta(days=1)
    assert differing(world(Scenario(name, ONSET)), world(), last, ends_on) != set()


def ratio(name: str, column: str, frame: str = "truth") -> pl.DataFrame:
    """Scenario's value over that of `none`, per row from the onset on, where that is not 0."""
    found, base = getattr(world(Scenario(name, ONSET)), frame), getattr(world(), frame)
    both = found.join(base, on=KEYS, suffix="_base").filter(pl.col("sold_on") >= ONSET, pl.col(f"{column}_base") != 0)
    return both.with_columns(
        ratio=pl.col(column) / pl.col(f"{column}_base"), day=(pl.col("sold_on") - ONSET).dt.total_days()
    )


def test_step_and_trend_come_to_half_as_much_again() -> None:
    assert ratio("step", "lam")["ratio"].to_numpy() == pytest.approx(1.5)
    trend = ratio("trend", "lam")
    assert trend["ratio"].to_numpy() == pytest.approx(1 + 0.5 * np.minimum((trend["day"].to_numpy() + 1) / 90, 1))


def test_elasticity_grows_by_its_factor_and_stops_at_its_cap() -> None:
    """At -9, without the cap, a handful of series carries 39% of the loss."""
    goods = assortment(BASE, BASE.days)
    rows = ratio("elastic", "lam")
    day = np.array((rows["sold_on"] - BASE.starts_on).dt.total_days())
    sku = rows["sku"].str.slice(4).cast(pl.Int64).to_numpy() - 1
    off_reference = np.log(goods.price[day, sku]) - goods.reference[sku]
    expected = np.maximum(1.8 * goods.elasticity, -6.0)[sku] - goods.elasticity[sku]
    assert np.log(rows["ratio"].to_numpy()) == pytest.approx(expected * off_reference, abs=1e-9)
    assert (np.maximum(1.8 * goods.elasticity, -6.0) == -6.0).any()


def test_a_price_hike_costs_demand_and_inflation_does_not() -> None:
    goods = assortment(BASE, BASE.days)
    hiked = ratio("pricehike", "lam")
    sku = hiked["sku"].str.slice(4).cast(pl.Int64).to_numpy() - 1
    assert np.log(hiked["ratio"].to_numpy()) == pytest.approx(goods.elasticity[sku] * np.log(1.3), abs=1e-9)
    for name, factor in (("pricehike", 1.3), ("covshift", 1.12)):
        prices = ratio(name, "price", "lines")
        cents = (prices["price"] - prices["price_base"] * factor).abs()
        assert cents.max() <= 0.005 + 1e-9  # type: ignore[operator]
    assert ratio("covshift", "lam")["ratio"].to_numpy() == pytest.approx(1, abs=0)


def test_the_weekday_profile_shifts_by_three_days() -> None:
    rows = ratio("weekly", "lam")
    goods = assortment(BASE, BASE.days)
    sku = rows["sku"].str.slice(4).cast(pl.Int64).to_numpy() - 1
    weekday = rows["sold_on"].dt.weekday().to_numpy() - 1
    expected = goods.weekday[(weekday + 3) % 7, sku] - goods.weekday[weekday, sku]
    assert np.log(rows["ratio"].to_numpy()) == pytest.approx(expected, abs=1e-9)


def test_dispersion_quadruples_about_the_same_mean() -> None:
    assert ratio("disp", "size")["ratio"].to_numpy() == pytest.approx(0.25)
    found = world(Scenario("disp", ONSET)).truth.filter(pl.col("sold_on") >= ONSET)
    assert found["demand"].mean() == pytest.approx(found["lam"].mean(), rel=0.05)


def test_a_supply_failure_empties_three_series_in_ten_at_once() -> None:
    rows = world(Scenario("supply", ONSET)).truth.join(world().truth, on=KEYS, suffix="_base")
    during = rows.filter(pl.col("sold_on").is_between(ONSET, ONSET + timedelta(days=27)))
    by_series = during.group_by("store", "sku").agg(
        pl.col("is_out_of_stock").all(), new=(pl.col("is_out_of_stock") != pl.col("is_out_of_stock_base")).any()
    )
    assert by_series["is_out_of_stock"].mean() == pytest.approx(0.3, abs=0.11)  # of 180 series, 3 sd
    assert by_series.filter("new")["is_out_of_stock"].all()


def test_a_fault_multiplies_one_stores_records_and_not_the_world() -> None:
    rows = ratio("fault", "units", "lines").filter(pl.col("day") < 28)
    faulty = pl.col("store") == "store_01"
    assert (rows.filter(faulty)["ratio"] == 10).all()
    assert (rows.filter(~faulty)["ratio"] == 1).all()


def test_duplicates_double_units_and_lines_and_leave_the_tickets() -> None:
    """By its daily sums `dup` is a `step`; lines per ticket tell them apart."""
    rows = ratio("dup", "units", "lines").filter(pl.col("day") < 14)
    assert (rows["ratio"] == 2).all()
    assert (rows["lines"] == 2 * rows["lines_base"]).all()
    assert (rows["tickets"] == rows["tickets_base"]).all()
    doubled, stepped, usual = (
        w.lines.filter(pl.col("sold_on").is_between(ONSET, ONSET + timedelta(days=13)))
        .select(pl.col("lines").sum() / pl.col("tickets").sum())
        .item()
        for w in (world(Scenario("dup", ONSET)), world(Scenario("step", ONSET)), world())
    )
    assert doubled == pytest.approx(2 * usual)
    assert stepped == pytest.approx(usual, rel=0.02)


def test_a_missing_feed_is_one_stores_rows_and_the_truth_stays() -> None:
    found = world(Scenario("feed", ONSET))
    missing = world().lines.join(found.lines, on=KEYS, how="anti")
    assert set(missing["store"]) == {"store_03"}
    assert missing["sold_on"].min() == ONSET
    assert found.lines.filter(pl.col("sold_on") >= ONSET)["store"].unique().sort().to_list() == ["store_01", "store_02"]
    assert_frame_equal(found.truth, world().truth)


def test_a_flag_taken_from_sales_is_missing_where_nothing_was_sold() -> None:
    rows = world(Scenario("promo_flag", ONSET)).lines.join(world().lines, on=KEYS, suffix="_base")
    rows = rows.filter(pl.col("sold_on") >= ONSET)
    assert not rows.filter(pl.col("units") == 0)["is_promoted"].any()
    assert (
        rows.filter(pl.col("units") > 0)["is_promoted"] == rows.filter(pl.col("units") > 0)["is_promoted_base"]
    ).all()


@pytest.mark.parametrize(("name", "factor"), [("pricehike", 1.3), ("covshift", 1.12)])
def test_nobody_announces_a_price_scenario_beforehand(name: str, factor: float) -> None:
    """Plans carry the price level of the day of their announcement; onset and end announce the outstanding ones anew."""
    ends_on = ONSET + timedelta(days=60)
    found = world(Scenario(name, ONSET, ends_on)).plans
    base = world().plans.select("store", "sku", "target_on", base_price="planned_price")
    plans = found.join(base, on=["store", "sku", "target_on"])
    during = pl.col("announced_on").is_between(ONSET, ends_on, closed="left")
    level = pl.when(during).then(factor).otherwise(1.0)
    assert plans.filter((pl.col("planned_price") - pl.col("base_price") * level).abs() > 0.005 + 1e-9).is_empty()
    for day in (ONSET, ends_on):
        known_before = found.filter(pl.col("announced_on") < day, pl.col("target_on") >= day)
        targets = known_before.select("store", "sku", "target_on").unique()
        again = found.filter(pl.col("announced_on") == day, pl.col("target_on") >= day)
        assert targets.join(again, on=["store", "sku", "target_on"], how="anti").is_empty()
    last = found.sort("announced_on").unique(["store", "sku", "target_on"], keep="last")
    lines = world(Scenario(name, ONSET, ends_on)).lines
    both = lines.join(last, left_on=KEYS, right_on=["store", "sku", "target_on"])
    surprised = both.filter(pl.col("price") != pl.col("planned_price"))
    assert both.height == lines.height
    assert surprised.is_empty()  # as of the day itself; a forecast from before the onset still saw the old plan
    stale = found.filter(pl.col("announced_on") < ONSET).join(
        lines.filter(pl.col("sold_on") == ONSET), left_on=["store", "sku", "target_on"], right_on=KEYS
    )
    assert stale.filter(pl.col("price") > pl.col("planned_price")).height > 0.9 * stale.height


def test_scenarios_compose_as_their_effects_do() -> None:
    both = world(Scenario("step", ONSET), Scenario("step", ONSET + timedelta(days=30)), Scenario("covshift", ONSET))
    rows = both.truth.join(world().truth, on=KEYS, suffix="_base").filter(pl.col("sold_on") >= ONSET)
    expected = np.where(rows["sold_on"] >= ONSET + timedelta(days=30), 2.25, 1.5)
    assert (rows["lam"] / rows["lam_base"]).to_numpy() == pytest.approx(expected)
    assert_frame_equal(
        both.lines.select(*KEYS, "price"), world(Scenario("covshift", ONSET)).lines.select(*KEYS, "price")
    )


NAMED = st.builds(
    Scenario, st.sampled_from(sorted(SCENARIOS)), st.integers(-20, 80).map(lambda day: ONSET + timedelta(days=day))
)


@settings(max_examples=25, deadline=None)
@given(st.lists(NAMED, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_scenarios_means_nothing(scenarios: list[Scenario], random: object) -> None:
    config = SimulatorConfig(stores=2, skus=6, days=50, starts_on=ONSET, scenarios=tuple(scenarios))
    random.shuffle(scenarios)  # pyright: ignore[reportAttributeAccessIssue]
    other = SimulatorConfig(**{**config.__dict__, "scenarios": tuple(scenarios)})
    for part in ("lines", "plans", "truth"):
        assert_frame_equal(getattr(simulate(config), part), getattr(simulate(other), part))
