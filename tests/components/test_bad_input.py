"""Bad input of our own views: the run fails with view or table, column and file, and the table is as it was."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from platform_assets.components import feature_steps
from platform_assets.components.feature_views import view_definitions
from tests.components.retries import without_waits
from tests.components.test_feature_views import WINDOW, materialize, resources_at, sales, spec_of

FEBRUARY = "2024-02-01"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waits(monkeypatch)


@pytest.fixture
def views(tmp_path: Path) -> Iterator[tuple[Any, Any, Path]]:
    """A view of which all months stand: the world to run in, its tables, and the folder of these."""
    resources = resources_at(tmp_path)
    resources["tables"].write("sales", sales(), partition_by="period_on")
    defs = dg.Definitions.merge(
        dg.Definitions(resources=resources), view_definitions(spec_of("demand_history"), WINDOW)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        world = (defs.resolve_implicit_global_asset_job_def(), instance, resources)
        assert materialize(world, [["features", "demand_history"]], "2024-01-01", "2024-03-01").success
        yield world, resources["tables"], tmp_path / "tables"


def failure(world: Any) -> str:
    """What a run of February says, which must fail."""
    done = materialize(world, [["features", "demand_history"]], FEBRUARY)
    assert not done.success
    return "".join(event.event_specific_data.error_display_string for event in done.all_events if event.is_step_failure)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.clear(), ["features/demand_history", "empty", "allow_empty"]),
        (lambda rows: rows.cast({"level": pl.Float32}), ["features/demand_history", "`level` is Float32", "Float64"]),
        (lambda rows: rows.cast({"known_at": pl.Datetime("ns", "UTC")}), ["features/demand_history", "`known_at`", "time_unit='us'"]),
        (lambda rows: rows.with_columns(pl.col("known_at").dt.replace_time_zone(None)), ["features/demand_history", "`known_at`", "UTC"]),
    ],
)  # fmt: skip
def test_what_a_function_may_not_write_leaves_its_month_as_it_was(
    views: Any, spoil: Callable[[pl.DataFrame], pl.DataFrame], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, tables, _ = views
    version, before = tables.version("features/demand_history"), tables.scan("features/demand_history").collect()
    compute = feature_steps.compute_view
    monkeypatch.setattr(feature_steps, "compute_view", lambda spec, context: spoil(compute(spec, context)))
    told = failure(world)
    assert [part for part in said if part not in told] == [], told
    assert tables.version("features/demand_history") == version
    assert tables.scan("features/demand_history").collect().equals(before)


def test_a_damaged_file_of_what_a_view_reads_is_named(views: Any) -> None:
    world, tables, folder = views
    version = tables.version("features/demand_history")
    file = next((folder / "sales").glob("month_of_period_on=2024-02/*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    told = failure(world)
    assert f"table sales, version 0: {file} has {len(whole) // 2:,} bytes, expected {len(whole):,}" in told
    file.unlink()
    assert f"{file} is not there" in failure(world)
    assert tables.version("features/demand_history") == version
    file.write_bytes(whole)
    assert materialize(world, [["features", "demand_history"]], FEBRUARY).success


def test_a_damaged_file_of_the_view_itself_is_named_by_its_checks(views: Any) -> None:
    world, _, folder = views
    file = next((folder / "features" / "demand_history").glob("month_of_period_on=2024-01/*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    told = failure(world)  # of the step that checks what February wrote
    assert "table features/demand_history, version" in told
    assert str(file) in told
