"""What the offline store writes: saved datasets, pushed rows, feature logs. A write is atomic: all of it or nothing."""

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists

from platform_assets.errors import FeatureStoreError

if TYPE_CHECKING:
    from resources.feast_polars.sources import Sources


def persist(table: pa.Table, source: DataSource, sources: "Sources", *, allow_overwrite: bool) -> None:
    """Write a saved dataset where `source` says: a Parquet file, a folder of one, or a Delta table."""
    uri = sources.uri(source)
    if not allow_overwrite and ("://" not in uri or sources.is_delta(source)) and sources.exists(source):
        raise SavedDatasetLocationAlreadyExists(location=uri)
    if sources.is_delta(source):
        from deltalake import write_deltalake

        write_deltalake(uri, table, mode="overwrite", schema_mode="overwrite")
    elif "://" in uri:
        pl.DataFrame(pl.from_arrow(table)).write_parquet(uri, storage_options=dict(sources.options) or None)
    elif uri.endswith(".parquet"):
        _replace(Path(uri), table)
    else:
        Path(uri).mkdir(parents=True, exist_ok=True)
        earlier = list(Path(uri).glob("*.parquet"))
        _replace(Path(uri) / f"{uuid.uuid4().hex}.parquet", table)
        for file in earlier:
            file.unlink()


def append(table: pa.Table, source: DataSource, sources: "Sources") -> None:
    """Add rows to a view's source, whose columns they must have, in types that fit without losing anything.

    Integers may be of another width, times of another unit (naive ones are UTC, as to Feast) and floats wider than the
    table's, which rounds them.
    Raises: FeatureStoreError naming the first column that differs: Delta would cast or truncate it in silence.
    """
    rows = pl.DataFrame(pl.from_arrow(table))
    schema = sources.scan(source).collect_schema()
    if missing := [name for name in schema if name not in rows.columns]:
        raise FeatureStoreError(f"source `{source.name}`: the rows to write lack {_named(missing)}")
    if more := [name for name in rows.columns if name not in schema]:
        raise FeatureStoreError(f"source `{source.name}`: the table has no {_named(more)}")
    rows = pl.DataFrame([_fitted(rows[name], dtype, source.name) for name, dtype in schema.items()])
    uri = sources.uri(source)
    if sources.is_delta(source):
        from deltalake import write_deltalake

        write_deltalake(uri, rows.to_arrow(), mode="append", storage_options=dict(sources.options) or None)
    elif "://" in uri:
        raise FeatureStoreError(
            f"source `{source.name}`: rows cannot be added to {uri} atomically", hint="make it a Delta table"
        )
    elif Path(uri).is_dir():
        _replace(Path(uri) / f"{uuid.uuid4().hex}.parquet", rows.to_arrow())
    else:
        _replace(Path(uri), pl.concat([sources.scan(source).collect(), rows]).to_arrow())


def _fitted(column: pl.Series, dtype: pl.DataType, source: str) -> pl.Series:
    if isinstance(dtype, pl.Datetime) and isinstance(column.dtype, pl.Datetime):
        # A naive time is UTC to Feast, in the table as in the rows.
        column = column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(dtype.time_zone and "UTC")
        column = column.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else column
    found = column.dtype
    if found == dtype:
        return column
    is_kindred = found == pl.Null or _kind(found) == _kind(dtype) != "other"
    try:
        fitted = column.cast(dtype) if is_kindred else None
    except pl.exceptions.PolarsError:
        fitted = None
    if fitted is None or (not found.is_float() and not found.is_nested() and (fitted.cast(found) != column).any()):
        raise FeatureStoreError(
            f"source `{source}`: column `{column.name}` of the rows to write is {found}, the table has {dtype}",
            hint="cast it to the table's type first; here it would lose something",
        )
    return fitted


def _kind(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "instant"
    return (
        "integer" if dtype.is_integer() else "float" if dtype.is_float() else "nested" if dtype.is_nested() else "other"
    )


def _named(columns: list[str]) -> str:
    return "column " + ", ".join(f"`{name}`" for name in columns)


def add_file(folder: str, table: pa.Table) -> None:
    """Add a Parquet file of its own to a folder, such as one batch of logged features."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    _replace(Path(folder) / f"{uuid.uuid4().hex}.parquet", table)


def _replace(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        pq.write_table(table, unfinished, coerce_timestamps="us", allow_truncated_timestamps=False)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
