"""Features against naive loops over what was known, against SQL, and against another future."""

import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.science.demand import columns
from platform_assets.science.demand.features import demand_history, price_history
from platform_assets.science.demand.panel import periods
from platform_assets.science.demand.season import season

World = Callable[..., pl.DataFrame]
Perturb = Callable[[pl.DataFrame, datetime, int], pl.DataFrame]
KEY = ["series_id", "event_at", "known_at"]


class Known:
    """What the revisions known by an instant say, by plain loops."""

    def __init__(self, sales: pl.DataFrame, at: datetime) -> None:
        self.open: dict[date, datetime] = {}
        self.rows: dict[str, dict[date, dict[str, Any]]] = defaultdict(dict)
        for row in sales.sort("known_at", maintain_order=True).iter_rows(named=True):
            if row["known_at"] > at:
                continue
            if row["units"] > 0:
                self.open.setdefault(row["period_on"], max(row["event_at"], row["known_at"]))
            self.rows[row["series_id"]][row["period_on"]] = row
            if row["units"] > 0:
                born = self.rows[row["series_id"]].setdefault("born", row["period_on"])  # pyright: ignore
                self.rows[row["series_id"]]["born"] = min(born, row["period_on"])  # pyright: ignore

    def units(self, series: str, on: date) -> float | None:
        row = self.rows[series].get(on)
        if row is None:
            return 0.0
        return None if row["stock"] == 0 and row["units"] == 0 else row["units"]

    def window(self, series: str, last_on: date, days: int) -> list[date]:
        born = self.rows[series]["born"]
        return sorted(on for on in self.open if max(born, last_on - timedelta(days=days - 1)) <= on <= last_on)  # pyright: ignore

    def known_units(self, series: str, last_on: date, days: int) -> list[float]:
        found = [self.units(series, on) for on in self.window(series, last_on, days)]
        return [units for units in found if units is not None]


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def half_mean(values: list[float]) -> float | None:
    return None if not values else (sum(math.sqrt(v) for v in values) / len(values)) ** 2


def naive_demand(sales: pl.DataFrame, series: str, on: date, at: datetime) -> dict[str, Any]:
    known = Known(sales, at)
    units = {d: known.known_units(series, on, d) for d in (7, 14, 28, 56, 91, 182, 364)}
    lines = {
        d: [(known.rows[series].get(o) or {"lines": 0})["lines"] for o in known.window(series, on, d)]
        for d in (28, 91, 364)
    }
    has_lines = any(row["lines"] is not None for row in sales.iter_rows(named=True))
    sold = [o for o in known.window(series, on, 9999) if (known.units(series, o) or 0) > 0]
    year_ago = max((o for o in known.open if o <= on - timedelta(days=364)), default=None)
    past = known.known_units(series, year_ago, 28) if year_ago else []
    found: dict[str, Any] = {f"mean_{d}": mean(units[d]) for d in units}
    found |= {f"half_mean_{d}": half_mean(units[d]) for d in (7, 28, 91, 364)}
    found |= {f"std_{d}": float(np.std(units[d])) if units[d] else None for d in (28, 91, 364)}
    found |= {f"zero_share_{d}": mean([float(u == 0) for u in units[d]]) for d in (28, 91, 364)}
    found |= {f"max_{d}": max(units[d], default=None) for d in (28, 91, 364)}
    for d, levels in {56: (25, 50, 75, 95), 91: (25, 50, 75, 95, 99), 364: (25, 50, 75, 95, 99)}.items():
        found |= {f"q{q}_{d}": float(np.quantile(units[d], q / 100)) if units[d] else None for q in levels}
    means = [found["mean_28"], found["mean_91"], found["mean_364"]]
    blend = None if None in means else 0.25 * means[0] + 0.5 * means[1] + 0.25 * means[2]
    level = next(m for m in (blend, means[1], means[2], 0.0) if m is not None)
    weekday = {
        f"weekday_mean_{name}": mean(
            [
                u
                for o in known.window(series, on, 182)
                if o.isoweekday() == n and (u := known.units(series, o)) is not None
            ]
        )
        for n, name in enumerate(columns.WEEKDAYS, start=1)
    }
    outs = [
        row["stock"] == 0
        for o in known.window(series, on, 28)
        if (row := known.rows[series].get(o)) and row["stock"] is not None
    ]
    recent = [known.units(series, o) or 0.0 for o in known.window(series, on, 9999)][-columns.RECENT_PERIODS :]
    return found | weekday | {
        "level": max(level, 1 / 300),
        "last_units": known.units(series, on),
        "sale_size_91": mean([u for u in units[91] if u > 0]),
        "days_since_sale": float((on - sold[-1]).days),
        "age_days": float((on - known.rows[series]["born"]).days),  # pyright: ignore
        **{f"lines_mean_{d}": mean([float(n) for n in lines[d]]) if has_lines else None for d in lines},
        "stock_out_share_28": mean([float(is_out) for is_out in outs]),
        "year_ago_mean_28": mean(past),
        "year_ago_half_28": half_mean(past),
        "recent_units": [0.0] * (columns.RECENT_PERIODS - len(recent)) + recent,
    }  # fmt: skip


