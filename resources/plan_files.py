"""Files that say what was announced: `<any name>.plans.parquet` or `.csv`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_assets.errors import ContractError, SchemaError
from platform_assets.science.source import Source
from resources.line_files import LineFile, check_end, raw_lines

if TYPE_CHECKING:
    import polars as pl

KINDS = {"target_on": "date", "announced_on": "date", "planned_price": "number", "is_planned_promotion": "boolean"}


def is_plans(name: str) -> bool:
    """Whether a file of this name holds plans rather than lines."""
    return Path(name).stem.lower().endswith(".plans")


def read_plans(file: LineFile, source: Source) -> "pl.DataFrame":
    """Announcements as the file has them, typed.

    Raises: SchemaError where the source announces nothing, or as for lines; ContractError for an announcement that lacks
    its series or one of its days, or that contradicts another one of the same day.
    """
    from platform_assets.science.contract import check_names
    from platform_assets.science.kinds import Column, typed

    if not source.plans:
        raise SchemaError(
            f"{file.name}: plans, and source {source.name} announces nothing",
            hint="name their columns as `plans` in the source's defs.yaml, or give a file of lines another name",
        )
    kinds: dict[str, Any] = dict.fromkeys(source.series, "key")
    kinds |= {column: KINDS[role] for role, column in source.plans.items()}
    columns = [Column(name, kind) for name, kind in kinds.items()]
    check_end(file)
    raw = raw_lines(file, source.delimiter)
    check_names(file.name, raw.columns, columns)
    said = typed(raw, columns, file.name, is_text=file.is_text, date_format=source.date_format)
    key = [*source.series, source.plans["target_on"], source.plans["announced_on"]]
    for name in key:
        if said[name].null_count():
            row = int(said[name].is_null().arg_max() or 0) + 1
            raise ContractError(f"{file.name}: column `{name}` is missing in row {row}: found nothing")
    said = said.unique(maintain_order=True)
    if (twice := said.select(key).is_duplicated()).any():
        raise ContractError(
            f"{file.name}: two announcements of one day contradict each other: {said.filter(twice).head(2).rows()}"
        )
    return said
