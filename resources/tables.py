"""Delta tables through polars, on a local path or s3://.

The offline tables of the platform: atomic commits, numbered versions, months as partitions.
A write replaces exactly the range of dates that it names, so writing twice is writing once.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platform_assets.errors import ConcurrentWriteError, TableError
from resources.table_damage import HINT, damage_of
from resources.table_ranges import Between, months_of, range_filter, range_text
from resources.table_revision import Revision, committing, writer
from resources.table_schema import check_same, check_storable, month_column, partition_column

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

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
        return self.find_handle(name) is not None

    def version(self, name: str) -> int:
        """Number of the newest version.

        Raises: TableError if there is no such table.
        """
        return self.open_handle(name).version()

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
        Raises: TableError if the table, the version or the partitioning is missing, or naming a file that is not whole.
        """
        handle = self.open_handle(name, version)
        if (wrong := damage_of(handle, within=between and months_of(between))) is not None:
            raise TableError(f"table {name}, version {handle.version()}: {wrong}", hint=HINT)
        return self.scan_handle(name, handle, between, columns)

    def partitioned_on(self, name: str) -> str | None:
        """Date column whose month partitions the table; None where it is not partitioned."""
        return partition_column(self.open_handle(name).metadata().partition_columns)

    def write(
        self,
        name: str,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        between: Between | None = None,
        partition_by: str | None = None,
        allow_empty: bool = False,
        evolves: bool = False,
    ) -> int:
        """Replace the rows of `between`, or all rows, and return the new version; creates the table at first.

        `partition_by` names a date column of the frame; an existing table remembers its own. With `evolves` the table
        takes the frame's columns: a new one is null in the rows that stay, a column that the frame lacks disappears, and
        only where no row stays may a column change its type. Older versions keep the columns that they had.
        Raises: SchemaError if the frame's shape is not the table's; TableError for rows outside `between` or another
        partitioning; EmptyFrameError where nothing would replace something; ConcurrentWriteError if somebody else
        wrote the same months meanwhile.
        """
        return Revision(self, name, is_exclusive=False).write(
            frame, between=between, partition_by=partition_by, allow_empty=allow_empty, evolves=evolves
        )

    def replace(
        self,
        name: str,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        partition_by: str | None = None,
        facts: "Mapping[str, str] | None" = None,
    ) -> int:
        """Store a frame as the whole table, with its own schema and partitioning; older versions stay readable.

        `facts` are kept with this version, in its commit.
        """
        return Revision(self, name, is_exclusive=False).replace(frame, partition_by=partition_by, facts=facts)

    def fact(self, name: str, key: str, version: int | None = None) -> str:
        """What the commit of a version says under a key.

        Raises: TableError if it says nothing.
        """
        newest = self.open_handle(name)
        wanted = newest.version() if version is None else version
        # The handle of an older version tells the newest commits under that version's number: count back from the newest.
        commits = {commit["version"]: commit for commit in newest.history(newest.version() - wanted + 1)}
        found = commits.get(wanted, {}).get(key)
        if not isinstance(found, str):
            raise TableError(f"table {name}, version {wanted}: its commit says nothing of `{key}`")
        return found

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

        handle = self.open_handle(name)
        present = self.schema(handle)
        missing = {column: dtype for column, dtype in columns.items() if column not in present}
        check_same(name, {**present, **columns}, {**present, **missing})
        if not missing:
            return handle.version()
        check_storable(name, missing, partitioned_on=None)
        fields = Schema.from_arrow(pl.DataFrame(schema=missing).to_arrow().schema).fields
        with committing(name):
            handle.alter.add_columns([Field(field.name, field.type, nullable=True) for field in fields])
        return handle.version()

    @contextmanager
    def revision(self, name: str) -> Iterator[Revision]:
        """Read, compute and write against one version: if anybody committed since, the write is refused.

        Raises: ConcurrentWriteError from the write of whoever is second; read again and compute again.
        """
        yield Revision(self, name)

    def compact(self, name: str) -> int:
        """Merge small files within each partition, and return the version; rows stay the same."""
        handle = self.open_handle(name)
        with committing(name):
            handle.optimize.compact(writer_properties=writer())
        return handle.version()

    def vacuum(self, name: str, *, keep_versions: Iterable[int], is_dry_run: bool = False) -> list[str]:
        """Delete the files that neither the newest version nor any of `keep_versions` reads; return their paths.

        `keep_versions` are the versions that manifests name. Leftovers of killed writers go too, so no writer may run.
        """
        handle = self.open_handle(name)
        kept = sorted({*keep_versions, handle.version()})
        newest = handle.version()
        unknown = [version for version in kept if not 0 <= version <= newest]
        if unknown:
            raise TableError(f"table {name}: no versions {unknown} to keep; the newest is {newest}")
        return handle.vacuum(
            retention_hours=0, dry_run=is_dry_run, enforce_retention_duration=False, full=True, keep_versions=kept
        )

    def find_handle(self, name: str) -> "DeltaTable | None":
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

    def open_handle(self, name: str, version: int | None = None) -> "DeltaTable":
        """Handle of one version, the newest if none is named; for what delta-rs can do and this class does not.

        Raises: TableError if the table or the version is missing.
        """
        from deltalake.exceptions import DeltaError

        handle = self.find_handle(name)
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

    def scan_handle(
        self, name: str, handle: "DeltaTable", between: Between | None, columns: Sequence[str] | None
    ) -> "pl.LazyFrame":
        """Rows that a handle sees, without the partition column; see `scan`."""
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

    def schema(self, handle: "DeltaTable") -> "dict[str, pl.DataType]":
        """Columns and types that a handle sees, without the partition column."""
        return dict(self.scan_handle("", handle, None, None).collect_schema())
