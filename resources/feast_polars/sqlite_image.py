"""Rows as the bytes of an SQLite database file, so that SQLite reads them itself and Python binds no value.

Binding five values of a row costs more than SQLite's own work with them. A file of one table is laid out here in Arrow and
numpy, a column at a time, and given to SQLite as a database in memory, from which one statement takes the rows. The format
is the documented one (sqlite.org/fileformat2.html), in its simplest form: pages of 64 KiB, a schema page, a root page, and
leaves; integers take eight bytes, and variable-length integers are padded to one width.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.feast_polars.value_bytes import content_of, fixed, joined, offsets_of

PAGE: Final = 65_536  # bytes, the largest that there is
LONGEST: Final = PAGE - 35  # bytes of a row that fits on a page
_HEAD: Final = 8  # bytes before a leaf's list of cells
_FANOUT: Final = 6_000  # leaves that the root can list, ten bytes each
_LENGTH, _ROW_ID, _SERIAL = 3, 4, 3  # bytes of a padded number: to 2 MiB, to 268 million rows, of a column's type
_INTEGER, _BLOB, _TEXT = 6, 12, 13  # serial types; those of bytes grow by two a byte


def database(
    table: str,
    names: Sequence[str],
    integers: "Sequence[NDArray[np.int64]]",
    groups: Sequence[tuple[str, Sequence[pa.Array]]],
) -> memoryview | None:
    """A database with one table: the integers, each group's label, and its arrays of bytes or texts, in these columns.

    Shapes: (n,) each. Rows come entity by entity, within it group by group. A null text is null.
    Returns: None where a row is longer than a page, or rows are more than one root lists.
    """
    count, width = len(integers[0]), len(groups)
    sizes = np.empty((count, width), np.int64)
    parts: list[pa.Array] = []
    numbers = np.concatenate([column.astype(">i8").view(np.uint8).reshape(-1, 8) for column in integers], axis=1)
    row_ids = np.arange(count, dtype=np.uint32) * width + 1
    for place, (label, arrays) in enumerate(groups):
        lengths = [_lengths(array) for array in arrays]
        types = (
            bytes([_INTEGER] * len(integers)) + _padded(np.array([_TEXT + 2 * len(label.encode())]), _SERIAL).tobytes()
        )
        head = 1 + len(types) + _SERIAL * len(arrays)
        tail = numbers.shape[1] + len(label.encode())
        payload = sum(lengths, np.full(count, head + tail))
        rows = np.empty((count, _LENGTH + _ROW_ID + head + tail), np.uint8)
        at = _LENGTH + _ROW_ID
        rows[:, :_LENGTH] = _padded(payload, _LENGTH)
        rows[:, _LENGTH:at] = _padded(row_ids + place, _ROW_ID)
        rows[:, at : at + 1 + len(types)] = np.frombuffer(bytes([head]) + types, np.uint8)
        at += 1 + len(types)
        for array, counted in zip(arrays, lengths, strict=True):
            rows[:, at : at + _SERIAL] = _padded(_serial(array, counted), _SERIAL)
            at += _SERIAL
        rows[:, at : at + numbers.shape[1]] = numbers
        rows[:, at + numbers.shape[1] :] = np.frombuffer(label.encode(), np.uint8)
        parts += [fixed(rows), *(array.cast(pa.large_binary()) for array in arrays)]
        sizes[:, place] = payload + _LENGTH + _ROW_ID
    if int(sizes.max(initial=0)) > LONGEST:
        return None
    ends = np.concatenate([[0], np.cumsum(sizes.reshape(-1))])
    lasts = _lasts(ends)
    if len(lasts) > _FANOUT:
        return None
    before = [_schema(table, names, 1 + len(lasts) + (len(lasts) > 1))]
    if len(lasts) > 1:  # one leaf alone is the root itself
        before.append(_root(lasts))
    image = np.zeros((len(before) + len(lasts), PAGE), np.uint8)
    image[: len(before)] = np.frombuffer(b"".join(before), np.uint8).reshape(-1, PAGE)
    _fill(image[len(before) :], content_of(joined(*parts)), ends, lasts)
    return image.reshape(-1).data


def _lasts(ends: NDArray[np.int64]) -> list[int]:
    """How many rows stand on the pages up to each one; a page holds two bytes more for each row."""
    filled = ends + 2 * np.arange(len(ends))
    lasts = [0]
    while lasts[-1] < len(ends) - 1:
        lasts.append(int(np.searchsorted(filled, filled[lasts[-1]] + PAGE - _HEAD, "right")) - 1)
    return lasts[1:]


def _fill(pages: NDArray[np.uint8], content: NDArray[np.uint8], ends: NDArray[np.int64], lasts: list[int]) -> None:
    """Leaves, (pages, bytes): a page lists its rows first; they stand at its end."""
    first = 0
    for page, last in zip(pages, lasts, strict=True):
        start = PAGE - int(ends[last] - ends[first])
        cells = (start - ends[first] + ends[first:last]).astype(">u2")
        page[:_HEAD] = np.frombuffer(_page_head(13, last - first, start), np.uint8)
        page[_HEAD : _HEAD + 2 * len(cells)] = cells.view(np.uint8)
        page[start:] = content[ends[first] : ends[last]]
        first = last


def _root(lasts: list[int]) -> bytes:
    """The page that lists the leaves, which begin with page 3."""
    cells = [(3 + n).to_bytes(4, "big") + _varint(last) for n, last in enumerate(lasts[:-1])]
    ends = PAGE - np.cumsum([len(cell) for cell in cells], dtype=np.int64)
    start = int(ends[-1]) if cells else PAGE
    head = _page_head(5, len(cells), start) + (2 + len(lasts)).to_bytes(4, "big") + ends.astype(">u2").tobytes()
    return head.ljust(start, b"\0") + b"".join(reversed(cells))


def _schema(table: str, names: Sequence[str], pages: int) -> bytes:
    """The first page: the file's head and the table's definition."""
    sql = f"CREATE TABLE {table}({', '.join(names)})".encode()
    name = table.encode()
    types = b"".join(_varint(_TEXT + 2 * len(text)) for text in (b"table", name, name))
    types += b"\1" + _varint(_TEXT + 2 * len(sql))
    record = bytes([1 + len(types)]) + types + b"table" + name + name + b"\2" + sql
    cell = _varint(len(record)) + b"\1" + record
    start = PAGE - len(cell)
    head = (
        b"SQLite format 3\0"
        + b"\0\1\1\1\0\x40\x20\x20"  # 64 KiB a page, a rollback journal, nothing reserved, fixed fractions
        + b"".join(n.to_bytes(4, "big") for n in (1, pages, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0))  # counters, schema 4, UTF-8
        + bytes(20)
        + b"".join(n.to_bytes(4, "big") for n in (1, 3_040_001))
    )
    head += _page_head(13, 1, start) + start.to_bytes(2, "big")
    return head.ljust(start, b"\0") + cell


def _page_head(kind: int, cells: int, start: int) -> bytes:
    return bytes([kind, 0, 0]) + cells.to_bytes(2, "big") + (start % PAGE).to_bytes(2, "big") + b"\0"


def _lengths(array: pa.Array) -> NDArray[np.int64]:
    lengths = np.diff(offsets_of(array))
    return np.where(array.is_null().to_numpy(zero_copy_only=False), 0, lengths) if array.null_count else lengths


def _serial(array: pa.Array, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    types = 2 * lengths + (_TEXT if pa.types.is_large_string(array.type) else _BLOB)
    if array.null_count:
        types[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return types


def _padded(numbers: "NDArray[Any]", width: int) -> NDArray[np.uint8]:
    """Variable-length integers of one width: the most significant seven bits first, all but the last with the high bit."""
    rest, made = numbers.astype(np.uint32), np.zeros(len(numbers), "<u4")
    for place in range(width):
        seven = (rest >> np.uint32(7 * (width - 1 - place))) & np.uint32(127)
        made |= (seven if place == width - 1 else seven | np.uint32(128)) << np.uint32(8 * place)
    return made.view(np.uint8).reshape(-1, 4)[:, :width]


def _varint(number: int) -> bytes:
    made = [number & 127]
    while number := number >> 7:
        made.append(number & 127 | 128)
    return bytes(reversed(made))
