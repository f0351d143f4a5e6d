"""Assembly: the active source, features, models and reports, with resources, executor and sensors.

The only module that reads the environment.
"""

import os
from pathlib import Path

import dagster as dg

from platform_assets import policies
from platform_assets.components.model_assets import model_names
from platform_assets.components.sales_source import SalesSource
from platform_assets.components.source_choice import source_facts
from platform_assets.components.source_window import set_window
from platform_assets.components.trained_model import TrainedModel
from resources.compute import PROFILES
from resources.deployment import Settings, executor_for, resources_for
from resources.landing import Landing

PROJECT = Path(__file__).parents[1]

# Beginnings of what Dagster says of its own calls each time that definitions load.
BETA = (
    "Class `LocalFileCodeReference`",
    "Class `CodeReferencesMetadataValue`",
    "Function `load_definitions_from_module",
    "InitResourceContext",
)


def component_tree() -> dg.ComponentTree:
    """The autoloaded folders of defs/, unloaded."""
    return dg.ComponentTree.for_project(PROJECT)


def assemble(settings: Settings) -> dg.Definitions:
    """The graph of one source in one state directory."""
    from sensors.arrival import arrival_sensor
    from sensors.failure import failure_sensor
    from sensors.monitoring import automation_sensor
    from sensors.retraining import retraining_sensor

    tree = component_tree()
    facts = source_facts(tree.defs_module_path / "data" / settings.source)
    # Room for the next month's first file: partitions are fixed when definitions load.
    set_window(settings.source, *settings.window, room_days=0 if facts.is_ended else 31)
    source = tree.load_component(Path("data") / settings.source, SalesSource)
    graph = dg.Definitions.merge(
        *(tree.build_defs(Path(room)) for room in (f"data/{settings.source}", "features", "models", "reports"))
    )
    graph = policies.with_freshness(graph, facts.period_days, is_ended=facts.is_ended)
    sensors = [arrival_sensor(), automation_sensor(), failure_sensor()]
    models = {name: tree.load_component(Path("models") / name, TrainedModel) for name in model_names()}
    sensors += [retraining_sensor(name, model.retraining) for name, model in models.items()]
    gpu_steps = [f"{name}__candidate" for name, model in models.items() if PROFILES[model.compute].gpu]
    data = None if settings.data is None else str(settings.data)
    resources = {
        **resources_for(settings, source.facts()),
        "landing": Landing(data=data, folder=str(settings.state), simulator=source.simulate),
    }
    executor = executor_for(settings, gpu_steps=gpu_steps)
    return dg.Definitions.merge(graph, dg.Definitions(sensors=sensors, resources=resources, executor=executor))


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
