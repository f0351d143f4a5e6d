"""A store's feed is wrong for two weeks, and arrives day by day: unknown in sales from the first, in the same run."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.components.source_window import ARRIVAL_TAG
from platform_assets.science.simulate import Scenario, SimulatorConfig, simulate
from tests.data.sandbox import Sandbox

STARTS_ON, DAYS = date(2024, 1, 1), 91
FAULT_ON = date(2024, 3, 4)
SIZE = {"stores": 3, "skus": 16, "days": DAYS, "starts_on": STARTS_ON, "seed": 4}


def lines(*scenarios: str, fault_days: int = 14) -> pl.DataFrame:
    changed = tuple(Scenario(name, FAULT_ON, FAULT_ON + timedelta(days=fault_days)) for name in scenarios)
    return simulate(SimulatorConfig(**SIZE, scenarios=changed)).lines  # pyright: ignore[reportArgumentType]


def written(path: Path, frame: pl.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def sandbox(state: Path, history: pl.DataFrame) -> Sandbox:
    path = written(state / "history.parquet", history)
    return Sandbox(state, "simulator", path, window=(STARTS_ON, STARTS_ON + timedelta(days=DAYS)))


def is_faulty(store: str = "store_01") -> pl.Expr:
    day = pl.col("period_on")
    return pl.col("series_id").str.starts_with(store) & (day >= FAULT_ON) & (day < FAULT_ON + timedelta(days=14))


def test_a_wrong_feed_that_arrives_by_the_week_is_unknown_from_the_first(tmp_path: Path) -> None:
    world = lines("fault")
    box = sandbox(tmp_path / "weekly", world.filter(pl.col("sold_on") < FAULT_ON))
    box.run()
    for week in range(3):
        first = FAULT_ON + timedelta(days=7 * week)
        part = world.filter(pl.col("sold_on").is_between(first, first + timedelta(days=6)))
        file = written(tmp_path / "weekly" / "landing" / f"{first}.parquet", part)
        box.clock.at = datetime(first.year, first.month, first.day, 6, tzinfo=UTC) + timedelta(days=7)
        result = box.run("2024-03-01", tags={ARRIVAL_TAG: str(file)})
        assert box.checks(result) == {"contract": True, "volume": True, "accounting": True, "segments": False}
    sales, healthy = box.sales, sandbox(tmp_path / "healthy", lines())
    healthy.run()
    unknown = sales.filter(is_faulty())
    assert unknown.height == healthy.sales.filter(is_faulty()).height
    assert (
        unknown.select("units", "price", "is_promoted", "stock", "lines", "tickets").null_count().row(0)
        == (unknown.height,) * 6
    )
    until = FAULT_ON + timedelta(days=20)
    values = ["series_id", "period_on", "event_at", "units", "lines"]
    assert_frame_equal(
        sales.filter(~is_faulty()).select(values),
        healthy.sales.filter(~is_faulty(), pl.col("period_on") <= until).select(values),
    )
    assert (
        not sales.select("series_id", "period_on").is_duplicated().any()
    )  # no revision: nobody ever knew the wrong value
    assert (
        box.lines.filter(pl.col("store") == "store_01")["units"].sum()
        > 2 * healthy.lines.filter(pl.col("store") == "store_01", pl.col("sold_on") <= until)["units"].sum()
    )  # the lines stay what they are

    entries = box.ledger.quarantines("simulator")
    assert [(e.segment, e.first_on, e.last_on, e.action) for e in entries] == [
        ("store_01", FAULT_ON + timedelta(days=7 * n), FAULT_ON + timedelta(days=7 * n + 6), "found") for n in range(2)
    ]
    assert "10" in entries[0].reason or "9." in entries[0].reason
    assert all(box.ledger.completed(f"quarantine/{entry.id}") for entry in entries)

    before = box.sales
    box.run("2024-03-01")
    assert_frame_equal(box.sales, before)
    assert len(box.ledger.quarantines("simulator")) == len(entries)

    whole = sandbox(tmp_path / "whole", world.filter(pl.col("sold_on") <= until))  # one bulk run says the same
    whole.run()
    both = ["series_id", "period_on", "units", "price", "stock", "lines"]
    assert_frame_equal(whole.sales.select(both), before.select(both))


def test_a_mended_delivery_ends_it(tmp_path: Path) -> None:
    world = lines("fault", fault_days=2)
    box = sandbox(tmp_path, world)
    box.run()
    assert box.sales.filter(pl.col("units").is_null())["period_on"].unique().sort().to_list() == [
        FAULT_ON, FAULT_ON + timedelta(days=1),
    ]  # fmt: skip
    good = lines().filter(pl.col("sold_on").is_between(FAULT_ON, FAULT_ON + timedelta(days=1)))
    file = written(tmp_path / "landing" / "again.parquet", good)
    box.clock.at = datetime(2024, 4, 20, 12, tzinfo=UTC)
    result = box.run("2024-03-01", tags={ARRIVAL_TAG: str(file)})
    assert box.checks(result)["segments"]
    newest = box.sales.sort("known_at").unique(["series_id", "period_on"], keep="last")
    assert newest["units"].null_count() == 0
    assert newest["units"].sum() == lines()["units"].sum()
    assert {e.action for e in box.ledger.quarantines("simulator")} == {"found", "cleared"}


@pytest.mark.parametrize(
    ("scenario", "stores"), [("dup", ["store_01", "store_02", "store_03"]), ("feed", ["store_03"])]
)
def test_doubled_lines_and_a_missing_feed(tmp_path: Path, scenario: str, stores: list[str]) -> None:
    box = sandbox(tmp_path, lines(scenario))
    box.run()
    unknown = box.sales.filter(pl.col("units").is_null())
    days = {FAULT_ON + timedelta(days=n) for n in range(14)}
    assert set(unknown["period_on"]) == days
    assert unknown["series_id"].str.split("/").list.get(0).unique().sort().to_list() == stores
