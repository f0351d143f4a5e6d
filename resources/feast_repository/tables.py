"""Tables of views that a registered function computes: called for a window, written in place of the rows that stood there."""

import importlib
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from platform_assets.errors import ConfigurationError, EmptyFrameError, FeatureStoreError, SchemaError
from resources.feast_repository.description import Description, Source, View
from resources.feature_definitions import plain_types
from resources.table_schema import check_storable

_TIME = pl.Datetime("us", "UTC")


def call(function: str, start: datetime, end: datetime) -> pl.DataFrame:
    """What `module:function` answers for [start, end): a polars, pandas or arrow frame.

    Raises: ConfigurationError if it is no function, or answers something else.
    """
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found):
        raise ConfigurationError(f"{function} is no function")
    answer: Any = found(start, end)
    if isinstance(answer, pl.LazyFrame):
        return answer.collect()
    if isinstance(answer, pl.DataFrame):
        return answer
    if type(answer).__module__.split(".")[0] not in {"pandas", "pyarrow"}:
        raise ConfigurationError(
            f"{function} answers a {type(answer).__name__}, expected a polars, pandas or arrow frame"
        )
    is_pandas = type(answer).__module__.startswith("pandas")
    return pl.DataFrame(pl.from_pandas(answer) if is_pandas else pl.from_arrow(answer))


def replace_window(
    repository: str, view: View, description: Description, frame: pl.DataFrame, start: datetime, end: datetime
) -> int:
    """Write the frame in place of the table's rows of [start, end), all of it or nothing; returns the table's rows.

    Raises: SchemaError for a missing or unknown column, another type than the table has, a time without a zone, or one
    outside the window; EmptyFrameError for no rows where there were some; FeatureStoreError for a table that cannot be
    replaced atomically.
    """
    from resources.feast_repository.store import named, opened, view_of

    source = description.source(view.source)
    if source is None:
        raise FeatureStoreError(f"view `{view.name}` has no table")
    store = opened(repository)
    store.refresh_registry()
    place: Any = view_of(store, view.name).batch_source
    path = str(getattr(place, "path", ""))
    options: dict[str, str] = dict(getattr(store.config.offline_store, "storage_options", None) or {})
    root = str(getattr(store.config.offline_store, "root", "") or repository)
    if not path:
        raise FeatureStoreError(
            f"view `{view.name}`: a {source.kind} cannot be written here, only files and Delta tables"
        )
    uri = path if "://" in path or Path(path).is_absolute() else f"{root.rstrip('/')}/{path}"
    is_delta = type(getattr(place, "file_format", None)).__name__ == "DeltaFormat" or Path(uri, "_delta_log").is_dir()
    if not is_delta and ("://" in uri or Path(uri).is_dir()):
        raise FeatureStoreError(
            f"view `{view.name}`: {uri} cannot be replaced atomically", hint="make it a Delta table, or one local file"
        )
    rows = _fitting(frame, view, source, start, end)
    with named(view.name, place):
        if is_delta:
            return _delta(uri, rows, view, source, (start, end), options)
        return _file(Path(uri), rows, view, source, (start, end))


def _fitting(frame: pl.DataFrame, view: View, source: Source, start: datetime, end: datetime) -> pl.DataFrame:
    back: Mapping[str, str] = {feature: column for column, feature in source.mapping.items()}
    wanted = [c.name for c in (*view.keys, *view.features)]
    wanted = [*(back.get(name, name) for name in wanted), *(name for name in (source.time, source.created) if name)]
    where = f"{view.name}: the rows of {start.isoformat()} to {end.isoformat()}"
    if missing := [name for name in wanted if name not in frame.columns]:
        raise SchemaError(f"{where} lack {', '.join(missing)}; columns: {', '.join(frame.columns)}")
    if more := [name for name in frame.columns if name not in wanted]:
        raise SchemaError(f"{where} have {', '.join(more)}, which the view does not; it has {', '.join(wanted)}")
    for name, dtype in frame.schema.items():
        if name in (source.time, source.created) and (not isinstance(dtype, pl.Datetime) or dtype.time_zone is None):
            raise SchemaError(
                f"{where}: `{name}` is {dtype}, expected instants with a time zone", hint=".dt.replace_time_zone(...)"
            )
        if not isinstance(dtype, pl.Datetime):
            continue
        exact = frame[name].cast(_TIME if dtype.time_zone else pl.Datetime("us"))
        if (exact.cast(dtype) != frame[name]).any():
            raise SchemaError(
                f"{where}: `{name}` is finer than microseconds, which would be cut off",
                hint="round it: .dt.cast_time_unit('us')",
            )
        frame = frame.with_columns(exact)
    outside = frame.filter(~pl.col(source.time).is_between(start, end, closed="left").fill_null(value=False))
    if outside.height:
        raise SchemaError(f"{where}: {outside.height:,} lie outside of it, such as {outside.row(0, named=True)}")
    return frame.select(wanted)


