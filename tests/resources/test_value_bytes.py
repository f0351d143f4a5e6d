"""Columns become the bytes that Feast makes of the same values, one message after the other."""

import struct
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_assets.errors import FeatureStoreError
from resources.feast_polars.value_bytes import entity_keys, serialised, texts

INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
DOUBLE, FLOAT = st.floats(allow_nan=False), st.floats(allow_nan=False, width=32)
CASES: dict[ValueType, tuple[Any, Any]] = {
    ValueType.DOUBLE: (pl.Float64, DOUBLE),
    ValueType.FLOAT: (pl.Float32, FLOAT),
    ValueType.INT64: (pl.Int64, INT64),
    ValueType.INT32: (pl.Int32, INT32),
    ValueType.BOOL: (pl.Boolean, st.booleans()),
    ValueType.STRING: (pl.String, st.text()),
    ValueType.BYTES: (pl.Binary, st.binary()),
    ValueType.DOUBLE_LIST: (pl.List(pl.Float64), st.lists(DOUBLE)),
    ValueType.FLOAT_LIST: (pl.List(pl.Float32), st.lists(FLOAT)),
    ValueType.INT64_LIST: (pl.List(pl.Int64), st.lists(INT64)),
    ValueType.INT32_LIST: (pl.List(pl.Int32), st.lists(INT32)),
    ValueType.BOOL_LIST: (pl.List(pl.Boolean), st.lists(st.booleans())),
    ValueType.STRING_LIST: (pl.List(pl.String), st.lists(st.text())),
    ValueType.BYTES_LIST: (pl.List(pl.Binary), st.lists(st.binary())),
    ValueType.UNIX_TIMESTAMP: (pl.Datetime("us", "UTC"), st.datetimes().map(lambda at: at.replace(tzinfo=None))),
}
FULL: dict[ValueType, Any] = {
    ValueType.DOUBLE: 1.5, ValueType.FLOAT: 1.5, ValueType.INT64: 7, ValueType.INT32: 7, ValueType.BOOL: True,
    ValueType.STRING: "a", ValueType.BYTES: b"a", ValueType.DOUBLE_LIST: [1.5], ValueType.FLOAT_LIST: [1.5],
    ValueType.INT64_LIST: [7], ValueType.INT32_LIST: [7], ValueType.BOOL_LIST: [True], ValueType.STRING_LIST: ["a"],
    ValueType.BYTES_LIST: [b"a"], ValueType.UNIX_TIMESTAMP: datetime(2024, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_bytes_and_texts_are_feasts(kind: ValueType, data: st.DataObject) -> None:
    dtype, values = CASES[kind]
    drawn = data.draw(st.lists(st.none() | values, max_size=8))
    column = pl.Series("value", drawn, dtype=dtype)
    # A value in front of them: of a column without any, or of empty texts alone, Feast makes nulls.
    protos: list[Any] = python_values_to_proto_values([FULL[kind], *column.to_list()], kind)[1:]
    assert serialised(column, kind).to_pylist() == [proto.SerializeToString() for proto in protos]
    assert texts(column, kind).to_pylist() == [extract_text_and_num(proto, False)[0] for proto in protos]


def test_nan_stays_apart_from_null_and_large_integers_keep_their_digits() -> None:
    """Feast writes null for NaN, and a double's digits for an integer that has a null beside it."""
    nan, null = serialised(pl.Series([float("nan"), None]), ValueType.DOUBLE).to_pylist()
    assert (null, struct.unpack("<d", nan[1:])[0]) == (b"", pytest.approx(float("nan"), nan_ok=True))
    assert (
        serialised(pl.Series([2**60 + 1, None]), ValueType.INT64).to_pylist()[0]
        == Value(int64_val=2**60 + 1).SerializeToString()
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(), INT64, INT32), min_size=1, max_size=6))
def test_entity_keys_are_feasts(rows: list[tuple[str, int, int]]) -> None:
    kinds = {"zone": ValueType.STRING, "driver": ValueType.INT64, "hour": ValueType.INT32}
    schema = {"zone": pl.String, "driver": pl.Int64, "hour": pl.Int32}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    for names in (["zone"], ["driver"], ["hour"], list(kinds)):
        values = [
            [
                {"zone": Value(string_val=zone), "driver": Value(int64_val=driver), "hour": Value(int32_val=hour)}[n]
                for n in names
            ]
            for zone, driver, hour in rows
        ]
        expected = [serialize_entity_key(EntityKey(join_keys=names, entity_values=v)) for v in values]
        assert entity_keys(frame, {name: kinds[name] for name in names}).to_pylist() == expected


def test_a_null_key_is_refused_by_name() -> None:
    with pytest.raises(FeatureStoreError, match="1 rows have no `driver`"):
        entity_keys(pl.DataFrame({"driver": [1, None]}), {"driver": ValueType.INT64})
