"""Feast's SQLite online store with loads that never take a value back.

    online_store:
      type: resources.feast_polars.online.MonotoneSqliteOnlineStore

Feast's own store lets the last load win: loading an older window after a newer one reverts what is served, and parallel
loads fail because the database is locked. Here the row with the greatest (event time, known-at time) stays, whatever
the order of the loads. The file's format is Feast's, so that Feast's own reader and feature server read it too.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
BUSY_MS = 120_000  # how long a load waits for another one to commit

_UPSERT = """
INSERT INTO "{table}" (entity_key, feature_name, value, value_text, event_ts, created_ts) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT(entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    event_ts = excluded.event_ts, created_ts = excluded.created_ts
WHERE (excluded.event_ts, coalesce(excluded.created_ts, excluded.event_ts)) >= (event_ts, coalesce(created_ts, event_ts))
"""


class MonotoneSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """As Feast's SQLite store: `path` is the file."""

    type: Literal["resources.feast_polars.online.MonotoneSqliteOnlineStore"] = (  # pyright: ignore[reportIncompatibleVariableOverride]
        "resources.feast_polars.online.MonotoneSqliteOnlineStore"
    )


class MonotoneSqliteOnlineStore(SqliteOnlineStore):
    """One batch is one transaction; a value gives way only to one that happened, or became known, later."""

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write the rows, each unless a later one stands already."""
        versioned = bool(getattr(config.registry, "enable_online_feature_view_versioning", False))
        sql = _UPSERT.format(table=compute_table_id(config.project, table, versioned).replace('"', '""'))
        version = config.entity_key_serialization_version
        rows = []
        for entity, values, event, created in data:
            key = serialize_entity_key(entity, entity_key_serialization_version=version)
            times = _stored(event), None if created is None else _stored(created)
            rows += [
                (key, name, value.SerializeToString(), extract_text_and_num(value, False)[0], *times)
                for name, value in values.items()
            ]
        with self._get_conn(config) as connection:
            connection.executemany(sql, rows)
        if progress:
            progress(len(data))

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_new = self._conn is None
        connection = super()._get_conn(config)
        if is_new:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute("PRAGMA journal_mode = WAL")
        return connection


def _stored(instant: datetime) -> int:
    """Whole seconds as Feast's adapter stores them: UTC without its zone, taken for local time, here and when read."""
    naive = instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant
    return int(naive.timestamp())
