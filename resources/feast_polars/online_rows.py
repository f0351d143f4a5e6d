"""Rows on their way into an online store: keys and values already in Feast's bytes, column by column."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.repo_config import RepoConfig
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, FeatureStoreError
from resources.feast_polars.online_ttl import microseconds
from resources.feast_polars.value_bytes import binaries, content_of, entity_keys, offsets_of, serialised, texts


@dataclass(frozen=True)
class OnlineRows:
    """One entry a row in every array, (n,). Times are microseconds since 1970 in UTC.

    `known_us` is the created time, and the event time where there is none: the second part of the order of rows.
    `texts` are what stores with tables keep beside a value for searching; null where no one asked for them.
    """

    keys: pa.LargeBinaryArray
    values: dict[str, pa.LargeBinaryArray]
    texts: dict[str, pa.LargeStringArray]
    event_us: NDArray[np.int64]
    known_us: NDArray[np.int64]
    is_created_told: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.keys)

    def slices(self, size: int) -> "Iterator[OnlineRows]":
        """The rows, so many at a time, in their order."""
        for start in range(0, len(self), size):
            here = slice(start, start + size)
            yield OnlineRows(
                self.keys[here],
                {name: values[here] for name, values in self.values.items()},
                {name: written[here] for name, written in self.texts.items()},
                self.event_us[here],
                self.known_us[here],
                self.is_created_told[here],
            )

    @classmethod
    def from_frame(
        cls, rows: pl.DataFrame, view: FeatureView, event: str, created: str | None, *, with_texts: bool = False
    ) -> "OnlineRows":
        """Rows of a view's own columns, in their order.

        Raises: FeatureStoreError where a column is missing or a key or an event time null.
        """
        kinds = {field.name: field.dtype.to_value_type() for field in view.features}
        needed = [*kinds, event, *([created] if created else [])]
        if missing := [name for name in needed if name not in rows.columns]:
            raise FeatureStoreError(
                f"feature view `{view.name}`: no column {', '.join(missing)}; found {', '.join(rows.columns)}"
            )
        if rows[event].null_count():
            raise FeatureStoreError(f"feature view `{view.name}`: {rows[event].null_count()} rows have no `{event}`")
        nothing = pa.nulls(rows.height, pa.large_string())
        happened = _physical(rows[event])
        told = _physical(rows[created]) if created else pl.Series([None], dtype=pl.Int64).new_from_index(0, rows.height)
        return cls(
            _keys(rows, view),
            {name: serialised(rows[name], kind) for name, kind in kinds.items()},
            {name: texts(rows[name], kind) if with_texts else nothing for name, kind in kinds.items()},
            happened.to_numpy(),
            told.fill_null(happened).to_numpy(),
            told.is_not_null().to_numpy(),
        )

    @classmethod
    def from_protos(cls, rows: Sequence[Any], features: Sequence[str], version: int) -> "list[OnlineRows]":
        """Rows as Feast hands them over; those that have the same features together."""
        groups: dict[tuple[str, ...], list[Any]] = {}
        for row in rows:
            groups.setdefault(tuple(name for name in features if name in row[1]), []).append(row)
        return [
            cls(
                binaries([serialize_entity_key(key, entity_key_serialization_version=version) for key, *_ in group]),
                {name: binaries([values[name].SerializeToString() for _, values, *_ in group]) for name in names},
                {name: _strings([extract_text_and_num(row[1][name], False)[0] for row in group]) for name in names},
                np.array([_instant_us(event) for _, _, event, _ in group], np.int64),
                np.array(
                    [_instant_us(created if _is_told(created) else event) for *_, event, created in group], np.int64
                ),
                np.array([_is_told(created) for *_, created in group], np.bool_),
            )
            for names, group in groups.items()
        ]


class WritesRows(ABC):
    """Mixed into an online store of Feast: rows come in columns, and what Feast hands over becomes columns first."""

    in_key_order: ClassVar[bool] = True
    """Whether loads bring rows in the order of their keys: what a B-tree takes fastest, and no two loads lock crosswise."""

    has_texts: ClassVar[bool] = False
    """Whether values are kept with their texts, too."""

    @abstractmethod
    def write_rows(self, config: RepoConfig, table: FeatureView, rows: OnlineRows) -> None:
        """Write the rows, each unless a later one stands already."""

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows as Feast hands them over, each unless a later one stands already."""
        names = [field.name for field in table.features]
        for rows in OnlineRows.from_protos(data, names, config.entity_key_serialization_version):
            self.write_rows(config, table, rows)
        if progress:
            progress(len(data))


def refuse_searching(config: RepoConfig, *settings: str) -> None:
    """Raises: ConfigurationError where one of these settings is on: what searches need is not written here."""
    for setting in settings:
        if getattr(config.online_store, setting, False):
            raise ConfigurationError(
                f"online store: `{setting}` is not supported by the monotone stores", hint="use Feast's own store"
            )


def in_key_order(rows: pl.DataFrame, view: FeatureView) -> pl.DataFrame:
    """The rows in the order of their serialised keys: what a B-tree takes fastest, and no two loads lock crosswise."""
    keys = _keys(rows, view)
    lengths = np.diff(offsets_of(keys))
    if len(keys) and (lengths == lengths[0]).all():
        matrix = content_of(keys).reshape(len(keys), -1)
        differ = (matrix != matrix[0]).any(axis=0).nonzero()[0]
        if len(differ) <= 8:  # one number has the order of these bytes
            numbers = np.zeros((len(keys), 8), np.uint8)
            numbers[:, : len(differ)] = matrix[:, differ]
            return rows[np.argsort(numbers.view(">u8").reshape(-1).astype(np.uint64), kind="stable")]
    return rows[pl.Series(keys, dtype=pl.Binary).arg_sort()]


def _keys(rows: pl.DataFrame, view: FeatureView) -> pa.LargeBinaryArray:
    kinds = {field.name: field.dtype.to_value_type() for field in view.entity_columns}
    if DUMMY_ENTITY_ID in kinds and DUMMY_ENTITY_ID not in rows.columns:  # what Feast keys a view without entities by
        rows = rows.with_columns(pl.lit("").alias(DUMMY_ENTITY_ID))
    if missing := [name for name in kinds if name not in rows.columns]:
        raise FeatureStoreError(
            f"feature view `{view.name}`: no key {', '.join(missing)}; found {', '.join(rows.columns)}"
        )
    return entity_keys(rows, kinds)


def is_versioned(config: RepoConfig) -> bool:
    """Whether tables and fields carry the view's version in their names."""
    return bool(getattr(config.registry, "enable_online_feature_view_versioning", False))


def _physical(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Date):
        column = column.cast(pl.Datetime("us"))
    return column.dt.cast_time_unit("us").to_physical()


def _strings(values: list[str | None]) -> Any:
    return pa.array(values, pa.large_string())


def _instant_us(instant: datetime) -> int:
    """Naive times are UTC, as in Feast."""
    return microseconds(instant if instant.tzinfo else instant.replace(tzinfo=UTC))


def _is_told(instant: datetime | None) -> bool:
    """Feast hands over pandas' NaT, which differs from itself, for a null beside others."""
    return instant is not None and instant == instant  # noqa: PLR0124
