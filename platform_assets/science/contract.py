"""A file against its source's contract: names and types refuse the file, values mark single lines.

A column has a kind rather than a width: any integer type that holds whole numbers is an integer, and so is a float column of
whole numbers (pandas writes integers with gaps that way). What cannot be read as its kind refuses the file before anything is
written; a value that can be read and breaks the contract (null, infinite, out of range) is a finding on its line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from platform_assets.errors import ConfigurationError, ContractError, SchemaError
from platform_assets.science.source import Kind, Source

if TYPE_CHECKING:
    import pandera.polars as pa

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
# What the platform writes beside a line's own columns.
LANDED = ("file_name", "file_row", "file_digest", "finding", "day_on", "period_on", "event_at", "known_at")
# Control characters, zero-width and direction marks, and what stands where a character could not be read.
INVISIBLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}\u{feff}\u{fffd}]"
LARGEST = 1e9  # beyond it no count and no price of a retailer lies; 1e308 in a file is a broken export
# HTML or XML, and what a spreadsheet would run: =cmd|..., +1+cmd, @SUM(, tabs in front.
MARKUP = r"(?i)<\s*/?\s*[a-z!?][^>]*>|&(?:[a-z]+|#\d+);|^\s*[=@]|^\s*[+\-]\s*[A-Za-z(@=]|^\s*[+\-]?\d.*\|"
SHOWN = 3  # cells that a message shows whole


@dataclass(frozen=True)
class Column:
    """One column of a source's lines."""

    name: str
    kind: Kind
    is_required: bool = True


def columns_of(schema: "pa.DataFrameSchema", source: Source) -> tuple[Column, ...]:
    """The columns that a pandera schema of lines declares, as kinds.

    Raises: ConfigurationError for a type that lines cannot have, or a name that the platform gives.
    """
    found = []
    for name, column in schema.columns.items():
        dtype = getattr(column.dtype, "type", None)
        kind = _kind(dtype)
        if kind is None:
            raise ConfigurationError(
                f"{source.name}: column `{name}` of its lines has type {dtype}; known: {', '.join(map(str, DTYPES.values()))}"
            )
        found.append(Column(name, "key" if kind == "text" and name in source.series else kind, bool(column.required)))
    if clash := sorted({column.name for column in found} & set(LANDED)):
        raise ConfigurationError(
            f"{source.name}: columns {clash} bear names that the platform gives", hint="rename them in the file"
        )
    if missing := sorted({*source.series, *source.columns.values()} - {column.name for column in found}):
        raise ConfigurationError(f"{source.name}: defs.yaml names columns {missing}, which its contract lacks")
    return tuple(found)


def _kind(dtype: Any) -> Kind | None:
    if dtype is None:
        return None
    kinds: tuple[tuple[bool, Kind], ...] = (
        (dtype == pl.String, "text"),
        (dtype == pl.Boolean, "boolean"),
        (dtype == pl.Date, "date"),
        (dtype.is_integer(), "integer"),
        (dtype.is_float(), "number"),
        (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None, "instant"),
        (isinstance(dtype, pl.Datetime) or dtype is pl.Datetime, "local_time"),
    )
    return next((kind for holds, kind in kinds if holds), None)


def schema_of(source: Source) -> "pa.DataFrameSchema":
    """Pandera schema of a source that has no schema.py: the columns that its defs.yaml names."""
    import pandera.polars as pa  # 0.65 CPU s

    needed = {*source.series, source.columns["units"], source.when}
    return pa.DataFrameSchema(
        {name: pa.Column(DTYPES[kind], nullable=name not in needed) for name, kind in source.kinds().items()},
        strict=True,
    )


def check_names(file: str, found: Sequence[str], columns: Sequence[Column]) -> None:
    """Refuse a file whose columns are not the declared ones, in whatever order.

    Raises: SchemaError naming what is missing, unknown or twice there.
    """
    twice = sorted({name for name in found if list(found).count(name) > 1})
    declared = {column.name for column in columns}
    missing = sorted({column.name for column in columns if column.is_required} - set(found))
    unknown = [name for name in found if name not in declared]
    problems = [f"column `{name}` stands there twice" for name in twice]
    problems += [f"column `{name}` is missing{_near(name, unknown)}" for name in missing]
    problems += [f"column {name!r} is unknown" for name in unknown]
    if problems:
        raise SchemaError(
            f"{file}: {'; '.join(problems)}; found {list(found)}, expected {sorted(declared)}",
            hint="mend the file's header, or declare the column in the source's folder (`extra` in defs.yaml, or schema.py)",
        )


def _near(name: str, unknown: Sequence[str]) -> str:
    plain = name.casefold().strip()
    alike = [other for other in unknown if other.casefold().strip().lstrip("\ufeff") == plain]
    return f" (there is {alike[0]!r})" if alike else ""


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
        frame = pl.DataFrame({"c": cells})
    elif kind in patterns:
        ok = cell.str.contains(patterns[kind])
        number = pl.when(ok).then(cell.str.replace(r"(\.0+)$", "") if kind == "integer" else cell)
        parsed = number.cast(DTYPES[kind], strict=False)
    elif kind == "boolean":
        low = cell.str.to_lowercase()
        parsed = pl.when(low.is_in(["true", "1"])).then(True).when(low.is_in(["false", "0"])).then(False)
    elif kind == "date":
        plain = cell.str.replace(r"[T ]00:00(:00(\.0+)?)?$", "")
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


