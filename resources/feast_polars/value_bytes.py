"""Columns as the bytes that Feast keeps online: serialised values, their texts, and entity keys, without a message each.

Byte for byte what Feast's own conversion makes of the same values, with two exceptions, both in favour of the value: NaN
stays NaN (Feast writes null), and an integer beside a null keeps all its digits (Feast goes through a double).
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, Final, cast

import numpy as np
import polars as pl
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from platform_assets.errors import FeatureStoreError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_FIELD: Final = {  # number of the value's field in Feast's Value message
    ValueType.BYTES: 1, ValueType.STRING: 2, ValueType.INT32: 3, ValueType.INT64: 4, ValueType.DOUBLE: 5,
    ValueType.FLOAT: 6, ValueType.BOOL: 7, ValueType.UNIX_TIMESTAMP: 8, ValueType.BYTES_LIST: 11,
    ValueType.STRING_LIST: 12, ValueType.INT32_LIST: 13, ValueType.INT64_LIST: 14, ValueType.DOUBLE_LIST: 15,
    ValueType.FLOAT_LIST: 16, ValueType.BOOL_LIST: 17,
}  # fmt: skip
_ITEM: Final = {
    ValueType.BYTES_LIST: pl.Binary, ValueType.STRING_LIST: pl.String, ValueType.INT32_LIST: pl.Int32,
    ValueType.INT64_LIST: pl.Int64, ValueType.DOUBLE_LIST: pl.Float64, ValueType.FLOAT_LIST: pl.Float32,
    ValueType.BOOL_LIST: pl.Boolean,
}  # fmt: skip


def serialised(column: pl.Series, kind: ValueType) -> list[bytes]:
    """Each value as `Value.SerializeToString()` writes it; null is empty."""
    found = _lists(column, kind) if isinstance(column.dtype, pl.List) and kind in _ITEM else _scalars(column, kind)
    if found is not None:
        return found
    values: list[Any] = python_values_to_proto_values(column.to_list(), kind)
    return [value.SerializeToString() for value in values]


def texts(column: pl.Series, kind: ValueType) -> list[str | None]:
    """What Feast's SQL stores keep in `value_text`: strings, numbers and truth values as Python writes them."""
    if kind == ValueType.STRING:
        return column.to_list()
    if kind not in {ValueType.INT32, ValueType.INT64, ValueType.DOUBLE, ValueType.FLOAT, ValueType.BOOL}:
        return [None] * len(column)
    if kind == ValueType.BOOL:
        return [None if value is None else repr(value) for value in column.to_list()]
    if kind in (ValueType.INT32, ValueType.INT64):
        return column.cast(pl.Int64).cast(pl.String).to_list()
    numbers = column.cast(pl.Float32 if kind == ValueType.FLOAT else pl.Float64).cast(pl.Float64)
    written = numbers.cast(pl.String).to_list()
    # Polars writes these as Python does, ten times faster; the others have exponents, or are NaN.
    is_same = numbers.abs().is_between(1e-4, 1e16, closed="left") | (numbers == 0) | numbers.is_infinite()
    for n in (~is_same).fill_null(value=False).arg_true().to_list():
        written[n] = repr(numbers[n])
    return written


def entity_keys(rows: pl.DataFrame, keys: dict[str, ValueType]) -> list[bytes]:
    """Each row's entity key in Feast's serialisation version 3: names in order, then typed values.

    Raises: FeatureStoreError for a null key or a type that Feast cannot have as a key.
    """
    names = sorted(keys)
    head = _u32(len(names)) + b"".join(
        _u32(ValueType.STRING.value) + _u32(len(name.encode())) + name.encode() for name in names
    )
    parts = [_key_values(rows[name], keys[name], name) for name in names]
    if len(parts) == 1:
        return [head + part for part in parts[0]]
    return list(map(b"".join, zip(repeat(head), *parts, strict=False)))  # `repeat` has no end


def _key_values(column: pl.Series, kind: ValueType, name: str) -> list[bytes]:
    if column.null_count():
        raise FeatureStoreError(f"{column.null_count()} rows have no `{name}`", hint="a key cannot be null online")
    typed = _u32(kind.value)
    if kind in (ValueType.INT64, ValueType.UNIX_TIMESTAMP, ValueType.INT32):
        if kind == ValueType.UNIX_TIMESTAMP and column.dtype.is_temporal():
            column = column.dt.epoch("s")
        width = 4 if kind == ValueType.INT32 else 8
        numbers = column.cast(pl.Int32 if width == 4 else pl.Int64).to_numpy()
        matrix = np.empty((len(column), 8 + width), np.uint8)
        matrix[:, :8] = np.frombuffer(typed + _u32(width), np.uint8)
        matrix[:, 8:] = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, width)
        return _rows_of(matrix)
    if kind == ValueType.STRING:
        values = [value.encode() for value in column.cast(pl.String).to_list()]
    elif kind == ValueType.BYTES:
        values = column.to_list()
    else:
        raise FeatureStoreError(f"key `{name}` is {kind.name}, which Feast cannot have as a key")
    heads = {length: typed + _u32(length) for length in set(map(len, values))}
    return [heads[len(value)] + value for value in values]


def _scalars(column: pl.Series, kind: ValueType) -> list[bytes] | None:
    """None where only Feast knows how."""
    made = _SCALARS.get(kind)
    if made is None or not made[0](column.dtype):
        return None
    dtype, encode = made[1:]
    column = column.cast(dtype)
    if not column.null_count():
        return encode(column, kind)
    is_null = column.is_null().to_numpy()
    filled = np.full(len(column), b"", object)
    filled[~is_null] = np.array([*encode(column.drop_nulls(), kind), None], object)[:-1]  # None: never a string array
    return filled.tolist()


