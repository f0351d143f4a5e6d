"""The Feast registry as an asset."""

from collections.abc import Iterator

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.feature_repo_assets import RegistryConfig
from platform_assets.components.feature_views import repository_digest

KEY = dg.AssetKey(["feature_registry"])


@dg.asset(
    key=KEY,
    group_name=names.GROUP_FEATURES,
    description=(
        "Feast's registry, brought in line with feature_repo/: entities, views, services and the tables of the online "
        "store. The plan is logged before it is applied; `plan_only` stops there. Nothing is deleted but what `delete` names: "
        "what the repository no longer names is listed. A registry that is suddenly empty is refused. Read by all that asks Feast."
    ),
    owners=["team:demand"],
    kinds={"feast"},
    code_version=repository_digest(),
    retry_policy=policies.RETRY_IO,
    output_required=False,
    required_resource_keys={"feature_store"},
)
def feature_registry(context: dg.AssetExecutionContext, config: RegistryConfig) -> Iterator[dg.MaterializeResult]:
    """Apply the repository."""
    from platform_assets.components.feature_repo_steps import HELD, held_before

    applied = context.resources.feature_store.apply(
        say=lambda text: context.log.info(f"plan for the registry:\n{text}"),
        delete=config.delete,
        held_before=held_before(KEY, context),
        accept_empty_registry=config.accept_empty_registry,
        plan_only=config.plan_only,
    )
    plan = dg.MetadataValue.md(applied.plan.text(delete=config.delete))
    if config.plan_only:
        context.log_event(dg.AssetObservation(asset_key=KEY, metadata={"plan": plan}))
        return
    yield dg.MaterializeResult(
        # What others take from the registry stands in the versions of their views and services: to write it anew makes none
        # of them stale.
        data_version=dg.DataVersion("feature_repo"),
        metadata={
            "plan": plan,
            "views": len(applied.views),
            "services": len(applied.services),
            "was changed": applied.is_changed,
            "left over": ", ".join(name for name in applied.left_over if name not in config.delete) or "nothing",
            HELD: applied.held,
        },
    )