def findings(lines: pl.DataFrame, schema: "pa.DataFrameSchema", columns: Sequence[Column]) -> pl.Series:
    """For each line null, or the first value of it that breaks the contract, as `column: problem, found value`.

    Raises: SchemaError where pandera finds a fault of the frame rather than of a value.
    """
    problems = _broken_cells(lines, columns) + _pandera_cells(lines, schema)
    if not problems:
        return pl.Series("finding", [None] * lines.height, dtype=pl.String)
    marks = pl.concat(problems).group_by("row", maintain_order=True).first()
    return lines.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row")).join(
        marks, on="row", how="left", maintain_order="left"
    )["finding"]


def _marks(lines: pl.DataFrame, column: str, problem: pl.Expr | str, mask: pl.Expr) -> pl.DataFrame:
    said = pl.lit(problem) if isinstance(problem, str) else problem
    found = pl.col(column).cast(pl.String).fill_null("nothing").str.slice(0, 80)
    return (
        lines.lazy()
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("__row"))
        .filter(mask)
        .select(row="__row", finding=pl.concat_str(pl.lit(f"{column}: "), said, pl.lit(", found "), found))
        .collect()
    )


def _broken_cells(lines: pl.DataFrame, columns: Sequence[Column]) -> list[pl.DataFrame]:
    marks = []
    for column in columns:
        cell = pl.col(column.name)
        if column.kind == "number":
            marks.append(_marks(lines, column.name, "not finite", ~cell.is_finite()))
            marks.append(_marks(lines, column.name, f"beyond {LARGEST:g}", cell.is_finite() & (cell.abs() > LARGEST)))
        elif column.kind == "integer":
            marks.append(_marks(lines, column.name, f"beyond {LARGEST:g}", cell.abs() > int(LARGEST)))
        elif column.kind in {"text", "key"}:
            marks.append(_marks(lines, column.name, "markup or a formula", cell.str.contains(MARKUP)))
            marks.append(_marks(lines, column.name, "invisible characters", cell.str.contains(INVISIBLE)))
        if column.kind == "key":
            marks.append(_marks(lines, column.name, "blank", cell.str.strip_chars() == ""))
    return [mark for mark in marks if mark.height]


def _pandera_cells(lines: pl.DataFrame, schema: "pa.DataFrameSchema") -> list[pl.DataFrame]:
    cases = failures(lines, schema)
    if cases is None:
        return []
    if (faults := cases.filter(pl.col("index").is_null())).height:
        fault = faults.row(0, named=True)
        raise SchemaError(f"column `{fault['column']}`: {fault['check']}, found {fault['failure_case']}")
    said = {"not_nullable": "missing"}
    return [
        cases.select(
            row=pl.col("index").cast(pl.Int64),
            finding=pl.concat_str(
                pl.col("column"),
                pl.lit(": "),
                pl.col("check").replace(said),
                pl.lit(", found "),
                pl.col("failure_case").fill_null("nothing"),
            ),
        )
    ]


def failures(lines: pl.DataFrame, schema: "pa.DataFrameSchema") -> pl.DataFrame | None:
    """Pandera's failure cases of an eager frame, all of them; None where there are none."""
    import pandera.errors  # 0.65 CPU s
    from pandera.config import ValidationDepth, config_context

    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            schema.validate(lines, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        return errors.failure_cases.with_columns(
            pl.col("failure_case").cast(pl.String), pl.col("check").cast(pl.String)
        )
    return None


def check_share(lines: pl.DataFrame, source: Source, where: str) -> dict[str, Any]:
    """Refuse lines of which more than the source's `largest_share` break the contract.

    Returns: their share and the first of them.
    Raises: ContractError naming file, column, row and value of the first, and counts of all.
    """
    broken = lines.filter(pl.col("finding").is_not_null())
    share = broken.height / max(lines.height, 1)
    first = broken.head(1).to_dicts()
    file = first[0].get("file_name", where) if first else where
    told = f"{file}: row {first[0]['file_row']}, column {first[0]['finding']}" if first else "none"
    if share > source.rules.largest_share:
        raise ContractError(
            f"{where}: {broken.height} of {lines.height} lines break the contract, more than {source.rules.largest_share:.0%}: "
            f"{told}; {dict(finding_counts(lines['finding']))}",
            hint="mend the file, or the contract in the source's folder",
        )
    return {"share of findings": share, "first finding": told}


def finding_counts(findings_: pl.Series) -> Mapping[str, int]:
    """Findings by column and problem, without the values."""
    counted = findings_.drop_nulls().str.replace(r", found [\s\S]*$", "").value_counts(sort=True)
    return dict(counted.iter_rows())
