"""Assembly: the active source, features, models and reports, with resources, executor and sensors.

The only module that reads the environment.
"""

import os
from collections.abc import Mapping
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from platform_assets import names, policies
from platform_assets.components.model_assets import model_names
from platform_assets.components.sales_source import SalesSource
from platform_assets.components.source_check import check_sources
from platform_assets.components.source_choice import source_facts
from platform_assets.components.source_window import set_window
from platform_assets.components.trained_model import TrainedModel
from resources.compute import PROFILES
from resources.deployment import Settings, executor_for, resources_for
from resources.landing import Landing

PROJECT = Path(__file__).parents[1]

ROOM_DAYS = 31  # after a pinned now: files of the next month's first days

# Beginnings of what Dagster says of its own calls each time that definitions load.
BETA = (
    "Class `LocalFileCodeReference`",
    "Class `CodeReferencesMetadataValue`",
    "Function `load_definitions_from_module",
    "InitResourceContext",
    "Parameter `",
    "Function `dev_command`",
)


def component_tree() -> dg.ComponentTree:
    """The autoloaded folders of defs/, unloaded."""
    return dg.ComponentTree.for_project(PROJECT)


def assemble(settings: Settings) -> dg.Definitions:
    """The graph of one source in one state directory."""
    from sensors.arrival import arrival_sensor
    from sensors.failure import failure_sensor
    from sensors.monitoring import automation_sensor
    from sensors.quarantine import quarantine_sensor
    from sensors.retraining import retraining_sensor

    tree = component_tree()
    check_sources(tree)
    facts = source_facts(tree.defs_module_path / "data" / settings.source)
    is_open = not facts.is_ended and settings.now is None
    set_window(settings.source, *_days(settings, is_ended=facts.is_ended), is_open=is_open)
    source = tree.load_component(Path("data") / settings.source, SalesSource)
    graph = dg.Definitions.merge(
        *(tree.build_defs(Path(room)) for room in (f"data/{settings.source}", "features", "models", "reports"))
    )
    graph = policies.with_freshness(graph, facts.period_days, is_ended=facts.is_ended)
    sensors = [arrival_sensor(), quarantine_sensor(_views_of_sales(graph)), automation_sensor(), failure_sensor()]
    models = {name: tree.load_component(Path("models") / name, TrainedModel) for name in model_names()}
    sensors += [retraining_sensor(name, model.retraining) for name, model in models.items()]
    gpu_steps = [f"{name}__candidate" for name, model in models.items() if PROFILES[model.compute].gpu]
    resources = {
        **resources_for(settings, source.facts()),
        "landing": landing_for(settings, source.simulate),
    }
    executor = executor_for(settings, gpu_steps=gpu_steps)
    return dg.Definitions.merge(graph, dg.Definitions(sensors=sensors, resources=resources, executor=executor))


def _views_of_sales(graph: dg.Definitions) -> list[dg.AssetKey]:
    """Feature views that are computed from sales."""
    sales = dg.AssetKey([names.SALES])
    specs = [spec for asset in graph.assets or [] if isinstance(asset, dg.AssetsDefinition) for spec in asset.specs]
    return sorted(
        spec.key
        for spec in specs
        if spec.key.path[0] == names.GROUP_FEATURES and any(dep.asset_key == sales for dep in spec.deps)
    )


def landing_for(settings: Settings, simulator: Mapping[str, Any]) -> Landing:
    """Files that arrive and are kept in the state directory; on a cluster where artifacts are: a pod's disk dies with it."""
    data = None if settings.data is None else str(settings.data)
    is_shared = settings.deployment == "k8s" or settings.artifacts_uri.startswith("s3://")
    files = settings.artifacts() if is_shared else None
    return Landing(folder=str(settings.state), data=data, simulator=simulator, files=files)


def _days(settings: Settings, *, is_ended: bool) -> tuple[date, date | None]:
    """The source's days; on a pinned clock those that its now leaves room for, whatever the wall clock says."""
    starts_on, ends_on = settings.window
    if is_ended or settings.now is None:
        return starts_on, ends_on
    now_on = settings.now.astimezone(UTC).date()
    return starts_on, max(ends_on or now_on, now_on) + timedelta(days=ROOM_DAYS)


def settings() -> Settings:
    """Settings of this process, from its environment."""
    return Settings.from_mapping(os.environ)


def child_environment(settings: Settings, home: Path) -> dict[str, str]:
    """The environment of a Dagster process that loads these settings; secrets never stand in its arguments."""
    noise = ",".join(f"ignore:{text}" for text in BETA)
    return {**os.environ, "PYTHONWARNINGS": noise, **settings.environment(), "DAGSTER_HOME": str(home)}


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return assemble(settings())
