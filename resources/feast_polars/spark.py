"""Feast's Spark offline store over the same file sources: `type: resources.feast_polars.spark.KnownThenSparkOfflineStore`.

Feast's own store does the join. Before it, each file source becomes a Spark view on which Feast's query means what the
polars store means by it; what cannot be made to agree is refused. Needs pyspark and Java 17.
"""

import copy
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
    get_spark_session_or_start_new_with_repoconfig,
)
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.utils import compute_non_entity_date_range
from pydantic import Field, StrictStr
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.entity_rows import EVENT_TIMESTAMP, as_rows, time_column, times
from resources.feast_polars.sources import Sources, batch_source
from resources.feast_polars.spark_tables import known_then, spark_source, stored_names
from resources.feast_polars.writes import append

_UTC = {"UTC", "Etc/UTC", "GMT", "Z", "+00:00"}


class KnownThenSparkOfflineStoreConfig(SparkOfflineStoreConfig):
    """Settings under `offline_store:`, those of Feast's Spark store among them."""

    type: Literal["resources.feast_polars.spark.KnownThenSparkOfflineStore"] = (  # type: ignore[assignment]
        "resources.feast_polars.spark.KnownThenSparkOfflineStore"
    )
    known_at: Literal["strict", "feast"] = "feast"
    """As in PolarsOfflineStore; `feast` does not count values from the future here."""
    root: StrictStr | None = None
    """As in PolarsOfflineStore."""
    storage_options: dict[str, str] = Field(default_factory=dict, repr=False)
    """For reading Delta logs; Spark itself takes its object-store settings from spark_conf."""


class KnownThenSparkOfflineStore(SparkOfflineStore):
    """The training set of the polars store, computed by Spark; the order of the rows is not kept."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        settings, spark, sources = _opened(config)
        views = [_readable(spark, sources, view) for view in feature_views]
        if entity_df is None:
            between = compute_non_entity_date_range(feature_views, kwargs.get("start_date"), kwargs.get("end_date"))
            entity_df = _rows_between(spark, views, *between)
        elif not isinstance(entity_df, (str, DataFrame)):
            entity_df = _for_spark(as_rows(entity_df))
        _refuse_local_times(entity_df)
        job = SparkOfflineStore.get_historical_features(
            config,
            views,
            feature_refs,
            entity_df,
            registry,
            project,
            full_feature_names,
            filter_by_created_timestamp=filter_by_created_timestamp or settings.known_at == "strict",
        )
        if not isinstance(job, SparkRetrievalJob):
            raise FeatureStoreError(f"Feast's Spark store answered with a {type(job).__name__}")
        job.query = _keys_apart(job.query, sum(len(_keys(view)) for view in views))
        return job

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        settings, spark, sources = _opened(config)
        keys = [key for key in join_key_columns if key != DUMMY_ENTITY_ID]
        rows = known_then(spark, sources, data_source, keys)
        if created_timestamp_column and settings.known_at == "strict":
            rows = rows.where(F.col(created_timestamp_column) <= F.lit(end_date))
        return SparkOfflineStore.pull_latest_from_table_or_query(
            config,
            spark_source(rows, data_source),
            keys,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        _, spark, sources = _opened(config)
        return SparkOfflineStore.pull_all_from_table_or_query(
            config,
            spark_source(known_then(spark, sources, data_source), data_source),
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        append(table, batch_source(feature_view), _sources(config))
        if progress:
            progress(table.num_rows)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        _sources(config).validate(data_source)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        return _sources(config).columns(data_source)


def _opened(config: RepoConfig) -> tuple[KnownThenSparkOfflineStoreConfig, SparkSession, Sources]:
    """Settings, session and sources of one call.

    Raises: FeatureStoreError unless the session's times are UTC: Feast compares them with UTC text.
    """
    spark = get_spark_session_or_start_new_with_repoconfig(_settings(config))
    if (zone := spark.conf.get("spark.sql.session.timeZone")) not in _UTC:
        raise FeatureStoreError(
            f"Spark's session reads times in {zone}, but Feast writes them into its query in UTC",
            hint="set spark.sql.session.timeZone: UTC in spark_conf, or in the session that is already open",
        )
    return _settings(config), spark, _sources(config)


def _settings(config: RepoConfig) -> KnownThenSparkOfflineStoreConfig:
    settings = config.offline_store
    if not isinstance(settings, KnownThenSparkOfflineStoreConfig):
        raise FeatureStoreError(f"offline_store is configured as {type(settings).__name__}, not for this store")
    return settings


def _sources(config: RepoConfig) -> Sources:
    settings = _settings(config)
    return Sources.of(config, settings.root, settings.storage_options)


def _readable(spark: SparkSession, sources: Sources, view: FeatureView) -> FeatureView:
    """The view over a Spark source in the place of its own."""
    if isinstance(view.ttl, timedelta) and view.ttl.microseconds:
        raise FeatureStoreError(
            f"feature view `{view.name}`: its TTL of {view.ttl} is no whole number of seconds; Spark's store cuts it off",
            hint="give whole seconds",
        )
    source = batch_source(view)
    readable = copy.copy(view)
    readable.batch_source = spark_source(known_then(spark, sources, source, list(_keys(view))), source)
    return readable


def _keys(view: FeatureView) -> dict[str, str]:
    """Column of the view's files to column of the entity rows."""
    stored = {name: column for column, name in batch_source(view).field_mapping.items()}
    names = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    return {stored.get(name, name): view.projection.join_key_map.get(name, name) for name in names}


