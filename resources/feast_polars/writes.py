"""What the offline store writes: saved datasets, pushed rows, feature logs. A write is atomic: all of it or nothing."""

import os
import uuid
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists

from platform_assets.errors import EmptyFrameError, FeatureStoreError

if TYPE_CHECKING:
    from resources.feast_polars.sources import Sources


def persist(tables: Iterator[pa.Table], source: DataSource, sources: "Sources", *, allow_overwrite: bool) -> None:
    """Write a saved dataset where `source` says: a Parquet file, a folder of one, or a Delta table.

    The tables follow each other; no more than one is held at a time, but for Parquet on an object store.
    Raises: SavedDatasetLocationAlreadyExists unless it may be overwritten; EmptyFrameError where no rows at all would
    replace some.
    """
    uri = sources.uri(source)
    is_there = ("://" not in uri or sources.is_delta(source)) and sources.exists(source)
    if is_there and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=uri)
    where = f"source `{source.name}` ({uri})"
    tables = (_storable(table, where, is_delta=sources.is_delta(source)) for table in tables)
    first = next(tables)
    if is_there and not len(first):
        raise EmptyFrameError(
            f"{where}: an empty dataset would replace the one that is there",
            hint="nothing was written; delete it first if that is what you want",
        )
    tables = chain([first], tables)
    if sources.is_delta(source):
        from deltalake import write_deltalake

        reader = pa.RecordBatchReader.from_batches(first.schema, (b for table in tables for b in table.to_batches()))
        options = dict(sources.options) or None
        write_deltalake(uri, reader, mode="overwrite", schema_mode="overwrite", storage_options=options)
    elif "://" in uri:
        whole = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
        whole.write_parquet(uri, storage_options=dict(sources.options) or None)
    elif uri.endswith(".parquet"):
        _replace(Path(uri), tables)
    else:
        Path(uri).mkdir(parents=True, exist_ok=True)
        earlier = list(Path(uri).glob("*.parquet"))
        _replace(Path(uri) / f"{uuid.uuid4().hex}.parquet", tables)
        for file in earlier:
            file.unlink()


_SIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}


def _storable(table: pa.Table, where: str, *, is_delta: bool) -> pa.Table:
    """The table in types that are stored as they are: microseconds and, in Delta, signed integers.

    Raises: FeatureStoreError naming a column that has finer times or larger numbers.
    """
    columns = []
    for column in table.schema:
        kind = column.type
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            kind = pa.timestamp("us", kind.tz)
        elif is_delta:
            kind = _SIGNED.get(kind, kind)
        try:
            columns.append(table[column.name].cast(kind))
        except pa.ArrowInvalid as error:
            raise FeatureStoreError(
                f"{where}: column `{column.name}` is {column.type} and does not fit {kind}: {error}",
                hint="round it yourself first; nothing was written",
            ) from error
    return pa.table(columns, names=table.column_names)


def append(table: pa.Table, source: DataSource, sources: "Sources") -> None:
    """Add rows to a view's source, whose columns they must have, in types that fit without losing anything.

    Integers may be of another width and times of another unit (naive ones are UTC, as to Feast). Floats that a 32-bit
    column cannot hold widen it to 64 bits, which loses nothing: the table is then written anew, in one commit.
    Raises: FeatureStoreError naming the first column that differs: Delta would cast or truncate it in silence.
    """
    rows = pl.DataFrame(pl.from_arrow(table))
    uri = sources.uri(source)
    held = sources.scan(source)
    schema = held.collect_schema()
    where = f"source `{source.name}` ({uri})"
    advice = f"its columns: {', '.join(schema)}; give the rows exactly these"
    if missing := [name for name in schema if name not in rows.columns]:
        raise FeatureStoreError(f"{where}: the rows to write lack {_named(missing)}", hint=advice)
    if more := [name for name in rows.columns if name not in schema]:
        raise FeatureStoreError(f"{where}: the table has no {_named(more)}", hint=advice)
    if rows.is_empty():
        return
    rows = pl.DataFrame([_fitted(rows[name], dtype, where) for name, dtype in schema.items()])
    is_wider = rows.schema != schema
    if sources.is_delta(source):
        _append_to_delta(rows, held if is_wider else None, source, sources)
    elif "://" in uri:
        raise FeatureStoreError(f"{where}: rows cannot be added there atomically", hint="make it a Delta table")
    elif Path(uri).is_dir() and not is_wider:
        _replace(Path(uri) / f"{uuid.uuid4().hex}.parquet", [rows.to_arrow()])
    elif Path(uri).is_dir():
        wider = [name for name, dtype in rows.schema.items() if dtype != schema[name]]
        raise FeatureStoreError(
            f"{where}: {_named(wider)} is 32 bits wide there, and the rows to write hold more digits",
            hint="cast the rows to Float32 first, or rewrite the folder's files with Float64",
        )
    else:
        _replace(Path(uri), [pl.concat([held.cast(rows.schema).collect(), rows]).to_arrow()])


