"""Every figure of the report on forecasts whose labels have come, overall and by segment, beside a baseline's."""

from datetime import timedelta
from typing import Final

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


def figures(
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    baseline: pl.DataFrame,
    task: Task,
    *,
    label: str,
    parts: pl.DataFrame,
    costs: UnitCosts,
) -> pl.DataFrame:
    """One row per metric and segment: the figure, a baseline's on the same rows, and their number.

    rows: `label`; predictions, baseline: the task's outputs; parts: price and segments as `segments.describe` gives
    them; all row for row. Rows without a label or of which the baseline says nothing are left out. The segment is empty
    where it is overall; one of fewer than LEAST_ROWS rows is left out, and a figure with nothing to divide by.
    """
    heights = {rows.height, predictions.height, baseline.height, parts.height}
    if len(heights) > 1:
        raise SchemaError(f"performance: frames of {sorted(heights)} rows", hint="give all of them row for row")
    is_known = (
        rows[label].is_not_null() & baseline.select(pl.all_horizontal(pl.col(task.outputs).is_not_null())).to_series()
    )
    truth, price = rows[label].cast(pl.Float64).filter(is_known), parts["price"].filter(is_known)
    said = task.ratios(truth, predictions.filter(is_known), price, costs)
    other = task.ratios(truth, baseline.filter(is_known), price, costs)
    masks = {"": np.ones(truth.len(), dtype=np.bool_)}
    for name in (name for name in SEGMENTATIONS if name in parts.columns):
        of_row = parts[name].filter(is_known)
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
    rows: pl.DataFrame,
    predictions: pl.DataFrame,
    baseline: pl.DataFrame,
    task: Task,
    *,
    label: str,
    parts: pl.DataFrame,
    costs: UnitCosts,
    days: int,
) -> pl.DataFrame | None:
    """`figures` of the target days up to the last one, `days` of them, as of that day (`as_of`).

    rows: target_on too. None before the rows span LEAST_DAYS: a weekend alone is no performance.
    """
    span = rows.select(first=pl.col("target_on").min(), last=pl.col("target_on").max()).row(0)
    if None in span or (span[1] - span[0]).days + 1 < LEAST_DAYS:
        return None
    recent = rows["target_on"] > span[1] - timedelta(days=days)
    known, said, other, of = (frame.filter(recent) for frame in (rows, predictions, baseline, parts))
    found = figures(known, said, other, task, label=label, parts=of, costs=costs)
    return found.with_columns(as_of=pl.lit(span[1], pl.Date))


def _of(ratio: Ratio, mask: np.ndarray) -> float:
    return Ratio(ratio.above[mask], ratio.below[mask]).value
