"""The assets of one model's life; each body calls one stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.service_features import services
from resources.compute import PROFILES

STAGES = ("training_set", "candidate", "evaluation", "champion", "predictions", "monitoring", "performance")


def model_names() -> list[str]:
    """Folders of defs/models."""
    return sorted(file.parent.name for file in (Path(__file__).parents[1] / "defs" / "models").glob("*/defs.yaml"))


def model_definitions(spec: ModelSpec, *, kind: str) -> dg.Definitions:
    """Assets, checks and the retraining job of one model."""
    assets = [
        _training_set(spec),
        _candidate(spec, kind),
        _evaluation(spec),
        _champion(spec),
        _predictions(spec),
        _monitoring(spec),
        _performance(spec),
    ]
    lifecycle = dg.AssetSelection.assets(*(names.model_key(spec.name, stage) for stage in STAGES[:5]))
    job = dg.define_asset_job(
        names.retraining_job(spec.name),
        selection=lifecycle,
        tags={names.TAG_MODEL: spec.name},
        description=f"Retrain {spec.name}: training set, candidate, evaluation, gate, predictions.",
    )
    return dg.Definitions(assets=[*assets, *_service(spec)], jobs=[job])


def _service(spec: ModelSpec) -> list[dg.AssetSpec]:
    """What answers outside the graph, where the policy listens to it."""
    from platform_assets.science.retraining_policy import RetrainingPolicy
    from platform_assets.science.retraining_triggers import Operations

    parts = RetrainingPolicy.from_mapping(spec.retraining).parts
    asked = sorted({part.metric for part in parts if isinstance(part, Operations)})
    if not asked:
        return []
    about = (
        f"Whatever answers with {spec.name} in production. It reports {', '.join(f'`{metric}`' for metric in asked)} as asset observations "
        f"(`POST /report_asset_observation/{spec.name}/{names.SERVICE}` with `metadata`), which the retraining policy reads."
    )
    key = dg.AssetKey(names.model_key(spec.name, names.SERVICE))
    champion = dg.AssetKey(names.model_key(spec.name, "champion"))
    return [
        dg.AssetSpec(key, deps=[champion], description=about, group_name=spec.name, tags={names.TAG_MODEL: spec.name})
    ]


def _stage(
    spec: ModelSpec, stage: str, description: str, kinds: set[str], **more: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` with what all stages of a model share."""
    return dg.asset(
        key=dg.AssetKey(names.model_key(spec.name, stage)),
        group_name=spec.name,
        description=description,
        owners=list(spec.owners),
        kinds=kinds,
        code_version=spec.code_version,
        tags={names.TAG_MODEL: spec.name},
        **more,
    )


def _view_keys(spec: ModelSpec) -> list[list[str]]:
    """Feature views of the model's service, and no others."""
    return [names.view_key(view) for view in services()[spec.feature_service]]


