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
    """Each column from the source's column that Feast reads it from; an on-demand one from the inputs that its code names."""
    if view.kind == d.ON_DEMAND:
        inputs = [(repository.table_key(name), column) for name, chosen in view.inputs.items() for column in chosen]
        for name in view.requests:
            source = repository.description.source(name)
            inputs += [(repository.key("sources", name), column.name) for column in (source.columns if source else ())]
        named = [(key, column) for key, column in inputs if re.search(rf"""["']{re.escape(column)}["']""", view.code)]
        return lineage_of({column.name: named or inputs for column in view.features})
    source = repository.description.source(view.source)
    if source is None:
        return dg.TableColumnLineage({})
    back = {feature: column for column, feature in source.mapping.items()}
    key = repository.key("sources", source.name)
    if view.name in repository.functions:
        return dg.TableColumnLineage({})  # what the function reads of its inputs is its own
    columns = [
        *(k.name for k in view.keys),
        *(t for t in (source.time, source.created) if t),
        *(f.name for f in view.features),
    ]
    return lineage_of({column: [(key, back.get(column, column))] for column in columns})


def lineage_of(deps: Mapping[str, list[tuple[dg.AssetKey, str]]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(key, column) for key, column in read] for name, read in deps.items()}
    )
