"""Plans, findings and tables of a foreign Feast repository, without Feast."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import ConfigurationError, EmptyFrameError, FeatureStoreError, PerennialError, SchemaError
from resources.feast_repository import findings, store, tables
from resources.feast_repository.description import Column, Description, Source, View
from resources.feast_repository.functions import function_digest
from resources.feast_repository.plan import Change, Plan, deletions, plan_from

START = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = Plan((Change("feature view", "a", "UNCHANGED"), Change("feature view", "old", "DELETE")))
NEW = Plan((Change("feature view", "a", "CREATE"), Change("project", "p", "UNCHANGED")))


@pytest.mark.parametrize(
    ("plan", "delete", "held_before", "accept", "expected"),
    [
        (KEPT, [], 2, False, []),  # what is left over is kept
        (KEPT, ["old"], 2, False, ["old"]),
        (KEPT, ["a"], 2, False, ConfigurationError),  # the repository still has it
        (KEPT, ["nowhere"], 2, False, ConfigurationError),
        (NEW, [], 0, False, []),  # the first apply
        (NEW, [], 5, False, FeatureStoreError),  # the registry was there, and is not any more
        (NEW, [], 5, True, []),
    ],
)
def test_what_may_be_deleted(plan: Plan, delete: list[str], held_before: int, accept: bool, expected: Any) -> None:
    if isinstance(expected, list):
        assert deletions(plan, delete, held_before=held_before, accept_empty_registry=accept) == expected
        return
    with pytest.raises(expected, match="Nothing was written"):
        deletions(plan, delete, held_before=held_before, accept_empty_registry=accept)


def test_a_plan_says_deletions_first_and_survives_its_json() -> None:
    plan = Plan((*NEW.changes, *KEPT.changes, Change("entity", "e", "UPDATE", (("ttl", "1", "2"),))))
    assert plan.text().splitlines() == [
        "feature view `old`: is in the registry alone, and is kept",
        "entity `e` changes: ttl: 1 -> 2",
        "feature view `a` is added",
    ]
    assert "is deleted" in plan.text(delete=["old"])
    assert plan_from([dict(change) for change in plan.to_json()]) == plan


rows_of = st.lists(
    st.tuples(
        st.sampled_from([1, 2, None]),
        st.sampled_from([START, START + timedelta(hours=1)]),
        st.sampled_from([0.0, 0.5, 2.0, float("nan"), float("inf"), None]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(rows_of)
def test_findings_are_what_loops_find(rows: list[tuple[int | None, datetime, float | None]]) -> None:
    schema = {"key": pl.Int64, "at": pl.Datetime("us", "UTC"), "share": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    copies = {row[:2] for row in rows if sum(other[:2] == row[:2] for other in rows) > 1}
    assert findings.duplicates(frame, ["key", "at"]).failing == len(copies)
    assert findings.nulls(frame, ["key", "at"]).failing == sum(row[0] is None for row in rows)
    wrong = [r for r in rows if r[2] is not None and r[2] == r[2] and not 0 <= r[2] <= 1]
    assert findings.ranges(frame, {"share": (0.0, 1.0)}).failing == len(wrong)
    newest = max((row[1] for row in rows), default=None)
    now = START + timedelta(hours=2)
    late = newest is None or now - newest > timedelta(minutes=90)
    assert findings.freshness(frame, "at", now, timedelta(minutes=90)).is_clean is not late
    assert findings.freshness(frame, "at", now, None).is_clean


VIEW = View("v", "feature view", "f", keys=(Column("key", "Int64"),), features=(Column("x", "Float64"),), source="t")
ABOUT = Description("p", "0", {}, {}, sources=(Source("t", "FileSource", time="at"),), views=(VIEW,))


def hours(*values: int, x: float = 1.0, unit: Any = "us") -> pl.DataFrame:
    at = [START + timedelta(hours=hour) for hour in values]
    frame = pl.DataFrame({"key": [1] * len(at), "x": [x] * len(at), "at": at})
    return frame.cast({"key": pl.Int64, "x": pl.Float64, "at": pl.Datetime(unit, "UTC")})


@pytest.fixture(params=["parquet", "delta"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table of hours 0, 1 and 2, and how to read it."""
    path = tmp_path / f"t.{request.param}"
    if request.param == "delta":
        hours(0, 1, 2).write_delta(path)
    else:
        hours(0, 1, 2).write_parquet(path)
    config = SimpleNamespace(offline_store=SimpleNamespace())
    fake = SimpleNamespace(config=config, refresh_registry=lambda: None)
    monkeypatch.setattr(store, "opened", lambda repository: fake)
    monkeypatch.setattr(store, "view_of", lambda s, name: SimpleNamespace(batch_source=SimpleNamespace(path=str(path))))
    read = pl.read_delta if request.param == "delta" else pl.read_parquet
    return lambda: read(str(path)).sort("at")


def replaced(frame: pl.DataFrame) -> int:
    """Hours 1 and 2 of the table by the frame."""
    return tables.replace_window("/", VIEW, ABOUT, frame, START + timedelta(hours=1), START + timedelta(hours=3))


def test_a_window_is_replaced_and_the_rest_stays(table: Any) -> None:
    assert replaced(hours(2, x=7.0)) == 2
    assert table().select("x", hour=pl.col("at").dt.hour()).rows() == [(1.0, 0), (7.0, 2)]


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        (hours(1).drop("x"), SchemaError, "lack x"),
        (hours(1).with_columns(more=1), SchemaError, "have more"),
        (hours(1).cast({"x": pl.String}), SchemaError, "`x` is String, the table has Float64"),
        (hours(1).with_columns(pl.col("at").dt.replace_time_zone(None)), SchemaError, "with a time zone"),
        (hours(1, unit="ns").with_columns(pl.col("at").dt.offset_by("5ns")), SchemaError, "finer than microseconds"),
        (hours(0), SchemaError, "outside"),
        (hours(3), SchemaError, "outside"),  # the end is not of the window
        (hours().clear(), EmptyFrameError, "no rows, where 2 stood"),
    ],
)
def test_what_would_be_lost_is_refused_and_nothing_is_written(
    table: Any, frame: pl.DataFrame, error: type[PerennialError], said: str
) -> None:
    with pytest.raises(error, match=said):
        replaced(frame)
    assert table().equals(hours(0, 1, 2))


def test_a_function_of_another_project_counts_with_what_it_imports_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "taxi_project"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "features": "from taxi_project import speed\ndef trips(start, end): return speed.of(start)\n",
        "speed": "from .units import KM\n",
        "units": "KM = 1\n",
        "other": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = function_digest("taxi_project.features:trips")
    (package / "other.py").write_text("X = 1\n")
    assert function_digest("taxi_project.features:trips") == before
    (package / "units.py").write_text("KM = 1000\n")
    assert function_digest("taxi_project.features:trips") != before
    with pytest.raises(ConfigurationError, match="defines no `nothing`; it defines trips"):
        function_digest("taxi_project.features:nothing")
    with pytest.raises(ConfigurationError, match="there is no module taxi_project"):
        function_digest("taxi_project.nowhere:trips")
