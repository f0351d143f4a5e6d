"""Reading an online store: values stay Feast's bytes from the store to the response, and the TTL means what it does offline.

Feast parses a message for each value, copies it into the response, and looks for the time of each. Here a feature's vector is
laid out as the bytes of its message, which protobuf then parses once. `get_online_features`, the feature server and
everything else above it are Feast's.
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from feast import utils
from feast.infra.key_encoding_utils import (
    _serialize_val as serialize_value,  # pyright: ignore[reportPrivateUsage]
)
from feast.metrics import track_feature_statuses
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import Value, ValueType
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp

from resources.feast_polars.online_ttl import microseconds, now_of

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

_VALUE, _STATUSES, _TIME = b"\x0a", b"\x12", b"\x1a"  # tags of FeatureVector's fields 1 to 3, each with a length
_NULL: Final = _VALUE + b"\0"
_SHORT: Final = {
    tag: [tag + bytes([n]) for n in range(128)] for tag in (_VALUE, _STATUSES, _TIME)
}  # lengths of one byte
_PRESENT, _NOT_FOUND, _EXPIRED = FieldStatus.PRESENT, FieldStatus.NOT_FOUND, FieldStatus.OUTSIDE_MAX_AGE
_KEY: Final = struct.Struct("<IIq")


class Asked(NamedTuple):
    """Some features of one view, for entities by their serialised keys."""

    view: "FeatureView"
    keys: list[bytes]
    features: list[str]


class Found(NamedTuple):
    """What stands for one entity: its event time as a serialised Timestamp, and each feature's bytes, None without any."""

    at: bytes
    values: list[bytes | None]


class ReadsBytes(ABC):
    """Mixed into an online store of Feast: expired values come back null, with the status OUTSIDE_MAX_AGE."""

    @abstractmethod
    def read_bytes(self, config: RepoConfig, asked: list[Asked]) -> list[list[Found | None]]:
        """For each question what stands for each of its keys, in their order; None where nothing does."""

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: "list[tuple[FeatureView, list[str]]]",
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        now_us = microseconds(now_of(config))
        asked, rows_of = [], []
        for view, features in grouped_refs:
            rows = _entity_keys(view, join_key_values, entity_name_to_join_key_map)
            distinct = {key: n for n, key in enumerate(dict.fromkeys(rows))}
            asked.append(Asked(view, list(distinct), features))
            rows_of.append([distinct[key] for key in rows])
        for question, rows, found in zip(asked, rows_of, self.read_bytes(config, asked), strict=True):
            prefix = f"{question.view.projection.name_to_use()}__" if full_feature_names else ""
            names = online_features_response.metadata.feature_names.val
            names.extend(prefix + feature for feature in question.features)
            if include_feature_view_version_metadata:
                _tell_version(online_features_response.metadata, question.view)
            for vector in _vectors(question, [found[row] for row in rows], now_us):
                online_features_response.results.add().MergeFromString(vector)

    async def _read_features_per_fv_async(self, *arguments: Any, **named: Any) -> None:
        await asyncio.to_thread(self._read_features_per_fv, *arguments, **named)


def stamp(event_us: int) -> bytes:
    """An event time as a serialised Timestamp."""
    return Timestamp(seconds=event_us // 1_000_000, nanos=event_us % 1_000_000 * 1000).SerializeToString()


def _entity_keys(view: "FeatureView", values: dict[str, Any], join_keys: dict[str, str]) -> list[bytes]:
    """Each row's key, serialised.

    Raises: KeyError, Feast's, where the rows have none of the view's keys.
    """
    columns: Mapping[str, Sequence[Value]] = utils._get_table_entity_values(view, join_keys, values)  # pyright: ignore[reportPrivateUsage]
    if not columns or not all(columns.values()):
        utils._get_unique_entities(view, values, join_keys)  # pyright: ignore[reportPrivateUsage]  # raises
    names = sorted(columns)
    head = len(names).to_bytes(4, "little")
    for name in names:
        head += struct.pack("<II", ValueType.STRING, len(name.encode())) + name.encode()
    parts = [_values(columns[name]) for name in names]
    if len(parts) == 1:
        return [head + part for part in parts[0]]
    return [head + b"".join(row) for row in zip(*parts, strict=True)]


def _values(column: Sequence[Value]) -> list[bytes]:
    if all(value.HasField("int64_val") for value in column):
        return [_KEY.pack(ValueType.INT64, 8, value.int64_val) for value in column]
    pairs = (serialize_value(value.WhichOneof("val"), value) for value in column)
    return [struct.pack("<II", kind, len(content)) + content for content, kind in pairs]


def _vectors(question: Asked, entities: list[Found | None], now_us: int) -> list[bytes]:
    """Each feature's FeatureVector, serialised: values, statuses and event times, row by row."""
    ttl = question.view.ttl
    oldest_us = now_us - ttl // timedelta(microseconds=1) if isinstance(ttl, timedelta) and ttl else None
    expired = [oldest_us is not None and entity is not None and _is_before(entity.at, oldest_us) for entity in entities]
    are_current = not any(expired)
    times = b"".join([_delimited(_TIME, entity.at if entity else b"") for entity in entities])
    vectors, absent = [], 0
    for place in range(len(question.features)):
        values = [entity.values[place] if entity else None for entity in entities]
        statuses = bytes([_NOT_FOUND if value is None else _PRESENT for value in values])
        absent += statuses.count(_NOT_FOUND)
        if not are_current:
            pairs = zip(statuses, expired, strict=True)
            statuses = bytes([_EXPIRED if is_late and status == _PRESENT else status for status, is_late in pairs])
            values = [None if is_late else value for value, is_late in zip(values, expired, strict=True)]
        shown = b"".join([_delimited(_VALUE, value) if value else _NULL for value in values])
        vectors.append(shown + _delimited(_STATUSES, statuses) + times)
    track_feature_statuses(question.view.name, len(entities) * len(vectors) - absent, absent)
    return vectors


def _is_before(at: bytes, limit_us: int) -> bool:
    time = Timestamp.FromString(at)
    return time.seconds * 1_000_000 + time.nanos // 1000 < limit_us


def _delimited(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return _SHORT[tag][size] + content
    length = bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return tag + bytes(length) + bytes([size]) + content


def _tell_version(metadata: Any, view: "FeatureView") -> None:
    name = view.projection.name_alias or view.projection.name
    if all(told.name != name for told in metadata.feature_view_metadata):
        metadata.feature_view_metadata.add(name=name, version=getattr(view, "current_version_number", 0) or 0)
