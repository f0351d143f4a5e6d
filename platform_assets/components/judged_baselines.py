"""Baselines of the judged rows; the slow ones once for all models that are judged on the same rows."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import DataError

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.tasks import Task

FOLDER = "baselines"  # of the artifacts that keep what the slow ones said


def judged_baselines(
    spec: ModelSpec, res: Any, rows: pl.DataFrame, history: pl.DataFrame, task: Task
) -> dict[str, pl.DataFrame]:
    """What each baseline of the model, or of its task, says of every row: name -> frame of the task's outputs.

    Of the task's, those that read the weekday only where periods are days: of weeks they would say what others say.
    """
    from platform_assets.science.baselines import BY_WEEKDAY, SAMPLED, for_rows

    has_weekdays = res.source.period_days == 1
    named = spec.baselines or tuple(name for name in task.baselines if has_weekdays or name not in BY_WEEKDAY)
    slow = tuple(name for name in named if name in SAMPLED)
    common: dict[str, Any] = {"period_days": res.source.period_days, "seed": spec.seed}
    found = for_rows([name for name in named if name not in slow], rows, history, task, **common)
    if slow:
        found |= _kept(res, slow, rows, history, task, common)
    return {name: found[name] for name in named}


def _kept(
    res: Any, slow: tuple[str, ...], rows: pl.DataFrame, history: pl.DataFrame, task: Task, common: dict[str, Any]
) -> dict[str, pl.DataFrame]:
    """Of the artifact under the hash of all that they are computed from: code, rows, sales; computed where there is none."""
    import polars as pl

    from platform_assets.science.baselines import for_rows
    from platform_assets.science.fingerprint import content_hash
    from resources.source_digest import source_digest

    key = rows.select("series_id", "target_on", "horizon_days")
    seen = history.select("series_id", "period_on", "units").sort("series_id", "period_on")
    said = json.dumps([slow, task.levels, common, source_digest("platform_assets.science.baselines:for_rows")])
    digest = hashlib.sha256(f"{said}{content_hash(key)}{content_hash(seen)}".encode()).hexdigest()
    artifact = f"{FOLDER}/{digest[:32]}.parquet"
    try:
        kept = res.artifacts.get_frame(artifact)
    except DataError:
        computed = for_rows(slow, rows, history, task, **common)
        kept = pl.concat(
            [frame.rename({name: f"{model}/{name}" for name in task.outputs}) for model, frame in computed.items()],
            how="horizontal",
        )
        res.artifacts.put_frame(artifact, kept)
    return {model: kept.select(pl.col(f"{model}/{name}").alias(name) for name in task.outputs) for model in slow}
