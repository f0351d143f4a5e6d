"""The offline store that Feast loads: `type: resources.feast_polars.offline.PolarsOfflineStore`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import (
    _get_requested_feature_views_to_features_dict,  # pyright: ignore[reportPrivateUsage]
    _get_requested_on_demand_feature_views,  # pyright: ignore[reportPrivateUsage]
    compute_non_entity_date_range,
)
from pydantic import Field, StrictStr

from platform_assets.errors import FeatureStoreError
from platform_assets.science.point_in_time import View
from resources.feast_polars.answers import AT, Answer, once
from resources.feast_polars.declared import rows_of
from resources.feast_polars.entity_rows import EVENT_TIMESTAMP, as_rows, time_column, times, whole_numbers
from resources.feast_polars.retrieval import PolarsRetrievalJob
from resources.feast_polars.sources import Sources, batch_source, in_utc
from resources.feast_polars.writes import add_file, append


class PolarsOfflineStoreConfig(FeastConfigBaseModel):
    """Settings under `offline_store:` in feature_store.yaml."""

    type: Literal["resources.feast_polars.offline.PolarsOfflineStore"] = (
        "resources.feast_polars.offline.PolarsOfflineStore"
    )
    known_at: Literal["strict", "feast"] = "feast"
    """Which values a row may hold. `strict`: only what was known at its time, by the source's created_timestamp_column.
    A load into the online store likewise leaves out what was not known by its end. `feast`: event time alone decides,
    as in Feast's own stores, with a warning that counts values from the future."""
    root: StrictStr | None = None
    """Folder or s3:// prefix that relative paths of sources start from; the repository if not given, and relative to
    it."""
    memory_limit_mb: int = Field(default=4096, ge=64)
    """Megabytes that a historical retrieval may take beside the entity rows and its answer. What would take more is
    joined view by view, in buckets of the keys, by way of files in the folder for temporary files; a retrieval that is
    persisted then never stands in memory as a whole."""
    storage_options: dict[str, str] = Field(default_factory=dict, repr=False)
    """Object-store settings, such as aws_endpoint_url and aws_region."""


class PolarsOfflineStore(OfflineStore):
    """Point-in-time joins over Parquet and Delta: rows out are rows in, in order, as known then."""

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
        **kwargs: Any,
    ) -> RetrievalJob:
        sources = _sources(config)
        is_strict = _settings(config).known_at == "strict" or kwargs.get("filter_by_created_timestamp", False)
        requested, _ = _get_requested_feature_views_to_features_dict(
            feature_refs, feature_views, _get_requested_on_demand_feature_views(feature_refs, project, registry)
        )
        views = [_view(sources, view, features) for view, features in requested.items()]
        if entity_df is None:
            rows = _rows_between(
                views, *compute_non_entity_date_range(feature_views, kwargs.get("start_date"), kwargs.get("end_date"))
            )
        else:
            rows = as_rows(entity_df)
        name = time_column(rows)
        at = times(rows, name)

        limit = _settings(config).memory_limit_mb * 2**20

        def evaluate() -> Iterator[pl.DataFrame]:
            asked = _with_keys(rows, views).with_columns(at.alias(AT))
            start = 0
            for part in Answer(asked, views, is_strict, full_feature_names, limit).slices():
                yield part.with_columns(rows.slice(start, len(part)).get_columns()).drop(AT)
                start += len(part)

        first, last = at.min(), at.max()
        return PolarsRetrievalJob(
            evaluate,
            sources,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in rows.columns if column != name],
                min_event_timestamp=first if isinstance(first, datetime) else None,
                max_event_timestamp=last if isinstance(last, datetime) else None,
            ),
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        sources = _sources(config)
        columns = _columns(join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)
        keys = [key for key in join_key_columns if key != DUMMY_ENTITY_ID]

        def evaluate() -> pl.DataFrame:
            rows = _between(sources.scan(data_source), columns, timestamp_field, start_date, end_date)
            rows = _known(rows, timestamp_field, created_timestamp_column)
            if end_date is not None and created_timestamp_column and _settings(config).known_at == "strict":
                rows = rows.filter(pl.col(created_timestamp_column) <= _aware(end_date))
            times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
            ordered = rows.sort(times, maintain_order=True)
            latest = ordered.unique(keys, keep="last", maintain_order=True) if keys else ordered.tail(1)
            return _with_dummy(latest, join_key_columns).collect()

        return PolarsRetrievalJob(once(evaluate), sources)

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
        sources = _sources(config)
        columns = _columns(join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)

        def evaluate() -> pl.DataFrame:
            rows = _between(sources.scan(data_source), columns, timestamp_field, start_date, end_date)
            return _with_dummy(_known(rows, timestamp_field, created_timestamp_column), join_key_columns).collect()

        return PolarsRetrievalJob(once(evaluate), sources)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        append(table, batch_source(feature_view), _sources(config))
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise FeatureStoreError(f"feature logs go to files here, not to a {type(destination).__name__}")
        import pyarrow.parquet as pq

        table = pq.read_table(data) if isinstance(data, Path) else data
        add_file(_sources(config).uri(destination.to_data_source()), table)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        _sources(config).validate(data_source)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        return _sources(config).columns(data_source)


