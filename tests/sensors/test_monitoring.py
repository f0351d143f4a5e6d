"""The policies' automation conditions, evaluated without a daemon, and the sensor that evaluates them with one."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from platform_assets import policies
from sensors.monitoring import automation_sensor

CHECK = dg.AssetCheckKey(dg.AssetKey("sales"), "contract")


@dg.asset(key="sales", check_specs=[dg.AssetCheckSpec("contract", asset="sales", blocking=True)])
def sales() -> dg.MaterializeResult: ...  # pyright: ignore[reportReturnType]


@dg.asset(key="prices")
def prices() -> None: ...


@dg.asset(key="features", deps=["sales", "prices"], automation_condition=policies.WHEN_UPSTREAM_MOVES)
def features() -> None: ...


@dg.asset(key="predictions", deps=["features"], automation_condition=policies.WHEN_UPSTREAM_MOVES)
def predictions() -> None: ...


@dg.asset(key="training_set", deps=["features"])
def training_set() -> None: ...


class Graph:
    """A chain of assets, whose conditions are evaluated tick by tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.definitions = dg.Definitions(assets=[sales, prices, features, predictions, training_set])
        self.cursor: Any = None

    def tick(self) -> set[str]:
        """Keys that are requested on this tick; nothing is launched."""
        found = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        return {request.key.to_user_string() for request in found.results if found.get_num_requested(request.key)}

    def moved(self, *keys: str) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key))

    def checked(self, passed: bool) -> None:
        evaluation = dg.AssetCheckEvaluation(CHECK.asset_key, CHECK.name, passed, {}, blocking=True)
        self.instance.report_runless_asset_event(evaluation)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Graph(instance)


def test_nothing_is_asked_for_at_the_start_and_nothing_while_nothing_moves(graph: Graph) -> None:
    graph.moved("sales", "prices")
    assert [graph.tick() for _ in range(3)] == [set()] * 3


def test_an_update_asks_once_for_each_asset_below_in_turn(graph: Graph) -> None:
    """Unpartitioned predictions below features must not start beside them, on the features of yesterday."""
    graph.tick()
    graph.moved("sales")
    assert graph.tick() == {"features"}
    assert graph.tick() == set()
    graph.moved("features")
    assert graph.tick() == {"predictions"}
    assert graph.tick() == set()


def test_a_training_set_is_never_asked_for(graph: Graph) -> None:
    graph.tick()
    for _ in range(3):
        graph.moved("features")
        assert "training_set" not in graph.tick()


@pytest.mark.parametrize("condition", ["ours", "since_last_handled"])
def test_an_update_right_after_a_request_is_not_lost(condition: str) -> None:
    """Two files arrive within a minute: the second lands on the tick after the first one's request.

    `since_last_handled` forgets it there and the features stay a day old; this condition remembers it.
    """
    if condition == "ours":
        rule: Any = policies.WHEN_UPSTREAM_MOVES
    else:
        rule = dg.AutomationCondition.any_deps_updated().since_last_handled()

    @dg.asset(key="features", deps=["sales"], automation_condition=rule)
    def below() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(instance)
        graph.definitions = dg.Definitions(assets=[sales, below])
        graph.tick()
        graph.moved("sales")
        assert graph.tick() == {"features"}
        graph.moved("sales")  # the second file
        asked = graph.tick()
        graph.moved("features")  # the run of the first request ends
        asked |= graph.tick()
        assert (asked == {"features"}) == (condition == "ours")


def test_a_failed_blocking_check_holds_the_assets_below_until_it_passes(graph: Graph) -> None:
    graph.tick()
    graph.moved("sales")
    graph.checked(passed=False)
    assert graph.tick() == set()
    assert graph.tick() == set()
    graph.checked(passed=True)
    assert graph.tick() == {"features"}


def test_a_failed_run_is_not_asked_for_again_and_again(graph: Graph) -> None:
    """`execution_failed()` is level-triggered; elsewhere it made 368,000 failed runs in 14 days."""
    graph.tick()
    graph.moved("sales")
    assert graph.tick() == {"features"}  # its run fails: no materialization follows
    assert [graph.tick() for _ in range(5)] == [set()] * 5
    graph.moved("sales")
    assert graph.tick() == {"features"}


