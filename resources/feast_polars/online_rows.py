"""Rows on their way into an online store: keys and values already in Feast's bytes, column by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from feast.feature_view import DUMMY_ENTITY_ID, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.repo_config import RepoConfig

from platform_assets.errors import ConfigurationError, FeatureStoreError
from resources.feast_polars.value_bytes import entity_keys, serialised, texts

_US = 1_000_000


@dataclass(frozen=True)
class OnlineRows:
    """One entry a row in every list. Times are microseconds since 1970 in UTC; a created time may be missing.

    `texts` are what SQL stores keep beside a value for searching.
    """

    keys: list[bytes]
    values: dict[str, list[bytes]]
    texts: dict[str, list[str | None]]
    event_us: list[int]
    created_us: list[int | None]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def known_us(self) -> list[int]:
        """Created times, the event time where there is none: the second part of the order of rows."""
        pairs = zip(self.created_us, self.event_us, strict=True)
        return [event if created is None else created for created, event in pairs]

    @classmethod
    def from_frame(cls, rows: pl.DataFrame, view: FeatureView, event: str, created: str | None) -> "OnlineRows":
        """Rows of a view's own columns, in their order.

        Raises: FeatureStoreError where a column is missing or a key or an event time null.
        """
        needed = [*(f.name for f in view.features), event, *([created] if created else [])]
        if missing := [name for name in needed if name not in rows.columns]:
            raise FeatureStoreError(
                f"feature view `{view.name}`: no column {', '.join(missing)}; found {', '.join(rows.columns)}"
            )
        if rows[event].null_count():
            raise FeatureStoreError(f"feature view `{view.name}`: {rows[event].null_count()} rows have no `{event}`")
        return cls(
            _keys(rows, view),
            {field.name: serialised(rows[field.name], field.dtype.to_value_type()) for field in view.features},
            {field.name: texts(rows[field.name], field.dtype.to_value_type()) for field in view.features},
            _microseconds(rows[event]),
            _microseconds(rows[created]) if created else [None] * rows.height,
        )

    @classmethod
    def from_protos(cls, rows: Sequence[Any], features: Sequence[str], version: int) -> "list[OnlineRows]":
        """Rows as Feast hands them over; those that have the same features together."""
        groups: dict[tuple[str, ...], list[Any]] = {}
        for row in rows:
            groups.setdefault(tuple(name for name in features if name in row[1]), []).append(row)
        return [
            cls(
                [serialize_entity_key(key, entity_key_serialization_version=version) for key, *_ in group],
                {name: [values[name].SerializeToString() for _, values, *_ in group] for name in names},
                {name: [extract_text_and_num(values[name], False)[0] for _, values, *_ in group] for name in names},
                [_instant_us(event) for _, _, event, _ in group],
                [None if created is None else _instant_us(created) for *_, created in group],
            )
            for names, group in groups.items()
        ]


def refuse_vectors(config: RepoConfig) -> None:
    """Raises: ConfigurationError where the store is to search vectors: their column is not written here."""
    if getattr(config.online_store, "vector_enabled", False):
        raise ConfigurationError(
            "online store: `vector_enabled` is not supported by the monotone stores", hint="use Feast's own store"
        )


def in_key_order(rows: pl.DataFrame, view: FeatureView) -> pl.DataFrame:
    """The rows in the order of their serialised keys: what a B-tree takes fastest, and no two loads lock crosswise."""
    return rows[pl.Series(_keys(rows, view), dtype=pl.Binary).arg_sort()]


def _keys(rows: pl.DataFrame, view: FeatureView) -> list[bytes]:
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


def _microseconds(column: pl.Series) -> list[Any]:
    if isinstance(column.dtype, pl.Date):
        column = column.cast(pl.Datetime("us"))
    return column.dt.cast_time_unit("us").to_physical().to_list()


def _instant_us(instant: datetime) -> int:
    """Naive times are UTC, as in Feast."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    gone = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (gone.days * 86_400 + gone.seconds) * _US + gone.microseconds