def _settings(config: RepoConfig) -> PolarsOfflineStoreConfig:
    settings = config.offline_store
    if not isinstance(settings, PolarsOfflineStoreConfig):
        raise FeatureStoreError(f"offline_store is configured as {type(settings).__name__}, not for this store")
    return settings


def _sources(config: RepoConfig) -> Sources:
    settings = _settings(config)
    return Sources.of(config, settings.root, settings.storage_options)


def _view(sources: Sources, view: FeatureView, features: Sequence[str]) -> View:
    """Feast's view in the terms of the join: source columns mapped to entity columns and feature names."""
    source = batch_source(view)
    stored = {name: column for column, name in source.field_mapping.items()}
    event = stored.get(source.timestamp_field, source.timestamp_field)
    known = stored.get(source.created_timestamp_column, source.created_timestamp_column) or None
    renamed = view.projection.join_key_map
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    return View(
        view.projection.name_alias or view.name,
        in_utc(rows_of(sources, view, source, features, stored), event, known),
        keys={stored.get(key, key): renamed.get(key, key) for key in keys},
        features={stored.get(name, name): name for name in dict.fromkeys(features)},
        event_at=event,
        known_at=known,
        ttl=view.ttl if isinstance(view.ttl, timedelta) and view.ttl else None,
        is_rereadable=True,
    )


def _with_keys(rows: pl.DataFrame, views: Sequence[View]) -> pl.DataFrame:
    keys = {name for view in views for name in view.key_map.values() if name in rows.columns}
    return rows.with_columns(whole_numbers(rows[name]) for name in sorted(keys))


def _rows_between(views: Sequence[View], start: datetime, end: datetime) -> pl.DataFrame:
    """The entities and times of all views' own rows in the range: what there is to retrieve when no rows are given."""
    parts = []
    for view in views:
        frame = view.frame.lazy()
        inside = frame.filter(pl.col(view.event_at).is_between(start.astimezone(UTC), end.astimezone(UTC)))
        at = pl.col(view.event_at).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(EVENT_TIMESTAMP)
        parts.append(inside.select(*(pl.col(c).alias(n) for c, n in view.key_map.items()), at))
    return pl.concat(parts, how="diagonal_relaxed").unique(maintain_order=True).collect()


def _columns(keys: Sequence[str], features: Sequence[str], event: str, known: str | None) -> list[str]:
    return list(
        dict.fromkeys([*(k for k in keys if k != DUMMY_ENTITY_ID), *features, event, *([known] if known else [])])
    )


def _between(
    frame: pl.LazyFrame, columns: Sequence[str], event: str, start: datetime | None, end: datetime | None
) -> pl.LazyFrame:
    """These columns of the rows whose event time lies in the range, both ends included."""
    schema = frame.collect_schema()
    if missing := [name for name in columns if name not in schema]:
        raise FeatureStoreError(
            f"column {', '.join(f'`{m}`' for m in missing)} is missing; columns: {', '.join(schema)}"
        )
    zone = getattr(schema[event], "time_zone", None)

    def bound(instant: datetime) -> pl.Expr:
        literal = pl.lit(_aware(instant), dtype=pl.Datetime("us", "UTC"))
        return literal if zone else literal.dt.replace_time_zone(None)

    for limit, keeps in ((start, pl.col(event).ge), (end, pl.col(event).le)):
        if limit is not None:
            frame = frame.filter(keeps(bound(limit)))
    return frame.select(columns)


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _known(frame: pl.LazyFrame, event: str, known: str | None) -> pl.LazyFrame:
    """Rows that have happened, times in UTC; where nobody said when a value became known, it did when it happened.

    Feast's online stores cannot write a missing created timestamp.
    """
    aware = in_utc(frame, event, known).filter(pl.col(event).is_not_null())
    return aware.with_columns(pl.col(known).fill_null(pl.col(event))) if known else aware


def _with_dummy(frame: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Feast keys the rows of a view without entities by a constant column."""
    return (
        frame
        if [k for k in keys if k != DUMMY_ENTITY_ID]
        else frame.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
    )
