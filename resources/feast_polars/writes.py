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
    """Add rows to a view's source, whose columns and types they must have.

    Raises: FeatureStoreError naming the first column that differs: Delta would cast or truncate it in silence.
    """
    rows = pl.DataFrame(pl.from_arrow(table))
    schema = sources.scan(source).collect_schema()
    for name, dtype in schema.items():
        if name not in rows.columns or rows.schema[name] != dtype:
            found = rows.schema[name] if name in rows.columns else "missing"
            raise FeatureStoreError(
                f"source `{source.name}`: column `{name}` of the rows to write is {found}, the table has {dtype}"
            )
    if more := [name for name in rows.columns if name not in schema]:
        raise FeatureStoreError(f"source `{source.name}`: the table has no column {', '.join(f'`{m}`' for m in more)}")
    rows = rows.select(schema.names())
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
