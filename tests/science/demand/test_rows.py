"""Derived columns, and the whole row against another future."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import SchemaError
from platform_assets.science.demand import columns
from platform_assets.science.demand.features import demand_history, price_history
from platform_assets.science.demand.rows import derive
from platform_assets.science.demand.season import season

ROW: dict[str, Any] = {
    "target_on": date(2024, 5, 1),  # a Wednesday
    **{f"weekday_mean_{name}": float(n) for n, name in enumerate(columns.WEEKDAYS, start=1)},
    "level": 8.0,
    "mean_91": 4.0,
    "days_since_sale": 3.0,
    "season_mean_29": 10.0,
    "year_ago_mean_28": 2.0,
    "season_half_29": 5.0,
    "year_ago_half_28": 5.0,
    "season_market_7": 6.0,
    "season_market_29": 9.0,
    "year_ago_market_28": 3.0,
    "planned_price": 2.0,
    "price_median_91": 4.0,
    "last_price": 5.0,
}


def test_derived_columns() -> None:
    row = derive(pl.DataFrame([ROW]), country=None).row(0, named=True)
    assert {name: row[name] for name in columns.DERIVED} == {
        "weekday_mean_target": 3.0,
        "season_ratio": (10 + 2) / (2 + 2),  # a quarter of the level stands on both sides
        "season_half_ratio": (5 + 2) / (5 + 2),
        "season_market_ratio_7": 2.0,
        "season_market_ratio_29": 3.0,
        "missed_units": 12.0,
        "target_price_ratio": 0.5,
        "target_price_step": 0.4,
    }


def test_every_declared_column_is_there_and_of_its_type() -> None:
    found = derive(pl.DataFrame([ROW]), country="GB")
    types = {"f64": pl.Float64, "i64": pl.Int64, "bool": pl.Boolean}
    for name in (*columns.CALENDAR, *columns.DERIVED):
        assert found.schema[name] == types[columns.DTYPES[name]], name
    assert set(columns.LINEAGE) == set(columns.DESCRIPTIONS) == set(columns.ALL)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(SchemaError, match="season_half_ratio needs season_half_29"):
        derive(pl.DataFrame([ROW]).drop("season_half_29"), country=None)
    some = derive(pl.DataFrame([ROW]).drop("season_half_29"), country=None, features=("missed_units",))
    assert "season_half_ratio" not in some.columns


def as_known(view: pl.DataFrame, asked: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The naive point-in-time join: of the rows known and happened by the issue, the last to happen, then to be known."""
    times = ["event_at", "known_at"]
    joined = asked.join(view, on=keys).filter(pl.max_horizontal(times) <= pl.col("issued_at"))
    newest = joined.sort(times).unique(asked.columns, keep="last").drop(times)
    return asked.join(newest, on=asked.columns, how="left", maintain_order="left")


@pytest.mark.parametrize(("seed", "days"), [(50, 420), (51, 445)])
def test_a_whole_row_is_the_same_in_another_future(
    make_world: Callable[..., pl.DataFrame], perturb: Callable[..., pl.DataFrame], seed: int, days: int
) -> None:
    """Everything that becomes known after the issue is changed; what a model reads stays as it was."""
    sales = make_world(seed)
    issued_at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days)
    targets = [issued_at.date() + timedelta(days=h) for h in range(28)]
    asked = pl.DataFrame({"series_id": ["s0", "s1", "s2", "s3"]}).join(
        pl.DataFrame({"target_on": targets}), how="cross"
    )
    asked = asked.with_columns(
        pl.lit(issued_at).dt.cast_time_unit("us").alias("issued_at"),
        pl.col("target_on").cast(pl.Int32).cast(pl.Int64).alias("target_day"),
    )

    def rows(table: pl.DataFrame) -> pl.DataFrame:
        views = {view.__name__: view(table.lazy()).collect() for view in (demand_history, price_history, season)}
        joined = asked
        for name, view in views.items():
            keys = list(columns.ENTITY_KEYS[name])
            joined = as_known(view, joined.select(asked.columns), keys).hstack(joined.drop(asked.columns))
        return derive(joined.with_columns(planned_price=pl.lit(None, dtype=pl.Float64)), country="GB")

    was, now = rows(sales), rows(perturb(sales, issued_at, seed))
    assert was["season_mean_29"].null_count() < was.height
    assert_frame_equal(was, now, check_exact=True)
