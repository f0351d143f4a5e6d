"""Delta tables through polars, on a local path or s3://.

The offline tables of the platform: atomic commits, numbered versions, months as partitions.
A write replaces exactly the range of dates that it names, so writing twice is writing once.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platform_assets.errors import ConcurrentWriteError, ContractError, EmptyFrameError, TableError
from resources.table_ranges import Between, check_range, range_filter, range_predicate, range_text
from resources.table_schema import (
    check_partitioning,
    check_same,
    check_storable,
    month_column,
    partition_column,
)

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable, WriterProperties

# Rows. Delta's default of a million makes row groups too coarse to skip: 4.6 MB read for a week, 1.4 MB with this.
ROW_GROUP: Final = 128 * 1024

# By default the log forgets versions after 30 days, and with them the tables that a manifest names.
KEEP_VERSIONS: Final = {"delta.enableExpiredLogCleanup": "false"}

# Attempts of `append`, which reads and decides again by itself when somebody else committed in between.
APPEND_ATTEMPTS: Final = 8


class Tables:
    """Every Delta table below one root."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = os.fspath(root).rstrip("/")
        self.storage_options = dict(storage_options) if storage_options else None

    def uri(self, name: str) -> str:
        """Where the table lies."""
        parts = name.split("/")
        if not all(parts) or any(part in (".", "..") for part in parts):
            raise TableError(f"table name {name!r} is not a path below {self.root}")
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the table has a version."""
        return self._find(name) is not None

    def version(self, name: str) -> int:
        """Number of the newest version.

        Raises: TableError if there is no such table.
        """
        return self._open(name).version()

    def scan(
        self,
        name: str,
        *,
        version: int | None = None,
        between: Between | None = None,
        columns: Sequence[str] | None = None,
    ) -> "pl.LazyFrame":
        """Rows of one version, in no promised order.

        `between` cuts by the partition's date column and reads only the files and row groups that can hold it.
        Raises: TableError if the table, the version or the partitioning is missing.
        """
        return self._scan(name, self._open(name, version), between, columns)

    def partitioned_on(self, name: str) -> str | None:
        """Date column whose month partitions the table; None where it is not partitioned."""
        return partition_column(self._open(name).metadata().partition_columns)

    def write(
        self,
        name: str,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        between: Between | None = None,
        partition_by: str | None = None,
        allow_empty: bool = False,
    ) -> int:
        """Replace the rows of `between`, or all rows, and return the new version; creates the table at first.

        `partition_by` names a date column of the frame; an existing table remembers its own.
        Raises: SchemaError if the frame's shape is not the table's; TableError for rows outside `between` or another
        partitioning; EmptyFrameError where nothing would replace something; ConcurrentWriteError if somebody else
        wrote the same months meanwhile.
        """
        return Revision(self, name, is_exclusive=False).write(
            frame, between=between, partition_by=partition_by, allow_empty=allow_empty
        )

    def replace(self, name: str, frame: "pl.DataFrame | pl.LazyFrame", *, partition_by: str | None = None) -> int:
        """Store a frame as the whole table, with its own schema and partitioning; older versions stay readable."""
        return Revision(self, name, is_exclusive=False).replace(frame, partition_by=partition_by)

    def append(
        self,
        name: str,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        key: Sequence[str],
        partition_by: str | None = None,
    ) -> int:
        """Add the rows whose key the table does not hold yet, and return the version; a second time adds nothing.

        Raises: ContractError if the frame itself repeats a key; SchemaError as `write`.
        """
        for attempt in range(1, APPEND_ATTEMPTS + 1):
            try:
                return Revision(self, name).append(frame, key=key, partition_by=partition_by)
            except ConcurrentWriteError:
                if attempt == APPEND_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def evolve(self, name: str, columns: "Mapping[str, pl.DataType]") -> int:
        """Add nullable columns, and return the version; columns that exist with that type are left alone."""
        import polars as pl
        from deltalake import Field, Schema

        handle = self._open(name)
        present = self._schema(handle)
        missing = {column: dtype for column, dtype in columns.items() if column not in present}
        check_same(name, {**present, **columns}, {**present, **missing})
        if not missing:
            return handle.version()
        check_storable(name, missing, partitioned_on=None)
        fields = Schema.from_arrow(pl.DataFrame(schema=missing).to_arrow().schema).fields
        with _commit(name):
            handle.alter.add_columns([Field(field.name, field.type, nullable=True) for field in fields])
        return handle.version()

    @contextmanager
    def revision(self, name: str) -> "Iterator[Revision]":
        """Read, compute and write against one version: if anybody committed since, the write is refused.

        Raises: ConcurrentWriteError from the write of whoever is second; read again and compute again.
        """
        yield Revision(self, name)

    def compact(self, name: str) -> int:
        """Merge small files within each partition, and return the version; rows stay the same."""
        handle = self._open(name)
        with _commit(name):
            handle.optimize.compact(writer_properties=_writer())
        return handle.version()

    def vacuum(self, name: str, *, keep_versions: Iterable[int], is_dry_run: bool = False) -> list[str]:
        """Delete the files that neither the newest version nor any of `keep_versions` reads; return their paths.

        `keep_versions` are the versions that manifests name. Leftovers of killed writers go too, so no writer may run.
        """
        handle = self._open(name)
        kept = sorted({*keep_versions, handle.version()})
        newest = handle.version()
        unknown = [version for version in kept if not 0 <= version <= newest]
        if unknown:
            raise TableError(f"table {name}: no versions {unknown} to keep; the newest is {newest}")
        return handle.vacuum(
            retention_hours=0, dry_run=is_dry_run, enforce_retention_duration=False, full=True, keep_versions=kept
        )

    def _find(self, name: str) -> "DeltaTable | None":
        """Handle of the newest version; None where there is no table."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        uri = self.uri(name)
        try:
            # Opening, not `is_deltatable`, which keeps the interpreter's lock for as long as S3 takes to answer.
            return DeltaTable(uri, storage_options=self.storage_options)
        except TableNotFoundError:
            return None
        except DeltaError as error:
            raise TableError(f"table {name} at {uri} cannot be opened: {error}") from error

    def _open(self, name: str, version: int | None = None) -> "DeltaTable":
        from deltalake.exceptions import DeltaError

        handle = self._find(name)
        if handle is None:
            raise TableError(
                f"table {name} does not exist at {self.uri(name)}",
                hint="materialize the asset of that name, or check the tables' root in the settings",
            )
        newest = handle.version()
        if version is None or version == newest:
            return handle
        try:
            handle.load_as_version(version)
        except (DeltaError, OverflowError, ValueError) as error:
            raise TableError(
                f"table {name} has no version {version}; newest: {newest}",
                hint="a vacuum keeps only the versions that manifests name",
            ) from error
        return handle

    def _scan(
        self, name: str, handle: "DeltaTable", between: Between | None, columns: Sequence[str] | None
    ) -> "pl.LazyFrame":
        import polars as pl

        has_keys = "aws_secret_access_key" in (self.storage_options or {})
        rows = pl.scan_delta(
            handle, storage_options=self.storage_options, credential_provider=None if has_keys else "auto"
        )
        partitioned_on = partition_column(handle.metadata().partition_columns)
        if between is not None:
            if partitioned_on is None:
                raise TableError(f"table {name} is not partitioned, so it has no rows between {range_text(between)}")
            rows = rows.filter(*range_filter(rows.collect_schema()[partitioned_on], partitioned_on, between))
        if partitioned_on is not None:
            rows = rows.drop(month_column(partitioned_on))
        return rows if columns is None else rows.select(columns)

    def _schema(self, handle: "DeltaTable") -> "dict[str, pl.DataType]":
        return dict(self._scan("", handle, None, None).collect_schema())