def _append_to_delta(rows: pl.DataFrame, held: pl.LazyFrame | None, source: DataSource, sources: "Sources") -> None:
    """One commit on the version that was looked at: the rows alone, or with `held` everything in their wider types."""
    from deltalake import write_deltalake

    handle = sources.table(source)
    if held is None:
        write_deltalake(handle, rows.to_arrow(), mode="append")
        return
    whole = pl.concat([held.cast(rows.schema).collect(), rows]).rechunk().to_arrow()
    partitions = handle.metadata().partition_columns or None
    write_deltalake(handle, whole, mode="overwrite", schema_mode="overwrite", partition_by=partitions)


def _fitted(column: pl.Series, dtype: pl.DataType, where: str) -> pl.Series:
    """The column in the table's type if that loses nothing, in its own if the table's can be widened to it."""
    if isinstance(dtype, pl.Datetime) and isinstance(column.dtype, pl.Datetime):
        # A naive time is UTC to Feast, in the table as in the rows.
        column = column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(dtype.time_zone and "UTC")
        column = column.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else column
    found = column.dtype
    if found == dtype:
        return column
    try:
        fitted = column.cast(dtype) if found == pl.Null or _kind(found) == _kind(dtype) != "other" else None
    except pl.exceptions.PolarsError:
        fitted = None
    if fitted is not None and not fitted.cast(found).ne_missing(column).any():
        return fitted
    if _widens(dtype, found):
        return column
    raise FeatureStoreError(
        f"{where}: column `{column.name}` of the rows to write is {found}, the table has {dtype}",
        hint="cast it to the table's type first; here it would lose something",
    )


def _widens(narrow: pl.DataType, wide: pl.DataType) -> bool:
    """Whether every float of the one type is one of the other, which is wider."""
    if isinstance(narrow, pl.List) and isinstance(wide, pl.List):
        return _widens(pl.Series(dtype=narrow.inner).dtype, pl.Series(dtype=wide.inner).dtype)
    return narrow == pl.Float32 and wide == pl.Float64


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
    _replace(Path(folder) / f"{uuid.uuid4().hex}.parquet", [table])


def _replace(path: Path, tables: Iterable[pa.Table]) -> None:
    """Put a file in its place when all of it is on disk."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        writer = None
        for table in tables:
            if writer is None:
                writer = pq.ParquetWriter(
                    unfinished,
                    table.schema,
                    use_dictionary=_worth_a_dictionary(table.schema),  # pyright: ignore[reportArgumentType]  # lists too
                    coerce_timestamps="us",
                    allow_truncated_timestamps=False,
                )
            writer.write_table(table)
        if writer is not None:
            writer.close()
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _worth_a_dictionary(schema: pa.Schema) -> bool | list[str]:
    """Every column but floats, whose dictionaries take four times the CPU of writing them as they are and save nothing.

    Nested columns are called by another name in the file: with one of them there are dictionaries everywhere.
    """
    if any(pa.types.is_nested(column.type) for column in schema):
        return True
    return [column.name for column in schema if not pa.types.is_floating(column.type)]