def _training_set(spec: ModelSpec) -> dg.AssetsDefinition:
    from platform_assets.components.lineage import training_set_lineage

    about = (
        f"One row: a series, the instant at which a forecast is issued and the day it is for; {len(spec.features)} features as known at that "
        f"instant (Feast service `{spec.feature_service}`, point in time) and the label `{spec.label}`. Read by the candidate and the evaluation."
    )
    deps = [*_view_keys(spec), ["sales"], ["feature_registry"], names.service_key(spec.feature_service)]

    @_stage(
        spec,
        "training_set",
        about,
        {"feast", "polars", "deltalake"},
        deps=[dg.AssetKey(key) for key in deps],
        metadata={"dagster/column_lineage": training_set_lineage(spec)},
        required_resource_keys={"tables", "feature_store", "clock", "source", "ledger", "registry"},
    )
    def training_set(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.quarantine_masks import masks_of
        from platform_assets.components.training_set import build_training_set

        res = context.resources
        return build_training_set(spec, context, masks_of(res.ledger, res.source, res.clock.now()))

    return training_set


def _candidate(spec: ModelSpec, kind: str) -> dg.AssetsDefinition:
    from platform_assets.components.lineage import model_lineage

    about = (
        f"A version of {spec.name}: the recipe fitted once up to a cut before the evaluation window, to be judged there, and once on "
        f"everything, to be shipped; both in the registry with a manifest.\n\n{spec.card}"
    )

    @_stage(
        spec,
        "candidate",
        about,
        {kind, "mlflow"},
        deps=[dg.AssetKey(names.model_key(spec.name, "training_set"))],
        metadata={"dagster/column_lineage": model_lineage(spec)},
        io_manager_key="json_io_manager",
        required_resource_keys={"tables", "registry", "ledger", "clock", "compute", "feature_store", "source"},
        op_tags=PROFILES[spec.compute].op_tags(),  # read by k8s_job_executor alone
    )
    def candidate(context: dg.AssetExecutionContext) -> dg.MaterializeResult[dict[str, Any]]:
        from platform_assets.components.training import train_candidate

        return train_candidate(spec, context)

    return candidate


def _evaluation(spec: ModelSpec) -> dg.AssetsDefinition:
    about = (
        "The candidate against every baseline and the champion, on rows that neither was trained on: points, paired intervals, segments. "
        "The report is an HTML page; its figures stand here as numbers with a history."
    )

    @_stage(
        spec,
        "evaluation",
        about,
        {"html", "mlflow"},
        ins={
            "candidate": dg.AssetIn(
                key=dg.AssetKey(names.model_key(spec.name, "candidate")), input_manager_key="json_io_manager"
            )
        },
        io_manager_key="json_io_manager",
        required_resource_keys={"tables", "registry", "ledger", "clock", "compute", "source", "artifacts"},
    )
    def evaluation(
        context: dg.AssetExecutionContext, candidate: dict[str, Any]
    ) -> dg.MaterializeResult[dict[str, Any]]:
        from platform_assets.components.evaluating import evaluate_candidate

        return evaluate_candidate(spec, context, candidate)

    return evaluation


def _champion(spec: ModelSpec) -> dg.AssetsDefinition:
    about = (
        "The version that answers. It changes only where the gate says so; the ledger holds the truth and the registry's alias "
        "`champion` mirrors it. A refusal is recorded with its reasons and leaves the champion as it was."
    )

    @_stage(
        spec,
        "champion",
        about,
        {"mlflow"},
        ins={
            "evaluation": dg.AssetIn(
                key=dg.AssetKey(names.model_key(spec.name, "evaluation")), input_manager_key="json_io_manager"
            )
        },
        io_manager_key="json_io_manager",
        required_resource_keys={"tables", "registry", "ledger", "clock", "compute", "source", "artifacts"},
    )
    def champion(context: dg.AssetExecutionContext, evaluation: dict[str, Any]) -> dg.MaterializeResult[dict[str, Any]]:
        from platform_assets.components.promoting import judge_candidate

        return judge_candidate(spec, context, evaluation)

    return champion


def _predictions(spec: ModelSpec) -> dg.AssetsDefinition:
    from platform_assets.components.lineage import prediction_lineage

    about = (
        f"One row: a live series and a day of the coming {spec.horizon_days}, as the champion said at `issued_at`. What was said before is "
        "never overwritten. Read by planners (`perennial predict`) and by monitoring."
    )

    @_stage(
        spec,
        "predictions",
        about,
        {"polars", "deltalake"},
        deps=[
            dg.AssetKey(names.model_key(spec.name, "champion")),
            *(dg.AssetKey(key) for key in _view_keys(spec)),
        ],
        metadata={"dagster/column_lineage": prediction_lineage(spec)},
        required_resource_keys={"tables", "registry", "ledger", "clock", "feature_store", "source", "compute"},
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
    )
    def predictions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.predicting import predict_champion

        return predict_champion(spec, context)

    return predictions


def _monitoring(spec: ModelSpec) -> dg.AssetsDefinition:
    key = dg.AssetKey(names.model_key(spec.name, "monitoring"))
    about = (
        "The champion on what has come true since, and its inputs against those that it was trained on. One row: a day, with loss, a "
        "baseline's loss and coverage. Read by the retraining sensor through its checks. Beside it, by day, every figure of the report overall and "
        f"by segment (table `{spec.name}/performance`), and what the forecasts are expected to cost, estimated before labels come."
    )

    @_stage(
        spec,
        "monitoring",
        about,
        {"polars"},
        deps=[dg.AssetKey(names.model_key(spec.name, "predictions")), dg.AssetKey(["sales"])],
        check_specs=[
            dg.AssetCheckSpec(
                "feature_drift",
                asset=key,
                description="Features of the forecasts issued last against a reference; its report shows each.",
            ),
            dg.AssetCheckSpec(
                "input_faults",
                asset=key,
                description="Columns, types, categories, nulls, volume and keys of what the champion reads.",
            ),
            dg.AssetCheckSpec(
                "error", asset=key, description="Loss against a baseline's, since the champion's backtest."
            ),
        ],
        required_resource_keys={
            "tables",
            "registry",
            "ledger",
            "clock",
            "source",
            "feature_store",
            "compute",
            "artifacts",
        },
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
    )
    def monitoring(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.monitoring import monitor_champion

        return monitor_champion(spec, context)

    return monitoring


def _performance(spec: ModelSpec) -> dg.AssetsDefinition:
    about = (
        "How good the champions' forecasts were, week by week and segment by segment, as known first and as known now; what those of the "
        "coming weeks are expected to cost, with an interval, and how good such estimates turned out to be. Tables: "
        f"`{spec.name}/weekly_performance`, `{spec.name}/expected_loss`, `{spec.name}/expected_loss_came`."
    )

    @_stage(
        spec,
        "performance",
        about,
        {"html"},
        deps=[dg.AssetKey(names.model_key(spec.name, "monitoring"))],
        required_resource_keys={"tables", "ledger", "artifacts"},
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
    )
    def performance(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.performance_page import show_performance

        return show_performance(spec, context)

    return performance
