"""Column schemas and column lineage of a Feast repository's views."""

import re
from collections.abc import Mapping

import dagster as dg

from platform_assets.components.feature_repo_spec import Repository
from resources.feast_repository import description as d


def column_schema(repository: Repository, view: d.View) -> dg.TableSchema:
    """Keys, times and features."""
    source = repository.description.source(view.source)
    times = [(source.time, "event time"), (source.created, "known-at time")] if source else []
    return dg.TableSchema(
        [
            *(dg.TableColumn(key.name, key.dtype or "string", description=key.about) for key in view.keys),
            *(dg.TableColumn(name, "timestamp", description=about) for name, about in times if name),
            *(dg.TableColumn(column.name, column.dtype, description=column.about) for column in view.features),
        ]
    )


def column_lineage(repository: Repository, view: d.View) -> dg.TableColumnLineage:
    """Each column from the source's column that Feast reads it from.

    An on-demand one from the inputs that its code names; of a table that a registered function computes each feature from
    what its tag `reads` names.
    """
    if view.kind == d.ON_DEMAND:
        inputs = [(repository.table_key(name), column) for name, chosen in view.inputs.items() for column in chosen]
        for name in view.requests:
            source = repository.description.source(name)
            inputs += [(repository.key("sources", name), column.name) for column in (source.columns if source else ())]
        named = [(key, column) for key, column in inputs if _names(view.code, column)]
        return lineage_of({column.name: named or inputs for column in view.features})
    source = repository.description.source(view.source)
    if source is None:
        return dg.TableColumnLineage({})
    back = {feature: column for column, feature in source.mapping.items()}
    key = repository.key("sources", source.name)
    if view.name in repository.functions:
        return lineage_of({column.name: [read_by(said) for said in column.reads] for column in view.features})
    columns = [
        *(k.name for k in view.keys),
        *(t for t in (source.time, source.created) if t),
        *(f.name for f in view.features),
    ]
    return lineage_of({column: [(key, back.get(column, column))] for column in columns})


def service_lineage(repository: Repository, service: d.Service) -> dg.TableColumnLineage:
    """Each feature from its view; two of one name as Feast tells them apart, by `full_feature_names`."""
    chosen = [(view, feature) for view, features in service.features.items() for feature in features]
    names = [feature for _, feature in chosen]
    return lineage_of(
        {
            feature if names.count(feature) == 1 else f"{view}__{feature}": [(repository.table_key(view), feature)]
            for view, feature in chosen
        }
    )


def read_by(said: str) -> tuple[dg.AssetKey, str]:
    """Asset and column of `some/asset.column`."""
    asset, _, column = said.rpartition(".")
    return dg.AssetKey(asset.split("/")), column


def _names(code: str, column: str) -> bool:
    """Whether the code names the column: as a key, or as an attribute of a frame."""
    name = re.escape(column)
    return bool(re.search(rf"""["']{name}["']|\.{name}\b""", code))


def lineage_of(deps: Mapping[str, list[tuple[dg.AssetKey, str]]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(key, column) for key, column in read] for name, read in deps.items()}
    )
