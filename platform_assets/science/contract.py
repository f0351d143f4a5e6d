"""A source's columns and values against its contract: wrong names refuse a file, wrong values mark single lines.

A value that can be read as its kind and breaks the contract (null, infinite, out of range, markup) is a finding on its line.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from platform_assets.errors import ConfigurationError, ContractError, SchemaError
from platform_assets.science.kinds import DTYPES, FRACTION, Column, is_of_whole_numbers
from platform_assets.science.source import Kind, Source

if TYPE_CHECKING:
    import pandera.polars as pa

# What the platform writes beside a line's own columns.
LANDED = ("file_name", "file_row", "file_digest", "finding", "day_on", "period_on", "event_at", "known_at")
# Control characters, zero-width and direction marks, and what stands where a character could not be read.
INVISIBLE = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}\u{feff}\u{fffd}]"
LARGEST = 1e9  # beyond it no count and no price of a retailer lies; 1e308 in a file is a broken export
# HTML or XML, and what a spreadsheet would run: =cmd|..., +1+cmd, @SUM(, tabs in front.
MARKUP = r"(?i)<\s*/?\s*[a-z!?][^>]*>|&(?:[a-z]+|#\d+);|^\s*[=@]|^\s*[+\-]\s*[A-Za-z(@=]|^\s*[+\-]?\d.*\|"


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
            if is_of_whole_numbers(lines[column.name]):
                marks.append(_marks(lines, column.name, "a fraction among whole numbers", cell.str.contains(FRACTION)))
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
