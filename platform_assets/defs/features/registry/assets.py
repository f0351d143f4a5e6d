"""The Feast registry as an asset."""

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.feature_views import repository_digest


@dg.asset(
    key=dg.AssetKey(["feature_registry"]),
    group_name=names.GROUP_FEATURES,
    description=(
        "Feast's registry, brought in line with feature_repo/: entities, views, services and the tables of the online "
        "store. Nothing is deleted: what the repository no longer names is listed. Read by all that asks Feast."
    ),
    owners=["team:demand"],
    kinds={"feast"},
    code_version=repository_digest(),
    retry_policy=policies.RETRY_IO,
    required_resource_keys={"feature_store"},
)
def feature_registry(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Apply the repository."""
    applied = context.resources.feature_store.apply()
    return dg.MaterializeResult(
        # What others take from the registry stands in the versions of their views and services: to write it anew makes none
        # of them stale.
        data_version=dg.DataVersion("feature_repo"),
        metadata={
            "views": len(applied.views),
            "services": len(applied.services),
            "was changed": applied.is_changed,
            "left over": ", ".join(applied.left_over) or "nothing",
        },
    )
