"""I/O managers: the partition's window is the range that is written and read."""

import json
import os
import signal
import time
from datetime import date
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets.errors import ConfigurationError, DataError, SchemaError, TableError
from resources.artifacts import Artifacts
from resources.table_io import DeltaIOManager, JsonIOManager
from resources.tables import Tables

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2024-01-01", end_date="2024-04-01")
RANGE = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-03-01"}
MEGABYTES = 20_000_000
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "tables")


def every_tenth_day(start: date, end: date) -> pl.DataFrame:
    """Days 1, 11, 21 and 31 of each month: four rows in January and March, three in February."""
    days = pl.date_range(start, end, "1d", closed="left", eager=True).alias("period_on")
    return pl.DataFrame({"period_on": days}).filter(pl.col("period_on").dt.day() % 10 == 1).with_columns(units=1.0)


@dg.asset(partitions_def=MONTHS, metadata={"partition_by": "period_on"}, backfill_policy=dg.BackfillPolicy.single_run())
def sales(context: dg.AssetExecutionContext) -> pl.DataFrame:
    window = context.partition_time_window
    return every_tenth_day(window.start.date(), window.end.date())


@dg.asset(partitions_def=MONTHS, metadata={"partition_by": "period_on"}, backfill_policy=dg.BackfillPolicy.single_run())
def doubled(sales: pl.LazyFrame) -> pl.LazyFrame:
    assert isinstance(sales, pl.LazyFrame)
    return sales.with_columns(pl.col("units") * 2)


@dg.asset(key_prefix=["demand"])
def training_set(doubled: pl.DataFrame) -> pl.DataFrame:
    assert isinstance(doubled, pl.DataFrame)
    return doubled.select(total=pl.col("units").sum(), rows=pl.len().cast(pl.Int64))


def run(
    tables: Tables, assets: list[Any], *, tags: dict[str, str] | None = None, partition: str | None = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        resources={"io_manager": DeltaIOManager(tables)},
        instance=dg.DagsterInstance.ephemeral(),
        tags=tags,
        partition_key=partition,
        run_config=QUIET,
        selection=assets,
    )


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    """Logged values by partition."""
    return {
        event.partition: {key: value.value for key, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset.split("/"))
    }


def test_single_partitions_replace_only_their_month(tables: Tables) -> None:
    for month in ("2024-01-01", "2024-02-01", "2024-02-01"):
        run(tables, [sales, doubled], partition=month)
    stored = tables.scan("doubled").collect()
    assert stored["units"].to_list() == [2.0] * 7  # January has 1, 11, 21, 31; February 1, 11, 21
    assert stored["period_on"].n_unique() == 7


def test_a_range_of_partitions_is_one_write(tables: Tables) -> None:
    result = run(tables, [sales, doubled], tags=RANGE)
    assert tables.version("sales") == 0
    assert tables.scan("sales").collect().height == 11
    logged = metadata_of(result, "sales")
    assert {month: values["dagster/partition_row_count"] for month, values in logged.items()} == {
        "2024-01-01": 4,
        "2024-02-01": 3,
        "2024-03-01": 4,
    }
    assert {values["dagster/row_count"] for values in logged.values()} == {11}
    assert {values["table_version"] for values in logged.values()} == {0}


def test_unpartitioned_reads_all_partitions(tables: Tables) -> None:
    run(tables, [sales, doubled], tags=RANGE)
    result = dg.materialize(
        [sales, doubled, training_set],
        selection=[training_set],
        resources={"io_manager": DeltaIOManager(tables)},
        run_config=QUIET,
    )
    assert tables.scan("demand/training_set").collect().row(0) == (22.0, 11)
    logged = metadata_of(result, "demand/training_set")[None]
    assert logged["dagster/table_name"] == "demand/training_set"
    assert logged["dagster/row_count"] == 1
    assert [(column.name, column.type) for column in logged["dagster/column_schema"].columns] == [
        ("total", "Float64"),
        ("rows", "Int64"),
    ]


