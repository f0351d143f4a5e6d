"""Feast's SQLite online store with loads that never take a value back, and a TTL that means what it means offline.

    online_store:
      type: resources.feast_polars.online.MonotoneSqliteOnlineStore
      path: data/online.db

Feast's own store lets the last load win: loading an older window after a newer one reverts what is served, and parallel
loads fail because the database is locked. Here the row with the greatest (event time, known-at time) stays, whatever
the order of the loads. The file keeps Feast's format, so that Feast's own reader and feature server read it too; three
columns beside Feast's hold what its whole seconds lack of both times.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, repeat
from operator import itemgetter
from threading import Lock
from typing import Any, Literal

import numpy as np
import polars as pl
from feast import Entity
from feast.feature_view import FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from numpy.typing import NDArray

from resources.feast_polars.online_read import Asked, Found, ReadsBytes, stamp
from resources.feast_polars.online_rows import OnlineRows, WritesRows, is_versioned, refuse_vectors
from resources.feast_polars.online_ttl import NowConfig
from resources.feast_polars.sqlite_image import database

BUSY_MS = 120_000  # how long a load waits for another one to commit
_CACHE_KIB = 65_536  # of pages, so that a load of millions of values does not read its B-trees from the file
_KEYS_A_READ = 10_000  # below SQLite's limit of parameters in one statement
_EPOCH = datetime(1970, 1, 1)
_QUARTER_US = 900_000_000
# Ours: what Feast's whole seconds lack of both times, and the event_ts that they belong to. Where Feast's own writer has
# been since, that one differs, and its seconds alone count.
_OWN = ("event_rest", "created_rest", "own_ts")
_STORED = (
    "(coalesce({row}{own}_ts, {row}event_ts) * 1000000"
    " + iif({row}own_ts IS {row}event_ts, {row}{own}_rest, {offset} * 1000000))"
)
_ARRIVING = "arriving"  # the database, and its table, that rows come from
_INTEGERS, _OTHERS = ("event_ts", "created_ts", "event_rest", "created_rest"), ("entity_key", "value", "value_text")
_UNTOLD = -(2**62)  # a created time that there is none
_UPSERT = """
INSERT INTO {table} (event_ts, created_ts, event_rest, created_rest, feature_name, entity_key, value, value_text, own_ts)
{arriving}
ON CONFLICT(entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    event_ts = excluded.event_ts, created_ts = excluded.created_ts,
    event_rest = excluded.event_rest, created_rest = excluded.created_rest, own_ts = excluded.own_ts
WHERE ({new_event}, {new_created}) >= ({event}, {created})
"""
_FROM_IMAGE = f"""
SELECT event_ts, nullif(created_ts, {_UNTOLD}), event_rest, created_rest, feature_name, entity_key, value, value_text, event_ts
FROM {_ARRIVING}.{_ARRIVING} WHERE true
"""
_ONE_BY_ONE = f"VALUES (?1, nullif(?2, {_UNTOLD}), ?3, ?4, ?5, ?6, ?7, ?8, ?1)"
# Feast's table, with the rows inside the primary key's B-tree: one insertion for each value where Feast needs three.
_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, vector_value BLOB,
    event_ts timestamp, created_ts timestamp, event_rest INTEGER, created_rest INTEGER, own_ts INTEGER,
    PRIMARY KEY(entity_key, feature_name)) WITHOUT ROWID
"""
_VALUES = 200_000  # that one transaction writes
_PAGE = 16_384  # bytes, of a new file: fewer splits of a B-tree whose rows have a hundred bytes


class MonotoneSqliteOnlineStoreConfig(NowConfig, SqliteOnlineStoreConfig):
    """As Feast's SQLite store: `path` is the file."""

    type: Literal["resources.feast_polars.online.MonotoneSqliteOnlineStore"] = (  # pyright: ignore[reportIncompatibleVariableOverride]
        "resources.feast_polars.online.MonotoneSqliteOnlineStore"
    )


class MonotoneSqliteOnlineStore(WritesRows, ReadsBytes, SqliteOnlineStore):
    """One batch is one transaction; a value gives way only to one that happened, or became known, later."""

    def __init__(self) -> None:
        super().__init__()
        self._with_own: set[str] = set()  # tables that are known to have our columns
        self._writing = Lock()  # a feature server writes from several threads; the connection is one

    def write_rows(self, config: RepoConfig, table: FeatureView, rows: OnlineRows) -> None:
        """Write the rows, up to 200,000 values in one transaction, each unless a later one stands already."""
        refuse_vectors(config)
        if not rows.values:
            return
        with self._writing:
            connection, name = self._get_conn(config), _table(config, table)
            for some in rows.slices(max(1, _VALUES // len(rows.values))):
                self._merge(connection, name, some)

    def _merge(self, connection: sqlite3.Connection, name: str, rows: OnlineRows) -> None:
        event_ts, created_ts = _stored(rows.event_us), _stored(rows.known_us)
        rests = rows.event_us - event_ts * 1_000_000, rows.known_us - created_ts * 1_000_000
        rests[1][~rows.is_created_told] = rests[0][~rows.is_created_told]
        created_ts[~rows.is_created_told] = _UNTOLD
        integers = event_ts, created_ts, *rests
        features = sorted(rows.values)
        groups = [(feature, (rows.keys, rows.values[feature], rows.texts[feature])) for feature in features]
        can_deserialize = hasattr(connection, "deserialize")  # an SQLite may be built without
        image = (
            database(_ARRIVING, [*_INTEGERS, "feature_name", *_OTHERS], integers, groups) if can_deserialize else None
        )
        offset = time.localtime().tm_gmtoff  # what Feast's times lack of UTC
        sql = _UPSERT.format(
            table=_quoted(name),
            arriving=_ONE_BY_ONE if image is None else _FROM_IMAGE,
            **{own: _STORED.format(own=own, row="", offset=offset) for own in ("event", "created")},
            **{f"new_{own}": _STORED.format(own=own, row="excluded.", offset=offset) for own in ("event", "created")},
        )
        if image is not None:
            connection.deserialize(image, name=_ARRIVING)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            self._add_columns(connection, name)
            if image is not None:
                connection.execute(sql)
                return
            times = [numbers.tolist() for numbers in integers]
            for feature, arrays in groups:  # values that are longer than a page
                columns = (pl.Series(array).to_list() for array in arrays)
                connection.executemany(sql, zip(*times, repeat(feature), *columns, strict=False))  # `repeat` has no end

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """As Feast's; the index on entity keys goes, as the primary key begins with them."""
        connection = self._get_conn(config)
        settings: Any = config.online_store
        if not settings.vector_enabled and not settings.enable_openai_compatible_store:
            for table in tables_to_keep:
                connection.execute(_CREATE.format(table=_quoted(_table(config, table))))
        super().update(config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep, partial)
        for table in tables_to_keep:
            connection.execute(f"DROP INDEX IF EXISTS {_quoted(_table(config, table) + '_ek')}")
        self._with_own.clear()

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
        held = self._held(config, table, keys, requested_features)
        found: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for key in keys:
            us, values = held.get(key, (0, {}))
            parsed = {name: Value.FromString(content) for name, content in values.items()}
            found.append((_instant(us), parsed) if parsed else (None, None))
        return found

    def read_bytes(self, config: RepoConfig, asked: list[Asked]) -> list[list[Found | None]]:
        """What stands for each key; see `ReadsBytes`."""
        answers: list[list[Found | None]] = []
        for view, keys, features in asked:
            held = self._held(config, view, keys, features)
            stamps = {us: stamp(us) for us in {us for us, _ in held.values()}}
            found = {key: Found(stamps[us], [*map(values.get, features)]) for key, (us, values) in held.items()}
            answers.append([found.get(key) for key in keys])
        return answers

    def _held(
        self, config: RepoConfig, table: FeatureView, keys: list[bytes], features: list[str] | None
    ) -> dict[bytes, tuple[int, dict[str, bytes]]]:
        """Key to event time and values."""
        connection, name = self._get_conn(config), _table(config, table)
        offset = time.localtime().tm_gmtoff
        us = (
            _STORED.format(own="event", row="", offset=offset)
            if self._has_own(connection, name)
            else f"(event_ts + {offset}) * 1000000"
        )
        wanted = "" if features is None else f" AND feature_name IN ({_marks(features)})"
        held: dict[bytes, tuple[int, dict[str, bytes]]] = {}
        for start in range(0, len(keys), _KEYS_A_READ):
            some = keys[start : start + _KEYS_A_READ]
            rows = connection.execute(
                f"SELECT entity_key, feature_name, value, {us} FROM {_quoted(name)}"
                f" WHERE entity_key IN ({_marks(some)}){wanted} ORDER BY entity_key",
                [*some, *(features or [])],
            )
            for key, group in groupby(rows, key=itemgetter(0)):
                values, at = {}, 0
                for _, feature, content, at in group:  # noqa: B007  the last one's time counts, as in Feast
                    values[feature] = content
                held[key] = at, values
        return held

    def _add_columns(self, connection: sqlite3.Connection, name: str) -> None:
        if not self._has_own(connection, name):
            held = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")}
            for column in _OWN:
                if held and column not in held:
                    connection.execute(f"ALTER TABLE {_quoted(name)} ADD COLUMN {column} INTEGER")

    def _has_own(self, connection: sqlite3.Connection, name: str) -> bool:
        if name not in self._with_own:
            held = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")}
            if held.issuperset(_OWN):
                self._with_own.add(name)
        return name in self._with_own

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        is_new = self._conn is None
        connection = super()._get_conn(config)
        if is_new:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            connection.execute(f"PRAGMA page_size = {_PAGE}")  # of a file that is there already it changes nothing
            connection.execute(f"ATTACH ':memory:' AS {_ARRIVING}")
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


def _table(config: RepoConfig, table: FeatureView) -> str:
    return compute_table_id(config.project, table, is_versioned(config))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _marks(values: Iterable[Any]) -> str:
    return ",".join("?" for _ in values)


def _stored(times: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Whole seconds as Feast's adapter stores them: UTC without its zone, taken for local time, here and when read."""
    quarters, place = np.unique(times // _QUARTER_US, return_inverse=True)  # zones change on these
    starts = (_EPOCH + timedelta(microseconds=int(quarter) * _QUARTER_US) for quarter in quarters.tolist())
    offsets = [
        round(start.timestamp()) * 1_000_000 - int(q) * _QUARTER_US
        for start, q in zip(starts, quarters.tolist(), strict=True)
    ]
    local = times + np.array(offsets, np.int64)[place]
    return np.sign(local) * (np.abs(local) // 1_000_000)


def _instant(us: int) -> datetime:
    return _EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=us)