def _checked(rows: pl.DataFrame, stood: pl.DataFrame, view: View, uri: object) -> pl.DataFrame:
    """The rows in the table's columns, if they may take the place of those that stood in the window."""
    if rows.is_empty() and stood.height:
        raise EmptyFrameError(
            f"{view.name}: {uri}: no rows, where {stood.height:,} stood. Nothing was written",
            hint="delete them on purpose if that is meant",
        )
    for name, dtype in stood.schema.items():
        found = rows.schema.get(name)
        is_time = isinstance(dtype, pl.Datetime) and isinstance(found, pl.Datetime)
        if found != dtype and not is_time:
            raise SchemaError(
                f"{view.name}: {uri}: `{name}` is {found}, the table has {dtype}. Nothing was written",
                hint="cast it in the function; a table of another type is a new table",
            )
    return rows.select(stood.columns)


def _as_declared(rows: pl.DataFrame, view: View, source: Source, uri: object) -> None:
    """The first rows of a table give it its types: those that Feast has of the view's features.

    Raises: SchemaError for another type of a plain column.
    """
    back, types = {feature: column for column, feature in source.mapping.items()}, plain_types()
    for column in (*view.keys, *view.features):
        expected = types.get(column.dtype)
        found = rows.schema[back.get(column.name, column.name)]
        if expected is not None and found != expected:
            raise SchemaError(
                f"{view.name}: `{column.name}` is {found}, its Feast field {column.dtype}; {uri} would get the wrong type. "
                "Nothing was written",
                hint=f"cast it to {expected} in the function",
            )


def _file(path: Path, rows: pl.DataFrame, view: View, source: Source, window: tuple[datetime, datetime]) -> int:
    if path.is_file():
        there = pl.read_parquet(path)
        dtype = there.schema[source.time]
        zone = getattr(dtype, "time_zone", None)
        ends = [edge.astimezone(UTC).replace(tzinfo=UTC if zone else None) for edge in window]
        inside = pl.col(source.time).is_between(*ends, closed="left")
        rows = _checked(rows, there.filter(inside), view, path)
        rows = rows.with_columns(_in_zone_of(rows[n], d) for n, d in there.schema.items() if isinstance(d, pl.Datetime))
        rows = pl.concat([there.filter(~inside), rows])
    else:
        _as_declared(rows, view, source, path)
    rows = rows.sort(source.time, maintain_order=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        rows.write_parquet(unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows.height


def _in_zone_of(column: pl.Series, dtype: pl.Datetime) -> pl.Series:
    column = column.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else column.dt.replace_time_zone(None)
    return column.cast(dtype)


def _delta(
    uri: str,
    rows: pl.DataFrame,
    view: View,
    source: Source,
    window: tuple[datetime, datetime],
    options: dict[str, str],
) -> int:
    from deltalake import DeltaTable, write_deltalake

    if not DeltaTable.is_deltatable(uri, storage_options=options or None):
        _as_declared(rows, view, source, uri)
        check_storable(uri, rows.schema, partitioned_on=None)
        write_deltalake(uri, rows.to_arrow(), mode="error", storage_options=options or None)
        return rows.height
    # Opened before it is read: a second writer is refused, and does not overwrite what it has not seen.
    table = DeltaTable(uri, storage_options=options or None)
    inside = pl.col(source.time).is_between(*window, closed="left")
    stood = pl.scan_delta(table, storage_options=options or None).filter(inside).collect()
    rows = _checked(rows, stood, view, uri)
    if rows.height or stood.height:
        first, last = (edge.astimezone(UTC).isoformat() for edge in window)
        write_deltalake(
            table,
            rows.to_arrow(),
            mode="overwrite",
            predicate=f"{source.time} >= '{first}' AND {source.time} < '{last}'",
            storage_options=options or None,
        )
    return int(pl.scan_delta(uri, storage_options=options or None).select(pl.len()).collect().item())
