"""When a line was known, which delivery of a day counts, and how a correction becomes a revision."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ContractError
from platform_assets.science.landing import INSTANT, Delivery, check_dates, local_instant, period_end, place, resolve
from platform_assets.science.sales import SALES, aggregate, latest, layered, revise
from platform_assets.science.source import Source
from platform_assets.science.volume import check_manifest, check_replaced, smallest_tail


def source(**more: Any) -> Source:
    return Source(**{"name": "shop", "series": ("item",), "columns": {"units": "units", "sold_on": "day"}, **more})


LOCAL = [  # local time, zone, UTC
    (datetime(2011, 7, 1, 12), "Europe/London", datetime(2011, 7, 1, 11, tzinfo=UTC)),
    (datetime(2011, 1, 1, 12), "Europe/London", datetime(2011, 1, 1, 12, tzinfo=UTC)),
    # 2011-10-30 01:30 occurs twice, at 00:30 and 01:30 UTC; the first is meant
    (datetime(2011, 10, 30, 1, 30), "Europe/London", datetime(2011, 10, 30, 0, 30, tzinfo=UTC)),
    # 2011-03-27 01:30 is skipped; read as 02:30 British summer time
    (datetime(2011, 3, 27, 1, 30), "Europe/London", datetime(2011, 3, 27, 1, 30, tzinfo=UTC)),
    # the midnight that ends 2018-11-03 does not exist in Sao Paulo, the day begins at 01:00
    (datetime(2018, 11, 4), "America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    # and the one that ends 2022-11-05 in Havana occurs twice
    (datetime(2022, 11, 6, 0, 30), "America/Havana", datetime(2022, 11, 6, 4, 30, tzinfo=UTC)),
    (datetime(2024, 2, 29, 23, 59), "Asia/Kathmandu", datetime(2024, 2, 29, 18, 14, tzinfo=UTC)),
]


@pytest.mark.parametrize(("local", "zone", "instant"), LOCAL)
def test_a_local_time_is_one_instant(local: datetime, zone: str, instant: datetime) -> None:
    frame = pl.DataFrame({"local": [local]}, schema={"local": pl.Datetime("us")})
    assert frame.select(local_instant(pl.col("local"), zone)).item() == instant


@pytest.mark.parametrize(
    ("frequency", "day", "ends"),
    [
        ("day", date(2011, 3, 27), datetime(2011, 3, 27, 23, tzinfo=UTC)),  # a day of 23 hours
        ("day", date(2011, 10, 30), datetime(2011, 10, 31, 0, tzinfo=UTC)),  # and one of 25
        ("week", date(2011, 3, 21), datetime(2011, 3, 27, 23, tzinfo=UTC)),
    ],
)
def test_a_period_ends_at_local_midnight(frequency: str, day: date, ends: datetime) -> None:
    frame = pl.DataFrame({"period_on": [day]})
    shop = source(frequency=frequency, timezone="Europe/London")
    assert frame.select(period_end(pl.col("period_on"), shop)).item() == ends


def test_weeks_are_dated_as_the_source_says() -> None:
    days = pl.DataFrame(
        {"item": ["a"] * 3, "units": [1.0] * 3, "day": [date(2024, 1, 7), date(2024, 1, 14), date(2024, 1, 21)]}
    )
    start = place(days, source(frequency="week"), None)["period_on"].to_list()
    end = place(days, source(frequency="week", dated="end"), None)["period_on"].to_list()
    added = place(days, source(frequency="week", dated="day", week_starts_on=6), None)["period_on"].to_list()
    monday = place(days, source(frequency="week", dated="day"), None)["period_on"].to_list()
    assert start == added == days["day"].to_list()
    assert end == monday == [date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15)]
    mixed = days.with_columns(day=pl.Series([date(2024, 1, 7), date(2024, 1, 8), date(2024, 1, 9)]))
    with pytest.raises(ContractError, match=r"weekdays \[1, 2, 7\], expected one weekday"):
        place(mixed, source(frequency="week"), None)


def test_an_adapter_that_forgets_the_zone_is_refused() -> None:
    lines = pl.DataFrame({"item": ["a"], "units": [1.0], "at": [datetime(2024, 1, 1, 9)]})
    shop = source(columns={"units": "units", "sold_at": "at"})
    with pytest.raises(ContractError, match=r"`event_at` is Datetime.*, a time without a zone"):
        place(lines, shop, pl.col("at"))


def delivery(
    name: str, days: dict[date, float], arrived_at: datetime | None = None, shop: Source | None = None
) -> Delivery:
    lines = pl.DataFrame({"item": ["a"] * len(days), "units": list(days.values()), "day": list(days)})
    placed = place(
        lines.with_row_index("file_row", 1).with_columns(pl.col("file_row").cast(pl.Int64)), shop or source(), None
    )
    return Delivery(name, name.ljust(16, "0"), placed, arrived_at)


ONE, TWO, THREE = date(2024, 5, 1), date(2024, 5, 2), date(2024, 5, 3)
SOON, LATE = datetime(2024, 5, 4, 6, tzinfo=UTC), datetime(2024, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("first", "second", "ended", "known"),
    [
        # a history is known at the end of each day, whenever it is loaded
        ({ONE: 1.0, TWO: 2.0}, None, False, {ONE: (1.0, 2), TWO: (2.0, 3)}),
        # a day that arrives in time is known at its end
        ({ONE: 1.0}, ({THREE: 3.0}, SOON), False, {ONE: (1.0, 2), THREE: (3.0, 4)}),
        # one that arrives late, when it arrives; of a source that has ended it is history
        ({ONE: 1.0}, ({THREE: 3.0}, LATE), False, {ONE: (1.0, 2), THREE: (3.0, 20)}),
        ({ONE: 1.0}, ({THREE: 3.0}, LATE), True, {ONE: (1.0, 2), THREE: (3.0, 4)}),
        # a correction is known when it arrives, even one of the same day
        ({ONE: 1.0, TWO: 2.0}, ({TWO: 9.0}, LATE), True, {ONE: (1.0, 2), TWO: (9.0, 20)}),
    ],
)
def test_when_a_day_is_known(first: Any, second: Any, ended: bool, known: Any) -> None:
    shop = source(is_ended=ended)
    deliveries = [delivery("history", first, None, shop)] + ([delivery("later", *second, shop)] if second else [])
    lines = resolve(deliveries, shop)
    assert {row[0]: (row[1], row[2].day) for row in lines.select("day_on", "units", "known_at").rows()} == known


def test_dates_out_of_time_are_named() -> None:
    lines = delivery("f", {ONE: 1.0, TWO: 1.0, date(2031, 1, 1): 1.0}).lines
    with pytest.raises(ContractError, match=r"f.csv: column `day` is out of time in 1 of 3 rows \(row 3: 2031-01-01\)"):
        check_dates(lines, source(), "f.csv", today=date(2026, 1, 1))
    with pytest.raises(ContractError, match="more than two years from the other lines"):
        check_dates(lines, source(), "f.csv", today=None)
    with pytest.raises(ContractError, match=r"row 1: 2024-05-01.*expected 2024-05-02 to 2031-12-31"):
        check_dates(lines, source(starts_on=TWO, ends_on=date(2031, 12, 31)), "f.csv", today=None)
    check_dates(lines[:2], source(), "f.csv", today=TWO)


@pytest.mark.parametrize(
    ("counts", "needed"),
    [
        ([100] * 13, None),  # too few periods to say
        ([100] * 28, 75),  # an even source: three quarters of the smallest
        ([100] * 27 + [40], 30),
        ([10**6] + [100] * 28, 75),  # only the last 28 count
    ],
)
def test_the_last_period_must_not_be_a_torso(counts: list[int], needed: int | None) -> None:
    assert smallest_tail(counts) == needed


def test_an_uneven_source_may_have_a_quiet_day() -> None:
    uneven = [1000, 3000, 400, 2500] * 7
    assert (smallest_tail(uneven) or 0) < 100


def test_a_manifest_must_state_something() -> None:
    check_manifest({"rows": 3, "sha256": "AB"}, file="f", rows=3, digest="ab")
    with pytest.raises(ContractError, match="neither `rows` nor `sha256`"):
        check_manifest({"lines": 3}, file="f", rows=3, digest="ab")


def sold(rows: list[tuple[str, date, float]], known: datetime | None = None) -> pl.DataFrame:
    frame = pl.DataFrame(
        [(*row, 2.0, 1) for row in rows],
        schema={
            "series_id": pl.String,
            "period_on": pl.Date,
            "units": pl.Float64,
            "price": pl.Float64,
            "lines": pl.Int64,
        },
        orient="row",
    )
    ends = (pl.col("period_on") + timedelta(days=1)).cast(INSTANT)
    at = ends if known is None else pl.lit(known, dtype=INSTANT)
    rest = {"is_promoted": None, "stock": None, "tickets": None}
    full = frame.with_columns(
        event_at=(pl.col("period_on") + timedelta(days=1)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        **{k: pl.lit(None) for k in rest},
    )
    full = full.with_columns(known_at=pl.col("event_at") if known is None else at)
    return full.select(pl.col(name).cast(dtype) for name, dtype in SALES.items())


def test_a_revision_leaves_what_was_known() -> None:
    old = sold([("a", ONE, 1.0), ("b", ONE, 5.0), ("a", TWO, 2.0)])
    new = sold([("a", ONE, 1.0), ("a", TWO, 7.0), ("c", TWO, 3.0)])
    revised = revise(old, new, LATE)
    assert_frame_equal(
        revised.filter(pl.col("known_at") < LATE).filter(pl.col("series_id") != "c"), old.sort("period_on", "series_id")
    )
    said = {row[:3]: row[3] for row in revised.select("series_id", "period_on", "units", "known_at").rows()}
    assert said["b", ONE, 0.0] == LATE  # gone: sold nothing
    assert said["a", TWO, 7.0] == LATE
    assert said["c", TWO, 3.0] == datetime(
        2024, 5, 3, tzinfo=UTC
    )  # first delivery of that series and day: its own rule
    assert revised.height == 6
    assert_frame_equal(revise(revised, new, LATE + timedelta(days=1)), revised)
    # what is gone and comes back is a revision too
    back = revise(revised, old, LATE + timedelta(days=2))
    assert latest(back).filter(pl.col("series_id") == "b")["units"].to_list() == [5.0]


def test_another_rule_changes_the_revision_that_a_delivery_made() -> None:
    """Cleaning that is mended is no news from the shop: history is what it would have been, and no correction is invented."""
    first = sold([("a", ONE, 1.0), ("b", ONE, 5.0), ("a", TWO, 2.0)])
    ends = first.group_by("period_on").agg(delivered_at=pl.col("known_at").max())
    mended = sold([("a", ONE, 4.0), ("a", TWO, 2.0)])
    assert_frame_equal(layered(first, mended, ends), mended)

    # the shop corrects day TWO; then cleaning is mended again
    again = ends.with_columns(
        delivered_at=pl.when(pl.col("period_on") == TWO).then(pl.lit(LATE, dtype=INSTANT)).otherwise("delivered_at")
    )
    corrected = layered(first, sold([("a", ONE, 1.0), ("b", ONE, 5.0), ("a", TWO, 9.0)]), again)
    assert corrected.filter(pl.col("period_on") == TWO).select("units", "known_at").rows()[1] == (9.0, LATE)
    after = layered(corrected, sold([("a", ONE, 1.0), ("b", ONE, 5.0), ("a", TWO, 8.0)]), again)
    assert after.filter(pl.col("period_on") == TWO)["units"].to_list() == [2.0, 8.0]


Rows = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from([ONE, TWO, THREE])), st.integers(0, 4), max_size=6
)


@settings(max_examples=40, deadline=None)
@given(deliveries=st.lists(Rows, min_size=1, max_size=4))
def test_after_any_deliveries_the_latest_revision_is_the_last_delivery(
    deliveries: list[dict[tuple[str, date], int]],
) -> None:
    frames = [sold([(series, day, float(units)) for (series, day), units in rows.items()]) for rows in deliveries]
    table = frames[0].clear()
    for number, frame in enumerate(frames):
        at = LATE + timedelta(days=number)
        before = table
        table = revise(table, frame, at)
        kept = table.join(before, on=list(SALES), how="semi", nulls_equal=True)
        assert kept.height == before.height  # nothing that was said is lost
        added = table.join(before, on=["series_id", "period_on"], how="semi").filter(pl.col("known_at") >= at)
        assert table.height - before.height >= added.height
        assert not table.select("series_id", "period_on", "known_at").is_duplicated().any()
        key = ["series_id", "period_on"]
        standing = {tuple(row[:2]): row[2] for row in latest(table).select(*key, "units").rows()}
        said = {tuple(row[:2]): row[2] for row in frame.select(*key, "units").rows()}
        assert {k: v for k, v in standing.items() if v} == {k: v for k, v in said.items() if v}
        assert_frame_equal(revise(table, frame, at + timedelta(hours=1)), table)


def test_a_promotion_that_nobody_told_is_unknown() -> None:
    """It was False, and a model learned prices without promotions from it."""
    shop = source(columns={"units": "units", "sold_on": "day", "is_promoted": "promoted"})
    told = {"none": [None, None], "one": [None, True], "not": [False, None]}
    lines = pl.DataFrame(
        [{"series_id": name, "units": 1.0, "promoted": said} for name, values in told.items() for said in values],
        schema={"series_id": pl.String, "units": pl.Float64, "promoted": pl.Boolean},
    ).with_columns(period_on=date(2024, 1, 1), known_at=pl.lit(datetime(2024, 1, 2, tzinfo=UTC), dtype=INSTANT))
    sold = aggregate(lines, shop)
    assert dict(sold.select("series_id", "is_promoted").iter_rows()) == {"none": None, "one": True, "not": False}


@pytest.mark.parametrize(
    ("landed", "delivered", "is_refused"),
    [
        ({1: 50, 2: 50, 3: 50}, {1: 50, 2: 1, 3: 50}, True),  # a torso in the middle destroyed its day
        ({1: 50, 2: 50, 3: 50}, {1: 50, 2: 40, 3: 60}, False),  # a correction
        ({1: 50, 2: 50}, {3: 1, 4: 50}, False),  # nothing is replaced
        ({1: 6, 2: 3}, {1: 2, 2: 1}, False),  # a small shop's correction
        ({1: 7, 2: 3}, {1: 2, 2: 1}, True),
    ],
)
def test_no_day_loses_most_of_what_landed(landed: dict[int, int], delivered: dict[int, int], is_refused: bool) -> None:
    def lines(counts: dict[int, int]) -> pl.DataFrame:
        return pl.DataFrame({"day_on": [date(2024, 2, day) for day, n in counts.items() for _ in range(n)]})

    checked = pytest.raises(ContractError, match=r"f.csv: column `day`: 2024-02-0\d has \d lines .* replaces \d+ that")
    with checked if is_refused else nullcontext():
        check_replaced(lines(delivered), lines(landed), source(), "f.csv")
