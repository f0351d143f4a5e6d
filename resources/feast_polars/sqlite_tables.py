"""The tables of the SQLite online store: one row an entity, its values packed; and how Feast's tables become such.

Feast's format has a row for each value, and times in whole seconds, UTC taken for local time. Tables that this project
wrote before in that format have beside it what the seconds lack (`event_rest`, `created_rest`, and `own_ts`, the `event_ts`
that they belong to).
"""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.online_ttl import microseconds
from resources.feast_polars.packed_rows import Schema, heard, number_of, pack_one, told

_SCHEMAS: Final = "_packed_schemas"  # Feast's projects, whose names begin those of other tables, begin with a letter
_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    entity_key BLOB PRIMARY KEY, event_us INTEGER, known_us INTEGER, schema INTEGER, packed BLOB) WITHOUT ROWID
"""
_INSERT: Final = "INSERT INTO {table} (entity_key, event_us, known_us, schema, packed) VALUES (?, ?, ?, ?, ?)"
UPSERT: Final = f"""
{_INSERT} ON CONFLICT(entity_key) DO UPDATE SET
    event_us = excluded.event_us, known_us = excluded.known_us, schema = excluded.schema, packed = excluded.packed
WHERE (excluded.event_us, excluded.known_us) >= (event_us, known_us)
"""
_OWN: Final = {"event_rest", "created_rest", "own_ts"}


def create(connection: sqlite3.Connection, name: str) -> None:
    """Make the table, and the one of schemas, where there is none."""
    connection.execute(_CREATE.format(table=quoted(name)))
    connection.execute(f"DROP INDEX IF EXISTS {quoted(name + '_ek')}")  # Feast's `apply` makes it, on our table too
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_SCHEMAS} (number INTEGER PRIMARY KEY, fields TEXT)")


def remember(connection: sqlite3.Connection, schema: Schema) -> int:
    """The schema's number, by which it is found from now on."""
    number = number_of(schema)
    connection.execute(f"INSERT OR IGNORE INTO {_SCHEMAS} VALUES (?, ?)", (number, told(schema)))
    return number


def schema(connection: sqlite3.Connection, number: int) -> Schema:
    """The schema of a number.

    Raises: FeatureStoreError where the file has lost it.
    """
    row = connection.execute(f"SELECT fields FROM {_SCHEMAS} WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise FeatureStoreError(
            f"online store: rows have the schema {number}, which table {_SCHEMAS} does not hold",
            hint="the file is damaged: remove it, run `feast apply`, and load the views again",
        )
    return heard(row[0])


def convert(connection: sqlite3.Connection, name: str, schema: Schema) -> None:
    """Bring a table that is in Feast's format into ours, in one transaction; of its values those of the schema's names.

    An entity has one time then: the latest that any of its values had.
    """
    if "feature_name" not in _columns(connection, name):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        columns = _columns(connection, name)
        if "feature_name" not in columns:  # another process was faster
            return
        before = f"{name}_before"
        connection.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(before)}")
        create(connection, name)
        rows = _converted(connection, before, schema, has_own=columns >= _OWN)
        connection.executemany(_INSERT.format(table=quoted(name)), rows)
        connection.execute(f"DROP TABLE {quoted(before)}")


def quoted(name: str) -> str:
    """The name of a table in a statement."""
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: sqlite3.Connection, name: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({quoted(name)})")}


def _converted(
    connection: sqlite3.Connection, name: str, schema: Schema, *, has_own: bool
) -> Iterator[tuple[bytes, int, int, int, bytes]]:
    kinds, numbers = dict(schema), {}
    own = "event_rest, created_rest, own_ts IS event_ts" if has_own else "0, 0, 0"
    read = (
        "SELECT entity_key, feature_name, value, event_ts + 0, coalesce(created_ts, event_ts) + 0,"  # not as Feast's type
        f" {own} FROM {quoted(name)} ORDER BY entity_key"
    )
    for key, group in groupby(connection.execute(read), key=itemgetter(0)):
        fields, values, times = [], [], []
        for _, feature, value, event, created, event_rest, created_rest, is_own in group:
            if feature in kinds:
                fields.append((feature, kinds[feature]))
                values.append(value or b"")
                times.append(
                    (event * 1_000_000 + event_rest, created * 1_000_000 + created_rest)
                    if is_own
                    else (_as_feast_reads(event), _as_feast_reads(created))
                )
        if fields:
            held = tuple(fields)
            if held not in numbers:
                numbers[held] = remember(connection, held)
            yield key, *max(times), numbers[held], pack_one(values)


def _as_feast_reads(seconds: int) -> int:
    """Microseconds of a time that Feast wrote: its local time is meant as UTC."""
    return microseconds(datetime.fromtimestamp(seconds).replace(tzinfo=UTC))
