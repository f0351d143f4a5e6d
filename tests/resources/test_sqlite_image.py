"""Images of databases: SQLite finds them sound, and reads from them what went in."""

import sqlite3
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.feast_polars.sqlite_image import LONGEST, database

NAMES = ["at", "until", "label", "key", "note"]
INTEGERS = st.integers(-(2**63), 2**63 - 1)
ROWS = st.tuples(INTEGERS, INTEGERS, st.binary(max_size=300), st.none() | st.text(max_size=200))


def image_of(rows: list[Any], labels: list[str]) -> memoryview | None:
    """Each label has the rows' notes, and keys that begin with it."""
    columns = list(zip(*rows, strict=True))
    integers = [np.array(column, np.int64) for column in columns[:2]]
    notes = pa.array(columns[3], pa.large_string())
    groups = [
        (label, (pa.array([label.encode() + key for key in columns[2]], pa.large_binary()), notes)) for label in labels
    ]
    return database("rows", NAMES, integers, groups)


def read(image: memoryview) -> list[Any]:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH ':memory:' AS held")
        connection.deserialize(image, name="held")
        assert connection.execute("PRAGMA held.integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT * FROM held.rows").fetchall()


def expected(rows: list[Any], labels: list[str]) -> list[Any]:
    return [(at, until, label, label.encode() + key, note) for at, until, key, note in rows for label in labels]


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=30), st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_sqlite_reads_what_went_in(rows: list[Any], labels: list[str]) -> None:
    image = image_of(rows, labels)
    assert image is not None
    assert read(image) == expected(rows, labels)


@pytest.mark.parametrize(("count", "size"), [(1, 0), (700, 0), (1_000, 100), (7, 60_000), (30_000, 10)])
def test_pages_fill_up_and_go_on(count: int, size: int) -> None:
    """One leaf is the root; several have one."""
    rows = [(n, -n, bytes([n % 256]) * (size - n % 3 if size else 0), None) for n in range(count)]
    image = image_of(rows, ["f"])
    assert image is not None
    assert read(image) == expected(rows, ["f"])


def test_a_row_longer_than_a_page_is_not_taken() -> None:
    whole = [(0, 0, b"a" * (LONGEST - 50), None)]
    assert image_of(whole, [""]) is not None
    assert image_of([(0, 0, b"a" * LONGEST, None), *whole], [""]) is None
