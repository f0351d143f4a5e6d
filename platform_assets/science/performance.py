"""Every figure of the report on forecasts whose labels have come, overall and by segment, beside a baseline's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

import numpy as np
import polars as pl

from platform_assets.errors import SchemaError
from platform_assets.science.segments import SEGMENTATIONS
from platform_assets.science.stock_cost import UnitCosts
from platform_assets.science.tasks import Ratio, Task

LEAST_ROWS: Final = 50  # of a segment; fewer say nothing
LEAST_DAYS: Final = 7
SCHEMA: Final = {
    "metric": pl.String,
    "segment": pl.String,
    "value": pl.Float64,
    "baseline": pl.Float64,
    "rows": pl.Int64,
}
WEEKLY_SCHEMA: Final = {**SCHEMA, "week_on": pl.Date}


@dataclass(frozen=True)
class CameTrue:
    """Forecasts and what came of them, row for row.

    rows: `target_on`, and the label where it is known; predictions, baseline: the task's outputs; parts: what `segments.describe`
    gives.
    """

    rows: pl.DataFrame
    predictions: pl.DataFrame
    baseline: pl.DataFrame
    parts: pl.DataFrame

    def __post_init__(self) -> None:
        heights = {self.rows.height, self.predictions.height, self.baseline.height, self.parts.height}
        if len(heights) > 1:
            raise SchemaError(f"performance: frames of {sorted(heights)} rows", hint="give all of them row for row")

    def where(self, mask: pl.Series) -> Self:
        """The rows where it is true."""
        frames = (self.rows, self.predictions, self.baseline, self.parts)
        return type(self)(*(frame.filter(mask) for frame in frames))


def figures(
    came: CameTrue,
    task: Task,
    *,
    label: str,
    costs: UnitCosts,
) -> pl.DataFrame:
    """One row per metric and segment: the figure, a baseline's on the same rows, and their number.

    Rows without a label or of which the baseline says nothing are left out. The segment is empty where it is overall; one
    of fewer than LEAST_ROWS rows is left out, and a figure with nothing to divide by.
    """
    is_said = came.baseline.select(pl.all_horizontal(pl.col(task.outputs).is_not_null())).to_series()
    known = came.where(came.rows[label].is_not_null() & is_said)
    truth, price = known.rows[label].cast(pl.Float64), known.parts["price"]
    is_whole = known.parts.get_column("is_whole", default=None)
    said = task.ratios(truth, known.predictions, price, costs, is_whole)
    other = task.ratios(truth, known.baseline, price, costs, is_whole)
    masks = {"": np.ones(truth.len(), dtype=np.bool_)}
    for name in (name for name in SEGMENTATIONS if name in known.parts.columns):
        of_row = known.parts[name]
        for segment in of_row.drop_nulls().unique().sort():
            masks[str(segment)] = (of_row == segment).fill_null(value=False).to_numpy()
    found = [
        (metric, segment, _of(ratio, mask), _of(other[metric], mask), int(mask.sum()))
        for segment, mask in masks.items()
        if mask.sum() >= LEAST_ROWS
        for metric, ratio in said.items()
    ]
    return pl.DataFrame(found, schema=SCHEMA, orient="row").filter(pl.col("value").is_not_nan())


def recent_figures(
    came: CameTrue,
    task: Task,
    *,
    label: str,
    costs: UnitCosts,
    days: int,
) -> pl.DataFrame | None:
    """`figures` of the target days up to the last one, `days` of them, as of that day (`as_of`).

    None before the rows span LEAST_DAYS: a weekend alone is no performance.
    """
    span = came.rows.select(first=pl.col("target_on").min(), last=pl.col("target_on").max()).row(0)
    if None in span or (span[1] - span[0]).days + 1 < LEAST_DAYS:
        return None
    recent = came.where(came.rows["target_on"] > span[1] - timedelta(days=days))
    found = figures(recent, task, label=label, costs=costs)
    return found.with_columns(as_of=pl.lit(span[1], pl.Date))


def weekly_figures(
    came: CameTrue,
    task: Task,
    *,
    label: str,
    costs: UnitCosts,
    known_until: date,
) -> pl.DataFrame:
    """`figures` of each calendar week of target days that has passed by `known_until`, by its Monday (`week_on`).

    A week whose last day is not known yet is left out; its labels may still be late or corrected.
    """
    week = came.rows.select(week_on=pl.col("target_on").dt.truncate("1w")).to_series()
    found = []
    for monday in week.unique().sort():
        if monday + timedelta(days=6) > known_until:
            continue
        told = figures(came.where(week == monday), task, label=label, costs=costs)
        found.append(told.with_columns(week_on=pl.lit(monday, pl.Date)))
    return pl.concat(found) if found else pl.DataFrame(schema=WEEKLY_SCHEMA)


def revised(
    found: pl.DataFrame, kept: pl.DataFrame | None, *, key: Sequence[str], values: Sequence[str]
) -> pl.DataFrame:
    """Rows of `found` that are new, or of which a value is another than the one kept last.

    kept: earlier answers of this function, each with `known_at`; None before there are any. What was known first is the
    oldest row of a key and what is final the newest, so that appending keeps both.
    """
    if kept is None or kept.is_empty():
        return found
    newest = kept.sort("known_at").unique(list(key), keep="last").select(*key, pl.col(values).name.suffix("_kept"))
    beside = found.join(newest.with_columns(is_kept=True), on=list(key), how="left", maintain_order="left")
    is_same = [
        pl.col(name).eq_missing(pl.col(f"{name}_kept"))
        | ((pl.col(name) - pl.col(f"{name}_kept")).abs() <= 1e-9 * (1 + pl.col(name).abs()))
        for name in values
    ]
    changed = pl.col("is_kept").is_null() | ~pl.all_horizontal(is_same).fill_null(value=False)
    return beside.filter(changed).select(found.columns)


def first_and_last(kept: pl.DataFrame, *, key: Sequence[str], values: Sequence[str]) -> pl.DataFrame:
    """One row per key of what `revised` kept: each value as it was known first (`NAME_first`) and as it is now."""
    ordered = kept.sort("known_at")
    firsts = ordered.unique(list(key), keep="first").select(*key, pl.col(values).name.suffix("_first"))
    lasts = ordered.unique(list(key), keep="last")
    return lasts.join(firsts, on=list(key)).sort(*key)


def _of(ratio: Ratio, mask: np.ndarray) -> float:
    return Ratio(ratio.above[mask], ratio.below[mask]).value
