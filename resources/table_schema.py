"""What a Delta table may hold, and how a frame must look to enter one.

Delta casts, truncates and drops in silence (1.5 appended to an integer column becomes 1, nanoseconds lose
three digits, another zone becomes UTC), so every frame is compared here before it is written.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from platform_assets.errors import SchemaError, TableError

if TYPE_CHECKING:
    import polars as pl

# Storage-only partition column, such as month_of_period_on = "2024-05"; added on write, dropped on scan.
_MONTH_OF: Final = "month_of_"


def month_column(partitioned_on: str) -> str:
    """Partition column that holds the month of a date column."""
    return f"{_MONTH_OF}{partitioned_on}"


def partition_column(partition_columns: Iterable[str]) -> str | None:
    """Date column behind a table's partition columns; None where it is not partitioned."""
    for column in partition_columns:
        if column.startswith(_MONTH_OF):
            return column.removeprefix(_MONTH_OF)
    return None


def check_storable(name: str, schema: "Mapping[str, pl.DataType]", *, partitioned_on: str | None) -> None:
    """Refuse types that Delta would change in silence.

    Raises: SchemaError naming the table, the column, the type and what to write instead.
    """
    if not schema:
        raise SchemaError(f"table {name}: the frame has no columns")
    if partitioned_on is not None:
        if partitioned_on not in schema:
            raise SchemaError(
                f"table {name}: partition column `{partitioned_on}` is missing; columns: {_listed(schema)}",
                hint="name a date column of the frame in `partition_by`",
            )
        found = schema[partitioned_on]
        if str(found.base_type()) not in ("Date", "Datetime"):
            raise SchemaError(
                f"table {name}: partition column `{partitioned_on}` is {found}, expected Date or Datetime"
            )
    for column, dtype in schema.items():
        if column.startswith(_MONTH_OF):
            raise SchemaError(
                f"table {name}: column `{column}` is taken, such columns hold the partition of stored rows",
                hint="rename the column",
            )
        advice = _advice(dtype)
        if advice is not None:
            raise SchemaError(f"table {name}: column `{column}` is {dtype}, expected {advice}", hint="cast it first")


def check_same(name: str, found: "Mapping[str, pl.DataType]", expected: "Mapping[str, pl.DataType]") -> None:
    """Refuse a frame whose columns or types differ from the table's; the order of columns is free.

    Raises: SchemaError naming the table and every column that differs.
    """
    differences = [f"`{column}` is missing ({expected[column]})" for column in expected if column not in found]
    differences += [f"`{column}` ({found[column]}) is unknown" for column in found if column not in expected]
    differences += [
        f"`{column}` is {found[column]}, expected {dtype}"
        for column, dtype in expected.items()
        if column in found and found[column] != dtype
    ]
    if differences:
        raise SchemaError(
            f"table {name}: {'; '.join(differences)}",
            hint="cast the frame, add nullable columns with Tables.evolve, or store a new shape with Tables.replace",
        )


def check_evolvable(name: str, found: "Mapping[str, pl.DataType]", had: "Mapping[str, pl.DataType]", kept: int) -> None:
    """Refuse to change the type of a column of which `kept` rows stay as they are.

    Raises: SchemaError naming the table and every such column.
    """
    changed = [
        f"`{column}` is {dtype}, and {had[column]} in the table"
        for column, dtype in found.items()
        if column in had and had[column] != dtype
    ]
    if changed:
        raise SchemaError(
            f"table {name}: {'; '.join(changed)}; {kept:,} rows of other partitions would keep the old type",
            hint="compute all partitions in one run, which replaces the table: `make demo`, or all of them in the UI",
        )


def check_partitioning(name: str, found: str | None, asked: str | None) -> None:
    """Refuse to write a table with another partitioning than it has.

    Raises: TableError naming both.
    """
    if asked is not None and found != asked:
        is_now = f"partitioned by the month of `{found}`" if found else "not partitioned"
        raise TableError(
            f"table {name}: is {is_now}, asked for the month of `{asked}`",
            hint="write with the partitioning that the table has, or store it anew with Tables.replace",
        )


def _advice(dtype: "pl.DataType") -> str | None:
    """What to write instead of a type that Delta cannot hold as it is; None where it can."""
    import polars as pl

    if isinstance(dtype, pl.Datetime):
        is_utc = dtype.time_unit == "us" and dtype.time_zone == "UTC"
        return None if is_utc else "Datetime(time_unit='us', time_zone='UTC')"
    if isinstance(dtype, pl.List):
        inner = _advice(dtype.inner)  # pyright: ignore[reportArgumentType]
        return None if inner is None else f"List({inner})"
    if isinstance(dtype, pl.Struct):
        inner = [f"{field.name}: {advice}" for field in dtype.fields if (advice := _advice(field.dtype))]  # pyright: ignore[reportArgumentType]
        return f"Struct with {', '.join(inner)}" if inner else None
    plain = (pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Float32, pl.Float64, pl.Decimal)
    if dtype in plain or dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64):
        return None
    if dtype.is_unsigned_integer():
        return "a signed integer"
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return "String"
    if isinstance(dtype, pl.Array):
        return "List"
    if dtype == pl.Duration:
        return "Int64 with the unit in its name"
    return "a boolean, signed integer, float, string, date, UTC instant, list or struct"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(columns)
