"""A few series to look at: where the candidate did worst, typically and best against its opponent."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from platform_assets.science.findings import Example
from platform_assets.science.tasks import Task

EACH: Final = 2  # series of each kind
PAST_PERIODS: Final = 56


def choose_examples(
    task: Task,
    rows: pl.DataFrame,
    label: str,
    predictions: Mapping[str, pl.DataFrame],
    candidate: str,
    opponent: str | None,
    history: pl.DataFrame | None,
) -> list[Example]:
    """Worst, typical and best series at the last origin, among the half with the most demand.

    None without quantile levels, history or opponent. Ties go by series_id, so that the same evaluation shows the same
    series.
    """
    if not task.levels or history is None or opponent is None:
        return []
    last = rows["issued_at"] == rows["issued_at"].max()
    target = pl.col("target_on")
    judged = rows.select("series_id", "target_on", "horizon_days", actual=label).with_columns(
        ours=task.loss(rows[label], predictions[candidate]), theirs=task.loss(rows[label], predictions[opponent])
    )
    shown = pl.concat([judged, predictions[candidate].select(task.outputs)], how="horizontal").filter(last)
    per_series = (
        shown.group_by("series_id")
        .agg(
            pl.col("ours", "theirs", "actual").sum(),
            issued_on=(target - pl.duration(days=pl.col("horizon_days"))).min(),
        )
        .filter(pl.col("actual") >= pl.col("actual").median(), pl.col("theirs") > 0)
        .with_columns(improvement=1 - pl.col("ours") / pl.col("theirs"))
        .sort("improvement", "series_id")
    )
    count = per_series.height
    middle = max(count // 2 - EACH // 2, 0)
    kinds = {"worst": range(EACH), "typical": range(middle, middle + EACH), "best": range(count - EACH, count)}
    chosen: dict[int, str] = {}
    for kind, places in kinds.items():
        for place in places:
            if 0 <= place < count:
                chosen.setdefault(place, kind)
    return [_example(task, shown, history, kind, per_series.row(place, named=True)) for place, kind in chosen.items()]


def _example(task: Task, shown: pl.DataFrame, history: pl.DataFrame, kind: str, found: dict[str, Any]) -> Example:
    ahead = shown.filter(pl.col("series_id") == found["series_id"]).sort("target_on")
    past = (
        history.filter(pl.col("series_id") == found["series_id"], pl.col("period_on") <= found["issued_on"])
        .drop_nulls("units")
        .sort("period_on")
        .tail(PAST_PERIODS)
    )
    return Example(
        series_id=str(found["series_id"]),
        kind=kind,
        improvement=float(found["improvement"]),
        past_on=tuple(past["period_on"]),
        past=tuple(past["units"].cast(pl.Float64)),
        target_on=tuple(ahead["target_on"]),
        actual=tuple(ahead["actual"].cast(pl.Float64)),
        quantiles=tuple(ahead.select(task.outputs).rows()),
    )
