"""Delta tables: ranges replace exactly themselves, types never change in silence, and the second writer loses."""

import os
import signal
import time
from datetime import UTC, date, datetime, timedelta
from multiprocessing.context import SpawnContext
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from platform_assets.errors import ConcurrentWriteError, ContractError, EmptyFrameError, SchemaError, TableError
from resources.table_revision import Revision
from resources.tables import Tables

JANUARY = (date(2024, 1, 1), date(2024, 2, 1))
FEBRUARY = (date(2024, 2, 1), date(2024, 3, 1))


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "tables")


def sales(*rows: tuple[str, date, float]) -> pl.DataFrame:
    schema = {"series_id": pl.String, "period_on": pl.Date, "units": pl.Float64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def by_key(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect().sort("series_id", "period_on")


WINTER = sales(("a", date(2024, 1, 1), 1.0), ("a", date(2024, 1, 31), 2.0), ("a", date(2024, 2, 1), 3.0))


def test_a_range_is_replaced_exactly_and_the_month_column_stays_hidden(tables: Tables) -> None:
    assert tables.write("sales", WINTER, partition_by="period_on") == 0
    assert tables.write("sales", sales(("b", date(2024, 1, 5), 9.0)), between=JANUARY) == 1

    expected = sales(("a", date(2024, 2, 1), 3.0), ("b", date(2024, 1, 5), 9.0))
    assert_frame_equal(by_key(tables.scan("sales")), expected)
    assert_frame_equal(by_key(tables.scan("sales", version=0)), WINTER)
    assert_frame_equal(by_key(tables.scan("sales", between=JANUARY)), expected.tail(1))
    assert tables.partitioned_on("sales") == "period_on"


def test_a_day_is_replaced_within_its_month(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    day = (date(2024, 1, 31), date(2024, 2, 1))
    tables.write("sales", sales(("a", date(2024, 1, 31), 7.0)), between=day)
    assert by_key(tables.scan("sales"))["units"].to_list() == [1.0, 7.0, 3.0]


def test_writing_twice_is_writing_once(tables: Tables) -> None:
    for _ in range(2):
        tables.write("sales", WINTER.head(2), between=JANUARY, partition_by="period_on")
    assert_frame_equal(by_key(tables.scan("sales")), WINTER.head(2))


def test_instants_are_cut_at_utc_midnight(tables: Tables) -> None:
    frame = pl.DataFrame(
        {"event_at": [datetime(2024, 1, 31, 23, 59, 59, 999999, UTC), datetime(2024, 2, 1, tzinfo=UTC)], "x": [1, 2]}
    )
    tables.write("events", frame, partition_by="event_at")
    assert tables.scan("events", between=JANUARY).collect()["x"].to_list() == [1]
    tables.write("events", frame.tail(1).with_columns(x=pl.lit(5, pl.Int64)), between=FEBRUARY)
    assert sorted(tables.scan("events").collect()["x"].to_list()) == [1, 5]


def test_a_range_reads_only_its_files(tables: Tables) -> None:
    """The other month's file is gone from disk: whoever opened it would fail."""
    tables.write("sales", WINTER, partition_by="period_on")
    for path in Path(tables.uri("sales")).glob("month_of_period_on=2024-01/*.parquet"):
        path.unlink()
    assert tables.scan("sales", between=FEBRUARY).collect().height == 1
    with pytest.raises(TableError, match=r"table sales, version 0: .*2024-01.*parquet is not there"):
        tables.scan("sales")


def test_lists_structs_and_nulls_survive(tables: Tables) -> None:
    frame = pl.DataFrame(
        {"ids": [[1.5, 2.5], [], None], "who": [{"a": 1}, {"a": None}, None], "n": [1, None, 3]},
        schema={"ids": pl.List(pl.Float32), "who": pl.Struct({"a": pl.Int64}), "n": pl.Int16},
    )
    tables.write("nested", frame.lazy())
    assert_frame_equal(tables.scan("nested").collect(), frame)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series("units", [1]), "`units` is Int64, expected Float64"),
        (pl.Series("units", ["1"]), "`units` is String, expected Float64"),
        (pl.Series("units", [1.0], dtype=pl.Float32), "`units` is Float32, expected Float64"),
        (pl.Series("more", [1.0]), "`more` (Float64) is unknown"),
    ],
)
def test_another_schema_is_refused(tables: Tables, column: pl.Series, expected: str) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    with pytest.raises(SchemaError, match="table sales") as refusal:
        tables.write("sales", WINTER.head(1).with_columns(column), between=JANUARY)
    assert expected in str(refusal.value)
    with pytest.raises(SchemaError, match="`units` is missing"):
        tables.append("sales", WINTER.drop("units"), key=["series_id"])
    assert tables.version("sales") == 0


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        (pl.Datetime("ns", "UTC"), "time_unit='us'"),  # Delta would cut three digits
        (pl.Datetime("us", "Europe/Berlin"), "time_zone='UTC'"),  # Delta would turn it to UTC
        (pl.Datetime("us"), "time_zone='UTC'"),  # an instant without a zone is nobody's
        (pl.UInt32, "a signed integer"),  # Delta would store Int32
        (pl.Categorical, "String"),  # delta-rs panics
        (pl.List(pl.UInt8), "List(a signed integer)"),
        (pl.Struct({"at": pl.Datetime("ns")}), "Struct with at"),
        (pl.Null, "a boolean"),
    ],
)
def test_a_type_that_delta_would_change_is_refused(tables: Tables, dtype: pl.DataType, advice: str) -> None:
    with pytest.raises(SchemaError, match="column `x` is") as refusal:
        tables.write("t", pl.DataFrame(schema={"x": dtype}))
    assert advice in str(refusal.value)
    assert not tables.exists("t")


