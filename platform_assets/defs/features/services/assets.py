"""Feature services as assets: what a model asks Feast for."""

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.feature_repo_text import owner_of, tags_of
from platform_assets.components.feature_views import table_column
from platform_assets.components.service_features import Said, said_of_services, service_version
from platform_assets.errors import FeatureStoreError
from platform_assets.science.demand import columns


def _service(name: str, said: Said) -> dg.AssetsDefinition:
    views = said.views
    read = {feature: (view, feature) for view in views for feature in columns.VIEWS[view]}

    @dg.asset(
        key=dg.AssetKey(names.service_key(name)),
        deps=[*(dg.AssetKey(names.view_key(view)) for view in views), dg.AssetKey(["feature_registry"])],
        group_name=names.GROUP_FEATURES,
        description=(
            f"{said.about}\n\nThe Feast service `{name}`: {len(read)} features of {', '.join(views)}. To materialize it records what the registry "
            "resolves it to, and fails where that is not what the repository says. Read by training sets and predictions."
        ),
        owners=owner_of(said.owner),
        tags=tags_of(said.tags),
        kinds={"feast"},
        code_version=service_version(name),
        metadata={
            "dagster/column_schema": dg.TableSchema([table_column(columns.ALL[feature]) for feature in read]),
            "dagster/column_lineage": dg.TableColumnLineage(
                {c: [dg.TableColumnDep(dg.AssetKey(names.view_key(view)), f)] for c, (view, f) in read.items()}
            ),
        },
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
        required_resource_keys={"feature_store"},
    )
    def service(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """Resolve the service."""
        held = context.resources.feature_store.features(name)
        if sorted(held) != sorted(read):
            differing = sorted({*held} ^ {*read})
            raise FeatureStoreError(
                f"service `{name}`: registry and repository differ in {', '.join(differing)}",
                hint="materialize `feature_registry`",
            )
        return dg.MaterializeResult(
            # Of what is asked for, not of the tables: those have versions of their own.
            data_version=dg.DataVersion(service_version(name)),
            metadata={"features": len(held), "views": len(views), "resolved": dg.MetadataValue.json(sorted(held))},
        )

    return service


feature_services = [_service(name, said) for name, said in said_of_services().items()]
