"""The project's own graph, conditions and sensors, without a daemon: one arrival reaches the forecasts, one drift a retraining."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from platform_assets import names
from platform_assets.definitions import assemble
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import Drift, Error
from resources.deployment import Settings
from sensors.retraining import gather

MONTH = "2025-12-01"
VIEWS = {"features/demand_history", "features/price_history", "features/season"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return assemble(Settings.local(tmp_path_factory.mktemp("state"), "simulator", now=datetime(2026, 1, 1, tzinfo=UTC)))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def moved(instance: dg.DagsterInstance, graph: dg.Definitions, *keys: str) -> None:
    """Each asset was computed, each by a run of its own; of a partitioned one the last month."""
    for key in keys:
        asset = dg.AssetKey(key.split("/"))
        is_partitioned = graph.resolve_asset_graph().get(asset).is_partitioned
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=MONTH if is_partitioned else None))


class Ticks:
    """The automation sensor's ticks; nothing that they ask for is launched."""

    def __init__(self, graph: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.graph, self.instance, self.cursor = graph, instance, None

    def next(self) -> set[str]:
        found = dg.evaluate_automation_conditions(self.graph, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        asked = set()
        for result in found.results:
            if isinstance(result.key, dg.AssetKey) and found.get_num_requested(result.key):
                asked.add(result.key.to_user_string())
                keys = found.get_requested_partitions(result.key)
                assert keys <= {None, MONTH}, f"{result.key} was asked for months that nothing touched: {keys}"
        return asked


def test_an_arrival_moves_down_the_graph_step_by_step(graph: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Unpartitioned forecasts below monthly features whose history is not all there: `eager()` would never fire here."""
    ticks = Ticks(graph, instance)
    assert ticks.next() == set()
    moved(instance, graph, "sales")
    asked = ticks.next()
    assert asked >= VIEWS
    # New sales are new labels: monitoring scores what was said before. Nothing else of a model moves yet.
    assert {key.split("/")[-1] for key in asked if key.split("/")[0] in ("demand", "dormant")} == {"monitoring"}
    assert ticks.next() == set()
    moved(instance, graph, "features/demand_history", "features/price_history", "features/season")
    asked = ticks.next()
    assert asked >= {"demand/predictions", "dormant/predictions", "online/demand_history"}
    assert not [key for key in asked if key.endswith(("training_set", "candidate", "evaluation", "champion"))]
    moved(instance, graph, "demand/predictions")
    assert "demand/monitoring" in ticks.next()


def test_a_failed_blocking_check_of_a_view_holds_the_forecasts(
    graph: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    ticks = Ticks(graph, instance)
    ticks.next()
    view = dg.AssetKey(["features", "demand_history"])
    nodes = graph.resolve_asset_graph().asset_check_nodes
    [check, *_] = [node.key for node in nodes if node.key.asset_key == view and node.blocking]
    moved(instance, graph, "features/demand_history")
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(view, check.name, False, {}, blocking=True))
    assert not {"demand/predictions", "online/demand_history"} & ticks.next()
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(view, check.name, True, {}, blocking=True))
    assert {"demand/predictions", "online/demand_history"} <= ticks.next()


@pytest.mark.parametrize("model", ["demand", "demand_deep", "dormant"])
def test_an_alarm_asks_each_models_job_for_one_run_unless_data_checks_fail(
    graph: dg.Definitions, instance: dg.DagsterInstance, model: str
) -> None:
    repository = graph.get_repository_def()
    sensor = repository.get_sensor_def(f"{model}_retraining")
    resources: dict[str, Any] = {name: graph.resources[name] for name in ("ledger", "clock", "tables")}  # pyright: ignore
    ledger, now = resources["ledger"], resources["clock"].now()
    ledger.promote(model, from_version=None, to_version="1", reason="first", evidence={}, at=now - timedelta(days=40))

    def tick() -> dg.RunRequest | dg.SkipReason:
        return sensor(dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources))  # pyright: ignore

    watched = dg.AssetKey(names.model_key(model, "monitoring"))
    for day in ("2025-12-13", "2025-12-27"):
        said = {"champion": dg.MetadataValue.text("1"), "as_of": dg.MetadataValue.text(day)}
        instance.report_runless_asset_event(dg.AssetCheckEvaluation(watched, "error", False, said))
    lines = dg.AssetKey(names.lines_key("simulator"))
    contract = next(
        n.key for n in graph.resolve_asset_graph().asset_check_nodes if n.blocking and n.key.asset_key == lines
    )
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(lines, contract.name, False, {}, blocking=True))
    held = tick()
    assert isinstance(held, dg.SkipReason)
    assert f"simulator/lines:{contract.name}" in str(held.skip_message)
    instance.report_runless_asset_event(dg.AssetCheckEvaluation(lines, contract.name, True, {}, blocking=True))
    request = tick()
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_CAUSE] == "error/1/2025-12-13"
    job = repository.get_job(str(sensor.job_name))
    assert {names.model_key(model, "training_set")[1], "candidate"} <= {
        key.path[-1] for key in job.asset_layer.selected_asset_keys
    }


def test_an_old_model_waits_for_overdue_features(graph: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Staleness, told by Dagster's own freshness daemon, reaches the decision through the instance."""
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    repository = graph.get_repository_def()
    resources: dict[str, Any] = {name: graph.resources[name] for name in ("ledger", "clock", "tables")}  # pyright: ignore
    now = resources["clock"].now()

    def seen() -> tuple[str, ...]:
        context = dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources)
        policy = RetrainingPolicy((Drift(), Error()), settle_days=0)
        return gather(context, "dormant", policy, resources["ledger"], resources["clock"], None).overdue_inputs

    def state(key: str, new: FreshnessState, old: FreshnessState) -> None:
        change = FreshnessStateChange(
            key=dg.AssetKey(key.split("/")), previous_state=old, new_state=new, state_change_timestamp=now.timestamp()
        )
        instance._report_runless_asset_event(change)  # pyright: ignore[reportPrivateUsage]

    assert seen() == ()
    state("features/season", FreshnessState.FAIL, FreshnessState.PASS)
    state("sales", FreshnessState.WARN, FreshnessState.PASS)
    state("features/offer", FreshnessState.FAIL, FreshnessState.PASS)  # of a time when it had a policy
    assert seen() == ("features/season",)
    state("features/season", FreshnessState.PASS, FreshnessState.FAIL)
    assert seen() == ()


def test_every_sensor_runs_by_default(graph: dg.Definitions) -> None:
    stopped = [
        s.name for s in graph.get_repository_def().sensor_defs if s.default_status is not dg.DefaultSensorStatus.RUNNING
    ]
    assert stopped == []
