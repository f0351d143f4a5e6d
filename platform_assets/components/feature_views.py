"""`FeatureView`: one folder in, one feature view out: its offline table, its checks, its load into the online store."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import dagster as dg
from pydantic import Field

from platform_assets import names, policies
from platform_assets.components.feature_repo_text import owner_of, tags_of
from platform_assets.components.parity import parity_check
from platform_assets.components.service_features import Said, said_of_view, view_version
from platform_assets.components.source_window import SourceWindow, active_window
from platform_assets.errors import ConfigurationError
from platform_assets.science.demand import columns
from resources.feature_store import COMPUTED_BY
from resources.source_digest import source_digest

REPOSITORY: Final = Path(__file__).parents[2] / "feature_repo"
# Date columns of what a view reads, by which its months are cut.
PARTITIONED_BY: Final = {names.SALES: names.PERIOD_ON, names.PLANS: "arrived_on"}
READ_VERSION: Final = "read version"  # metadata of a view's table: of the table that it was computed from
CHECKS: Final = {
    "keys": "Keys and times are never null.",
    "one_row": "One row for each key, event time and known-at time.",
    "times": "Nothing is known before it happens: event_at <= known_at.",
    "values": "Numbers are finite, shares lie in [0, 1], the level is positive.",
}
FRESHNESS: Final = (
    "The newest row, by event time, is at most two periods and 9 hours old now, or at the end of a source that has ended. "
    "Announcements come without a rhythm: their age is recorded alone."
)
_TYPES: Final = {"f64": "double", "i64": "int", "bool": "boolean", "list_f32": "array<float>"}


def repository_digest() -> str:
    """Hash of the Feast repository's files."""
    digest = hashlib.sha256()
    for path in sorted(REPOSITORY.rglob("*.py")):
        digest.update(path.relative_to(REPOSITORY).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _function(context: dg.ResolutionContext, value: str) -> str:
    """Checked by parsing, never by importing: polars must not enter the code server."""
    try:
        source_digest(value)
    except ConfigurationError as error:
        raise ValueError(error.message) from error
    return value


@dataclass(frozen=True)
class ViewSpec:
    """What the assets of one view are made of."""

    name: str
    function: str
    reads: str
    row: str
    online_days: int
    targets_ahead_days: int

    @property
    def keys(self) -> tuple[str, ...]:
        return columns.ENTITY_KEYS[self.name]

    @property
    def said(self) -> Said:
        """What Feast knows of it."""
        return said_of_view(self.name)


class FeatureView(dg.Component, dg.Model, dg.Resolvable):
    """A feature view as assets. The folder's name is the view's name, in feature_repo/ and in `demand/columns.py`."""

    function: Annotated[str, dg.Resolver(_function, model_field_type=str)] = Field(
        description="Pure function that computes it, module:function, below platform_assets.science."
    )
    reads: Literal["sales", "plans"] = Field(default="sales", description="Table that the function is given, whole.")
    row: str = Field(description="What one row is; shown in the UI.")
    online_days: int = Field(default=98, ge=1, description="Rows older than this are not loaded online.")
    targets_ahead_days: int = Field(
        default=35, ge=1, description="Of views of a target day: days ahead that are loaded online."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        folder = context.path if context.path.is_dir() else context.path.parent
        if folder.name not in columns.VIEWS:
            raise ConfigurationError(
                f"{folder}: no feature view `{folder.name}`; known: {', '.join(columns.VIEWS)}",
                hint="name its features in platform_assets/science/demand/columns.py",
            )
        if (told := said_of_view(folder.name).tags.get(COMPUTED_BY)) != self.function:
            raise ConfigurationError(
                f"{folder}: function is {self.function}; feature_repo/views/{folder.name}.py says {COMPUTED_BY}: {told}",
                hint="name the same function in both: Feast hands it on to whoever reads the registry",
            )
        spec = ViewSpec(
            folder.name,
            self.function,
            self.reads,
            self.row.strip(),
            self.online_days,
            self.targets_ahead_days,
        )
        return view_definitions(spec, active_window())


def view_definitions(spec: ViewSpec, window: SourceWindow) -> dg.Definitions:
    """Offline table with its checks, and the online load."""
    return dg.Definitions(
        assets=[_offline(spec, window), _online(spec)], asset_checks=[_checks(spec), parity_check(spec)]
    )


def _offline(spec: ViewSpec, window: SourceWindow) -> dg.AssetsDefinition:
    @dg.asset(
        key=dg.AssetKey(names.view_key(spec.name)),
        deps=[dg.AssetKey([spec.reads])],
        group_name=names.GROUP_FEATURES,
        description=(
            f"{spec.said.about}\n\n{spec.row}\n\nKey: {', '.join(spec.keys)}. A row counts from `known_at` on, and is about "
            f"what had happened by `event_at`. Read point in time by training sets and predictions, through Feast."
        ),
        owners=owner_of(spec.said.owner),
        tags=tags_of(spec.said.tags),
        kinds={"polars", "deltalake", "feast"},
        code_version=view_version(spec.name),
        partitions_def=window.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        metadata={
            "partition_by": PARTITIONED_BY[spec.reads],
            "replaces_schema": True,
            "feast/ttl": spec.said.ttl,
            "feast/tags": dg.MetadataValue.json(dict(spec.said.tags)),
            "dagster/column_schema": column_schema(spec),
            "dagster/column_lineage": column_lineage(spec),
        },
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
        retry_policy=policies.RETRY_IO,
        required_resource_keys={"tables", "source"},
        io_manager_key="io_manager",
    )
    def table(context: dg.AssetExecutionContext) -> Any:
        from platform_assets.components.feature_steps import compute_view

        return compute_view(spec, context)

    return table


def _checks(spec: ViewSpec) -> dg.AssetChecksDefinition:
    key = dg.AssetKey(names.view_key(spec.name))
    specs = [dg.AssetCheckSpec(name, asset=key, blocking=True, description=said) for name, said in CHECKS.items()]
    specs.append(dg.AssetCheckSpec("freshness", asset=key, description=FRESHNESS))  # a late table is not a wrong one

    @dg.multi_asset_check(
        specs=specs,
        name=f"features__{spec.name}__checks",
        required_resource_keys={"tables", "feature_store", "source", "clock"},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from platform_assets.components.feature_steps import check_view

        yield from check_view(spec, context)

    return checks


def _online(spec: ViewSpec) -> dg.AssetsDefinition:
    ahead = f", for the coming {spec.targets_ahead_days} days" if names.TARGET_DAY in spec.keys else ""

    @dg.asset(
        key=dg.AssetKey(names.online_key(spec.name)),
        deps=[dg.AssetKey(names.view_key(spec.name)), dg.AssetKey(["feature_registry"])],
        group_name=names.GROUP_FEATURES,
        description=(
            f"The latest row of `{spec.name}` for each {' and '.join(spec.keys)}{ahead}, in the online store. Loads in any "
            "order leave the latest row; a load that was killed is completed by the next. Read by the prediction service."
        ),
        owners=owner_of(spec.said.owner),
        tags=tags_of(spec.said.tags),
        kinds={"feast"},
        code_version=view_version(spec.name),
        automation_condition=policies.WHEN_UPSTREAM_MOVES,
        retry_policy=policies.RETRY_IO,
        required_resource_keys={"tables", "feature_store", "clock"},
    )
    def load(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from platform_assets.components.feature_steps import load_view

        return load_view(spec, context)

    return load


def column_schema(spec: ViewSpec) -> dg.TableSchema:
    """Keys, times and features as the UI shows them."""
    kinds = {names.SERIES_ID: "string", names.TARGET_DAY: "int"}
    about = {names.SERIES_ID: "series", names.TARGET_DAY: "target day, in days since 1970-01-01"}
    return dg.TableSchema(
        [
            *(dg.TableColumn(key, kinds[key], description=about[key]) for key in spec.keys),
            dg.TableColumn(names.EVENT_AT, "timestamp", description="UTC instant by which what it tells had happened"),
            dg.TableColumn(names.KNOWN_AT, "timestamp", description="UTC instant from which it was known"),
            *(table_column(feature) for feature in columns.FEATURES[spec.name]),
        ]
    )


def table_column(feature: columns.Feature) -> dg.TableColumn:
    """A feature as the UI shows it."""
    return dg.TableColumn(feature.name, _TYPES[feature.dtype], description=feature.about)


def column_lineage(spec: ViewSpec) -> dg.TableColumnLineage:
    """Each feature from the columns that it reads, keys and times from their like."""
    upstream = dg.AssetKey([spec.reads])
    own = {key: [(upstream, names.TARGET_ON if key == names.TARGET_DAY else key)] for key in spec.keys}
    if spec.reads == names.SALES and names.TARGET_DAY in own:
        own[names.TARGET_DAY] = [(upstream, names.PERIOD_ON)]
    own |= {time: [(upstream, time)] for time in (names.EVENT_AT, names.KNOWN_AT)}
    for feature in columns.FEATURES[spec.name]:
        own[feature.name] = [(dg.AssetKey([table]), name) for table, name in (r.split(".") for r in feature.reads)]
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(key, column) for key, column in read] for name, read in own.items()}
    )