def assert_same(found: dict[str, Any], expected: dict[str, Any], where: object) -> None:
    for name, value in expected.items():
        if value is None or found[name] is None:
            assert found[name] == value, (where, name)
        else:
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-6), (where, name)


@pytest.mark.parametrize(("seed", "period_days", "bare"), [(0, 1, False), (1, 1, True), (2, 7, False)])
def test_demand_history_equals_loops_over_what_was_known(
    make_world: World, seed: int, period_days: int, bare: bool
) -> None:
    sales = make_world(seed, period_days=period_days, periods=460 if period_days == 1 else 140, bare=bare)
    found = demand_history(sales.lazy(), period_days=period_days).collect()
    assert found.select(KEY).is_duplicated().sum() == 0
    rows = found.sort(KEY).gather_every(53 if period_days == 1 else 17)
    assert rows.height > 8
    starts = dict(sales.select("event_at", "period_on").iter_rows())
    for row in rows.iter_rows(named=True):
        expected = naive_demand(sales, row["series_id"], starts[row["event_at"]], row["known_at"])
        assert_same(row, expected, (row["series_id"], row["event_at"], row["known_at"]))


def test_rows_stand_for_every_open_period_until_98_days_after_the_last_sale(make_world: World) -> None:
    """A row is known when its period arrives, and again when the series' own figures come later."""
    sales = make_world(3, periods=250, series=3)
    found = set(demand_history(sales.lazy()).select(KEY).collect().iter_rows())
    arrived = dict(periods(sales.lazy()).select("period_on", "arrived_at").collect().iter_rows())
    known_by = cache(lambda at: Known(sales, at))
    expected = set()
    for series in ("s0", "s1", "s2"):
        figures: dict[date, datetime] = {}
        for row in sales.filter(pl.col("series_id") == series).sort("known_at").iter_rows(named=True):
            figures.setdefault(row["period_on"], row["known_at"])
        for on, at in arrived.items():
            times = {at} | ({figures[on]} if on in figures and figures[on] > at else set())
            for known_at in times:
                known = known_by(known_at)
                sold = [o for o in arrived if o <= on and (known.units(series, o) or 0) > 0]
                if sold and (on - max(sold)).days < 98:
                    expected.add(
                        (series, datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(days=1), known_at)
                    )
    assert found == expected


@pytest.mark.parametrize("view", [demand_history, price_history, season])
@pytest.mark.parametrize(("seed", "days"), [(4, 200), (5, 380), (6, 451), (7, 330)])
def test_another_future_changes_nothing_known_before(
    make_world: World, perturb: Perturb, view: Any, seed: int, days: int
) -> None:
    """Neither values, nor which rows there are: a row that exists because of the future is a leak too."""
    sales = make_world(seed)
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days, hours=6)
    key = [*KEY, "target_day"] if view is season else KEY
    before = pl.col("known_at") <= at
    was = view(sales.lazy()).filter(before).sort(key).collect()
    now = view(perturb(sales, at, seed).lazy()).filter(before).sort(key).collect()
    assert was.height > 100
    assert_frame_equal(was, now, check_exact=True)


@pytest.mark.parametrize("view", [demand_history, price_history, season])
@pytest.mark.parametrize("revisions", [False, True])
def test_a_months_increment_equals_the_same_month_of_a_bulk_run(make_world: World, view: Any, revisions: bool) -> None:
    sales = make_world(8, revisions=revisions)
    start_on, end_on = date(2025, 2, 1), date(2025, 2, 28)
    starts = sales.select("event_at", "period_on").unique()
    bulk = view(sales.lazy()).collect().join(starts, on="event_at", maintain_order="left")
    bulk = bulk.filter(pl.col("period_on").is_between(start_on, end_on)).drop("period_on")
    key = [*KEY, "target_day"] if view is season else KEY
    found = view(sales.lazy(), start_on=start_on, end_on=end_on).collect()
    assert bulk.height > 40
    assert_frame_equal(found.sort(key), bulk.sort(key), check_exact=True)


