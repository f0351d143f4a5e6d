"""Feast's SQLite online store with loads that never take a value back, and a TTL that means what it means offline.

    online_store:
      type: resources.feast_polars.online.MonotoneSqliteOnlineStore
      path: data/online.db

Feast's own store lets the last load win: loading an older window after a newer one reverts what is served, and parallel
loads fail because the database is locked. Here the row with the greatest (event time, known-at time) stays, whatever
the order of the loads. Feast's `materialize`, `push`, `get_online_features` and feature server work through this class;
Feast's own class cannot read the file, which has one packed row for each entity. Tables in Feast's format are converted.
"""

import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from threading import Lock
from typing import Any, Literal

import polars as pl
from feast import Entity
from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig

from resources.feast_polars import sqlite_tables
from resources.feast_polars.online_read import Asked, Found, ReadsBytes, stamp
from resources.feast_polars.online_rows import OnlineRows, WritesRows, is_versioned, refuse_searching
from resources.feast_polars.online_ttl import NowConfig
from resources.feast_polars.packed_rows import Schema, pack, pack_one, schema_of, unpacker

BUSY_MS = 120_000  # how long a load waits for another one to commit
_CACHE_KIB = 65_536  # of pages, so that a load of millions of values does not read its B-trees from the file
_KEYS_A_READ = 10_000  # below SQLite's limit of parameters in one statement
_VALUES = 200_000  # that one transaction writes
_SEARCHES = ("vector_enabled", "text_search_enabled", "enable_openai_compatible_store")
_PAGE = 16_384  # bytes, of a new file: fewer splits of a B-tree, and rows of a hundred values need no page of their own


class MonotoneSqliteOnlineStoreConfig(NowConfig, SqliteOnlineStoreConfig):
    """As Feast's SQLite store: `path` is the file."""

    type: Literal["resources.feast_polars.online.MonotoneSqliteOnlineStore"] = (  # pyright: ignore[reportIncompatibleVariableOverride]
        "resources.feast_polars.online.MonotoneSqliteOnlineStore"
    )


class MonotoneSqliteOnlineStore(WritesRows, ReadsBytes, SqliteOnlineStore):
    """One batch is one transaction; an entity's values of a view give way only to ones that happened, or became known, later."""

    def __init__(self) -> None:
        super().__init__()
        self._packed: set[str] = set()  # tables that are known to have our format
        self._schemas: dict[int, Schema] = {}  # by their numbers
        self._writing = Lock()  # a feature server writes from several threads; the connection is one

    def write_rows(self, config: RepoConfig, table: FeatureView, rows: OnlineRows) -> None:
        """Write the rows, up to 200,000 values in one transaction, each unless a later one stands already.

        Rows that lack features of the view leave those as they stand.
        """
        refuse_searching(config, *_SEARCHES)
        if not rows.values:
            return
        connection, name = self._table(config, table)
        schema = schema_of(table, rows.values)
        lacking = tuple(field for field in schema_of(table) if field not in schema)
        with self._writing:
            for some in rows.slices(max(1, _VALUES // len(rows.values))):
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    self._upsert(connection, name, some, schema, lacking)

    def _upsert(
        self, connection: sqlite3.Connection, name: str, rows: OnlineRows, schema: Schema, lacking: Schema
    ) -> None:
        upsert = sqlite_tables.UPSERT.format(table=sqlite_tables.quoted(name))
        heads = (pl.Series(rows.keys).to_list(), rows.event_us.tolist(), rows.known_us.tolist())
        if not lacking:
            number = sqlite_tables.remember(connection, schema)
            connection.executemany(
                upsert, zip(*heads, repeat(number), pl.Series(pack([*rows.values.values()])).to_list())
            )
            return
        columns = (pl.Series(values).to_list() for values in rows.values.values())
        for key, event_us, known_us, *values in zip(*heads, *columns, strict=True):
            _, kept = self._rows(connection, name, [key], lacking).get(key, (0, []))
            more = [(field, value) for field, value in zip(lacking, kept, strict=False) if value is not None]
            number = sqlite_tables.remember(connection, (*schema, *(field for field, _ in more)))
            packed = pack_one([*values, *(value for _, value in more)])
            connection.execute(upsert, (key, event_us, known_us, number, packed))

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create the tables that are to be, convert those in Feast's format, and drop the others."""
        refuse_searching(config, *_SEARCHES)
        connection = self._get_conn(config)
        for table in tables_to_keep:
            sqlite_tables.create(connection, _name(config, table))
            self._table(config, table)
        for table in tables_to_delete:
            connection.execute(f"DROP TABLE IF EXISTS {sqlite_tables.quoted(_name(config, table))}")
        self._packed.clear()

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """As Feast's, with times to the microsecond."""
        version = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, entity_key_serialization_version=version) for key in entity_keys]
        wanted = schema_of(table, requested_features)
        held = self._rows(*self._table(config, table), keys, wanted)
        found: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for key in keys:
            us, values = held.get(key, (0, []))
            named = zip(wanted, values, strict=False)
            parsed = {name: Value.FromString(content) for (name, _), content in named if content is not None}
            found.append((_instant(us), parsed) if parsed else (None, None))
        return found

    def read_bytes(self, config: RepoConfig, asked: list[Asked]) -> list[list[Found | None]]:
        """What stands for each key; see `ReadsBytes`."""
        answers: list[list[Found | None]] = []
        for view, keys, features in asked:
            held = self._rows(*self._table(config, view), keys, schema_of(view, features))
            stamps = {us: stamp(us) for us in {us for us, _ in held.values()}}
            found = {key: Found(stamps[us], values) for key, (us, values) in held.items()}
            answers.append([found.get(key) for key in keys])
        return answers

    def _rows(
        self, connection: sqlite3.Connection, name: str, keys: list[bytes], wanted: Schema
    ) -> dict[bytes, tuple[int, list[bytes | None]]]:
        """Key to event time and the wanted values."""
        held: dict[bytes, tuple[int, list[bytes | None]]] = {}
        unpackers: dict[int, Any] = {}
        for start in range(0, len(keys), _KEYS_A_READ):
            some = keys[start : start + _KEYS_A_READ]
            marks = ",".join("?" * len(some))
            read = f"SELECT entity_key, event_us, schema, packed FROM {sqlite_tables.quoted(name)} WHERE entity_key IN ({marks})"
            for key, us, number, packed in connection.execute(read, some):
                if number not in unpackers:
                    unpackers[number] = unpacker(self._schema(connection, number), wanted)
                held[key] = us, unpackers[number](packed)
        return held

    def _schema(self, connection: sqlite3.Connection, number: int) -> Schema:
        if number not in self._schemas:
            self._schemas[number] = sqlite_tables.schema(connection, number)
        return self._schemas[number]

    def _table(self, config: RepoConfig, table: FeatureView) -> tuple[sqlite3.Connection, str]:
        """The connection and the name of the view's table, which has our format from here on."""
        connection, name = self._get_conn(config), _name(config, table)
        if name not in self._packed:
            with self._writing:
                sqlite_tables.convert(connection, name, schema_of(table))
            self._packed.add(name)
        return connection, name

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_new = self._conn is None
        connection = super()._get_conn(config)
        if is_new:
            self._packed.clear()
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute(f"PRAGMA page_size = {_PAGE}")  # of a file that is there already it changes nothing
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            _wait_for_wal(connection)
        return connection


def _wait_for_wal(connection: sqlite3.Connection) -> None:
    """Switching the mode does not wait for other writers by itself."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _name(config: RepoConfig, table: FeatureView) -> str:
    return compute_table_id(config.project, table, is_versioned(config))


def _instant(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
