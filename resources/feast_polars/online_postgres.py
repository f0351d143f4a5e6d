"""Feast's PostgreSQL online store with loads that never take a value back, and a TTL that means what it means offline.

    online_store:
      type: resources.feast_polars.online_postgres.MonotonePostgreSQLOnlineStore
      host: db
      database: features
      user: feast
      password: ${PASSWORD}

The tables are Feast's, so that Feast's own reader and feature server read them too. Rows are copied into a temporary table
and merged by one statement; a value gives way only to one with a greater (event time, known-at time).
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import polars as pl
from feast.feature_view import FeatureView
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.postgres_online_store.postgres import (
    PostgreSQLOnlineStore,
    PostgreSQLOnlineStoreConfig,
)
from feast.infra.utils.postgres.connection_utils import (
    _get_conn as connect,  # pyright: ignore[reportPrivateUsage]
)
from feast.infra.utils.postgres.connection_utils import (
    _get_connection_pool as pool_of,  # pyright: ignore[reportPrivateUsage]
)
from feast.infra.utils.postgres.postgres_config import ConnectionType
from feast.repo_config import RepoConfig
from psycopg import Connection, sql

from resources.feast_polars.online_read import Asked, Found, ReadsBytes, stamp
from resources.feast_polars.online_rows import OnlineRows, WritesRows, is_versioned, refuse_searching
from resources.feast_polars.online_ttl import NowConfig

_STAGE = """
CREATE TEMPORARY TABLE arriving (entity_key BYTEA, feature_name TEXT, value BYTEA, value_text TEXT,
    event_ts TIMESTAMPTZ, created_ts TIMESTAMPTZ, place BIGINT) ON COMMIT DROP
"""
_COPY = "COPY arriving FROM STDIN (FORMAT BINARY)"
# One statement may not write a row twice, so of rows that arrive together the latest is chosen first; and rows are locked
# in one order, so that two loads wait for each other and never crosswise.
_MERGE = """
INSERT INTO {table} AS held (entity_key, feature_name, value, value_text, event_ts, created_ts)
SELECT DISTINCT ON (entity_key, feature_name) entity_key, feature_name, value, value_text, event_ts, created_ts
FROM arriving
ORDER BY entity_key, feature_name, event_ts DESC, coalesce(created_ts, event_ts) DESC, place DESC
ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = EXCLUDED.value, value_text = EXCLUDED.value_text,
    event_ts = EXCLUDED.event_ts, created_ts = EXCLUDED.created_ts
WHERE (EXCLUDED.event_ts, coalesce(EXCLUDED.created_ts, EXCLUDED.event_ts))
   >= (held.event_ts, coalesce(held.created_ts, held.event_ts))
"""


_READ = """
SELECT entity_key, feature_name, value, (extract(epoch FROM event_ts) * 1000000)::bigint
FROM {table} WHERE entity_key = ANY(%s) AND feature_name = ANY(%s) ORDER BY entity_key, feature_name
"""


class MonotonePostgreSQLOnlineStoreConfig(NowConfig, PostgreSQLOnlineStoreConfig):
    """As Feast's PostgreSQL store."""

    type: Literal["resources.feast_polars.online_postgres.MonotonePostgreSQLOnlineStore"] = (  # pyright: ignore[reportIncompatibleVariableOverride]
        "resources.feast_polars.online_postgres.MonotonePostgreSQLOnlineStore"
    )


class MonotonePostgreSQLOnlineStore(WritesRows, ReadsBytes, PostgreSQLOnlineStore):
    """One batch is one transaction; a value gives way only to one that happened, or became known, later."""

    has_texts = True

    def write_rows(self, config: RepoConfig, table: FeatureView, rows: OnlineRows) -> None:
        """Write the rows in one transaction, each unless a later one stands already."""
        refuse_searching(config, "vector_enabled")
        name = compute_table_id(config.project, table, is_versioned(config))
        event, known = rows.event_us.tolist(), rows.known_us.tolist()
        instants = {us: _instant(us) for us in {*event, *known}}
        told = rows.is_created_told.tolist()
        created = [instants[us] if is_told else None for us, is_told in zip(known, told, strict=True)]
        keys = pl.Series(rows.keys).to_list()
        with self._get_conn(config) as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute(_STAGE)
            with cursor.copy(_COPY) as copy:
                copy.set_types(["bytea", "text", "bytea", "text", "timestamptz", "timestamptz", "int8"])
                for feature in rows.values:
                    values = pl.Series(rows.values[feature]).to_list()
                    texts = pl.Series(rows.texts[feature]).to_list()
                    for n, key in enumerate(keys):
                        copy.write_row((key, feature, values[n], texts[n], instants[event[n]], created[n], n))
            cursor.execute(sql.SQL(_MERGE).format(table=sql.Identifier(name)))

    def read_bytes(self, config: RepoConfig, asked: list[Asked]) -> list[list[Found | None]]:
        """What stands for each key; see `ReadsBytes`."""
        answers: list[list[Found | None]] = []
        for view, keys, features in asked:
            name = compute_table_id(config.project, view, is_versioned(config))
            held: dict[bytes, tuple[int, dict[str, bytes]]] = {}
            with self._get_conn(config, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
                cursor.execute(sql.SQL(_READ).format(table=sql.Identifier(name)), (keys, features))
                for key, feature, content, event_us in cursor:
                    held[key] = event_us, {**held.get(key, (0, {}))[1], feature: content}
            found = {key: Found(stamp(us), [*map(values.get, features)]) for key, (us, values) in held.items()}
            answers.append([found.get(key) for key in keys])
        return answers

    @contextmanager
    def _get_conn(self, config: RepoConfig, autocommit: bool = False) -> Generator[Connection, Any, Any]:
        """As Feast's, which takes no other type than its own; sessions speak UTC, as the naive times that Feast writes."""
        settings: Any = config.online_store
        if settings.conn_type == ConnectionType.pool:
            if not self._conn_pool:
                self._conn_pool = pool_of(settings)
                self._conn_pool.open()
            with self._conn_pool.connection() as connection:
                yield _prepared(connection, autocommit)
        else:
            if not self._conn or self._conn.closed:
                self._conn = connect(settings)
            yield _prepared(self._conn, autocommit)


def _prepared(connection: Connection, autocommit: bool) -> Connection:
    if connection.info.parameter_status("TimeZone") != "UTC":
        connection.set_autocommit(True)
        connection.execute("SET TIME ZONE 'UTC'")
    connection.set_autocommit(autocommit)
    return connection


def _instant(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
