"""Which rows are drawn: live series, open targets, a budget, and no surprise when the history grows."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from platform_assets.science.demand.masks import Mask, masked
from platform_assets.science.demand.panel import LIVE_DAYS, periods
from platform_assets.science.demand.sampling import evaluation_rows, fit_rows, issue_rows, last_weights, live

World = Callable[..., pl.DataFrame]
DAYS = range(1, 29)


@pytest.mark.parametrize("seed", [40, 41])
def test_live_equals_a_loop(make_world: World, seed: int) -> None:
    """A series is live that sold within 91 days, this period among them, as first reported."""
    sales = make_world(seed)
    first = sales.sort("known_at", maintain_order=True).unique(["series_id", "period_on"], keep="first")
    first = first.filter(pl.col("units") > 0)
    expected = {
        (series, on)
        for on in periods(sales.lazy()).collect()["period_on"]
        for series, sold in first.group_by("series_id").agg("period_on").iter_rows()
        if any(on - timedelta(days=LIVE_DAYS) < o <= on for o in sold)
    }
    assert set(live(sales.lazy()).select("series_id", "period_on").iter_rows()) == expected
    part = live(sales.lazy(), start_on=date(2024, 6, 1), end_on=date(2024, 7, 1))
    assert set(part.select("series_id", "period_on").iter_rows()) == {
        pair for pair in expected if date(2024, 6, 1) <= pair[1] <= date(2024, 7, 1)
    }


def test_fit_rows_are_live_open_within_reach_and_about_as_many_as_asked(make_world: World) -> None:
    sales = make_world(42, series=30)
    drawn = fit_rows(sales.lazy(), rows=3000, horizons=DAYS)
    starts = dict(sales.select("event_at", "period_on").iter_rows())
    alive = set(live(sales.lazy()).select("series_id", "issued_at").iter_rows())
    assert 2500 < drawn.height < 3300
    assert drawn.is_unique().all()
    assert set(drawn.select("series_id", "issued_at").iter_rows()) <= alive
    assert set(drawn["target_on"]) <= set(periods(sales.lazy()).collect()["period_on"])
    for issued_at, target_on, horizon, target_day in drawn.select(
        "issued_at", "target_on", "horizon_days", "target_day"
    ).iter_rows():
        assert horizon == (target_on - starts[issued_at]).days
        assert 1 <= horizon <= 28
        assert target_day == (target_on - date(1970, 1, 1)).days


def test_a_longer_history_keeps_rows_and_another_seed_does_not(make_world: World) -> None:
    sales = make_world(43, series=20)
    until = date(2025, 3, 1)
    whole = fit_rows(sales.lazy(), rows=4000, horizons=DAYS, end_on=date(2024, 12, 1))
    shorter = fit_rows(
        sales.filter(pl.col("period_on") <= until).lazy(), rows=4000, horizons=DAYS, end_on=date(2024, 12, 1)
    )
    other = fit_rows(sales.lazy(), rows=4000, horizons=DAYS, end_on=date(2024, 12, 1), seed=1)
    assert whole.join(shorter, on=whole.columns).height > 0.95 * whole.height
    assert whole.join(other, on=whole.columns).height < 0.6 * whole.height
    again = fit_rows(
        sales.sample(fraction=1.0, shuffle=True, seed=9).lazy(), rows=4000, horizons=DAYS, end_on=date(2024, 12, 1)
    )
    assert again.equals(whole)


def test_rows_are_drawn_by_the_root_of_volume_where_the_loss_is_in_units() -> None:
    """Two series, one selling a hundred times the other: ten times the rows; of a probability, as many."""
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(400)]
    sales = pl.DataFrame(
        [
            {"series_id": name, "period_on": on, "units": units}
            for on in days
            for name, units in (("big", 100.0), ("small", 1.0))
        ]
    ).with_columns(event_at=(pl.col("period_on") + timedelta(days=1)).cast(pl.Datetime("us", "UTC")))
    sales = sales.with_columns(known_at="event_at")
    drawn = fit_rows(sales.lazy(), rows=2000, horizons=DAYS, start_on=date(2024, 5, 1))
    counts = dict(drawn["series_id"].value_counts().iter_rows())
    assert counts["big"] / counts["small"] == pytest.approx(10, rel=0.2)
    alike = fit_rows(sales.lazy(), rows=300, horizons=[7], are_targets_open=False, start_on=date(2024, 5, 1))
    counts = dict(alike["series_id"].value_counts().iter_rows())
    assert counts["big"] / counts["small"] == pytest.approx(1, rel=0.3)


def test_recent_rows_are_drawn_more_densely(make_world: World) -> None:
    sales = make_world(44, series=20)
    last_on = sales["period_on"].max()
    drawn = fit_rows(sales.lazy(), rows=1500, horizons=[1], recent_days=56, recent_density=4.0, volume_power=0.0)
    alive = live(sales.lazy()).with_columns(is_recent=pl.col("period_on") > last_on - timedelta(days=56))
    drawn = drawn.join(alive, on=["series_id", "issued_at"])
    rate = {
        recent: drawn.filter(is_recent=recent).height / alive.filter(is_recent=recent).height
        for recent in (True, False)
    }
    assert rate[True] / rate[False] == pytest.approx(4, rel=0.25)


def test_what_is_issued_within_a_mask_is_neither_drawn_nor_judged(make_world: World) -> None:
    """And the budget goes to the rest."""
    sales = make_world(45, series=20)
    since, until = datetime(2024, 9, 1, tzinfo=UTC), datetime(2024, 12, 1, tzinfo=UTC)
    masks = [Mask(since, until), Mask(datetime(2025, 1, 1, tzinfo=UTC), None, "s3")]
    drawn = fit_rows(sales.lazy(), rows=1500, horizons=[1], masks=masks)
    every = fit_rows(sales.lazy(), rows=1500, horizons=[1])
    assert masked(drawn, masks).equals(drawn)
    assert masked(every, masks).height < 0.9 * every.height < drawn.height
    judged = evaluation_rows(sales.lazy(), issued_on=[date(2024, 8, 1), date(2024, 10, 1)], horizons=DAYS, masks=masks)
    assert judged.equals(evaluation_rows(sales.lazy(), issued_on=[date(2024, 8, 1)], horizons=DAYS))


def test_the_draw_is_the_same_everywhere() -> None:
    """Pinned: another machine, version or order of rows must draw the same, or no training set can be rebuilt."""
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(60)]
    sales = pl.DataFrame({"series_id": "a", "period_on": days, "units": 1.0}).with_columns(
        event_at=(pl.col("period_on") + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    )
    drawn = fit_rows(sales.with_columns(known_at="event_at").lazy(), rows=6, horizons=DAYS, seed=3)
    assert drawn.select(pl.col("issued_at").dt.date(), "horizon_days").rows() == PINNED


PINNED = [
    (date(2024, 1, 2), 19),
    (date(2024, 1, 5), 3),
    (date(2024, 1, 11), 1),
    (date(2024, 1, 17), 10),
    (date(2024, 2, 7), 1),
    (date(2024, 2, 12), 15),
]


def test_evaluation_rows_are_all_live_series_times_all_horizons(make_world: World) -> None:
    sales = make_world(45)
    closed = date(2024, 1, 1) + timedelta(days=305)
    rows = evaluation_rows(sales.lazy(), issued_on=[date(2024, 6, 3), closed], horizons=DAYS)
    opened = periods(sales.lazy()).collect()["period_on"]
    origins = [max(on for on in opened if on <= day) for day in (date(2024, 6, 3), closed)]
    alive = live(sales.lazy()).filter(pl.col("period_on").is_in(origins))
    assert rows.height == alive.height * 28
    assert set(rows["horizon_days"]) == set(DAYS)
    assert set(rows["issued_at"]) == set(alive["issued_at"])


@pytest.mark.parametrize(("seed", "period_days"), [(45, 1), (46, 7)])
def test_many_origins_at_once_are_what_a_loop_over_each_asks(make_world: World, seed: int, period_days: int) -> None:
    """Two days after one period, in any order, before all sales, in a gap, after the last; under a mask one series less."""
    sales = make_world(seed, period_days=period_days, periods=460 // period_days).lazy()
    days = [date(2024, 1, 1) + timedelta(days=n) for n in (200, -3, 0, 1, 97, 98, 305, 309, 311, 900)]
    since, until = datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
    opened, alive = periods(sales).collect()["period_on"], live(sales)
    expected = {
        (series, issued_at, on + timedelta(days=horizon), horizon)
        for day in days
        for origin in [max((on for on in opened if on <= day), default=None)]
        for series, on, issued_at in alive.select("series_id", "period_on", "issued_at").iter_rows()
        if on == origin and not (series == "s1" and since <= issued_at < until)
        for horizon in (7, 14)
    }
    asked = evaluation_rows(sales, issued_on=days, horizons=(7, 14), masks=[Mask(since, until, "s1")])
    rows = asked.select("series_id", "issued_at", "target_on", "horizon_days").rows()
    assert rows == sorted(expected, key=lambda row: (row[1], row[0], row[2]))
    assert 2 < asked["issued_at"].n_unique() < len(days) - 1


def test_issue_rows_are_of_the_last_period(make_world: World) -> None:
    sales = make_world(46, period_days=7, periods=60)
    rows = issue_rows(sales.lazy(), horizons=(7, 14, 21, 28))
    last = periods(sales.lazy()).collect().row(-1, named=True)
    assert set(rows["issued_at"]) == {last["event_at"]}
    assert set(rows["target_on"]) == {last["period_on"] + timedelta(days=d) for d in (7, 14, 21, 28)}


def test_no_series_no_rows(make_world: World) -> None:
    sales = make_world(47, periods=60)
    assert fit_rows(sales.clear().lazy(), rows=100, horizons=DAYS).height == 0


def test_the_last_weights_are_the_roots_of_the_volumes_of_the_live_series(make_world: World) -> None:
    sales = make_world(44, series=12)
    last_on: date = periods(sales.lazy()).collect()["period_on"].to_list()[-1]
    first = sales.sort("known_at", maintain_order=True).unique(["series_id", "period_on"], keep="first")
    recent = first.filter((pl.col("period_on") > last_on - timedelta(days=LIVE_DAYS)) & (pl.col("units") > 0))
    expected = {
        name: (units / LIVE_DAYS) ** 0.5
        for name, units in recent.group_by("series_id").agg(pl.col("units").sum()).rows()
    }
    assert dict(last_weights(sales.lazy()).rows()) == pytest.approx(expected)
    assert set(last_weights(sales.lazy(), are_targets_open=False)["weight"]) == {1.0}