def test_unpartitioned_reads_rows_that_no_partition_holds_yet(tables: Tables) -> None:
    """The month that has not ended is no partition, and its days have arrived."""
    run(tables, [sales], tags=RANGE)
    tables.append("sales", every_tenth_day(date(2024, 4, 1), date(2024, 4, 2)), key=["period_on"])

    @dg.asset
    def rows(sales: pl.DataFrame) -> pl.DataFrame:
        return sales.select(pl.len().cast(pl.Int64))

    dg.materialize([sales, rows], selection=[rows], resources={"io_manager": DeltaIOManager(tables)}, run_config=QUIET)
    assert tables.scan("rows").collect().item() == 12


def test_a_mapped_window_reads_its_months(tables: Tables) -> None:
    """The partition before: what a look-back asks for."""
    run(tables, [sales], tags=RANGE)
    previous = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        partitions_def=MONTHS,
        metadata={"partition_by": "period_on"},
        ins={"sales": dg.AssetIn(partition_mapping=previous)},
    )
    def shifted(sales: pl.DataFrame) -> pl.DataFrame:
        assert sales["period_on"].dt.month().unique().to_list() == [2]
        return sales.with_columns(pl.col("period_on").dt.offset_by("1mo"))

    dg.materialize(
        [sales, shifted],
        selection=[shifted],
        partition_key="2024-03-01",
        resources={"io_manager": DeltaIOManager(tables)},
        run_config=QUIET,
    )
    assert tables.scan("shifted").collect().height == 3


@pytest.mark.parametrize(
    ("metadata", "value", "error", "message"),
    [
        ({}, every_tenth_day(date(2024, 1, 1), date(2024, 2, 1)), ConfigurationError, "names no `partition_by`"),
        ({"partition_by": "period_on"}, every_tenth_day(date(2024, 2, 1), date(2024, 3, 1)), TableError, "outside"),
        ({"partition_by": "period_on"}, {"rows": 3}, DataError, "returned dict"),
    ],
)
def test_a_wrong_output_is_refused(
    tables: Tables, metadata: dict[str, str], value: object, error: type[Exception], message: str
) -> None:
    @dg.asset(partitions_def=MONTHS, metadata=metadata)
    def odd():
        return value

    with pytest.raises(error, match=message):
        run(tables, [odd], partition="2024-01-01")
    assert not tables.exists("odd")


def test_columns_change_only_where_the_asset_says_so(tables: Tables) -> None:
    tables.write("fixed", pl.DataFrame({"a": [1]}))
    tables.write("free", pl.DataFrame({"a": [1]}))

    @dg.asset
    def fixed() -> pl.DataFrame:
        return pl.DataFrame({"b": [1]})

    @dg.asset(metadata={"replaces_schema": True})
    def free() -> pl.DataFrame:
        return pl.DataFrame({"b": [1]})

    with pytest.raises(SchemaError, match="table fixed: `a` is missing"):
        run(tables, [fixed])
    run(tables, [free])
    assert tables.scan("free").collect().columns == ["b"]


def test_an_empty_frame_replaces_rows_only_where_the_asset_says_so(tables: Tables) -> None:
    tables.write("quarantine", pl.DataFrame({"a": [1]}))

    @dg.asset(metadata={"allow_empty": True})
    def quarantine() -> pl.LazyFrame:
        return pl.LazyFrame(schema={"a": pl.Int64})

    run(tables, [quarantine])
    assert tables.scan("quarantine").collect().is_empty()


