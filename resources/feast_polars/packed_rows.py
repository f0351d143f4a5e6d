"""An entity's values of one view packed into one run of bytes: one row of a table where Feast writes one for each value.

A packed row begins with where each value begins (32 bits each, little-endian); the values follow as Feast serialises them,
null as nothing. Its schema, the names and types of its values in their order, stands beside it as a number that is drawn
from it: writers need not agree on one, and a value is found by its name and type alone, whatever the view has become since.
"""

import json
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from resources.feast_polars.value_bytes import fixed, joined, offsets_of

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

Schema = tuple[tuple[str, str], ...]  # name and type of each value
_START: Final = 4  # bytes that say where a value begins


def schema_of(view: "FeatureView", features: Collection[str] | None = None) -> Schema:
    """The features, in their order, with the types that the view gives them; all of the view's where none are named."""
    kinds = {f.name: f.dtype.to_value_type().name for f in view.features if features is None or f.name in features}
    return tuple((name, kinds.get(name, "")) for name in (kinds if features is None else features))


def number_of(schema: Schema) -> int:
    """The schema's number, 64 bits."""
    return int.from_bytes(blake2b(told(schema).encode(), digest_size=8).digest(), "big", signed=True)


def told(schema: Schema) -> str:
    """The schema as text."""
    return json.dumps(schema)


def heard(text: str) -> Schema:
    """The schema that `told` wrote."""
    return tuple((name, kind) for name, kind in json.loads(text))


def pack(columns: Sequence[pa.LargeBinaryArray]) -> pa.LargeBinaryArray:
    """Each row's values, a column each, in one."""
    lengths = np.stack([np.diff(offsets_of(column)) for column in columns], axis=1)
    starts = np.full(lengths.shape, _START * len(columns), np.int64)  # (n, columns)
    starts[:, 1:] += np.cumsum(lengths[:, :-1], axis=1)
    return joined(fixed(starts.astype("<u4").view(np.uint8).reshape(len(starts), _START * len(columns))), *columns)


def pack_one(values: Sequence[bytes]) -> bytes:
    """One row's values in one."""
    starts = accumulate(map(len, values[:-1]), initial=_START * len(values))
    return Struct(f"<{len(values)}I").pack(*starts) + b"".join(values)


def unpacker(held: Schema, wanted: Schema) -> Callable[[bytes], list[bytes | None]]:
    """What takes the wanted values out of a row that was packed with the schema `held`; None for one that it lacks."""
    starts_of = Struct(f"<{len(held)}I").unpack_from
    places = {field: n for n, field in enumerate(held)}
    asked = [places.get(field) for field in wanted]

    def unpack(packed: bytes) -> list[bytes | None]:
        starts = (*starts_of(packed), None)  # the last one ends with the row
        return [None if n is None else packed[starts[n] : starts[n + 1]] for n in asked]

    return unpack