def _fixed(column: pl.Series, kind: ValueType) -> list[bytes]:
    numbers = np.ascontiguousarray(column.to_numpy())
    wire = _FIXED64 if numbers.itemsize == 8 else _FIXED32
    matrix = np.empty((len(numbers), 1 + numbers.itemsize), np.uint8)
    matrix[:, 0] = _FIELD[kind] << 3 | wire
    matrix[:, 1:] = numbers.view(np.uint8).reshape(len(numbers), numbers.itemsize)
    return _rows_of(matrix)


def _integers(column: pl.Series, kind: ValueType) -> list[bytes]:
    return varints(column.to_numpy().astype(np.int64), bytes([_FIELD[kind] << 3 | _VARINT]))


def _truths(column: pl.Series, kind: ValueType) -> list[bytes]:
    tag = _FIELD[kind] << 3 | _VARINT
    either = (bytes([tag, 0]), bytes([tag, 1]))
    return [either[value] for value in column.to_list()]


def _texts(column: pl.Series, kind: ValueType) -> list[bytes]:
    return _delimited([value.encode() for value in column.to_list()], _FIELD[kind])


def _binaries(column: pl.Series, kind: ValueType) -> list[bytes]:
    return _delimited(column.to_list(), _FIELD[kind])


_Encoder = Callable[[pl.Series, ValueType], list[bytes]]
_Takes = Callable[[pl.DataType], bool]


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_float() or (dtype.is_integer() and dtype != pl.UInt64)


def _is_integer(dtype: pl.DataType) -> bool:
    return dtype.is_integer() and dtype != pl.UInt64


_SCALARS: Final[dict[ValueType, tuple[_Takes, Any, _Encoder]]] = {
    ValueType.DOUBLE: (_is_number, pl.Float64, _fixed),
    ValueType.FLOAT: (_is_number, pl.Float32, _fixed),
    ValueType.INT64: (_is_integer, pl.Int64, _integers),
    ValueType.INT32: (_is_integer, pl.Int32, _integers),
    ValueType.BOOL: (lambda dtype: dtype == pl.Boolean, pl.Boolean, _truths),
    ValueType.STRING: (lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum), pl.String, _texts),
    ValueType.BYTES: (lambda dtype: dtype == pl.Binary, pl.Binary, _binaries),
}


def _lists(column: pl.Series, kind: ValueType) -> list[bytes] | None:
    """None where an element is null, or of a type that only Feast can judge."""
    inner = cast(pl.List, column.dtype).inner
    wanted = _ITEM[kind]
    is_same_family = (wanted.is_numeric() and _is_number(cast(pl.DataType, inner))) or inner == wanted
    if not is_same_family or (wanted.is_integer() and not cast(pl.DataType, inner).is_integer()):
        return None
    lengths = column.list.len().fill_null(0).to_numpy().astype(np.int64)
    items = column.drop_nulls().explode(empty_as_null=False).cast(wanted)
    if items.null_count():
        return None
    ends = np.cumsum(lengths)
    if wanted in (pl.Float64, pl.Float32):
        buffer = np.ascontiguousarray(items.to_numpy()).tobytes()
        width = 8 if wanted == pl.Float64 else 4
        starts = ((ends - lengths) * width).tolist()
        packed = [buffer[a:b] for a, b in zip(starts, (ends * width).tolist(), strict=True)]
        bodies = _delimited(packed, 1)
    elif wanted in (pl.String, pl.Binary):
        made = _delimited([v.encode() if wanted == pl.String else v for v in items.to_list()], 1)
        bodies = [b"".join(made[a:b]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
    else:
        made = varints(items.cast(pl.Int64).to_numpy(), b"")
        packed = [b"".join(made[a:b]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
        bodies = _delimited(packed, 1)
    bodies = [body if length else b"" for body, length in zip(bodies, lengths.tolist(), strict=True)]
    whole = _delimited(bodies, _FIELD[kind])
    if not column.null_count():
        return whole
    return [b"" if is_null else value for is_null, value in zip(column.is_null().to_list(), whole, strict=True)]


def _delimited(values: Sequence[bytes], field: int) -> list[bytes]:
    """Each value behind its field's tag and its length."""
    tag = _varint(field << 3 | _BYTES)
    heads = {length: tag + _varint(length) for length in set(map(len, values))}
    return [heads[len(value)] + value for value in values]


def varints(numbers: "np.ndarray[Any, Any]", head: bytes) -> list[bytes]:
    """Each 64-bit integer as a varint behind `head`; negative ones take ten bytes, as protobuf's do."""
    rest = numbers.astype(np.int64).view(np.uint64)
    lengths = np.ones(len(rest), np.int64)
    matrix = np.zeros((len(rest), len(head) + 10), np.uint8)
    matrix[:, : len(head)] = np.frombuffer(head, np.uint8)
    for place in range(10):
        matrix[:, len(head) + place] = (rest & np.uint64(127)).astype(np.uint8)
        rest = rest >> np.uint64(7)
        goes_on = rest > 0
        if not goes_on.any():
            break
        matrix[goes_on, len(head) + place] |= 128
        lengths += goes_on
    found = np.empty(len(numbers), object)
    for length in np.unique(lengths).tolist():
        chosen = lengths == length
        rows = _rows_of(matrix[chosen][:, : len(head) + length])
        found[chosen] = np.array([*rows, None], object)[:-1]
    return found.tolist()


def _rows_of(matrix: "np.ndarray[Any, Any]") -> list[bytes]:
    """Each row of a matrix of bytes as one bytes object."""
    matrix = np.ascontiguousarray(matrix)
    return matrix.view(f"V{matrix.shape[1]}").reshape(-1).tolist()


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