def test_market_columns_equal_loops(make_world: World) -> None:
    sales = make_world(9, revisions=False)
    found = demand_history(sales.lazy()).collect()
    starts = dict(sales.select("event_at", "period_on").iter_rows())
    by_day: dict[date, float] = defaultdict(float)
    for row in sales.filter(pl.col("units") > 0).iter_rows(named=True):
        by_day[row["period_on"]] += math.sqrt(row["units"])

    def index(on: date, days: int) -> float | None:
        return mean([v for o, v in by_day.items() if on - timedelta(days=days) <= o < on])

    for row in found.sort(KEY).gather_every(61).iter_rows(named=True):
        on = starts[row["event_at"]]
        ago = max((o for o in by_day if o <= on - timedelta(days=364)), default=None)
        expected = {
            "market_trend_7": index(on, 7) / index(on, 28) if index(on, 7) and index(on, 28) else None,  # pyright: ignore
            "market_trend_28": index(on, 28) / index(on, 91) if index(on, 28) and index(on, 91) else None,  # pyright: ignore
            "year_ago_market_28": index(ago, 28) if ago else None,
        }
        assert_same(row, expected, on)


SQL = """
with open_days as (select period_on, any_value(event_at) as event_at from sales where units > 0 group by 1),
born as (select series_id, min(period_on) as born_on from sales where units > 0 group by 1),
panel as (
  select series_id, period_on, o.event_at, coalesce(units, 0) as u, stock, is_promoted,
         case when units > 0 then price end as price
  from born join open_days o on period_on >= born_on left join sales using (series_id, period_on)
),
demand as (select *, case when stock = 0 and u = 0 then null else u end as units from panel)
select series_id, event_at,
  last_value(price ignore nulls) over (w range between interval 363 days preceding and current row) as last_price,
  median(price) over (w range between interval 27 days preceding and current row) as price_median_28,
  median(price) over (w range between interval 90 days preceding and current row) as price_median_91,
  median(price) over (w range between interval 90 days preceding and current row)
    / median(price) over (w range between interval 363 days preceding and current row) as price_ratio_364,
  is_promoted as is_promoted_now,
  avg(is_promoted::int) over (w range between interval 27 days preceding and current row) as promotion_share_28,
  avg(is_promoted::int) over (w range between interval 363 days preceding and current row) as promotion_share_364,
  avg(case when is_promoted then units end)
    over (w range between interval 363 days preceding and current row) as promoted_mean_364,
  avg(case when not is_promoted then units end)
    over (w range between interval 55 days preceding and current row) as regular_mean_56,
  avg(case when not is_promoted then units end)
    over (w range between interval 363 days preceding and current row) as regular_mean_364
from demand window w as (partition by series_id order by period_on)
"""


def test_price_history_equals_sql(make_world: World) -> None:
    import duckdb

    sales = make_world(10, revisions=False)
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    connection.register("sales", sales.to_arrow())
    expected = connection.execute(SQL).pl().with_columns(pl.col("event_at").cast(pl.Datetime("us", "UTC")))
    found = price_history(sales.lazy()).collect()
    joined = found.join(expected, on=["series_id", "event_at"], suffix="_sql", maintain_order="left")
    assert joined.height == found.height > 500
    for name in [c for c in expected.columns if c not in ("series_id", "event_at")]:
        assert_frame_equal(
            joined.select(name), joined.select(pl.col(f"{name}_sql").alias(name)), check_dtypes=False, abs_tol=1e-9
        )
    ratio = found["last_price"] / found["price_median_91"]
    assert_frame_equal(found.select("price_ratio_91"), ratio.alias("price_ratio_91").to_frame())


def test_a_source_without_prices_promotions_lines_or_stock_has_nulls(make_world: World) -> None:
    sales = make_world(11, bare=True)
    prices = price_history(sales.lazy()).collect()
    assert prices.select(pl.all().exclude(KEY)).null_count().row(0) == (prices.height,) * len(columns.PRICE_HISTORY)
    demand = demand_history(sales.lazy()).collect()
    assert demand["lines_mean_28"].is_null().all()
    assert demand["stock_out_share_28"].is_null().all()


@pytest.mark.parametrize("view", [demand_history, price_history, season])
def test_no_sales_give_the_views_columns_and_no_rows(make_world: World, view: Any) -> None:
    empty = view(make_world(0).clear().lazy()).collect()
    full = view(make_world(0, periods=420).lazy()).collect()
    assert empty.schema == full.schema
    assert empty.height == 0
    named = [name for name in full.columns if name in columns.ALL]
    assert columns.plain(named) == tuple(name for name in named if not full.schema[name].is_nested())
