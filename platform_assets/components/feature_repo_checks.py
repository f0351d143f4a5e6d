"""Checks on the assets of a Feast repository."""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from platform_assets.components.feature_repo_spec import Repository
from resources.feast_repository.description import LABEL, View

TABLE_CHECKS: Final = {
    "freshness": "The newest row, by event time, is younger than the limit: `freshness_hours`, or the view's TTL.",
    "nulls": "Keys and times are never null. The shares of nulls of all other columns are recorded.",
    "ranges": "Numbers are finite, and within the tags `min` and `max` of their Feast field.",
    "duplicates": "One row for each key and time: of two, a join takes either.",
}


def table_checks(repository: Repository, view: View) -> dg.AssetChecksDefinition:
    """Freshness, nulls, ranges and duplicates of a view's table, read by the repository's own offline store."""
    key = repository.table_key(view.name)
    is_computed = view.name in repository.functions
    specs = [
        dg.AssetCheckSpec(
            name,
            asset=key,
            description=_said(name, said, view),
            blocking=is_computed and name != "freshness",
            additional_deps=[repository.registry_key],
        )
        for name, said in TABLE_CHECKS.items()
    ]

    @dg.multi_asset_check(specs=specs, name=f"{key.to_python_identifier()}__checks", can_subset=True)
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from platform_assets.components.feature_repo_steps import check_table

        yield from check_table(repository, view, context)

    return checks


def _said(name: str, said: str, view: View) -> str:
    if name == "duplicates" and view.kind == LABEL:
        return f"One row for each key, time and {view.labeler}."
    return said


def registry_checks(repository: Repository) -> dg.AssetChecksDefinition:
    """Nothing stands in the registry that the repository does not define."""

    @dg.asset_check(
        asset=repository.registry_key,
        name="nothing_left_over",
        description="Nothing is in the registry that the repository does not define; the registry's run deletes what `delete` names.",
    )
    def nothing_left_over(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from platform_assets.components.feature_repo_steps import check_left_over

        return check_left_over(repository, context)

    return nothing_left_over
