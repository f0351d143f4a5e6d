"""Cells as values of a kind: text is parsed, types are widened, and what cannot be read refuses the file.

A kind is no width: any integer type that holds whole numbers is an integer, and so is a float column of whole numbers
(pandas writes integers with gaps that way).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from platform_assets.errors import SchemaError
from platform_assets.science.source import Kind

DTYPES: dict[Kind, Any] = {
    "text": pl.String,
    "key": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "date": pl.Date,
    "instant": pl.Datetime("us", "UTC"),
    "local_time": pl.Datetime("us"),
}
SAID: dict[Kind, str] = {
    "text": "text",
    "key": "text or whole numbers",
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "date": "dates (YYYY-MM-DD)",
    "instant": "times with a zone",
    "local_time": "times without a zone",
}
WHOLE = r"^[+-]?\d+$"
WRITTEN_AS_FLOAT = r"^[+-]?\d+\.0*$"
FRACTION = r"^[+-]?\d*\.\d*[1-9]\d*$"
MOSTLY = 0.6  # of a key's values; beyond it the key is of whole numbers, and a fraction among them is broken
SHOWN = 3  # cells that a message shows whole


@dataclass(frozen=True)
class Column:
    """One column of a source's lines."""

    name: str
    kind: Kind
    is_required: bool = True


def typed(
    raw: pl.DataFrame, columns: Sequence[Column], file: str, *, is_text: bool, date_format: str | None = None
) -> pl.DataFrame:
    """The same lines with one type for each kind; cells are parsed where the file holds text only (`is_text`, a CSV).

    Raises: SchemaError naming the file, the column, the row (1 is the first line under the header) and the value.
    """
    present = [column for column in columns if column.name in raw.columns]
    cast = {
        column.name: _cast(raw[column.name], column, file, is_text=is_text, date_format=date_format)
        for column in present
    }
    absent = {column.name: pl.Series(column.name, [None] * raw.height, dtype=DTYPES[column.kind]) for column in columns}
    return pl.DataFrame([cast.get(column.name, absent[column.name]) for column in columns])


def _cast(cells: pl.Series, column: Column, file: str, *, is_text: bool, date_format: str | None) -> pl.Series:
    dtype, kind = cells.dtype, column.kind
    if isinstance(dtype, pl.Categorical | pl.Enum) or dtype == pl.Null:
        cells, dtype = (
            cells.cast(pl.String if dtype != pl.Null else DTYPES[kind]),
            pl.String if dtype != pl.Null else DTYPES[kind],
        )
    is_parsed = dtype == pl.String and (is_text or (kind == "date" and date_format is not None))
    parsed = parse(cells, kind, date_format) if is_parsed else widen(cells, kind)
    if parsed is None:
        raise SchemaError(
            f"{file}: column `{column.name}` holds {dtype}, expected {SAID[kind]}; first value {_show(cells.drop_nulls().head(1))}",
            hint=_advice(kind, dtype),
        )
    blank = (
        (cells.str.strip_chars() == "")
        if cells.dtype == pl.String
        else pl.Series([False]).new_from_index(0, cells.len())
    )
    wrong = (parsed.is_null() & cells.is_not_null() & ~blank).arg_true()
    if len(wrong):
        shown = ", ".join(f"row {index + 1}: {_value(cells, int(index))!r}" for index in wrong.head(SHOWN))
        raise SchemaError(
            f"{file}: column `{column.name}` cannot be read as {SAID[kind]} in {len(wrong)} of {len(cells)} rows ({shown})",
            hint=_advice(kind, dtype),
        )
    return parsed.alias(column.name)


