"""Entity rows as Feast's users hand them over: pandas, polars or Arrow, in one shape for the join."""

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.infra.offline_stores.offline_utils import DEFAULT_ENTITY_DF_EVENT_TIMESTAMP_COL as EVENT_TIMESTAMP

from platform_assets.errors import FeatureStoreError


def as_rows(entities: Any) -> pl.DataFrame:
    """The entity rows in polars, columns and order as given; NaN stays NaN.

    Raises: FeatureStoreError for anything but a pandas, polars or Arrow table.
    """
    if isinstance(entities, pd.DataFrame):
        return pl.from_pandas(entities.reset_index(drop=True), nan_to_null=False)
    if isinstance(entities, pl.LazyFrame):
        return entities.collect()
    if isinstance(entities, pl.DataFrame):
        return entities
    if isinstance(entities, pa.Table):
        return pl.DataFrame(pl.from_arrow(entities))
    raise FeatureStoreError(
        f"entity rows are {type(entities).__name__}; this offline store takes pandas, polars and Arrow frames",
        hint="a file has no SQL: read the query's answer into a frame first" if isinstance(entities, str) else None,
    )


def time_column(rows: pl.DataFrame) -> str:
    """Name of the column that holds each row's time: `event_timestamp`, or the only column of instants.

    Raises: FeatureStoreError if there is no such column or more than one.
    """
    if EVENT_TIMESTAMP in rows.columns:
        return EVENT_TIMESTAMP
    instants = [name for name, dtype in rows.schema.items() if isinstance(dtype, pl.Datetime)]
    if len(instants) == 1:
        return instants[0]
    raise FeatureStoreError(
        f"entity rows have no column `{EVENT_TIMESTAMP}` and {len(instants)} columns of instants; "
        f"columns: {', '.join(rows.columns)}",
        hint=f"rename the row's time to `{EVENT_TIMESTAMP}`",
    )


def times(rows: pl.DataFrame, name: str) -> pl.Series:
    """The rows' times as UTC microseconds; naive times and text are read as UTC, as Feast does."""
    column = rows[name]
    if column.dtype == pl.String:
        parsed = pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601")
        column = pl.from_pandas(parsed).alias(name)
    elif isinstance(column.dtype, pl.Date):
        column = column.cast(pl.Datetime("us"))
    if not isinstance(column.dtype, pl.Datetime):
        raise FeatureStoreError(f"entity rows: `{name}` is {column.dtype}, not an instant")
    if column.dtype.time_zone is None:
        column = column.dt.replace_time_zone("UTC")
    return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def whole_numbers(column: pl.Series) -> pl.Series:
    """A floating-point column of integers as integers: pandas makes floats of integer keys when one is missing."""
    if not column.dtype.is_float():
        return column
    whole = column.fill_nan(None).cast(pl.Int64, strict=False)
    return whole if (whole.cast(pl.Float64).eq_missing(column.fill_nan(None).cast(pl.Float64))).all() else column
