"""Periods whose figures are unknown: windows skip them, and a repair that comes later repairs all that comes after it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.science.demand import columns
from platform_assets.science.demand.features import demand_history, price_history
from platform_assets.science.demand.labels import attach
from platform_assets.science.demand.market import market_index
from platform_assets.science.demand.panel import dense, periods
from platform_assets.science.demand.season import season
from tests.science.demand.conftest import _world

VALUES = ("units", "price", "is_promoted", "stock", "lines", "tickets")
KEY = ["series_id", "event_at", "known_at"]
INSTANT = pl.Datetime("us", "UTC")


def dense_world(seed: int) -> pl.DataFrame:
    """A world without corrections, in which each series has a row in every open period of its life, as a quarantine writes it."""
    sales = _world(seed, periods=420, revisions=False)
    always = sales.group_by("period_on").agg(pl.all().first()).with_columns(series_id=pl.lit("s9"), units=pl.lit(1.0), lines=pl.lit(1, dtype=pl.Int64))  # fmt: skip
    sales = pl.concat(
        [sales, always.select(sales.columns)]
    )  # else a day on which one series alone sold would look closed
    rows = dense(sales.lazy()).rows.select("series_id", "period_on", "event_at", known_at="event_at")
    return rows.join(sales.drop("event_at", "known_at"), on=["series_id", "period_on"], how="left").with_columns(
        pl.col("units", "lines").fill_null(0)
    )


def faulty(seed: int, series: list[str], first: int, days: int) -> tuple[pl.DataFrame, pl.Expr]:
    sales = dense_world(seed)
    dates = sales["period_on"].unique().sort()
    cell = pl.col("series_id").is_in(series) & pl.col("period_on").is_between(dates[first], dates[first + days])
    return sales, cell


def unknown(sales: pl.DataFrame, cell: pl.Expr) -> pl.DataFrame:
    return sales.with_columns(pl.when(~cell).then(pl.col(name)).alias(name) for name in VALUES)


@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate])
@example(3, ["s0", "s2"], 255, 13, 0)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(["s0", "s1", "s2"]), min_size=1, max_size=2, unique=True),
    st.integers(250, 300),
    st.integers(0, 14),
    st.integers(0, 20),
)
@pytest.mark.parametrize("view", [demand_history, price_history, season])
def test_after_the_repair_a_row_is_as_if_the_figures_had_never_been_known(
    view: Callable[..., pl.LazyFrame], seed: int, series: list[str], first: int, days: int, later: int
) -> None:
    sales, cell = faulty(seed, series, first, days)
    wrong = sales.with_columns(units=pl.when(cell).then(pl.col("units") * 10).otherwise("units"))
    last = sales.filter(cell)["event_at"].max()
    if last is None:
        return
    assert isinstance(last, datetime)
    at = last + timedelta(days=later, hours=3)
    repair = unknown(sales, cell).filter(cell).with_columns(known_at=pl.lit(at, dtype=INSTANT))
    repaired = view(pl.concat([wrong, repair]).lazy()).collect().sort(*KEY)
    never = view(unknown(sales, cell).lazy()).collect().sort(*KEY)
    poisoned = view(wrong.lazy()).collect().sort(*KEY)
    is_after = pl.col("known_at") >= at
    assert_frame_equal(repaired.filter(is_after), never.filter(is_after))
    assert_frame_equal(repaired.filter(~is_after), poisoned.filter(~is_after))  # what was known before stays


def test_windows_skip_what_is_unknown_as_they_skip_days_out_of_stock() -> None:
    sales, cell = faulty(5, ["s0"], 280, 9)
    out = sales.with_columns(
        units=pl.when(cell).then(0.0).otherwise("units"), stock=pl.when(cell).then(0.0).otherwise("stock"),
        price=pl.when(~cell).then(pl.col("price")), is_promoted=pl.when(~cell).then(pl.col("is_promoted")),
    )  # fmt: skip
    found, expected = (
        demand_history(frame.lazy()).collect().filter(series_id="s0").sort(*KEY)
        for frame in (unknown(sales, cell), out)
    )
    of_others = {"recent_units", "stock_out_share_28", "year_ago_market_28", "market_trend_7", "market_trend_28"}
    of_lines = {name for name in found.columns if name.startswith(("lines", "line_size"))}
    same = [f.name for f in columns.DEMAND_HISTORY if f.name not in of_others | of_lines]
    assert_frame_equal(found.select(*KEY, *same), expected.select(*KEY, *same))
    recent = found.filter(pl.col("known_at") == sales.filter(cell)["known_at"].max())
    assert recent["recent_units"].list.get(-1).item() == pytest.approx(recent["mean_28"].item(), rel=1e-6)
    healthy = demand_history(sales.lazy()).collect().filter(series_id="s0").sort(*KEY)
    known = healthy["lines_mean_28"].is_not_null()
    assert known.all()
    assert found["lines_mean_28"].is_not_null().all()


def test_the_market_goes_on_as_usual_while_a_series_is_unknown() -> None:
    sales, cell = faulty(5, ["s0"], 280, 9)
    calendar = periods(sales.lazy()).collect()
    sound = market_index(sales.lazy(), calendar)
    hidden = market_index(unknown(sales, cell).lazy(), calendar)
    is_hidden = calendar["period_on"].is_in(sales.filter(cell)["period_on"].implode())
    assert_frame_equal(hidden.filter(~is_hidden), sound.filter(~is_hidden))
    of_hidden, of_sound = (float(one.filter(is_hidden)["market"].sum()) for one in (hidden, sound))
    assert 0.6 < of_hidden / of_sound < 1.6
    known = pl.when(~cell).then(pl.col("units").sqrt()).fill_null(0.0)
    lost = sales.group_by("period_on").agg(known.sum().alias("market")).filter(
        pl.col("period_on").is_in(sales.filter(cell)["period_on"].implode())
    )  # fmt: skip
    assert float(lost["market"].sum()) < 0.95 * of_hidden


def test_an_unknown_label_is_none() -> None:
    sales, cell = faulty(5, ["s0"], 280, 2)
    on = sales.filter(cell)["period_on"].min()
    other = sales.filter(pl.col("series_id") != "s0", pl.col("period_on") == on, pl.col("units") > 0)["series_id"][0]
    rows = pl.DataFrame({"series_id": ["s0", other], "target_on": [on, on]})
    labelled = attach(rows, unknown(sales, cell).lazy())
    assert labelled["units"].is_null().to_list() == [True, False]
    assert labelled["label_known_at"].is_null().to_list() == [True, False]
    at = datetime(2030, 1, 1, tzinfo=UTC)
    lifted = pl.concat([unknown(sales, cell), sales.filter(cell).with_columns(known_at=pl.lit(at, dtype=INSTANT))])
    assert attach(rows, lifted.lazy())["label_known_at"].to_list()[0] == at
