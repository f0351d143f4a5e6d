"""A file's content from raw cells to a delivery, or a refusal: everything that can be said of it before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from platform_assets.errors import EmptyFrameError
from platform_assets.science import contract, kinds, landing, volume
from platform_assets.science.quarantine import SetAside
from platform_assets.science.source import Source

if TYPE_CHECKING:
    import pandera.polars as pa


@dataclass(frozen=True)
class Rulebook:
    """A source with what its folder holds in Python: the contract of its lines, and its adapter's expressions."""

    source: Source
    schema: "pa.DataFrameSchema"
    columns: tuple[kinds.Column, ...]
    set_aside: SetAside
    instant: pl.Expr | None


def examine(
    raw: pl.DataFrame,
    book: Rulebook,
    *,
    file: str,
    digest: str,
    is_text: bool,
    today: date | None = None,
    manifest: Mapping[str, Any] | None = None,
    arrived_at: datetime | None = None,
    earlier: pl.DataFrame | None = None,
) -> landing.Delivery:
    """The file's lines, typed, numbered from 1, placed in time, with findings; nothing is dropped.

    `earlier` are the lines of files before it that count, to compare volume and units with; of them only the series columns,
    units, price, `day_on` and `period_on` are read.
    Raises: SchemaError, ContractError or EmptyFrameError naming file, column, row and value: the file is refused whole.
    """
    source = book.source
    contract.check_names(file, raw.columns, book.columns)
    if raw.is_empty():
        raise EmptyFrameError(
            f"{file}: a header and no rows (columns {raw.columns})",
            hint="an empty day needs no file; was the export cut off?",
        )
    if manifest is not None:
        volume.check_manifest(manifest, file=file, rows=raw.height, digest=digest)
    typed = kinds.typed(raw, book.columns, file, is_text=is_text, date_format=source.date_format)
    volume.check_plausible(typed, source, file)
    volume.check_duplicates(typed, source, file)
    lines = landing.place(
        typed.with_columns(
            finding=contract.findings(typed, book.schema, book.columns),
            file_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        ),
        source,
        book.instant,
    )
    contract.check_share(lines, source, file)
    landing.check_dates(lines, source, file, today=today)
    compared = lines if earlier is None else pl.concat([_before(earlier, lines), lines], how="diagonal")
    if not volume.states_units(manifest):
        volume.check_units(compared, source, file)
    if not volume.states_whole(manifest):
        volume.check_tail(compared, source, file)
        if earlier is not None:
            volume.check_replaced(lines, earlier, source, file)
    return landing.Delivery(file, digest, lines, arrived_at)


def accepted_before(
    raw: pl.DataFrame, book: Rulebook, *, file: str, digest: str, is_text: bool, arrived_at: datetime | None
) -> landing.Delivery:
    """A file that was examined when it arrived, read again."""
    typed = kinds.typed(raw, book.columns, file, is_text=is_text, date_format=book.source.date_format)
    lines = typed.with_columns(
        finding=contract.findings(typed, book.schema, book.columns),
        file_row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
    )
    return landing.Delivery(file, digest, landing.place(lines, book.source, book.instant), arrived_at)


def _before(earlier: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Earlier lines of periods before the file's last one, without the days that it replaces."""
    last = lines["period_on"].max()
    return earlier.join(lines.select(pl.col("day_on").unique()), on="day_on", how="anti").filter(
        pl.col("period_on") < pl.lit(last)
    )
