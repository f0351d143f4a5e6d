"""What the champion says about the coming days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import ModelError

if TYPE_CHECKING:
    import polars as pl

KEY = ["model_version", "issued_at", "series_id", "target_on"]


def predict_champion(spec: ModelSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Append the champion's forecast at the last known period; what it said before stays. Nothing to do without a champion."""
    import polars as pl

    from platform_assets.science.tasks import TASKS

    res = context.resources
    champion = res.ledger.champion(spec.name)
    if champion is None:
        context.log.warning(f"{spec.name} has no champion: nothing can be said yet")
        return dg.MaterializeResult(metadata={"champion": "none yet", "dagster/row_count": 0})
    rows = feature_rows(spec, res)
    manifest = res.registry.manifest(spec.name, champion.version)
    if gone := sorted(set(manifest.features) - set(rows.columns)):
        raise ModelError(
            f"{spec.name}@{champion.version} reads features that are no more: {', '.join(gone)}",
            hint=f"retrain it: perennial retrain {spec.name} --reason '...'; or put the features back",
        )
    with res.compute.profile(spec.compute).limits():
        answers = res.registry.load(spec.name, champion.version).predict(rows.select(manifest.features))
    task = TASKS[spec.task]
    task.validate(answers, rows.height)
    said = rows.select("series_id", "issued_at", "target_on", "horizon_days").hstack(answers)
    said = said.with_columns(
        model_version=pl.lit(champion.version),
        predicted_at=pl.lit(res.clock.wall_now()).dt.cast_time_unit("us").dt.convert_time_zone("UTC"),
    )
    table = names.table_name(names.model_key(spec.name, "predictions"))
    version = res.tables.append(table, said, key=KEY, partition_by="target_on")
    return dg.MaterializeResult(
        metadata={
            "champion": int(champion.version),
            "issued at": str(said["issued_at"].max()),
            "dagster/row_count": said.height,
            "series": said["series_id"].n_unique(),
            "days": said["target_on"].n_unique(),
            "table version": version,
            **{f"mean {name}": answers[name].mean() for name in task.outputs},
        },
    )


def feature_rows(spec: ModelSpec, res: Any) -> pl.DataFrame:
    """Rows to predict for every live series: the coming horizon, with features as known at the last period's end."""
    from platform_assets.components.drawing import horizons
    from platform_assets.components.training_set import derived, issued_sales
    from platform_assets.science.demand import sampling

    entities = sampling.issue_rows(issued_sales(spec, res), horizons=horizons(spec, res.source))
    joined = res.feature_store.historical(entities, spec.feature_service)
    return derived(spec, res, joined).sort("series_id", "target_on")
