"""The assets of a Feast repository: sources, offline tables, online loads, services, the registry."""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg
from pydantic import Field

from platform_assets import policies
from platform_assets.components.feature_repo_columns import column_lineage, column_schema, read_by, service_lineage
from platform_assets.components.feature_repo_spec import Repository
from platform_assets.components.feature_repo_text import limits, load_limits, owner_of, tags_of, view_text
from platform_assets.errors import ConfigurationError
from resources.feast_repository import description as d

_KINDS: Final = {"FileSource": "parquet", "PushSource": "push", "RequestSource": "request"}


def repository_definitions(repository: Repository) -> dg.Definitions:
    """Every object of the repository as an asset, with its checks."""
    from platform_assets.components.feature_repo_checks import registry_checks, table_checks
    from platform_assets.components.parity import foreign_parity_check

    views = repository.description.views
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [*_sources(repository), _registry(repository)]
    for view in views:
        is_computed = view.name in repository.functions
        assets.append(_computed_table(repository, view) if is_computed else _table(repository, view))
        if can_load(view):
            assets.append(_load(repository, view))
    assets += [_service(repository, service) for service in repository.description.services]
    checks = [table_checks(repository, view) for view in views if view.source]
    checks += [foreign_parity_check(repository, view) for view in views if can_load(view)]
    return dg.Definitions(assets=assets, asset_checks=[*checks, registry_checks(repository)])


def can_load(view: d.View) -> bool:
    """Whether Feast's materialize takes the view."""
    return view.is_online and view.kind != d.LABEL


def _sources(repository: Repository) -> Iterator[dg.AssetSpec]:
    """Sources as external assets, but those that a registered function writes: that table is its view's asset."""
    written = {view.source for view in repository.description.views if view.name in repository.functions}
    pushed: dict[str, list[dg.AssetKey]] = {}
    for source in repository.description.sources:
        if source.batch:
            pushed.setdefault(source.batch, []).append(repository.key("sources", source.name))
    for source in repository.description.sources:
        if source.name in written:
            continue
        about = source.about or {
            "PushSource": f"Rows that are pushed to Feast: online at once, and into `{source.batch}` where asked for.",
            "RequestSource": "Values that come with each request; nothing is stored.",
        }.get(source.kind, f"Table that Feast reads: {source.path or source.name}")
        columns = [dg.TableColumn(column.name, column.dtype, description=column.about) for column in source.columns]
        yield dg.AssetSpec(
            repository.key("sources", source.name),
            deps=pushed.get(source.name, []),
            group_name=repository.group,
            description=about,
            owners=owner_of(source.owner),
            tags=tags_of(source.tags),
            kinds={"feast", _KINDS.get(source.kind, source.kind.removesuffix("Source").lower())},
            metadata={
                "feast/kind": source.kind,
                "feast/path": source.path or "none",
                "feast/event time": source.time or "none",
                "feast/known-at time": source.created or "none",
                "feast/tags": dg.MetadataValue.json(dict(source.tags)),
                **({"dagster/column_schema": dg.TableSchema(columns)} if columns else {}),
            },
        )


def _table_spec(repository: Repository, view: d.View) -> dict[str, Any]:
    """What the asset of a view has, whoever computes it."""
    return {
        "group_name": repository.group,
        "description": view_text(
            view, repository.description, function=repository.functions.get(view.name, ("", ""))[0]
        ),
        "owners": owner_of(view.owner),
        "tags": tags_of(view.tags),
        "kinds": {"feast", "python" if view.kind == d.ON_DEMAND else "table"},
        "code_version": repository.versions[view.name],
        "metadata": {
            "feast/kind": view.kind,
            "feast/ttl in seconds": view.ttl_s or "none",
            "feast/limits": dg.MetadataValue.md("\n".join(f"- {said}" for said in limits(view)) or "none known"),
            "feast/tags": dg.MetadataValue.json(dict(view.tags)),
            "dagster/column_schema": column_schema(repository, view),
            "dagster/column_lineage": column_lineage(repository, view),
        },
    }


def _deps(repository: Repository, view: d.View) -> list[dg.AssetKey]:
    names = [name for name in (view.source, view.pushed_by, *view.requests) if name]
    read = [read_by(said)[0] for column in view.features for said in column.reads]
    found = [
        *(repository.key("sources", name) for name in names),
        *(repository.table_key(name) for name in view.inputs),
        *(read if view.name in repository.functions else []),
    ]
    return list(dict.fromkeys(found))


def _table(repository: Repository, view: d.View) -> dg.AssetSpec:
    """A view that somebody else computes: an external asset, without partitions, which nobody would ever fill."""
    return dg.AssetSpec(
        repository.table_key(view.name),
        deps=_deps(repository, view),
        **_table_spec(repository, view),
    )


