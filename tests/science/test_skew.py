"""Faults of inputs: each kind found where it is, and quiet days left alone."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from platform_assets.science import skew

F, S = pl.Float64(), pl.String()


@pytest.mark.parametrize(
    ("found", "added", "told"),
    [
        ({"price": F, "shop": S}, [], []),
        ({"shop": S}, [], ["column missing: price: no such column, expected Float64"]),
        ({"price": S, "shop": S}, [], ["column retyped: price: String, expected Float64"]),
        ({"price": F, "shop": S, "age": F}, ["age"], ["column added: age: Float64, expected none"]),
        ({"shop": F}, [], ["column missing: price: no such column, expected Float64", "column retyped: shop: Float64, expected String"]),
    ],
)  # fmt: skip
def test_columns_that_are_missing_retyped_or_added_are_named(found: dict, added: list[str], told: list[str]) -> None:
    findings = skew.schema_skew({"price": F, "shop": S}, found, added)
    assert [finding.told for finding in findings] == told
    assert [finding.is_fault for finding in findings] == [finding.kind != "column added" for finding in findings]
    assert {finding.kind for finding in findings} <= set(skew.KINDS)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_new_categories_are_named_with_their_rows(dtype: type[pl.DataType]) -> None:
    before = pl.DataFrame({"shop": ["a", "b", None], "units": [1.0, 2.0, 3.0]}).with_columns(pl.col("shop").cast(dtype))
    now = pl.DataFrame({"shop": ["a", "x", "c", "c", None], "units": [9.0] * 5}).with_columns(
        pl.col("shop").cast(dtype)
    )
    findings = skew.category_skew(before, now, ["shop", "units"])
    assert [finding.told for finding in findings] == [
        "new category: shop: 'c' (2), 'x' (1), expected one of 2 categories"
    ]
    assert skew.category_skew(before, now.filter(pl.col("shop").is_null()), ["shop"]) == []


def occasions(random: np.random.Generator, days: int, share: float, *, rows: int = 100) -> pl.DataFrame:
    missing = random.random(days * rows) < share
    values = np.where(missing, np.nan, random.normal(size=days * rows))
    frame = pl.DataFrame({"day": np.repeat(np.arange(days), rows), "s": np.tile(np.arange(rows), days), "a": values})
    return frame.with_columns(a=pl.col("a").fill_nan(None), b=pl.lit(1.0))


@pytest.mark.parametrize(
    ("usual", "now", "is_found"),
    [(0.0, 0.0, 0), (0.0, 0.3, 1), (0.3, 0.3, 0), (0.3, 0.9, 1), (0.9, 0.1, 0), (0.0, 1.0, 1)],
)
def test_more_rows_without_a_value_than_on_past_occasions_are_found(usual: float, now: float, is_found: int) -> None:
    random = np.random.default_rng(1)
    found = skew.null_skew(occasions(random, 30, usual), occasions(random, 1, now), ["a", "b"], window="day", unit="s")
    assert len(found) == is_found
    if is_found:
        assert (found[0].kind, found[0].where) == ("more nulls", "a")
        assert abs(float(found[0].expected.split("%")[0]) / 100 - usual) < 0.03


def test_rows_without_a_value_are_counted_in_series() -> None:
    random = np.random.default_rng(1)
    before, now = (occasions(random, days, share).rename({"s": "series_id"}) for days, share in ((30, 0.0), (1, 1.0)))
    (found,) = skew.null_skew(before, now, ["a"], window="day", unit="series_id")
    assert found.found == "100.0% of 100 series"


def test_quiet_occasions_raise_no_alarm_over_many_worlds() -> None:
    """A tenth of the rows without a value, a hundred worlds, two features: at most a few at a rate of one in a hundred."""
    random = np.random.default_rng(2)
    alarms = sum(
        bool(skew.null_skew(occasions(random, 30, 0.1), occasions(random, 1, 0.1), ["a", "b"], window="day", unit="s"))
        for _ in range(100)
    )
    assert alarms <= 4


def test_a_series_without_a_value_counts_once_however_often_it_was_drawn() -> None:
    """A first champion's check failed: one of 44 series had no sale that day, and was three of the 46 rows drawn."""
    random = np.random.default_rng(5)
    reference = occasions(random, 400, 0.015, rows=13)
    now = occasions(random, 1, 0.0, rows=44).with_columns(a=pl.when(pl.col("s") > 0).then("a"))
    drawn = pl.concat([now, *[now.filter(pl.col("s") == 0)] * 27])
    assert skew.null_skew(reference, drawn, ["a", "b"], window="day", unit="s") == []
    half = now.with_columns(a=pl.when(pl.col("s") > 22).then("a"))
    assert [finding.where for finding in skew.null_skew(reference, half, ["a", "b"], window="day", unit="s")] == ["a"]


def test_a_feature_that_began_late_is_judged_by_the_time_since() -> None:
    random = np.random.default_rng(3)
    reference = occasions(random, 60, 0.0).with_columns(a=pl.when(pl.col("day") >= 40).then("a"))
    now = occasions(random, 1, 0.5)
    assert [finding.where for finding in skew.null_skew(reference, now, ["a"], window="day", unit="s")] == ["a"]
    short = reference.with_columns(a=pl.when(pl.col("day") >= 55).then("a"))
    assert skew.null_skew(short, now, ["a"], window="day", unit="s") == []  # five occasions say nothing


def counted(series: list[int]) -> pl.DataFrame:
    first = date(2025, 1, 6)
    return pl.DataFrame({"on": [first + timedelta(days=at) for at in range(len(series))], "series": series})


@pytest.mark.parametrize(
    ("last", "kind"),
    [(300, None), (240, None), (60, "fewer rows"), (0, "fewer rows"), (3000, "more rows"), (380, None)],
)
def test_a_period_with_a_part_of_the_series_is_a_fault(last: int, kind: str | None) -> None:
    """Sundays sell a third: only the same weekday says what is usual."""
    random = np.random.default_rng(4)
    days = [int(random.normal(100 if at % 7 == 6 else 300, 10)) for at in range(7 * 12)]
    found = skew.volume_skew(counted([*days, last]), {"series": "series sold"}, period="on")
    assert [finding.kind for finding in found] == ([kind] if kind else [])
    sunday = [*days[:-1], 100]
    assert skew.volume_skew(counted(sunday), {"series": "series sold"}, period="on") == []
    assert skew.volume_skew(counted([*days[:40], 0]), {"series": "series sold"}, period="on") == []  # too short a past


def test_keys_that_stand_twice_are_named() -> None:
    rows = pl.DataFrame({"series_id": ["a", "a", "b"], "on": [1, 1, 1], "units": [1.0, 2.0, 3.0]})
    found = skew.duplicate_skew(rows, ["series_id", "on"], "sales")
    assert [finding.told for finding in found] == [
        "duplicate key: sales (series_id, on): 1 keys stand more than once, such as a, 1, expected each once"
    ]
    assert skew.duplicate_skew(rows.unique(["series_id", "on"]), ["series_id", "on"], "sales") == []
