"""Ranges of dates: which rows and files they hold, and which they replace."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from platform_assets.errors import TableError
from resources.table_schema import month_column

if TYPE_CHECKING:
    import polars as pl

# Half open: the first day, and the day after the last. Instants are cut at UTC midnight.
Between = tuple[date, date]


def range_text(between: Between) -> str:
    """The range in words."""
    return f"{between[0]} .. {between[1]} (exclusive)"


def _bounds(dtype: "pl.DataType", between: Between) -> tuple[date, date]:
    import polars as pl

    start, end = between
    if not start < end:
        raise TableError(f"the range {range_text(between)} is empty")
    if dtype == pl.Date:
        return start, end
    return datetime(start.year, start.month, start.day, tzinfo=UTC), datetime(end.year, end.month, end.day, tzinfo=UTC)


def months_of(between: Between) -> tuple[str, str]:
    """First and last month of the range, as 2024-05."""
    start, end = between
    last = date.fromordinal(end.toordinal() - 1)
    return f"{start:%Y-%m}", f"{last:%Y-%m}"


def range_filter(dtype: "pl.DataType", column: str, between: Between) -> "list[pl.Expr]":
    """Rows of the range, as comparisons that skip files and row groups."""
    # One plain comparison for each column: an expression over two columns switches file skipping off.
    import polars as pl

    (start, end), (first, last) = _bounds(dtype, between), months_of(between)
    month = pl.col(month_column(column))
    return [month >= first, month <= last, pl.col(column) >= start, pl.col(column) < end]


def outside_filter(dtype: "pl.DataType", column: str, between: Between) -> "list[pl.Expr]":
    """Rows outside the range."""
    import polars as pl

    start, end = _bounds(dtype, between)
    return [(pl.col(column) < start) | (pl.col(column) >= end)]


def range_predicate(dtype: "pl.DataType", column: str, between: Between) -> str:
    """The same range in the SQL of Delta's overwrite by predicate."""
    import polars as pl

    (start, end), (first, last) = _bounds(dtype, between), months_of(between)
    month = month_column(column)

    def literal(bound: date) -> str:
        # TIMESTAMP '...' is nanoseconds to DataFusion, which refuses to compare them with microseconds.
        kind = "Date32" if dtype == pl.Date else 'Timestamp(Microsecond, Some("UTC"))'
        return f"arrow_cast('{bound.isoformat()}', '{kind}')"

    return (
        f"\"{month}\" >= '{first}' AND \"{month}\" <= '{last}' AND "
        f'"{column}" >= {literal(start)} AND "{column}" < {literal(end)}'
    )


def check_range(name: str, rows: "pl.DataFrame", column: str, between: Between) -> None:
    """Refuse rows that a write of the range would put outside it.

    Raises: TableError naming the first values.
    """
    import polars as pl

    start, end = _bounds(rows.schema[column], between)
    outside = rows.filter((pl.col(column) < start) | (pl.col(column) >= end))
    if not outside.is_empty():
        found = outside[column].unique().sort().head(3).to_list()
        raise TableError(
            f"table {name}: {outside.height} of {rows.height} rows lie outside {range_text(between)}; `{column}` is "
            f"{', '.join(str(value) for value in found)}",
            hint="filter the frame to the partition that is written",
        )