def _computed_table(repository: Repository, view: d.View) -> dg.AssetsDefinition:
    if view.kind in {d.ON_DEMAND, d.LABEL} or not view.source:
        raise ConfigurationError(f"functions: `{view.name}` is a {view.kind}, which has no table to compute")
    about = _table_spec(repository, view)
    deps = [key for key in _deps(repository, view) if key != repository.key("sources", view.source)]

    asset: Any = dg.asset(
        key=repository.table_key(view.name),
        deps=deps,
        partitions_def=repository.cut(view),
        backfill_policy=dg.BackfillPolicy.single_run(),
        **about,
    )

    @asset
    def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.feature_repo_steps import compute_table

        return compute_table(repository, view, context)

    assert isinstance(table, dg.AssetsDefinition)
    return table


def _load(repository: Repository, view: d.View) -> dg.AssetsDefinition:
    @dg.asset(
        key=repository.key("online", view.name),
        deps=[repository.table_key(view.name), repository.registry_key],
        group_name=repository.group,
        description="\n\n".join(
            [
                f"The latest row of `{view.name}` for each {' and '.join(key.name for key in view.keys) or 'entity'}, in the "
                f"repository's own online store ({repository.description.stores['online']}), by Feast's materialize. A window "
                "that is loaded after a later one is read up to the end of that one, so no value goes back in time.",
                *load_limits(view),
            ]
        ),
        owners=owner_of(view.owner),
        tags=tags_of(view.tags),
        kinds={"feast", repository.description.stores["online"].rpartition(".")[2].lower()},
        code_version=repository.versions[view.name],
        partitions_def=repository.cut(view),
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=policies.RETRY_IO,
        pool=f"feast_{repository.group}",
    )
    def load(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.feature_repo_steps import load_view

        return load_view(repository, view, context)

    return load


def _service(repository: Repository, service: d.Service) -> dg.AssetsDefinition:
    features = [f"{view}.{feature}" for view, chosen in service.features.items() for feature in chosen]
    found = [(repository.description.view(view), chosen) for view, chosen in service.features.items()]
    columns = [
        dg.TableColumn(column.name, column.dtype, description=column.about)
        for view, chosen in found
        for column in (view.features if view else ())
        if column.name in chosen
    ]

    @dg.asset(
        key=repository.key("services", service.name),
        deps=[*(repository.table_key(view) for view in service.features), repository.registry_key],
        group_name=repository.group,
        description=(
            f"{service.about or 'What a model asks Feast for.'}\n\nFeatures: {', '.join(features)}. To materialize it records "
            "what the registry resolves it to, and fails where a view has lost a feature, which Feast tells at retrieval only."
        ),
        owners=owner_of(service.owner),
        tags=tags_of(service.tags),
        kinds={"feast"},
        code_version=repository.service_version(service),
        metadata={
            "feast/tags": dg.MetadataValue.json(dict(service.tags)),
            "dagster/column_schema": dg.TableSchema(columns),
            "dagster/column_lineage": service_lineage(repository, service),
        },
    )
    def resolved(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.feature_repo_steps import resolve_service

        return resolve_service(repository, service, context)

    return resolved


class RegistryConfig(dg.Config):
    """What one apply may do."""

    delete: list[str] = Field(default_factory=list, description="Objects of the registry alone that are to be deleted.")
    plan_only: bool = Field(default=False, description="Log and record the plan, write nothing.")
    accept_empty_registry: bool = Field(
        default=False, description="The registry held objects before and is meant to be empty."
    )


def _registry(repository: Repository) -> dg.AssetsDefinition:
    about = repository.description

    @dg.asset(
        key=repository.registry_key,
        group_name=repository.group,
        description=(
            f"{about.about or f'Feast project {about.project}.'}\n\nFeast's registry ({about.stores['registry']}), brought in line "
            f"with the repository of Feast {about.feast}. The plan is logged before it is applied; `plan_only` stops there. Nothing "
            "is deleted but what `delete` names; what the repository no longer has is listed. One process writes at a time. A "
            "registry that is suddenly empty is refused, unless `accept_empty_registry` says that it is meant."
        ),
        kinds={"feast"},
        code_version=repository.registry_version,
        output_required=False,
        pool=f"feast_{repository.group}",
    )
    def registry(context: dg.AssetExecutionContext, config: RegistryConfig) -> Iterator[dg.MaterializeResult[Any]]:
        from platform_assets.components.feature_repo_steps import apply_registry

        yield from apply_registry(repository, config, context)

    return registry
