"""The parity check of an online load: what the online store serves beside what the offline store knows, row by row."""

from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets import names
from platform_assets.errors import FeatureStoreError

if TYPE_CHECKING:
    from platform_assets.components.feature_repo_spec import Repository
    from platform_assets.components.feature_views import ViewSpec
    from resources.feast_polars.parity import Parity
    from resources.feast_repository.description import View

ENTITIES: Final = 500  # that one check compares; others at another instant
_ROWS: Final = 2_000  # of differences in the report; beyond them the counts by feature tell
_COLUMNS: Final = ("entity", "feature", "online", "offline", "status")


def parity_check(spec: "ViewSpec") -> dg.AssetChecksDefinition:
    """Fails on any difference between online and offline values of sampled entities, as of now; reports every one."""

    @dg.asset_check(
        asset=dg.AssetKey(names.online_key(spec.name)),
        name="parity",
        description=(
            f"Up to {ENTITIES} entities have the same values online and offline as of now, expired ones included: both null."
        ),
        required_resource_keys={"tables", "feature_store", "clock"},
    )
    def parity(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from platform_assets.components.feature_steps import loaded_window

        window = loaded_window(spec, context.resources)
        if window is None:
            return dg.AssetCheckResult(passed=True, metadata={"entities compared": 0, "differences": 0})
        start, _, as_of, targets = window
        found = context.resources.feature_store.parity(spec.name, start, as_of, targets=targets, limit=ENTITIES)
        return parity_result(spec.name, found)

    return parity


def foreign_parity_check(repository: "Repository", view: "View") -> dg.AssetChecksDefinition:
    """As `parity_check`, between the two stores of a Feast repository that is not ours."""

    @dg.asset_check(
        asset=repository.key("online", view.name),
        name="parity",
        description=(
            f"Up to {ENTITIES} entities have the same values in the repository's online and offline store, as of the end of "
            "the last load. Feast's own online stores serve values past their TTL, which the offline store no longer gives: "
            "where nothing else differs, that is a warning."
        ),
        additional_deps=[repository.registry_key],
    )
    def parity() -> dg.AssetCheckResult:
        from resources.feast_repository import store

        try:
            found = store.parity(repository.path, view.name, limit=ENTITIES)
        except FeatureStoreError as error:
            return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=str(error))
        if found is None:
            return dg.AssetCheckResult(passed=True, metadata={"entities compared": 0, "differences": 0})
        is_ttl_alone = set(found.differences["offline"]) == {"null"}
        return parity_result(
            view.name, found, dg.AssetCheckSeverity.WARN if is_ttl_alone else dg.AssetCheckSeverity.ERROR
        )

    return parity


def parity_result(
    view: str, found: "Parity", severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """The check's answer: counts as numbers, the differences as a table."""
    differences = found.differences
    metadata: dict[str, Any] = {
        "entities compared": found.compared,
        "differences": differences.height,
        "as of": found.as_of.isoformat(),
    }
    if differences.is_empty():
        return dg.AssetCheckResult(passed=True, metadata=metadata)
    counts = differences["feature"].value_counts(sort=True, name="rows").to_dicts()
    metadata["features"] = {row["feature"]: row["rows"] for row in counts}
    metadata["report"] = dg.MetadataValue.table(
        [dg.TableRecord(row) for row in differences.head(_ROWS).to_dicts()],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in _COLUMNS]),
    )
    first = differences.row(0, named=True)
    return dg.AssetCheckResult(
        passed=False,
        severity=severity,
        description=(
            f"{view}: {differences.height:,} differences among {found.compared:,} entities, such as {first['entity']}: "
            f"{first['feature']} is {first['online']} online ({first['status']}) and {first['offline']} offline"
        ),
        metadata=metadata,
    )