def test_json_values_round_trip(tmp_path: Path) -> None:
    @dg.asset(key_prefix=["demand"], io_manager_key="json")
    def evaluation() -> dict[str, Any]:
        return {"loss": 0.5, "levels": [0.5, 0.9]}

    @dg.asset(io_manager_key="json", ins={"evaluation": dg.AssetIn(key=dg.AssetKey(["demand", "evaluation"]))})
    def champion(evaluation: dict[str, Any]) -> dict[str, Any]:
        return {"better": evaluation["loss"] < 1}

    manager = JsonIOManager(Artifacts(tmp_path))
    dg.materialize([evaluation, champion], resources={"json": manager}, run_config=QUIET)
    assert json.loads((tmp_path / "values/champion.json").read_text()) == {"better": True}
    assert json.loads((tmp_path / "values/demand/evaluation.json").read_text())["levels"] == [0.5, 0.9]
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.parametrize("value", [{"loss": float("nan")}, {"on": date(2024, 1, 1)}])
def test_a_value_that_json_cannot_hold_is_refused(tmp_path: Path, value: dict[str, Any]) -> None:
    @dg.asset(io_manager_key="json")
    def odd() -> dict[str, Any]:
        return value

    with pytest.raises(DataError, match="asset odd: the value is not JSON"):
        dg.materialize([odd], resources={"json": JsonIOManager(Artifacts(tmp_path))}, run_config=QUIET)


def test_a_frame_comes_back_as_it_was_put(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    rows = pl.DataFrame({"a": [1, None], "b": [["x"], []]})
    assert artifacts.put_frame("frames/a.parquet", rows) == str(tmp_path / "frames" / "a.parquet")
    assert_frame_equal(artifacts.get_frame("frames/a.parquet"), rows)
    with pytest.raises(DataError, match=r"no artifact frames/b\.parquet"):
        artifacts.get_frame("frames/b.parquet")


def test_artifact_folders_round_trip_and_missing_ones_are_named(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    artifacts.put_folder("models/a", {"m.txt": b"1", "deep/n.txt": b"2"})
    assert artifacts.get_folder("models/a") == {"m.txt": b"1", "deep/n.txt": b"2"}
    with pytest.raises(DataError, match="no artifact models/b"):
        artifacts.get("models/b")
    with pytest.raises(DataError, match="no artifacts in models/b"):
        artifacts.get_folder("models/b")
    with pytest.raises(DataError, match="not a path below"):
        artifacts.put("../b", b"")
    with pytest.raises(ConfigurationError, match="expected a local path, or s3://"):
        Artifacts("gs://bucket")


def _rewrite_for_ever(root: str) -> None:
    artifacts, contents = Artifacts(root), (b"a" * MEGABYTES, b"b" * MEGABYTES)
    while True:
        for content in contents:
            artifacts.put("values/a.bin", content)


@pytest.mark.long
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path, spawn: SpawnContext) -> None:
    """Written in place, the file is torn after most of these kills."""
    artifacts, file = Artifacts(tmp_path), tmp_path / "values/a.bin"
    for number in range(6):
        file.unlink(missing_ok=True)
        writer = spawn.Process(target=_rewrite_for_ever, args=(str(tmp_path),))
        writer.start()
        while not file.exists():
            time.sleep(0.01)
        time.sleep(0.1 + 0.017 * number)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        found = artifacts.get("values/a.bin")
        assert found == found[:1] * MEGABYTES
        assert artifacts.keys("values") == ["values/a.bin"], "a leftover shows as an artifact"


def test_a_partitioned_asset_may_change_its_columns_where_it_says_so(tables: Tables) -> None:
    def returns(dtype: Any, **metadata: Any) -> dg.AssetsDefinition:
        @dg.asset(
            name="sales",
            partitions_def=MONTHS,
            metadata={"partition_by": "period_on", **metadata},
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def asset(context: dg.AssetExecutionContext) -> pl.DataFrame:
            window = context.partition_time_window
            return every_tenth_day(window.start.date(), window.end.date()).with_columns(units=pl.lit(1, dtype))

        return asset

    run(tables, [returns(pl.Float64)], tags=RANGE)
    with pytest.raises(SchemaError):
        run(tables, [returns(pl.Int64)], tags=RANGE)
    with pytest.raises(SchemaError, match="compute all partitions"):
        run(tables, [returns(pl.Int64, replaces_schema=True)], partition="2024-02-01")
    run(tables, [returns(pl.Int64, replaces_schema=True)], tags=RANGE)
    assert tables.scan("sales").collect_schema()["units"] == pl.Int64
