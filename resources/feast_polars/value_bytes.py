"""Columns as the bytes that Feast keeps online: serialised values, their texts, and entity keys, in Arrow arrays.

Byte for byte what Feast's own conversion makes of the same values, with two exceptions, both in favour of the value: NaN
stays NaN (Feast writes null), and an integer beside a null keeps all its digits (Feast goes through a double). No Python
object is made for a value on the way, but where only Feast's own conversion knows how.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from numpy.typing import NDArray

from platform_assets.errors import FeatureStoreError

_COMPUTE: Final[Any] = pyarrow.compute  # its functions are made when it is imported, unknown to type checkers
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


_OLDEST: Final = pl.CompatLevel.oldest()  # no views: one buffer of bytes, one of offsets


def serialised(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray:
    """Each value as `Value.SerializeToString()` writes it; null is empty."""
    found = _lists(column, kind) if isinstance(column.dtype, pl.List) and kind in _ITEM else _scalars(column, kind)
    if found is not None:
        return found
    values: list[Any] = python_values_to_proto_values(column.to_list(), kind)
    return binaries([value.SerializeToString() for value in values])


def texts(column: pl.Series, kind: ValueType) -> pa.LargeStringArray:
    """What Feast's SQL stores keep in `value_text`: strings, numbers and truth values as Python writes them."""
    if kind == ValueType.STRING:
        written = column.cast(pl.String)
    elif kind == ValueType.BOOL:
        written = column.replace_strict({True: "True", False: "False"}, return_dtype=pl.String)
    elif kind in (ValueType.INT32, ValueType.INT64):
        written = column.cast(pl.Int64).cast(pl.String)
    elif kind in (ValueType.DOUBLE, ValueType.FLOAT):
        numbers = column.cast(pl.Float32 if kind == ValueType.FLOAT else pl.Float64).cast(pl.Float64)
        written = numbers.cast(pl.String)
        # Polars writes these as Python does, ten times faster; the others have exponents, or are NaN.
        is_same = numbers.abs().is_between(1e-4, 1e16, closed="left") | (numbers == 0) | numbers.is_infinite()
        others = (~is_same).fill_null(value=False).arg_true()
        if len(others):
            written = written.scatter(others, [repr(numbers[n]) for n in others.to_list()])
    else:
        written = pl.Series([None], dtype=pl.String).new_from_index(0, len(column))
    return cast(pa.LargeStringArray, written.rechunk().to_arrow(compat_level=_OLDEST))


def entity_keys(rows: pl.DataFrame, keys: dict[str, ValueType]) -> pa.LargeBinaryArray:
    """Each row's entity key in Feast's serialisation version 3: names in order, then typed values.

    Raises: FeatureStoreError for a null key or a type that Feast cannot have as a key.
    """
    names = sorted(keys)
    head = _u32(len(names)) + b"".join(
        _u32(ValueType.STRING.value) + _u32(len(name.encode())) + name.encode() for name in names
    )
    return joined(pa.scalar(head, pa.large_binary()), *(_key_values(rows[name], keys[name], name) for name in names))


def binaries(values: list[bytes]) -> pa.LargeBinaryArray:
    """The values in one Arrow array."""
    return cast(pa.LargeBinaryArray, pa.array(values, pa.large_binary()))


def fixed(matrix: NDArray[np.uint8]) -> pa.LargeBinaryArray:
    """Each row of a matrix of bytes, (n, width)."""
    return ragged(matrix, np.full(len(matrix), matrix.shape[1], np.int64))


def ragged(content: NDArray[np.uint8], lengths: NDArray[np.int64]) -> pa.LargeBinaryArray:
    """Pieces of these lengths of the content, one after the other."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))]
    return cast(pa.LargeBinaryArray, pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers))


def joined(*parts: Any) -> pa.LargeBinaryArray:
    """The parts of each row in one; null is empty."""
    end = pa.scalar(b"", pa.large_binary())
    return _COMPUTE.binary_join_element_wise(*parts, end, null_handling="replace", null_replacement=b"")


def where(is_kept: NDArray[np.bool_], values: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    """The values that are kept; the others are empty."""
    return _COMPUTE.if_else(pa.array(is_kept), values, pa.scalar(b"", pa.large_binary()))


def offsets_of(values: pa.Array) -> NDArray[np.int64]:
    """Where each value begins in `content_of`, and where the last one ends."""
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values) + 1]


def content_of(values: pa.Array) -> NDArray[np.uint8]:
    """The bytes that `offsets_of` counts in."""
    content = values.buffers()[2]
    return np.frombuffer(b"" if content is None else content, np.uint8)


def varints(numbers: NDArray[np.int64], head: bytes) -> pa.LargeBinaryArray:
    """Each 64-bit integer as a varint behind `head`; negative ones take ten bytes, as protobuf's do."""
    rest = numbers.view(np.uint64)
    lengths = np.full(len(rest), len(head) + 1, np.int64)
    matrix = np.zeros((len(rest), len(head) + 10), np.uint8)
    matrix[:, : len(head)] = np.frombuffer(head, np.uint8)
    for place in range(len(head), len(head) + 10):
        matrix[:, place] = (rest & np.uint64(127)).astype(np.uint8)
        rest = rest >> np.uint64(7)
        goes_on = rest > 0
        if not goes_on.any():
            break
        matrix[goes_on, place] |= 128
        lengths += goes_on
    longest = int(lengths.max(initial=0))
    matrix = matrix[:, :longest]
    return ragged(matrix[np.arange(longest) < lengths[:, None]], lengths)


