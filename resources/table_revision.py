"""One version of a table that is read and then written through the same handle."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platform_assets.errors import ConcurrentWriteError, ContractError, EmptyFrameError, TableError
from resources.table_ranges import Between, check_range, outside_filter, range_predicate, range_text
from resources.table_schema import (
    check_evolvable,
    check_partitioning,
    check_same,
    check_storable,
    month_column,
    partition_column,
)

if TYPE_CHECKING:
    import polars as pl
    from deltalake import WriterProperties

    from resources.tables import Tables

# Rows. Delta's default of a million makes row groups too coarse to skip: 4.6 MB read for a week, 1.4 MB with this.
ROW_GROUP: Final = 128 * 1024

# By default the log forgets versions after 30 days, and with them the tables that a manifest names.
KEEP_VERSIONS: Final = {"delta.enableExpiredLogCleanup": "false"}


class Revision:
    """One version of one table, read and then written through one handle that was opened before the read.

    Exclusive by default: any commit of somebody else since refuses the write; otherwise only one to the same months.
    """

    def __init__(self, tables: "Tables", name: str, *, is_exclusive: bool = True) -> None:
        self.name = name
        self._tables = tables
        self._is_exclusive = is_exclusive
        self._handle = tables.find_handle(name)

    @property
    def version(self) -> int | None:
        """The version that is read; None before the first write."""
        return None if self._handle is None else self._handle.version()

    def scan(self, *, between: Between | None = None, columns: Sequence[str] | None = None) -> "pl.LazyFrame":
        """Rows of this version; see `Tables.scan`."""
        if self._handle is None:
            raise TableError(f"table {self.name} does not exist yet", hint="ask `version` before the scan")
        return self._tables.scan_handle(self.name, self._handle, between, columns)

    def write(
        self,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        between: Between | None = None,
        partition_by: str | None = None,
        allow_empty: bool = False,
        evolves: bool = False,
    ) -> int:
        """Replace the rows of `between`, or all rows; see `Tables.write`."""
        rows, partitioned_on = self._checked(frame, partition_by, is_same=not evolves)
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
        if evolves and self._handle is not None and dict(rows.schema) != self._tables.schema(self._handle):
            return self._write_evolved(rows, partitioned_on, between)
        return self._commit(rows, partitioned_on, mode="overwrite", predicate=predicate)

    def _write_evolved(self, rows: "pl.DataFrame", partitioned_on: str | None, between: Between | None) -> int:
        """The rows with their columns, and all others brought to these columns, in one commit that nobody precedes."""
        import polars as pl

        assert self._handle is not None
        had = self._tables.schema(self._handle)
        if between is None:
            kept = pl.DataFrame(schema=had)
        else:
            assert partitioned_on is not None  # checked with the range
            kept = self.scan().filter(*outside_filter(had[partitioned_on], partitioned_on, between)).collect()
        if not kept.is_empty():
            check_evolvable(self.name, rows.schema, had, kept.height)
        added = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in rows.schema.items() if name not in had]
        kept = kept.with_columns(added).select(rows.columns)
        # An empty frame of other types would not take part in a union.
        whole = rows if kept.is_empty() else pl.concat([kept, rows])
        self._is_exclusive = True
        return self._commit(whole, partitioned_on, mode="overwrite", schema_mode="overwrite")

    def replace(
        self,
        frame: "pl.DataFrame | pl.LazyFrame",
        *,
        partition_by: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> int:
        """Store a frame as the whole table, with its own schema; see `Tables.replace`."""
        rows = frame.lazy().collect()
        check_storable(self.name, rows.schema, partitioned_on=partition_by)
        return self._commit(rows, partition_by, mode="overwrite", schema_mode="overwrite", facts=facts)

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
            present = self._tables.scan_handle(self.name, self._handle, None, list(key))
            if partitioned_on is not None and partitioned_on in key and not rows.is_empty():
                low, high = rows[partitioned_on].min(), rows[partitioned_on].max()
                present = present.filter(pl.col(partitioned_on) >= low, pl.col(partitioned_on) <= high)
            rows = rows.join(present.collect(), on=key, how="anti", nulls_equal=True, maintain_order="left")
            if rows.is_empty():
                return self._handle.version()
        return self._commit(rows, partitioned_on, mode="append")

    def _checked(
        self, frame: "pl.DataFrame | pl.LazyFrame", partition_by: str | None, *, is_same: bool = True
    ) -> "tuple[pl.DataFrame, str | None]":
        """Rows, in the table's column order where it has the same columns, and the date column of its partitions."""
        partitioned_on = partition_by
        schema = dict(frame.lazy().collect_schema())
        if self._handle is not None:
            partitioned_on = partition_column(self._handle.metadata().partition_columns)
            check_partitioning(self.name, partitioned_on, partition_by)
        check_storable(self.name, schema, partitioned_on=partitioned_on)
        if self._handle is not None:
            expected = self._tables.schema(self._handle)
            if is_same:
                check_same(self.name, schema, expected)
            if schema == expected:
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
        facts: Mapping[str, str] | None = None,
    ) -> int:
        import polars as pl
        from deltalake import CommitProperties, DeltaTable, write_deltalake

        if partitioned_on is not None:
            rows = rows.with_columns(pl.col(partitioned_on).dt.strftime("%Y-%m").alias(month_column(partitioned_on)))
        target: DeltaTable | str = self._handle if self._handle is not None else self._tables.uri(self.name)
        if self._handle is None and "://" not in self._tables.root:
            Path(self._tables.uri(self.name)).mkdir(parents=True, exist_ok=True)
        with committing(self.name):
            write_deltalake(
                target,
                rows,
                mode="error" if self._handle is None else mode,  # pyright: ignore[reportArgumentType]
                partition_by=[] if partitioned_on is None else [month_column(partitioned_on)],
                configuration=KEEP_VERSIONS if self._handle is None else None,
                schema_mode=schema_mode if self._handle is not None else None,  # pyright: ignore[reportArgumentType]
                predicate=predicate if self._handle is not None else None,
                storage_options=self._tables.storage_options,
                writer_properties=writer(),
                commit_properties=CommitProperties(
                    custom_metadata=None if facts is None else dict(facts),
                    max_commit_retries=0 if self._is_exclusive else None,
                ),
            )
        if self._handle is None:
            self._handle = self._tables.open_handle(self.name)
        return self._handle.version()


@contextmanager
def committing(name: str) -> Iterator[None]:
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


def writer() -> "WriterProperties":
    """How Parquet files are written."""
    from deltalake import WriterProperties

    return WriterProperties(max_row_group_size=ROW_GROUP, compression="ZSTD")