def _for_spark(rows: pl.DataFrame) -> Any:
    """Entity rows as Spark takes them: in pandas, times in UTC, no unsigned integers."""
    name = time_column(rows)
    unsigned = [n for n, dtype in rows.schema.items() if dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)]
    return rows.with_columns(times(rows, name).alias(name), pl.col(unsigned).cast(pl.Int64)).to_pandas()


def _rows_between(spark: SparkSession, views: Sequence[FeatureView], start: datetime, end: datetime) -> DataFrame:
    """The entities and times of all views' own rows in the range; Feast would ask each entity once, at the end."""

    def of(view: FeatureView) -> DataFrame:
        source = batch_source(view)
        event, _ = stored_names(source)
        inside = F.col(event).between(F.lit(start.astimezone(UTC)), F.lit(end.astimezone(UTC)))
        columns = [F.col(column).alias(name) for column, name in _keys(view).items()]
        rows = spark.table(source.get_table_query_string()).where(inside)
        return rows.select(*columns, F.col(event).alias(EVENT_TIMESTAMP))

    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), map(of, views)).distinct()


def _refuse_local_times(entity_df: Any) -> None:
    """Feast takes the first and last time of a Spark frame in local time and writes them into its query as UTC.

    Raises: FeatureStoreError where that would differ.
    """
    if isinstance(entity_df, (str, DataFrame)) and (time.timezone or time.daylight):
        raise FeatureStoreError(
            f"Feast reads the times of Spark's entity rows in this process's zone, {time.tzname[0]}, as if it were UTC",
            hint="start the process with TZ=UTC, or give the entity rows as a frame of polars, pandas or Arrow",
        )


def _keys_apart(query: str, count: int) -> str:
    """Feast's query, in which entity rows are told apart by their keys' texts one after another, with the length before
    each: (1, "12") is not (11, "2").

    Raises: FeatureStoreError if the query does not name `count` keys where they are expected.
    """
    apart, found = re.subn(r"(CAST\(\w+ AS STRING\)),", r"LENGTH(\1), ':', \1,", query)
    if found != count:
        raise FeatureStoreError(
            f"Feast's query for Spark joins the texts of {found} keys where the views have {count}",
            hint="this store is written for Feast 0.67; with another, use `type: spark` and mind docs/spark.md",
        )
    return apart
