"""The training set of Feast's Spark offline store beside ours: where it differs, case by case, and where it is made equal.

One Spark session serves the whole module; starting it takes longer than any test.
"""

import os
import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from feast import FeatureStore
from polars.testing import assert_frame_equal

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.sources import Sources
from tests.resources import spark_matrix as matrix
from tests.resources import spark_stores as repository
from tests.resources import test_feature_store as tables_of

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    java = shutil.which("java") or shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin")
    assert java, "no `java` here: install the system package `openjdk-17-jre-headless` (21 will do)"
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    settings = repository.SPARK | {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse"))}
    started = SparkSession.builder.config(conf=SparkConf().setAll(list(settings.items()))).getOrCreate()
    started.sparkContext.setLogLevel("ERROR")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> repository.Stores:
    folder = tmp_path_factory.mktemp("rules")
    repository.write(folder, "stocks", *matrix.rules())
    return repository.stores(folder, lambda source: repository.objects(source, folder, "stocks"))


def retrieved(store: FeatureStore, asked: pd.DataFrame, service: str, **settings: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "of .* rows some hold values", UserWarning)
        job = store.get_historical_features(
            asked.copy(), store.get_feature_service(service), full_feature_names=True, **settings
        )
        return job.to_df()


def same_but_for_order(one: pd.DataFrame, other: pd.DataFrame, prefixes: list[str]) -> None:
    """Spark keeps neither the order of the rows nor the zone of their time, which it gives in UTC."""
    for prefix in [*prefixes, "shop_id", "sku"]:
        assert matrix.answers(one, prefix) == matrix.answers(other, prefix), prefix
    assert sorted(one.columns) == sorted(other.columns)
    times = other.set_index("note")["event_timestamp"].dt.tz_localize("UTC").sort_index()
    assert (one.set_index("note")["event_timestamp"].sort_index() == times).all()


VIEWS = ("stocks", "level", "unwritten")


def found_in(ours: pd.DataFrame, plain: pd.DataFrame) -> dict[tuple[str, str, float], str]:
    """(view, case, hour asked) -> how Spark's values differ from ours."""
    found: dict[tuple[str, str, float], str] = {}
    for view in VIEWS:
        mine, theirs = matrix.answers(ours, f"{view}__"), matrix.answers(plain, f"{view}__")
        assert mine.keys() == theirs.keys()
        for note, (case, hours) in enumerate(matrix.ASKED):
            if kind := matrix.kind_of(mine[note], theirs[note]):
                found[view, case, hours] = kind
    return found


@pytest.mark.parametrize("mode", ["strict", "feast"])
def test_every_difference_in_the_rules_is_named_and_is_none_through_our_store(
    rules: repository.Stores, mode: str
) -> None:
    asked = matrix.rules_asked()
    ours = retrieved(rules.ours[mode], asked, "rules")
    same_but_for_order(ours, retrieved(rules.spark[mode], asked, "rules"), [f"{view}__" for view in VIEWS])

    plain = retrieved(rules.feast, asked, "rules", filter_by_created_timestamp=mode == "strict")
    assert found_in(ours, plain) == matrix.DIFFERENCES[mode]
    if mode == "feast":  # without the flag, beside our rule
        strict = retrieved(rules.ours["strict"], asked, "rules")
        assert found_in(strict, plain) == matrix.DIFFERENCES["feast"] | matrix.NOT_YET_KNOWN
    # A row of ours is as many of Spark's as the product of its views' values.
    repeated = dict.fromkeys(range(len(asked)), 1)
    for view in VIEWS:
        for note, values in matrix.answers(plain, f"{view}__").items():
            repeated[note] *= len(set(values))
    assert plain["note"].value_counts().to_dict() == repeated
    assert len(ours) == len(asked)


SHAPES = ["stocks__", "level__", "market__", "origin__"]


def test_all_shapes_of_keys_and_times_agree_where_no_rule_is_touched(tmp_path: Path) -> None:
    """Created times complete and distinct: Feast's store, told to filter by them, is right as it is."""
    repository.write(tmp_path, "stocks", *(matrix.random_rows(n, 150, is_clean=True) for n in range(3)))
    stores = repository.stores(tmp_path, lambda source: repository.objects(source, tmp_path, "stocks"), ["strict"])
    asked = matrix.random_asked(1, 120)
    ours = retrieved(stores.ours["strict"], asked, "shapes")
    assert ours["stocks__stock"].notna().sum() > 20
    assert ours["origin__label"].notna().sum() > 20
    same_but_for_order(ours, retrieved(stores.spark["strict"], asked, "shapes"), SHAPES)
    same_but_for_order(ours, retrieved(stores.feast, asked, "shapes", filter_by_created_timestamp=True), SHAPES)


@pytest.mark.parametrize("mode", ["strict", "feast"])
def test_ties_missing_times_and_nan_agree_through_our_store(tmp_path: Path, mode: str) -> None:
    repository.write(tmp_path, "stocks", *(matrix.random_rows(n, 150, is_clean=False) for n in range(3)))
    stores = repository.stores(tmp_path, lambda source: repository.objects(source, tmp_path, "stocks"), [mode])
    asked = matrix.random_asked(2, 120)
    ours = retrieved(stores.ours[mode], asked, "shapes")
    same_but_for_order(ours, retrieved(stores.spark[mode], asked, "shapes"), SHAPES)


def test_our_own_repository_agrees_over_the_live_files_of_its_tables(tmp_path: Path) -> None:
    """All views and their seventy features; Feast's own store too, since our tables have no ties and no missing times."""
    import copy

    from feast import FeatureView

    from feature_repo import services

    views = [view for view in vars(services).values() if isinstance(view, FeatureView)]
    tables = {view.name: tables_of.table_of(view.name, 12) for view in views}
    for name, rows in tables.items():
        month = {"partition_by": ["month"]}
        dated = rows.with_columns(month=pl.col("event_at").dt.strftime("%Y-%m"))
        dated.with_columns(known_at=pl.col("event_at")).write_delta(
            tmp_path / "features" / name, delta_write_options=month
        )
        dated.write_delta(tmp_path / "features" / name, mode="overwrite")

    def make(source: Any) -> list[Any]:
        made = []
        for view in views:
            own = copy.copy(view)
            if source is repository.live_files:
                times = {"timestamp_field": "event_at", "created_timestamp_column": "known_at"}
                own.batch_source = source(f"{view.name}_table", tmp_path, f"features/{view.name}", **times)
            made.append(own)
        return [services.series, services.target, *made, services.demand_v1]

    stores = repository.stores(tmp_path, make, ["strict"])
    asked = tables_of.entity_rows(60).rename({"issued_at": "event_timestamp"}).with_row_index("note").to_pandas()
    prefixes = [f"{view.name}__" for view in views]
    ours = retrieved(stores.ours["strict"], asked, "demand_v1")
    assert (ours.filter(like="__").notna().mean() > 0.05).all()
    for joined in (
        retrieved(stores.spark["strict"], asked, "demand_v1"),
        retrieved(stores.feast, asked.astype({"note": "int64"}), "demand_v1", filter_by_created_timestamp=True),
    ):
        for prefix in [*prefixes, "series_id", "target_day"]:
            assert matrix.answers(ours, prefix) == matrix.answers(joined, prefix), prefix


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> repository.Stores:
    """Keys whose texts run together, TTLs below and above a second, NaN."""
    folder = tmp_path_factory.mktemp("odd")
    repository.write(folder, "pairs", matrix.pairs())
    return repository.stores(folder, lambda source: repository.pair_objects(source, folder), ["strict"])


def test_keys_that_run_together_and_ttls_of_fractions(odd: repository.Stores) -> None:
    asked = matrix.pairs_asked((1, "12", 2), (11, "2", 2), (1, "12", 1 + 1.2 / 3600))
    ours, plain = retrieved(odd.ours["strict"], asked, "odd"), retrieved(odd.feast, asked, "odd")
    values = {view: (matrix.answers(ours, view), matrix.answers(plain, view)) for view in ("pairs", "brief", "short")}
    first, second, nothing = [(0.0,)], [(1.0,)], [(None,)]
    mine, theirs = values["pairs"]  # 1 and "12" are 11 and "2" in Feast's query: each gets both values
    assert mine == {0: first, 1: second, 2: first}
    assert {note: set(found) for note, found in theirs.items()} == {
        0: {(0.0,), (1.0,)},
        1: {(0.0,), (1.0,)},
        2: {(0.0,)},
    }
    mine, theirs = values["brief"]  # half a second is cut to 0, which is no TTL
    assert mine == {0: nothing, 1: nothing, 2: nothing}
    assert {note: set(found) for note, found in theirs.items()} == {0: {*first}, 1: {*second}, 2: {*first}}
    mine, theirs = values["short"]  # a second and a half is cut to one
    assert (mine[2], set(theirs[2])) == (first, {*nothing})
    with pytest.raises(FeatureStoreError, match=r"view `brief`: its TTL of .* no whole number of seconds"):
        retrieved(odd.spark["strict"], asked, "odd")

    def in_arrow(store: FeatureStore) -> pl.DataFrame:
        joined = store.get_historical_features(asked, store.get_feature_service("pairs")).to_arrow()
        return pl.DataFrame(pl.from_arrow(joined)).sort("note").select("note", "sold", "stock")

    ours_in_arrow, spark_in_arrow = in_arrow(odd.ours["strict"]), in_arrow(odd.spark["strict"])
    assert ours_in_arrow["stock"].is_nan().to_list() == [False, True, False]
    assert_frame_equal(ours_in_arrow.fill_nan(None), spark_in_arrow)  # by way of pandas, where NaN is null


def test_times_of_a_session_or_a_process_that_is_not_in_utc(
    odd: repository.Stores, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Feast writes UTC into its query without saying so."""
    asked = matrix.pairs_asked((1, "12", 1.5))
    rows = "SELECT 0 AS note, 1L AS shop_id, '12' AS sku, TIMESTAMP '2024-01-01 01:30:00' AS event_timestamp"
    assert matrix.answers(retrieved(odd.ours["strict"], asked, "pairs"), "pairs__sold") == {0: [(0.0,)]}

    def by_sql(store: FeatureStore) -> dict[int, Any]:
        job = store.get_historical_features(rows, store.get_feature_service("pairs"), full_feature_names=True)
        return matrix.answers(job.to_df(), "pairs__sold")

    assert by_sql(odd.spark["strict"]) == {0: [(0.0,)]}
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/New_York")
        time.tzset()
        try:
            assert by_sql(odd.feast) == {0: [(None,)]}
            with pytest.raises(FeatureStoreError, match="in this process's zone, EST, as if it were UTC"):
                by_sql(odd.spark["strict"])
        finally:
            elsewhere.undo()
            time.tzset()
    session.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        assert matrix.answers(retrieved(odd.feast, asked, "pairs"), "pairs__sold") == {0: [(None,)]}
        with pytest.raises(FeatureStoreError, match="session reads times in Europe/Berlin"):
            retrieved(odd.spark["strict"], asked, "pairs")
    finally:
        session.conf.set("spark.sql.session.timeZone", "UTC")


def test_what_spark_reads_of_files(session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resources.feast_polars.spark_tables import known_then

    repository.write(tmp_path, "pairs", matrix.pairs())
    assert (
        session.read.parquet(str(tmp_path / "pairs")).count() == 4
    )  # a folder is no Delta table: two rows are replaced
    objects = repository.pair_objects(repository.file_source, tmp_path)
    unread = repository.opened(tmp_path, "file-sources", {"type": "spark", "spark_conf": repository.SPARK}, objects)
    with pytest.raises(ValueError, match="SparkOfflineStore requires SparkSource"):
        unread.get_historical_features(matrix.pairs_asked((1, "12", 2)), ["pairs:sold"])

    vectors = {"configuration": {"delta.enableDeletionVectors": "true"}}
    matrix.pairs().write_delta(tmp_path / "vectors", delta_write_options=vectors)
    sources = Sources(root=str(tmp_path))
    deleted = repository.file_source("vectors", tmp_path, "vectors", timestamp_field="happened")
    assert known_then(session, sources, deleted, ["shop_id"]).count() == 2
    monkeypatch.setattr(DeltaTable, "deletion_vectors", lambda table: [pa.record_batch({"n": [1]})])
    with pytest.raises(FeatureStoreError, match="needs deletionVectors, so"):
        known_then(session, sources, deleted, ["shop_id"])

    finer = matrix.pairs().with_columns(pl.col("happened").dt.cast_time_unit("ns"))
    finer.write_parquet(tmp_path / "finer.parquet")
    with pytest.raises(Exception, match=r"PARQUET_TYPE_ILLEGAL|Illegal Parquet type"):
        session.read.parquet(str(tmp_path / "finer.parquet")).collect()
    source = repository.parquet_source("finer", tmp_path / "finer.parquet")
    with pytest.raises(FeatureStoreError, match="source `finer`: column `happened` is in nanoseconds"):
        known_then(session, sources, source, ["shop_id"])


def test_a_range_without_entity_rows(rules: repository.Stores) -> None:
    """Ours gives every row of the view in the range; Feast's asks each entity once, at the end, and knows no mapped key."""

    def retrieved_rows(store: FeatureStore, feature: str) -> pd.DataFrame:
        job = store.get_historical_features(features=[feature], start_date=matrix.at(0.5), end_date=matrix.at(3))
        return job.to_df()

    ours, spark = (retrieved_rows(s["strict"], "stocks:label") for s in (rules.ours, rules.spark))
    ours["event_timestamp"] = ours["event_timestamp"].dt.tz_localize(None)
    columns = ["shop_id", "sku", "event_timestamp", "label"]
    one, other = (frame[columns].sort_values(columns[:3]).astype(object).values.tolist() for frame in (ours, spark))
    assert one == other
    plain = retrieved_rows(rules.feast, "level:sold")
    assert list(plain) == ["shop_id", "entity_ts", "sold"]
    assert plain["entity_ts"].unique().tolist() == [pd.Timestamp(matrix.at(3)).tz_localize(None)]
    assert sorted(plain["shop_id"].astype(int).unique()) == sorted(ours["shop_id"].unique())
    assert len(ours) > ours["shop_id"].nunique()
    with pytest.raises(Exception, match="parameter with name `sku` cannot be resolved"):
        retrieved_rows(rules.feast, "stocks:label")


def test_loads_and_writes_are_those_of_our_store(rules: repository.Stores, odd: repository.Stores) -> None:
    def pulled(store: FeatureStore, name: str) -> pl.DataFrame:
        offline, source = store._get_provider().offline_store, store.get_feature_view("stocks").batch_source
        columns = ["shop_id", "item"], ["label", "sold"], "happened", "written"
        job = getattr(offline, name)(store.config, source, *columns, matrix.at(0), matrix.at(3))
        frame = pl.DataFrame(pl.from_arrow(job.to_arrow()))
        times = pl.col("happened", "written")
        frame = frame.with_columns(times.dt.cast_time_unit("us").dt.replace_time_zone("UTC")).rename(
            {"item": "sku"}, strict=False
        )
        return frame.select(sorted(frame.columns)).sort("sold")

    for mode in ("strict", "feast"):
        for name in ("pull_latest_from_table_or_query", "pull_all_from_table_or_query"):
            assert_frame_equal(pulled(rules.ours[mode], name), pulled(rules.spark[mode], name))

    store = odd.spark["strict"]
    row = matrix.pairs().head(1).with_columns(shop_id=pl.lit(77, dtype=pl.Int64))
    store._get_provider().offline_store.offline_write_batch(
        store.config, store.get_feature_view("pairs"), row.to_arrow(), None
    )
    asked = matrix.pairs_asked((77, "12", 2))
    for other in (store, odd.ours["strict"]):
        assert matrix.answers(retrieved(other, asked, "pairs"), "pairs__sold") == {0: [(0.0,)]}
