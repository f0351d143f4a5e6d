"""File sources as Spark views: the rows that the polars store reads, under the same rule of what counts."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse
from uuid import uuid4

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.sources import Sources

_PATH, _FILE, _ROW, _LAST = "__path", "__file", "__row", "__last"
_HARMLESS = {
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
}  # table features that leave rows as the files say


def stored_names(source: DataSource) -> tuple[str, str | None]:
    """Columns of event and known-at time as the files name them."""
    stored = {name: column for column, name in source.field_mapping.items()}
    event, known = source.timestamp_field, source.created_timestamp_column
    return stored.get(event, event), stored.get(known, known) or None


def known_then(
    spark: SparkSession, sources: Sources, source: DataSource, keys: Sequence[str] | None = None
) -> DataFrame:
    """The source's rows, times as instants, a missing known-at time filled with the event time.

    With `keys`, of rows that share key, event and known-at time only the last in the table stays: Feast's query would
    repeat an entity row for each of them.
    Raises: FeatureStoreError for a missing column, and for files that Spark cannot read or would read differently.
    """
    event, known = stored_names(source)
    times = [event, *([known] if known else [])]
    _check(sources, source, [*(keys or []), *times])
    rows = _live_rows(spark, sources, source).where(F.col(event).isNotNull())
    rows = rows.withColumn(event, F.col(event).cast("timestamp"))
    if known:
        rows = rows.withColumn(known, F.coalesce(F.col(known).cast("timestamp"), F.col(event)))
    if keys is not None:
        same = Window.partitionBy(*keys, *times).orderBy(F.desc(_FILE), F.desc(_ROW))
        rows = rows.withColumn(_LAST, F.row_number().over(same)).where(F.col(_LAST) == 1).drop(_LAST)
    return rows.drop(_FILE, _ROW)


def spark_source(rows: DataFrame, source: DataSource) -> SparkSource:
    """These rows as a temporary view, and the source of Feast's Spark store that reads it in the place of `source`."""
    name = f"perennial_{uuid4().hex}"
    rows.createOrReplaceTempView(name)
    return SparkSource(
        name=source.name,
        table=name,
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=dict(source.field_mapping),
    )


def _check(sources: Sources, source: DataSource, columns: Sequence[str]) -> None:
    schema = sources.scan(source).collect_schema()
    if missing := [name for name in columns if name not in schema]:
        raise FeatureStoreError(
            f"source `{source.name}`: column {', '.join(f'`{m}`' for m in missing)} is missing; "
            f"columns: {', '.join(schema)}"
        )
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
            raise FeatureStoreError(
                f"source `{source.name}`: column `{name}` is in nanoseconds, which Spark cannot read",
                hint="write the table in microseconds",
            )
    if sources.is_delta(source):
        _check_log(sources.table(source), source)


def _check_log(table: DeltaTable, source: DataSource) -> None:
    needed = {*(table.protocol().reader_features or [])} - _HARMLESS
    if "deletionVectors" in needed and not any(batch.num_rows for batch in table.deletion_vectors()):
        needed.remove("deletionVectors")  # allowed, but no row is deleted so
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        needed.add("columnMapping")
    if needed:
        raise FeatureStoreError(
            f"source `{source.name}`: the Delta table needs {', '.join(sorted(needed))}, so its Parquet files alone do "
            "not say its rows",
            hint="rewrite it without, or give Spark its Delta package and a SparkSource",
        )


def _live_rows(spark: SparkSession, sources: Sources, source: DataSource) -> DataFrame:
    """The source's rows, each with the number of its file and its own within it.

    Of a Delta table, the files that the pinned version of the log names, in its order and with its schema: Spark needs
    no Delta package.
    """
    uri, reader = sources.uri(source), spark.read
    if sources.is_delta(source):
        table = sources.table(source)
        files = table.file_uris()
        schema = StructType.fromJson(json.loads(table.schema().to_json()))
        reader = reader.schema(schema).option("basePath", _for_spark(uri))
        if not files:
            return spark.createDataFrame([], schema).withColumns({_FILE: F.lit(0), _ROW: F.lit(0)})
    elif Path(uri).is_dir():
        files = sorted(str(file) for file in Path(uri).rglob("*.parquet"))
        reader = reader.option("basePath", _for_spark(uri))
    else:
        files = sorted(glob.glob(uri)) or [uri]
    rows = reader.parquet(*map(_for_spark, files))
    rows = rows.withColumns({_PATH: F.col("_metadata.file_path"), _ROW: F.col("_metadata.row_index")})
    order = {_plain_path(file): number for number, file in enumerate(files)}
    named = rows.inputFiles()
    numbers = {
        _PATH: [file.replace("file:///", "file:/", 1) for file in named],  # as the metadata column writes it
        _FILE: [order[_plain_path(file)] for file in named],
    }
    rows = rows.join(F.broadcast(spark.createDataFrame(pa.table(numbers))), _PATH, "left")
    unknown = F.raise_error(F.concat(F.lit(f"source `{source.name}`: no such file in the log: "), F.col(_PATH)))
    return rows.withColumn(_FILE, F.coalesce(_FILE, unknown.cast("bigint"))).drop(_PATH)


def _for_spark(uri: str) -> str:
    """Hadoop's name of the scheme for S3."""
    return uri.replace("s3://", "s3a://", 1) if uri.startswith("s3://") else uri


def _plain_path(uri: str) -> str:
    """Path within its file system, as the log says it: Spark adds a scheme and escapes."""
    parsed = urlparse(uri)
    return unquote(parsed.path) if parsed.scheme else uri
