"""Column lineage of a model's assets, known before anything has run."""

import dagster as dg

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec
from platform_assets.science.demand import columns


def _deps(pairs: list[tuple[list[str], str]]) -> list[dg.TableColumnDep]:
    return [dg.TableColumnDep(asset_key=dg.AssetKey(key), column_name=column) for key, column in pairs]


def training_set_lineage(spec: ModelSpec) -> dg.TableColumnLineage:
    """Each feature from its feature view (derived ones from the columns that they are derived of), the label from sales."""
    origin = {feature: view for view, features in columns.VIEWS.items() for feature in features}
    sold = [column.split(".") for column in columns.DEMAND]
    lineage: dict[str, list[dg.TableColumnDep]] = {spec.label: _deps([([table], column) for table, column in sold])}
    for feature in spec.features:
        if feature in origin:
            lineage[feature] = _deps([(names.view_key(origin[feature]), feature)])
        else:
            read = [column.split(".") for column in columns.LINEAGE[feature]]
            lineage[feature] = _deps([([table], column) for table, column in read])
    return dg.TableColumnLineage(deps_by_column=lineage)


def model_lineage(spec: ModelSpec) -> dg.TableColumnLineage:
    """A model reads all of its features and its label."""
    key = names.model_key(spec.name, "training_set")
    return dg.TableColumnLineage({"model": _deps([(key, name) for name in (*spec.features, spec.label)])})


def prediction_lineage(spec: ModelSpec) -> dg.TableColumnLineage:
    """Each output from the champion's model."""
    from platform_assets.science.tasks import TASKS

    key = names.model_key(spec.name, "candidate")
    return dg.TableColumnLineage({output: _deps([(key, "model")]) for output in TASKS[spec.task].outputs})