def test_the_sensor_runs_by_default() -> None:
    """The sensor that Dagster makes for conditions by itself starts stopped."""
    sensor = automation_sensor()
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    definitions = dg.Definitions(assets=[sales, prices, features], sensors=[sensor])
    dg.Definitions.validate_loadable(definitions)
    selected = sensor.asset_selection.resolve(definitions.resolve_asset_graph())
    assert dg.AssetKey("features") in selected


# --- the other policies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "first", "last", "count"),
    [
        (date(2009, 12, 1), date(2011, 12, 9), "2009-12-01", "2011-12-01", 25),  # ended long ago, within a month
        (date(2024, 1, 17), date(2024, 1, 31), "2024-01-01", "2024-01-01", 1),  # on a month's last day
        (date(2025, 6, 30), date(2045, 6, 1), "2025-06-01", "2045-06-01", 241),  # a simulated world, ahead of the clock
    ],
)
def test_months_cover_a_source_whatever_the_wall_clock_says(
    starts_on: date, ends_on: date, first: str, last: str, count: int
) -> None:
    keys = policies.months(starts_on, ends_on, "Europe/London").get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == (first, last, count)


@pytest.mark.parametrize("ends_on", [None, date(2025, 12, 30)])
def test_months_of_a_living_source_grow_with_the_clock(ends_on: date | None) -> None:
    """They stood still at the day of the last demo, and a month or two later no file could land any more."""
    with freeze_time(datetime(2026, 1, 31, tzinfo=UTC)):
        months = policies.months(date(2024, 1, 1), ends_on, is_open=True)
        assert months.get_partition_keys()[-1] == "2026-02-01"
    for day, last in (
        (datetime(2026, 2, 3, tzinfo=UTC), "2026-03-01"),
        (datetime(2027, 7, 1, tzinfo=UTC), "2027-08-01"),
    ):
        with freeze_time(day):
            assert months.get_partition_keys()[-1] == last, "the definitions were not loaded again"


def test_months_of_a_world_ahead_of_the_clock_reach_its_end() -> None:
    with freeze_time(datetime(2026, 1, 31, tzinfo=UTC)):
        months = policies.months(date(2024, 1, 1), date(2029, 5, 2), is_open=True)
        assert months.get_partition_keys()[-1] == "2029-05-01"


def test_a_source_is_stale_after_two_missed_arrivals_and_never_once_it_has_ended() -> None:
    policy = policies.freshness(7)
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=14, hours=9), warn_window=timedelta(days=7, hours=9)
    )
    assert policies.freshness(1, is_ended=True) is None


def test_a_weekly_source_has_weekly_windows_for_all_that_its_arrivals_move() -> None:
    def asset(*key: str, deps: tuple[str, ...] = ()) -> dg.AssetsDefinition:
        return dg.AssetsDefinition(specs=[dg.AssetSpec(list(key), deps=[dg.AssetKey(dep.split("/")) for dep in deps])])

    graph = dg.Definitions(
        assets=[
            asset("shop", "lines"),
            asset("sales", deps=("shop/lines",)),
            asset("plans"),
            asset("features", "season", deps=("sales",)),
            asset("features", "offer", deps=("plans",)),
            asset("online", "season", deps=("features/season",)),
            asset("demand", "training_set", deps=("features/season",)),
            asset("demand", "predictions", deps=("features/season", "features/offer")),
        ]
    )
    moved = {"shop/lines", "sales", "features/season", "online/season", "demand/predictions"}

    def stale_after(graph: dg.Definitions) -> dict[str, Any]:
        specs = graph.resolve_all_asset_specs()
        return {spec.key.to_user_string(): spec.freshness_policy for spec in specs if spec.freshness_policy}

    assert stale_after(policies.with_freshness(graph, 7)) == dict.fromkeys(moved, policies.freshness(7))
    assert stale_after(policies.with_freshness(graph, 1)) == dict.fromkeys(moved, policies.freshness(1))
    assert policies.freshness(1) != policies.freshness(7)
    assert stale_after(policies.with_freshness(graph, 7, is_ended=True)) == {}
