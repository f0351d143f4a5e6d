"""One Feast repository for three offline stores: ours, Feast's Spark store as it is, and ours on top of Feast's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Array, Float32, Float64, Int64, String

SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
SKU = Entity(name="sku", join_keys=["sku"], value_type=ValueType.STRING)
# Loopback only, no UI, no generated code (compiling it takes longer than the rows), times in UTC.
SPARK = {
    "spark.master": "local[2]",
    "spark.app.name": "perennial-test",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


def write(folder: Path, table: str, *commits: pl.DataFrame) -> None:
    """A Delta table of these commits, in whose folder lies a file that its log no longer names."""
    (commits[0].with_columns(sold=pl.lit(-1, dtype=pl.Int64))).write_delta(folder / table)
    commits[0].write_delta(folder / table, mode="overwrite")
    for commit in commits[1:]:
        commit.write_delta(folder / table, mode="append")


def file_source(name: str, folder: Path, table: str, **settings: Any) -> DataSource:
    return FileSource(name=name, path=table, file_format=DeltaFormat(), **settings)


def live_files(name: str, folder: Path, table: str, **settings: Any) -> DataSource:
    """What Spark needs in the place of Delta's package: a query of the files that the log names."""
    files = DeltaTable(folder / table).file_uris()
    return SparkSource(name=name, query=" UNION ALL ".join(f"SELECT * FROM parquet.`{f}`" for f in files), **settings)


def objects(source: Callable[..., DataSource], folder: Path, table: str) -> list[Any]:
    """Views over one table: of two keys, of one without TTL, without a created column, of none; a renamed one."""
    fields = [Field(name="stock", dtype=Float64), Field(name="sold", dtype=Int64)]
    more = [*fields, Field(name="label", dtype=String), Field(name="recent", dtype=Array(Float32))]
    both = source(
        "both",
        folder,
        table,
        timestamp_field="happened",
        created_timestamp_column="written",
        field_mapping={"item": "sku"},
    )
    happened = source("happened", folder, table, timestamp_field="happened", field_mapping={"item": "sku"})
    stocks = FeatureView(name="stocks", entities=[SHOP, SKU], ttl=timedelta(hours=5), source=both, schema=more)
    level = FeatureView(name="level", entities=[SHOP], ttl=timedelta(0), source=both, schema=fields)
    unwritten = FeatureView(
        name="unwritten", entities=[SHOP, SKU], ttl=timedelta(hours=5), source=happened, schema=fields
    )
    market = FeatureView(name="market", entities=[], ttl=timedelta(hours=3), source=both, schema=fields)
    origin = stocks.with_name("origin").with_join_key_map({"shop_id": "origin_shop", "sku": "origin_sku"})
    return [
        *(SHOP, SKU, both, happened, stocks, level, unwritten, market),
        FeatureService(name="rules", features=[stocks, level, unwritten]),
        FeatureService(name="shapes", features=[stocks.with_name("stocks"), level, market, origin]),
    ]


def pair_objects(source: Callable[..., DataSource], folder: Path) -> list[Any]:
    """A view of two keys, and two of one key with TTLs of half a second and of one and a half."""
    held = source(
        "pairs",
        folder,
        "pairs",
        timestamp_field="happened",
        created_timestamp_column="written",
        field_mapping={"item": "sku"},
    )
    sold = [Field(name="sold", dtype=Int64)]
    pair = FeatureView(
        name="pairs", entities=[SHOP, SKU], source=held, schema=[*sold, Field(name="stock", dtype=Float64)]
    )
    brief = FeatureView(name="brief", entities=[SHOP], ttl=timedelta(seconds=0.5), source=held, schema=sold)
    short = FeatureView(name="short", entities=[SHOP], ttl=timedelta(seconds=1.5), source=held, schema=sold)
    services = [
        FeatureService(name="odd", features=[pair[["sold"]], brief, short]),
        FeatureService(name="pairs", features=[pair]),
    ]
    return [SHOP, SKU, held, pair, brief, short, *services]


def parquet_source(name: str, path: Path) -> DataSource:
    return FileSource(name=name, path=str(path), file_format=ParquetFormat(), timestamp_field="happened")


@dataclass(frozen=True)
class Stores:
    """One repository under each offline store; `ours` and `spark` have a store for each `known_at`."""

    ours: dict[str, FeatureStore]
    feast: FeatureStore
    spark: dict[str, FeatureStore]


def opened(folder: Path, name: str, offline: dict[str, Any], objects: Sequence[Any]) -> FeatureStore:
    """A Feast store with a registry of its own, in which the objects are applied."""
    place = folder / name
    place.mkdir()
    config = RepoConfig(
        project="shop",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{place}/registry.db"},
        online_store={"type": "sqlite", "path": f"{place}/online.db"},
        offline_store=offline,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    store.apply(list(objects))
    return store


def stores(
    folder: Path,
    make: Callable[[Callable[..., DataSource]], Sequence[Any]],
    modes: Sequence[str] = ("strict", "feast"),
) -> Stores:
    """The objects that `make` gives for a kind of source, applied for each store."""

    polars = {"type": "resources.feast_polars.offline.PolarsOfflineStore", "root": str(folder)}
    spark = {
        "type": "resources.feast_polars.spark.KnownThenSparkOfflineStore",
        "root": str(folder),
        "spark_conf": SPARK,
    }
    return Stores(
        ours={k: opened(folder, f"ours-{k}", polars | {"known_at": k}, make(file_source)) for k in modes},
        feast=opened(folder, "feast", {"type": "spark", "spark_conf": SPARK}, make(live_files)),
        spark={k: opened(folder, f"spark-{k}", spark | {"known_at": k}, make(file_source)) for k in modes},
    )