def test_the_order_of_columns_is_free(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    tables.write("sales", WINTER.head(2).select("units", "period_on", "series_id"), between=JANUARY)
    assert_frame_equal(by_key(tables.scan("sales")), WINTER)


def test_rows_outside_the_range_are_refused(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    with pytest.raises(TableError, match=r"1 of 3 rows lie outside 2024-01-01 .. 2024-02-01.*2024-02-01"):
        tables.write("sales", WINTER, between=JANUARY)
    with pytest.raises(TableError, match="outside"):
        tables.write("new", WINTER, between=JANUARY, partition_by="period_on")
    assert not tables.exists("new")


def test_nothing_replaces_something_only_on_request(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    with pytest.raises(EmptyFrameError, match="2024-01-01"):
        tables.write("sales", sales(), between=JANUARY)
    with pytest.raises(EmptyFrameError, match="the table"):
        tables.write("sales", sales())
    tables.write("sales", sales(), between=(date(2023, 1, 1), date(2023, 2, 1)))  # nothing stood there
    tables.write("sales", sales(), between=JANUARY, allow_empty=True)
    assert_frame_equal(by_key(tables.scan("sales")), WINTER.tail(1))


def test_an_empty_table_keeps_its_schema(tables: Tables) -> None:
    tables.write("plans", sales(), partition_by="period_on")
    assert_frame_equal(tables.scan("plans").collect(), sales())
    assert_frame_equal(tables.scan("plans", between=JANUARY, columns=["units"]).collect(), sales().select("units"))
    with pytest.raises(SchemaError):
        tables.write("plans", WINTER.cast({"units": pl.Int64}))


def test_partitioning_is_the_tables_own(tables: Tables) -> None:
    tables.write("plain", WINTER)
    with pytest.raises(TableError, match="not partitioned"):
        tables.write("plain", WINTER, between=JANUARY)
    with pytest.raises(TableError, match="not partitioned, asked for the month of `period_on`"):
        tables.write("plain", WINTER, partition_by="period_on")
    with pytest.raises(TableError, match="not partitioned"):
        tables.scan("plain", between=JANUARY)
    with pytest.raises(SchemaError, match="expected Date or Datetime"):
        tables.write("odd", WINTER, partition_by="units")
    with pytest.raises(SchemaError, match="`month_of_x` is taken"):
        tables.write("odd", WINTER.with_columns(month_of_x=pl.lit("x")), partition_by="period_on")
    with pytest.raises(ContractError, match="null in 1 of 1"):
        tables.write("odd", WINTER.head(1).with_columns(period_on=pl.lit(None, pl.Date)), partition_by="period_on")
    assert not tables.exists("odd")


def test_replace_may_change_everything(tables: Tables) -> None:
    tables.write("t", WINTER)
    tables.replace("t", WINTER.select("series_id", month=pl.lit("x")))
    assert tables.scan("t").collect().columns == ["series_id", "month"]
    tables.replace("t", WINTER, partition_by="period_on")
    assert tables.scan("t", between=FEBRUARY).collect().height == 1
    tables.replace("t", WINTER)
    assert tables.partitioned_on("t") is None
    assert tables.scan("t", version=0).collect().height == 3


def test_evolve_adds_nullable_columns_only(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    version = tables.evolve("sales", {"lines": pl.Int64(), "units": pl.Float64()})
    assert tables.evolve("sales", {"lines": pl.Int64()}) == version
    assert tables.scan("sales").collect()["lines"].null_count() == 3
    with pytest.raises(SchemaError, match="`lines` is Int32"):
        tables.evolve("sales", {"lines": pl.Int32()})
    tables.write("sales", WINTER.head(1).with_columns(lines=pl.lit(4, pl.Int64)), between=JANUARY)
    assert tables.scan("sales", between=JANUARY).collect()["lines"].to_list() == [4]


def test_append_twice_adds_once(tables: Tables) -> None:
    key = ["series_id", "period_on"]
    assert tables.append("log", WINTER.head(2), key=key, partition_by="period_on") == 0
    assert tables.append("log", WINTER.head(2), key=key) == 0
    assert tables.append("log", WINTER.with_columns(units=pl.lit(0.0)), key=key) == 1
    assert by_key(tables.scan("log"))["units"].to_list() == [1.0, 2.0, 0.0]
    with pytest.raises(ContractError, match="1 keys occur more than once"):
        tables.append("log", pl.concat([WINTER.head(1), WINTER.head(1)]), key=key)
    with pytest.raises(TableError, match="key columns"):
        tables.append("log", WINTER, key=["nobody"])


def test_a_null_in_the_key_is_a_key(tables: Tables) -> None:
    frame = pl.DataFrame({"k": ["a", None], "x": [1, 2]})
    tables.append("log", frame, key=["k"])
    assert tables.append("log", frame, key=["k"]) == 0


def test_missing_things_are_named(tables: Tables) -> None:
    with pytest.raises(TableError, match=r"table features/none does not exist(.|\n)*hint: materialize"):
        tables.scan("features/none")
    tables.write("t", WINTER)
    with pytest.raises(TableError, match="no version 7; newest: 0"):
        tables.scan("t", version=7)
    for name in ("../t", "/t", "t//u", ""):
        with pytest.raises(TableError, match="is not a path below"):
            tables.exists(name)
    with pytest.raises(TableError, match="is empty"):
        tables.write("s", WINTER, partition_by="period_on", between=(date(2024, 2, 1), date(2024, 2, 1)))


def test_the_second_of_two_revisions_is_refused(tables: Tables) -> None:
    """By path, both would commit and the first one's rows would be lost."""
    tables.write("count", pl.DataFrame({"n": [0]}))
    with tables.revision("count") as first, tables.revision("count") as second:
        for handle in (first, second):
            assert handle.scan().collect()["n"].to_list() == [0]
        assert first.write(pl.DataFrame({"n": [1]})) == 1
        with pytest.raises(ConcurrentWriteError, match="table count"):
            second.write(pl.DataFrame({"n": [1]}))
    assert tables.version("count") == 1


def test_a_revision_is_refused_after_any_other_commit(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    with tables.revision("sales") as handle:
        assert handle.version == 0
        tables.write("sales", WINTER.tail(1), between=FEBRUARY)
        with pytest.raises(ConcurrentWriteError):
            handle.write(WINTER.head(2), between=JANUARY)


def test_two_first_writers_do_not_both_win(tables: Tables) -> None:
    with tables.revision("new") as first, tables.revision("new") as second:
        assert first.version is None
        first.write(WINTER)
        with pytest.raises(ConcurrentWriteError):
            second.write(WINTER)


def test_different_months_are_written_side_by_side(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    first, second = (Revision(tables, "sales", is_exclusive=False) for _ in range(2))
    first.write(WINTER.head(2).with_columns(units=pl.lit(0.0)), between=JANUARY)
    second.write(WINTER.tail(1).with_columns(units=pl.lit(0.0)), between=FEBRUARY)
    assert by_key(tables.scan("sales"))["units"].to_list() == [0.0, 0.0, 0.0]


def test_compaction_changes_files_and_no_rows(tables: Tables) -> None:
    for day in range(1, 6):
        on = date(2024, 1, day)
        tables.append("sales", sales(("a", on, float(day))), key=["period_on"], partition_by="period_on")
    before = by_key(tables.scan("sales"))
    assert len(DeltaTable(tables.uri("sales")).file_uris()) == 5
    tables.compact("sales")
    assert len(DeltaTable(tables.uri("sales")).file_uris()) == 1
    assert_frame_equal(by_key(tables.scan("sales")), before)


def test_vacuum_keeps_what_manifests_name(tables: Tables) -> None:
    for value in range(4):
        tables.write("t", pl.DataFrame({"x": [value]}))
    assert len(tables.vacuum("t", keep_versions=[1], is_dry_run=True)) == 2
    tables.vacuum("t", keep_versions=[1])
    assert tables.scan("t", version=1).collect()["x"].to_list() == [1]
    assert tables.scan("t").collect()["x"].to_list() == [3]
    with pytest.raises(TableError, match=r"table t, version 2: .*parquet is not there") as error:
        tables.scan("t", version=2)
    assert "vacuum removed it" in str(error.value)
    with pytest.raises(TableError, match=r"no versions \[9\]"):
        tables.vacuum("t", keep_versions=[9])


def test_old_versions_stay_readable(tables: Tables) -> None:
    """A table written more than 30 days ago lost its early versions at the next checkpoint but one, and no training
    set that a manifest names could be read again."""
    tables.write("t", pl.DataFrame({"x": [0]}))
    DeltaTable(tables.uri("t")).alter.set_table_properties({"delta.checkpointInterval": "5"})
    for value in range(2, 30):
        if value == 20:
            long_ago = time.time() - timedelta(days=90).total_seconds()
            for path in Path(tables.uri("t"), "_delta_log").iterdir():
                os.utime(path, (long_ago, long_ago))
        assert tables.write("t", pl.DataFrame({"x": [value]})) == value
    assert tables.scan("t", version=2).collect()["x"].to_list() == [2]
    tables.replace("t", pl.DataFrame({"y": ["a"]}))
    assert DeltaTable(tables.uri("t")).metadata().configuration["delta.enableExpiredLogCleanup"] == "false"


DAYS = st.dates(date(2023, 12, 20), date(2024, 3, 10))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(DAYS, st.integers(1, 40), st.lists(st.integers(0, 39))), min_size=1, max_size=4))
def test_any_sequence_of_range_writes_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[date, int, list[int]]]
) -> None:
    """Oracle: a dictionary from day to value, its range emptied and filled by each write."""
    tables, oracle = Tables(tmp_path_factory.mktemp("any")), dict[date, float]()
    for number, (start, length, offsets) in enumerate(writes):
        between = (start, start + timedelta(days=length))
        days = sorted({start + timedelta(days=offset % length) for offset in offsets})
        frame = sales(*(("a", day, float(number)) for day in days))
        tables.write("t", frame, between=between, partition_by="period_on", allow_empty=True)
        oracle = {day: value for day, value in oracle.items() if not between[0] <= day < between[1]}
        oracle |= {day: float(number) for day in days}
        inside = {day: value for day, value in oracle.items() if between[0] <= day < between[1]}
        for scan, expected in ((tables.scan("t"), oracle), (tables.scan("t", between=between), inside)):
            assert dict(scan.select("period_on", "units").collect().iter_rows()) == expected


def _increment(root: str, times: int) -> None:
    tables = Tables(root)
    for _ in range(times):
        while True:
            with tables.revision("count") as handle:
                n = handle.scan().collect()["n"].item()
                try:
                    handle.write(pl.DataFrame({"n": [n + 1]}))
                    break
                except ConcurrentWriteError:
                    continue


@pytest.mark.long
def test_concurrent_increments_are_never_lost(tables: Tables, spawn: SpawnContext) -> None:
    """Four processes, fifteen increments each: with lost updates the count stays below sixty."""
    tables.write("count", pl.DataFrame({"n": [0]}))
    writers = [spawn.Process(target=_increment, args=(tables.root, 15)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
        assert writer.exitcode == 0
    assert tables.scan("count").collect()["n"].item() == 60


def _rewrite_for_ever(root: str) -> None:
    tables, value = Tables(root), 0
    while True:
        value += 1
        tables.write("sales", WINTER.head(2).with_columns(units=pl.lit(float(value))), between=JANUARY)


@pytest.mark.long
def test_a_killed_writer_leaves_a_whole_version(tables: Tables, spawn: SpawnContext) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    for round_number in range(8):
        before = tables.version("sales")
        writer = spawn.Process(target=_rewrite_for_ever, args=(tables.root,))
        writer.start()
        while tables.version("sales") < before + 3:
            time.sleep(0.01)
        time.sleep(0.003 * round_number)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        rows = by_key(tables.scan("sales"))
        assert rows.height == 3
        assert rows["units"][0] == rows["units"][1]
        assert rows["units"][2] == 3.0
    tables.vacuum("sales", keep_versions=[])
    assert by_key(tables.scan("sales")).height == 3


# --- columns that come, go and change -------------------------------------------------------------------------------


def test_a_new_column_is_null_where_rows_stay_and_a_removed_one_is_gone(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    february = (
        sales(("b", date(2024, 2, 3), 8.0)).with_columns(price=pl.lit(2.5)).select("price", "series_id", "period_on")
    )
    with pytest.raises(SchemaError, match="`units` is missing"):
        tables.write("sales", february, between=FEBRUARY)
    assert tables.write("sales", february, between=FEBRUARY, evolves=True) == 1

    expected = pl.DataFrame(
        [(None, "a", date(2024, 1, 1)), (None, "a", date(2024, 1, 31)), (2.5, "b", date(2024, 2, 3))],
        schema={"price": pl.Float64, "series_id": pl.String, "period_on": pl.Date},
        orient="row",
    )
    assert_frame_equal(by_key(tables.scan("sales")), expected)
    assert_frame_equal(by_key(tables.scan("sales", version=0)), WINTER)  # as a manifest names it
    assert_frame_equal(by_key(tables.scan("sales", between=JANUARY)), expected.head(2))
    assert tables.partitioned_on("sales") == "period_on"


def test_an_order_of_columns_is_no_change(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    tables.write("sales", WINTER.select("units", "period_on", "series_id"), evolves=True)
    assert tables.scan("sales").collect_schema().names() == WINTER.columns


def test_a_type_changes_only_where_no_row_keeps_the_old_one(tables: Tables) -> None:
    tables.write("sales", WINTER, partition_by="period_on")
    whole = WINTER.with_columns(pl.col("units").cast(pl.Int64))
    with pytest.raises(SchemaError, match=r"`units` is Int64, and Float64 in the table; 2 rows of other part") as error:
        tables.write("sales", whole.tail(1), between=FEBRUARY, evolves=True)
    assert "all partitions in one run" in str(error.value)
    assert tables.version("sales") == 0
    assert tables.write("sales", whole, between=(date(2024, 1, 1), date(2024, 3, 1)), evolves=True) == 1
    assert_frame_equal(by_key(tables.scan("sales")), whole)
    assert_frame_equal(by_key(tables.scan("sales", version=0)), WINTER)


def test_columns_change_only_if_nobody_wrote_since_they_were_read(tables: Tables) -> None:
    """The rows that stay are written again: another month that came in between would be lost."""
    tables.write("sales", WINTER, partition_by="period_on")
    with tables.revision("sales") as late:
        tables.write("sales", sales(("z", date(2024, 3, 1), 1.0)), between=(date(2024, 3, 1), date(2024, 4, 1)))
        with pytest.raises(ConcurrentWriteError):
            late.write(WINTER.tail(1).drop("units"), between=FEBRUARY, evolves=True)
    assert tables.scan("sales").collect().height == 4


def test_an_empty_table_takes_any_columns(tables: Tables) -> None:
    tables.write("plans", WINTER.clear(), between=JANUARY, partition_by="period_on", allow_empty=True)
    other = WINTER.clear().select("period_on", pl.col("units").cast(pl.String))
    tables.write("plans", other, between=JANUARY, evolves=True)
    assert tables.scan("plans").collect_schema() == other.schema


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.tuples(st.sampled_from([JANUARY, FEBRUARY]), st.sets(st.sampled_from("abc")), st.integers(1, 3)),
        min_size=1,
        max_size=5,
    )
)
def test_any_columns_in_any_order_of_months_equal_a_plain_list_of_rows(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[tuple[date, date], set[str], int]]
) -> None:
    """A dictionary of rows, the last write's columns and null for what a row never had, is what every version says."""
    tables, held = Tables(tmp_path_factory.mktemp("evolve")), dict[date, dict[str, int]]()
    versions = []
    for number, (between, names, count) in enumerate(writes):
        days = [date(2024, between[0].month, n + 1) for n in range(count)]
        rows = {day: dict.fromkeys(names, number * 10 + n) for n, day in enumerate(days)}
        # What a column held before it went away does not come back with it.
        held = {day: {name: row[name] for name in names if name in row} for day, row in held.items()}
        held = {day: row for day, row in held.items() if not between[0] <= day < between[1]} | rows
        frame = pl.DataFrame(
            [{"on": day, **row} for day, row in rows.items()],
            schema={"on": pl.Date, **dict.fromkeys(sorted(names), pl.Int64)},
        )
        version = tables.write("t", frame, between=between, partition_by="on", evolves=True)
        versions.append(
            (version, [{"on": day, **{n: held[day].get(n) for n in sorted(names)}} for day in sorted(held)])
        )
    for version, expected in versions:
        found = tables.scan("t", version=version).collect().sort("on")
        assert found.select("on", *sorted(set(found.columns) - {"on"})).to_dicts() == expected