class Revision:
    """One version of one table, read and then written through one handle that was opened before the read.

    Exclusive by default: any commit of somebody else since refuses the write; otherwise only one to the same months.
    """

    def __init__(self, tables: Tables, name: str, *, is_exclusive: bool = True) -> None:
        self.name = name
        self._tables = tables
        self._is_exclusive = is_exclusive
        self._handle = tables._find(name)

    @property
    def version(self) -> int | None:
        """The version that is read; None before the first write."""
        return None if self._handle is None else self._handle.version()

    def scan(self, *, between: Between | None = None, columns: Sequence[str] | None = None) -> "pl.LazyFrame":
        """Rows of this version; see `Tables.scan`."""
        if self._handle is None:
            raise TableError(f"table {self.name} does not exist yet", hint="ask `version` before the scan")
        return self._tables._scan(self.name, self._handle, between, columns)

    def write(
        self,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        between: Between | None = None,
        partition_by: str | None = None,
        allow_empty: bool = False,
    ) -> int:
        """Replace the rows of `between`, or all rows; see `Tables.write`."""
        rows, partitioned_on = self._checked(frame, partition_by)
        predicate = None
        if between is not None:
            if partitioned_on is None:
                raise TableError(
                    f"table {self.name} is not partitioned, so no range of dates can be replaced in it",
                    hint="name a date column in `partition_by` at the first write",
                )
            check_range(self.name, rows, partitioned_on, between)
            predicate = range_predicate(rows.schema[partitioned_on], partitioned_on, between)
        if rows.is_empty() and not allow_empty and self._handle is not None and self._has_rows(between):
            where = "the table" if between is None else range_text(between)
            raise EmptyFrameError(
                f"table {self.name}: the frame is empty, and {where} holds rows that it would delete",
                hint="pass allow_empty=True where nothing is the right answer",
            )
        return self._commit(rows, partitioned_on, mode="overwrite", predicate=predicate)

    def replace(self, frame: "pl.DataFrame | pl.LazyFrame", *, partition_by: str | None = None) -> int:
        """Store a frame as the whole table, with its own schema; see `Tables.replace`."""
        rows = frame.lazy().collect()
        check_storable(self.name, rows.schema, partitioned_on=partition_by)
        return self._commit(rows, partition_by, mode="overwrite", schema_mode="overwrite")

    def append(
        self, frame: "pl.DataFrame | pl.LazyFrame", *, key: Sequence[str], partition_by: str | None = None
    ) -> int:
        """Add the rows whose key is new; see `Tables.append`."""
        import polars as pl

        rows, partitioned_on = self._checked(frame, partition_by)
        absent = [column for column in key if column not in rows.columns]
        if not key or absent:
            raise TableError(f"table {self.name}: key columns {absent or list(key)} are not in {rows.columns}")
        repeated = rows.filter(rows.select(key).is_duplicated()).select(key).unique(maintain_order=True)
        if not repeated.is_empty():
            raise ContractError(
                f"table {self.name}: {repeated.height} keys occur more than once in the frame, such as "
                f"{repeated.head(3).to_dicts()}"
            )
        if self._handle is not None:
            present = self._tables._scan(self.name, self._handle, None, list(key))
            if partitioned_on is not None and partitioned_on in key and not rows.is_empty():
                low, high = rows[partitioned_on].min(), rows[partitioned_on].max()
                present = present.filter(pl.col(partitioned_on) >= low, pl.col(partitioned_on) <= high)
            rows = rows.join(present.collect(), on=key, how="anti", nulls_equal=True, maintain_order="left")
            if rows.is_empty():
                return self._handle.version()
        return self._commit(rows, partitioned_on, mode="append")

    def _checked(
        self, frame: "pl.DataFrame | pl.LazyFrame", partition_by: str | None
    ) -> "tuple[pl.DataFrame, str | None]":
        """Rows in the table's column order, and the date column of its partitions."""
        partitioned_on = partition_by
        schema = dict(frame.lazy().collect_schema())
        if self._handle is not None:
            partitioned_on = partition_column(self._handle.metadata().partition_columns)
            check_partitioning(self.name, partitioned_on, partition_by)
        check_storable(self.name, schema, partitioned_on=partitioned_on)
        if self._handle is not None:
            expected = self._tables._schema(self._handle)
            check_same(self.name, schema, expected)
            frame = frame.select(list(expected))
        rows = frame.lazy().collect()
        nulls = 0 if partitioned_on is None else rows[partitioned_on].null_count()
        if nulls:
            raise ContractError(
                f"table {self.name}: partition column `{partitioned_on}` is null in {nulls} of {rows.height} rows"
            )
        return rows, partitioned_on

    def _has_rows(self, between: Between | None) -> bool:
        return not self.scan(between=between).head(1).collect().is_empty()

    def _commit(
        self,
        rows: "pl.DataFrame",
        partitioned_on: str | None,
        *,
        mode: str,
        predicate: str | None = None,
        schema_mode: str | None = None,
    ) -> int:
        import polars as pl
        from deltalake import CommitProperties, DeltaTable, write_deltalake

        if partitioned_on is not None:
            rows = rows.with_columns(pl.col(partitioned_on).dt.strftime("%Y-%m").alias(month_column(partitioned_on)))
        target: DeltaTable | str = self._handle if self._handle is not None else self._tables.uri(self.name)
        if self._handle is None and "://" not in self._tables.root:
            Path(self._tables.uri(self.name)).mkdir(parents=True, exist_ok=True)
        with _commit(self.name):
            write_deltalake(
                target,
                rows,
                mode="error" if self._handle is None else mode,  # pyright: ignore[reportArgumentType]
                partition_by=[] if partitioned_on is None else [month_column(partitioned_on)],
                configuration=KEEP_VERSIONS if self._handle is None else None,
                schema_mode=schema_mode if self._handle is not None else None,  # pyright: ignore[reportArgumentType]
                predicate=predicate if self._handle is not None else None,
                storage_options=self._tables.storage_options,
                writer_properties=_writer(),
                commit_properties=CommitProperties(max_commit_retries=0) if self._is_exclusive else None,
            )
        if self._handle is None:
            self._handle = self._tables._open(self.name)
        return self._handle.version()


@contextmanager
def _commit(name: str) -> Iterator[None]:
    """Name the table in what delta-rs says about commits that others won."""
    from deltalake.exceptions import CommitFailedError, DeltaError

    try:
        yield
    except CommitFailedError as error:
        raise _conflict(name) from error
    except DeltaError as error:
        if "already exists" in str(error):
            raise _conflict(name) from error
        raise TableError(f"table {name}: {error}") from error


def _conflict(name: str) -> ConcurrentWriteError:
    return ConcurrentWriteError(
        f"table {name}: somebody else committed since it was read; nothing was written",
        hint="read again, compute again, write again",
    )


def _writer() -> "WriterProperties":
    from deltalake import WriterProperties

    return WriterProperties(max_row_group_size=ROW_GROUP, compression="ZSTD")
