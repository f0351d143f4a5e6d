"""Dagster I/O managers: frames as Delta tables, small dictionaries as JSON.

Asset metadata that is read here:
    partition_by      date column whose months partition the table; required for partitioned assets
    allow_empty       an empty frame may replace rows (default: refused)
    replaces_schema   the asset may change its columns, of a partitioned one as `Tables.write` evolves (default: refused)
"""

import json
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets import names
from platform_assets.errors import ConfigurationError, DataError, TableError

if TYPE_CHECKING:
    import polars as pl

    from resources.artifacts import Artifacts
    from resources.table_ranges import Between
    from resources.tables import Tables

PARTITION_BY: Final = "partition_by"
ALLOW_EMPTY: Final = "allow_empty"
REPLACES_SCHEMA: Final = "replaces_schema"


class DeltaIOManager(dg.IOManager):
    """Stores an asset's frame as the Delta table of its key.

    A partition's time window, single or of a range of partitions, is the range that is replaced or read. An input
    annotated `pl.DataFrame` is collected; any other is a `pl.LazyFrame`.
    """

    def __init__(self, tables: "Tables") -> None:
        self.tables = tables

    def handle_output(self, context: dg.OutputContext, obj: "pl.DataFrame | pl.LazyFrame") -> None:
        """Write the frame, and log its rows, schema and table version on the materialization."""
        import polars as pl

        name, metadata = _table(context), context.definition_metadata or {}
        if not isinstance(obj, pl.DataFrame | pl.LazyFrame):
            raise DataError(
                f"asset {name} returned {type(obj).__name__}, expected a polars frame",
                hint="return a frame or name another io_manager_key; annotate an asset that writes by itself `-> None`",
            )
        rows = obj.lazy().collect()
        between = _window(context) if context.has_asset_partitions else None
        partition_by = metadata.get(PARTITION_BY)
        if between is not None and partition_by is None:
            raise ConfigurationError(
                f"asset {name} is partitioned, and its metadata names no `{PARTITION_BY}`",
                hint=f'metadata={{"{PARTITION_BY}": "period_on"}}, a date column of the frame',
            )
        if between is None and metadata.get(REPLACES_SCHEMA):
            version = self.tables.replace(name, rows, partition_by=partition_by)
        else:
            version = self.tables.write(
                name,
                rows,
                between=between,
                partition_by=partition_by,
                allow_empty=bool(metadata.get(ALLOW_EMPTY)),
                evolves=bool(metadata.get(REPLACES_SCHEMA)),
            )
        context.add_output_metadata(table_metadata(self.tables, name, version, rows.schema))
        if between is not None and partition_by is not None:
            _log_partition_rows(context, rows, partition_by)

    def load_input(self, context: dg.InputContext) -> "pl.DataFrame | pl.LazyFrame":
        """Rows of the partitions that the input maps to; all rows where it maps to all of them."""
        import polars as pl

        between = _window(context) if context.has_asset_partitions and not _is_whole(context) else None
        rows = self.tables.scan(_table(context), between=between)
        return rows.collect() if context.dagster_type.typing_type is pl.DataFrame else rows


class JsonIOManager(dg.IOManager):
    """Stores an asset's small value, such as a dictionary of figures, as one JSON file that is replaced whole."""

    def __init__(self, artifacts: "Artifacts") -> None:
        self.artifacts = artifacts

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the value; a kill leaves the previous one."""
        key = _file(context)
        try:
            text = json.dumps(obj, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"asset {_table(context)}: the value is not JSON: {error}", hint="return plain dicts, lists and numbers"
            ) from error
        self.artifacts.put(key, text.encode())
        context.add_output_metadata({"dagster/uri": self.artifacts.uri(key)})

    def load_input(self, context: dg.InputContext) -> Any:
        """The value as JSON has it: keys are strings, tuples are lists."""
        return json.loads(self.artifacts.get(_file(context)))


def table_metadata(tables: "Tables", name: str, version: int, schema: "pl.Schema") -> dict[str, Any]:
    """What a materialization says of the table that it wrote."""
    import polars as pl

    return {
        "table_version": version,
        "dagster/table_name": name,
        "dagster/uri": tables.uri(name),
        "dagster/row_count": tables.scan(name, version=version).select(pl.len()).collect().item(),
        "dagster/column_schema": column_schema(schema),
    }


def partition_rows(
    rows: "pl.DataFrame", column: str, definition: dg.TimeWindowPartitionsDefinition, keys: Iterable[str]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Each partition's own count: an output's metadata would stand on every partition of a range."""
    dates = rows[column].dt.date()
    for key in keys:
        window = definition.time_window_for_partition_key(key)
        yield (
            key,
            {"dagster/partition_row_count": int(((dates >= window.start.date()) & (dates < window.end.date())).sum())},
        )


def column_schema(schema: "pl.Schema") -> dg.TableSchema:
    """Columns and types as the UI shows them."""
    return dg.TableSchema([dg.TableColumn(column, str(dtype)) for column, dtype in schema.items()])


def _table(context: dg.OutputContext | dg.InputContext) -> str:
    return names.table_name(list(context.asset_key.path))


def _file(context: dg.OutputContext | dg.InputContext) -> str:
    partition = f"/{context.asset_partition_key}" if context.has_asset_partitions else ""
    return f"values/{_table(context)}{partition}.json"


def _window(context: dg.OutputContext | dg.InputContext) -> "Between":
    window = context.asset_partitions_time_window
    return _midnight(window.start), _midnight(window.end)


def _midnight(instant: datetime) -> date:
    if instant.time() != datetime.min.time():
        raise TableError(f"partition boundary {instant.isoformat()} is not a midnight; tables are cut by days")
    return instant.date()


def _is_whole(context: dg.InputContext) -> bool:
    """Whether the input maps to every partition of the upstream asset."""
    definition = context.asset_partitions_def
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return False
    keys = context.asset_partition_key_range
    return (keys.start, keys.end) == (definition.get_first_partition_key(), definition.get_last_partition_key())


def _log_partition_rows(context: dg.OutputContext, rows: "pl.DataFrame", column: str) -> None:
    definition = context.asset_partitions_def
    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        for key, count in partition_rows(rows, column, definition, context.asset_partition_keys):
            context.step_context.add_asset_metadata(count, asset_key=context.asset_key, partition_key=key)