def parse(cells: pl.Series, kind: Kind, date_format: str | None) -> pl.Series:
    """Text read as a kind; null where it cannot be, and where it is blank."""
    stripped = cells.str.strip_chars()
    cell, frame = pl.col("c"), pl.DataFrame({"c": stripped})
    patterns = {
        "integer": r"^[+-]?\d{1,18}(\.0+)?$",
        "number": r"(?i)^[+-]?(((\d+\.?\d*|\.\d+)(e[+-]?\d+)?)|inf|infinity|nan)$",
    }
    if kind in {"text", "key"}:
        parsed: pl.Expr = pl.when(cell != "").then(cell)
        if kind == "key" and is_of_whole_numbers(stripped):
            parsed = pl.when(cell.str.contains(WRITTEN_AS_FLOAT)).then(cell.str.replace(r"\.0*$", "")).otherwise(parsed)
        frame = pl.DataFrame({"c": cells})
    elif kind in patterns:
        ok = cell.str.contains(patterns[kind])
        number = pl.when(ok).then(cell.str.replace(r"(\.0+)$", "") if kind == "integer" else cell)
        parsed = number.cast(DTYPES[kind], strict=False)
    elif kind == "boolean":
        low = cell.str.to_lowercase()
        parsed = pl.when(low.is_in(["true", "1"])).then(True).when(low.is_in(["false", "0"])).then(False)
    elif kind == "date":
        plain = cell if has_clock(date_format) else cell.str.replace(r"[T ]00:00(:00(\.0+)?)?$", "")
        parsed = plain.str.to_date(date_format or "%Y-%m-%d", strict=False)
        if date_format is None:
            parsed = pl.when(plain.str.contains(r"^\d{4}-\d{2}-\d{2}$")).then(parsed)
    else:
        zone = r"(Z|[+-]\d{2}:?\d{2})$"
        ok = cell.str.contains(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}") & (cell.str.contains(zone) == (kind == "instant"))
        plain = pl.when(ok).then(cell.str.replace(" ", "T").str.replace(r"T(\d{2}:\d{2})(Z|[+-]|$)", "T${1}:00${2}"))
        shape = "%Y-%m-%dT%H:%M:%S%.f%#z" if kind == "instant" else "%Y-%m-%dT%H:%M:%S%.f"
        plain = plain.str.replace("Z$", "+00:00") if kind == "instant" else plain
        parsed = plain.str.to_datetime(shape, time_unit="us", strict=False)
    return frame.select(parsed.cast(DTYPES[kind]).alias("c"))["c"]


def has_clock(date_format: str | None) -> bool:
    """Whether a format reads a time of day, which a date does not keep."""
    return date_format is not None and any(part in date_format for part in ("%H", "%I"))


def is_of_whole_numbers(keys: pl.Series) -> bool:
    """Whether nearly all of a key's values are whole numbers, written as such or, as spreadsheets do, as 18.0.

    Where many are fractions they are the source's own codes, such as versions, and 1.0 is not 1.
    """
    written = keys.drop_nulls().str.strip_chars()
    written = written.filter(written != "")
    whole = written.str.contains(WHOLE) | written.str.contains(WRITTEN_AS_FLOAT)
    return len(written) > 0 and int(whole.sum()) >= MOSTLY * len(written)


def widen(cells: pl.Series, kind: Kind) -> pl.Series | None:
    """Typed cells as a kind, null where a value does not fit; None where the type is another kind."""
    dtype = cells.dtype
    is_number = dtype.is_integer() or dtype.is_float() or dtype.is_decimal()
    if kind in {"text", "key"}:
        if dtype == pl.String or (kind == "key" and dtype.is_integer()):
            return cells.cast(pl.String)
    elif kind == "integer" and is_number and not dtype.is_decimal():
        whole = cells.cast(pl.Float64) if dtype.is_float() else cells
        exact = cells.cast(pl.Int64, strict=False)
        if not dtype.is_float():
            return exact
        return pl.DataFrame({"e": exact, "w": whole}).select(
            pl.when(pl.col("e").cast(pl.Float64) == pl.col("w")).then("e")
        )["e"]
    elif kind == "number" and is_number:
        return cells.cast(pl.Float64)
    elif dtype == DTYPES[kind]:
        return cells
    elif kind == "boolean" and dtype.is_integer():
        flag = pl.col("c")
        return pl.DataFrame({"c": cells}).select(c=pl.when(flag == 1).then(True).when(flag == 0).then(False))["c"]
    elif isinstance(dtype, pl.Datetime) and kind == "date" and dtype.time_zone is None:
        day = cells.dt.date()
        return pl.DataFrame({"d": day, "c": cells}).select(pl.when(pl.col("d").cast(dtype) == pl.col("c")).then("d"))[
            "d"
        ]
    elif isinstance(dtype, pl.Datetime) and kind == "instant" and dtype.time_zone is not None:
        return cells.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    elif isinstance(dtype, pl.Datetime) and kind == "local_time" and dtype.time_zone is None:
        return cells.dt.cast_time_unit("us")
    return None


def _show(cells: pl.Series) -> str:
    return repr(_value(cells, 0)) if len(cells) else "none"


def _value(cells: pl.Series, index: int) -> Any:
    """A cell as Python has it; days and times as text, for Parquet holds such as Python does not."""
    cell = cells[index : index + 1]
    return cell.cast(pl.String)[0] if cell.dtype.is_temporal() else cell[0]


def _advice(kind: Kind, dtype: Any) -> str:
    if kind == "instant":
        return "times need a zone; where they are local times of the source's `timezone`, say `naive_times: local` in its defs.yaml"
    if kind == "local_time" and isinstance(dtype, pl.Datetime):
        return "this source's times are local ones without a zone; a zone would be read twice"
    if kind == "date":
        return "write dates as YYYY-MM-DD, or state `date_format` in the source's defs.yaml, such as '%d/%m/%Y'"
    if kind in {"integer", "number"}:
        return "write numbers with a decimal point and without separators, currency or quotes"
    return "export the file again with the declared type"