def _key_values(column: pl.Series, kind: ValueType, name: str) -> pa.LargeBinaryArray:
    if column.null_count():
        raise FeatureStoreError(f"{column.null_count()} rows have no `{name}`", hint="a key cannot be null online")
    typed = _u32(kind.value)
    if kind in (ValueType.INT64, ValueType.UNIX_TIMESTAMP, ValueType.INT32):
        if kind == ValueType.UNIX_TIMESTAMP and column.dtype.is_temporal():
            column = column.dt.epoch("s")
        width = 4 if kind == ValueType.INT32 else 8
        return fixed(_headed(typed + _u32(width), column.cast(pl.Int32 if width == 4 else pl.Int64).to_numpy()))
    if kind not in (ValueType.STRING, ValueType.BYTES):
        raise FeatureStoreError(f"key `{name}` is {kind.name}, which Feast cannot have as a key")
    values = _arrow_bytes(column.cast(pl.String) if kind == ValueType.STRING else column)
    return joined(fixed(_headed(typed, np.diff(offsets_of(values)).astype("<u4"))), values)


def _scalars(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray | None:
    """None where only Feast knows how."""
    made = _SCALARS.get(kind)
    if made is None or not made[0](column.dtype):
        return None
    dtype, encode = made[1:]
    column = column.cast(dtype)
    if not column.null_count():
        return encode(column, kind)
    found = encode(column.drop_nulls(), kind)
    lengths = np.zeros(len(column), np.int64)
    lengths[column.is_not_null().to_numpy()] = np.diff(offsets_of(found))
    return ragged(content_of(found), lengths)


def _fixed(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray:
    numbers = column.to_numpy()
    wire = _FIXED64 if numbers.itemsize == 8 else _FIXED32
    return fixed(_headed(bytes([_FIELD[kind] << 3 | wire]), numbers))


def _integers(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray:
    return varints(column.to_numpy().astype(np.int64), bytes([_FIELD[kind] << 3 | _VARINT]))


def _truths(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray:
    return fixed(_headed(bytes([_FIELD[kind] << 3 | _VARINT]), column.to_numpy().astype(np.uint8)))


def _bytes(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray:
    return _delimited(_arrow_bytes(column), _FIELD[kind])


_Encoder = Callable[[pl.Series, ValueType], pa.LargeBinaryArray]
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
    ValueType.STRING: (lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum), pl.String, _bytes),
    ValueType.BYTES: (lambda dtype: dtype == pl.Binary, pl.Binary, _bytes),
}


def _lists(column: pl.Series, kind: ValueType) -> pa.LargeBinaryArray | None:
    """None where an element is null, or of a type that only Feast can judge."""
    inner = cast(pl.DataType, cast(pl.List, column.dtype).inner)
    wanted = _ITEM[kind]
    is_same_family = (wanted.is_numeric() and _is_number(inner)) or inner == wanted
    if not is_same_family or (wanted.is_integer() and not inner.is_integer()):
        return None
    lists = column.drop_nulls()
    counts = lists.list.len().to_numpy().astype(np.int64)
    items = lists.explode(empty_as_null=False).cast(wanted)
    if items.null_count():
        return None
    if wanted in (pl.String, pl.Binary):
        bodies = _regrouped(_delimited(_arrow_bytes(items), 1), counts)
    else:
        if wanted in (pl.Float64, pl.Float32):
            numbers = np.ascontiguousarray(items.to_numpy())
            packed = ragged(numbers.view(np.uint8), counts * numbers.itemsize)
        else:
            packed = _regrouped(varints(items.cast(pl.Int64).to_numpy(), b""), counts)
        bodies = _delimited(packed, 1, leave_empty=True)
    whole = _delimited(bodies, _FIELD[kind])
    lengths = np.zeros(len(column), np.int64)
    lengths[column.is_not_null().to_numpy()] = np.diff(offsets_of(whole))
    return ragged(content_of(whole), lengths)


def _regrouped(items: pa.LargeBinaryArray, counts: NDArray[np.int64]) -> pa.LargeBinaryArray:
    """So many items at a time in one."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    return ragged(content_of(items), np.diff(offsets_of(items)[ends]))


def _delimited(values: pa.LargeBinaryArray, field: int, *, leave_empty: bool = False) -> pa.LargeBinaryArray:
    """Each value behind its field's tag and its length; an empty one alone where `leave_empty`."""
    tag, rest = bytearray(), field << 3 | _BYTES
    while rest > 127:
        tag.append(rest & 127 | 128)
        rest >>= 7
    tag.append(rest)
    lengths = np.diff(offsets_of(values))
    heads = varints(lengths, bytes(tag))
    if leave_empty:
        heads = where(lengths > 0, heads)
    return joined(heads, values)


def _headed(head: bytes, numbers: "NDArray[Any]") -> NDArray[np.uint8]:
    """The numbers' bytes behind a head, (n, width)."""
    matrix = np.empty((len(numbers), len(head) + numbers.itemsize), np.uint8)
    matrix[:, : len(head)] = np.frombuffer(head, np.uint8)
    matrix[:, len(head) :] = np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), numbers.itemsize)
    return matrix


def _arrow_bytes(column: pl.Series) -> pa.LargeBinaryArray:
    return cast(pa.LargeBinaryArray, column.rechunk().to_arrow(compat_level=_OLDEST).cast(pa.large_binary()))


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")
