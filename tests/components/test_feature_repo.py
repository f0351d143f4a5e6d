"""A Feast repository that is not ours, `feast init`'s, in the graph: all of it appears, is applied, loaded, checked and resolved."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from platform_assets.components.feature_repo import FeatureRepo
from platform_assets.components.feature_repo_assets import can_load, repository_definitions
from platform_assets.components.feature_repo_spec import Repository
from platform_assets.errors import ConfigurationError
from resources.feast_repository.description import Description, edited_files, from_json
from tests.components.retries import without_waits

ROOT = Path(__file__).parents[2]
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
COMPUTED = """
from datetime import datetime

import polars as pl

def stats(start: datetime, end: datetime) -> pl.DataFrame:
    hours = pl.datetime_range(max(start, datetime(2026, 1, 1, tzinfo=start.tzinfo)), end, "1d", closed="left", eager=True)
    return pl.DataFrame({"driver_id": [7] * len(hours), "event_timestamp": hours, "created": hours}).with_columns(
        pl.lit(0.5).cast(pl.Float32).alias("conv_rate"),
    )
"""
VIEWS = """
from datetime import timedelta

from feast import BatchFeatureView, Entity, FeatureService, FeatureView, Field, FileSource, KafkaSource, PushSource
from feast import StreamFeatureView, ValueType
from feast.data_format import JsonFormat
from feast.types import Float32

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)

rate = Field(name="conv_rate", dtype=Float32, tags={"min": "0", "max": "1", "reads": "raw/rides.accepted, raw/rides.asked"})
common = {"entities": [driver], "ttl": timedelta(days=1), "schema": [rate]}

def table(name):
    return FileSource(name=f"{name}_table", path=f"data/{name}.parquet", timestamp_field="event_timestamp",
                      created_timestamp_column="created", tags={"partitions": "day"})

def twice(rows):
    rows["conv_rate"] = 2 * rows["conv_rate"]
    return rows

stream = KafkaSource(name="rides", kafka_bootstrap_servers="nowhere:9092", topic="rides", batch_source=table("streamed"),
                     timestamp_field="event_timestamp", message_format=JsonFormat(schema_json="driver_id integer"))
stats = FeatureView(name="stats", source=table("stats"), owner="risk@example.com", **common)
other = FeatureView(name="other", source=table("other"), **common)
streamed = StreamFeatureView(name="streamed", source=stream, udf=twice, mode="pandas", **common)
batch = BatchFeatureView(name="batch", source=table("batch"), udf=twice, mode="pandas", **common)
pushed = FeatureView(name="pushed", source=PushSource(name="push", batch_source=table("pushed")), **common)
both = FeatureService(name="both", features=[stats, other])
alone = FeatureService(name="alone", features=[other])
namesake = FeatureService(name="stats", features=[stats])
"""


@dataclass
class World:
    repository: Repository
    state: Path
    instance: dg.DagsterInstance

    @property
    def description(self) -> Description:
        return self.repository.description

    def run(
        self,
        *keys: dg.AssetKey,
        first: str | None = None,
        last: str | None = None,
        config: Any = None,
        fails: bool = False,
    ) -> Any:
        defs = repository_definitions(self.repository)
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=list(keys),
            instance=self.instance,
            tags={name: value for name, value in tags.items() if value},
            run_config={**SILENT, **({"ops": {"drivers__registry": {"config": config}}} if config else {})},
            raise_on_error=not fails,
        )

    def checked(self, view: str) -> dg.ExecuteInProcessResult:
        selection = dg.AssetSelection.checks_for_assets(self.repository.table_key(view))
        job = dg.define_asset_job("checks", selection=selection)
        defs = dg.Definitions.merge(repository_definitions(self.repository), dg.Definitions(jobs=[job]))
        return defs.resolve_job_def("checks").execute_in_process(
            instance=self.instance, run_config=SILENT, raise_on_error=False
        )

    def check(self, view: str) -> dict[str, dg.AssetCheckEvaluation]:
        return {found.check_name: found for found in self.checked(view).get_asset_check_evaluations()}


def repository_at(path: Path, state: Path, **more: Any) -> Repository:
    found = from_json(state.read_text())
    return Repository(str(path), found, ("drivers",), "drivers", **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """`feast init`'s local template, described, and its registry applied."""
    from feast.repo_operations import init_repo

    folder = tmp_path_factory.mktemp("foreign")
    init_repo("drivers", "local", str(folder / "drivers"))
    place, state = folder / "drivers" / "feature_repo", folder / "state"
    FeatureRepo(path=str(place)).write_state_to_path(state)
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(repository_at(place, state), state, instance)
        world.run(world.repository.registry_key)
        yield world


def test_every_object_of_the_repository_appears(world: World) -> None:
    keys = {spec.key.to_user_string() for spec in repository_definitions(world.repository).resolve_all_asset_specs()}
    views = ("driver_hourly_stats", "driver_hourly_stats_fresh")
    on_demand, sources = (
        ("transformed_conv_rate", "transformed_conv_rate_fresh"),
        [s.name for s in world.description.sources],
    )
    assert len(sources) == 5
    assert keys == {
        "drivers/registry",
        *(f"drivers/features/{view}" for view in (*views, *on_demand, "driver_quality_labels")),
        *(f"drivers/online/{view}" for view in views),
        *(f"drivers/services/driver_activity_v{n}" for n in (1, 2, 3)),
        *(f"drivers/sources/{source}" for source in sources),
    }


def test_assets_say_what_feast_says_and_what_it_cannot_do(world: World) -> None:
    specs = {
        s.key.path[-1]: s
        for s in repository_definitions(world.repository).resolve_all_asset_specs()
        if "features" in s.key.path
    }
    labels, computed = specs["driver_quality_labels"], specs["transformed_conv_rate"]
    assert "materialize` refuses a label view" in str(labels.description)
    assert "LAST_WRITE_WINS" in str(labels.description)
    assert "pickled in the registry" in str(computed.metadata["feast/limits"])
    assert specs["driver_hourly_stats"].tags["team"] == "driver_performance"
    # A tag that Dagster cannot take stands in the metadata.
    assert "feast.io/label-widget:is_reliable" not in labels.tags
    assert "feast.io/label-widget:is_reliable" in labels.metadata["feast/tags"].value
    columns = {c.name: c for c in specs["driver_hourly_stats"].metadata["dagster/column_schema"].columns}
    assert columns["driver_profile"].type == "Struct({name: String, age: String})"
    assert columns["avg_daily_trips"].description == "Average daily trips"
    lineage = computed.metadata["dagster/column_lineage"].deps_by_column["conv_rate_plus_val1"]
    assert {(dep.asset_key.path[-1], dep.column_name) for dep in lineage} == {
        ("driver_hourly_stats", "conv_rate"),
        ("vals_to_add", "val_to_add"),
        ("vals_to_add", "val_to_add_2"),
    }


def test_definitions_load_from_the_state_without_feast(world: World) -> None:
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace; import dagster as dg\n"
        "from platform_assets.components import FeatureRepo\n"
        f"repo = FeatureRepo(path={world.repository.path!r})\n"
        f"defs = repo.build_defs_from_state(SimpleNamespace(path='x'), Path({str(world.state)!r}))\n"
        "dg.Definitions.validate_loadable(defs); print(len(defs.resolve_all_asset_specs()))\n"
        "print([m for m in ('feast', 'pandas', 'polars', 'mlflow', 'torch', 'lightgbm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:2] == ["16", "[]"]


def test_without_a_description_nothing_loads_and_the_command_is_told(world: World) -> None:
    repo = FeatureRepo(path=world.repository.path)
    with pytest.raises(ConfigurationError, match="has not been described yet") as error:
        repo.build_defs_from_state(SimpleNamespace(path="x"), None)  # pyright: ignore[reportArgumentType]
    assert "dg utils refresh-defs-state" in str(error.value)


def test_an_edited_repository_is_noticed(world: World, tmp_path: Path) -> None:
    place = tmp_path / "feature_repo"
    shutil.copytree(world.repository.path, place)
    assert edited_files(world.description, place) == []
    (place / "more.py").write_text("")
    (place / "feature_store.yaml").write_text("project: other\n")
    (place / "test_workflow.py").unlink()
    assert edited_files(world.description, place) == ["feature_store.yaml", "more.py", "test_workflow.py"]
    repo = FeatureRepo(path=str(place))
    with pytest.raises(
        ConfigurationError, match=r"edited since it was described: feature_store.yaml, more.py"
    ) as error:
        repo.build_defs_from_state(SimpleNamespace(path="x"), world.state)  # pyright: ignore[reportArgumentType]
    assert "refresh-defs-state" in str(error.value)


def test_names_that_the_repository_does_not_have_are_refused(world: World) -> None:
    repo = FeatureRepo(path=world.repository.path, freshness_hours={"nowhere": 3.0})
    with pytest.raises(ConfigurationError, match="freshness_hours names nowhere"):
        repo.build_defs_from_state(SimpleNamespace(path="x"), world.state)  # pyright: ignore[reportArgumentType]


def test_the_registry_was_applied_with_its_plan(world: World) -> None:
    event = world.instance.get_latest_materialization_event(world.repository.registry_key)
    assert event is not None
    assert event.asset_materialization is not None
    said = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert "feature view `driver_hourly_stats` is added" in str(said["plan"])
    assert (said["feature view"], said["on demand feature view"], said["label view"], said["feature service"]) == (
        2,
        2,
        1,
        3,
    )
    assert said["left over"] == "nothing"


def newest(world: World, driver: int) -> float:
    rows = pl.read_parquet(Path(world.repository.path) / "data" / "driver_stats.parquet").filter(
        pl.col("driver_id") == driver
    )
    return rows.sort("event_timestamp", "created", maintain_order=True)["conv_rate"][-1]


def online(world: World, driver: int) -> float:
    from resources.feast_repository.store import opened

    served = opened(world.repository.path).get_online_features(
        ["driver_hourly_stats:conv_rate"], [{"driver_id": driver}]
    )
    return served.to_dict()["conv_rate"][0]


def test_a_backfill_of_an_old_month_leaves_the_newest_values(world: World) -> None:
    """Feast's own materialize over an old window puts the old values back online."""
    view = world.description.view("driver_hourly_stats")
    assert view is not None
    key, cut = world.repository.key("online", view.name), world.repository.cut(view)
    assert cut is not None
    months = cut.get_partition_keys()
    assert months[0] == "2021-04-01"
    assert world.run(key, first=months[-2], last=months[-1]).success
    assert online(world, 1001) == pytest.approx(newest(world, 1001))
    assert world.run(key, first=months[0]).success
    assert online(world, 1001) == pytest.approx(newest(world, 1001))


def test_online_and_offline_are_compared_after_each_load(world: World) -> None:
    """Feast's own online store serves what its offline store no longer gives: a warning. Another value is an error."""
    import sqlite3

    key = world.repository.key("online", "driver_hourly_stats")
    (check,) = world.run(key).get_asset_check_evaluations()
    assert (check.check_name, check.metadata["entities compared"].value) == ("parity", 5)
    assert check.passed, check.description
    place = Path(world.repository.path) / "data" / "online_store.db"
    with sqlite3.connect(place) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%driver_hourly_stats'").fetchone()
        connection.execute(f"UPDATE {found[0]} SET value = x'' WHERE feature_name = 'acc_rate'")
    jobs = dg.Definitions(jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.checks_for_assets(key))])
    defs = dg.Definitions.merge(repository_definitions(world.repository), jobs)
    done = defs.resolve_job_def("checks").execute_in_process(instance=world.instance, run_config=SILENT)
    (check,) = done.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["features"].value == {"acc_rate": 5}
    assert world.run(key).get_asset_check_evaluations()[0].passed


KILLED = """
import os, sys
from datetime import UTC, datetime
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from resources.feast_repository import store

write = SqliteOnlineStore.online_write_batch

def half(self, config, table, data, progress):
    write(self, config, table, data[:2], progress)
    os.kill(os.getpid(), 9)

SqliteOnlineStore.online_write_batch = half
store.load(sys.argv[1], "driver_hourly_stats", datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC))
"""


@pytest.mark.long
def test_a_killed_load_is_completed_by_the_next(world: World) -> None:
    """Feast leaves the view as being materialized, and refuses to serve it until a load comes to its end."""
    import sqlite3

    key, path = world.repository.key("online", "driver_hourly_stats"), world.repository.path
    with sqlite3.connect(Path(path) / "data" / "online_store.db") as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '%driver_hourly_stats'"
        ).fetchone()
        connection.execute(f"DELETE FROM {table}")
    command = [sys.executable, "-W", "ignore", "-c", KILLED, path]
    assert subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == -9
    (check,) = world.run(key).get_asset_check_evaluations()
    assert check.passed, check.description
    assert [online(world, driver) for driver in range(1001, 1006)] == [
        pytest.approx(newest(world, driver)) for driver in range(1001, 1006)
    ]


def test_services_record_what_the_registry_resolves_them_to(world: World) -> None:
    done = world.run(world.repository.key("services", "driver_activity_v1"))
    (event,) = done.get_asset_materialization_events()
    assert event.materialization.metadata["resolved"].value == [
        "driver_hourly_stats:conv_rate",
        "transformed_conv_rate:conv_rate_plus_val1",
        "transformed_conv_rate:conv_rate_plus_val2",
    ]


def test_checks_find_the_copies_that_the_template_plants(world: World) -> None:
    found = world.check("driver_hourly_stats")
    assert {name: check.passed for name, check in found.items()} == {
        "freshness": True,
        "nulls": True,
        "ranges": True,
        "duplicates": False,
    }
    rows = pl.read_parquet(Path(world.repository.path) / "data" / "driver_stats.parquet")
    copies = rows.group_by("driver_id", "event_timestamp", "created").len().filter(pl.col("len") > 1)
    assert copies.height > 0
    assert f"{copies.height:,} rows" in str(found["duplicates"].description)


def test_a_label_view_that_has_no_labels_yet_is_checked_too(world: World) -> None:
    assert {check.passed for check in world.check("driver_quality_labels").values()} == {True}


def stale(world: World, repository: Repository) -> set[str]:
    """Assets that the definitions of this repository show as stale, of what has been materialized."""
    graph = repository_definitions(repository).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(world.instance, graph, LoadingContextForTest(world.instance))
    found = set()
    for key in graph.materializable_asset_keys:
        partitions = world.instance.get_materialized_partitions(key) if graph.get(key).is_partitioned else {None}
        if any(resolver.get_status(key, partition) == StaleStatus.STALE for partition in partitions):
            found.add("/".join(key.path[1:]))
    return found


def test_editing_one_view_makes_exactly_its_dependents_stale(world: World) -> None:
    for view in filter(can_load, world.description.views):
        cut = world.repository.cut(view)
        assert cut is not None
        assert world.run(world.repository.key("online", view.name), first=cut.get_partition_keys()[-1]).success
    for service in world.description.services:
        assert world.run(world.repository.key("services", service.name)).success
    assert stale(world, world.repository) == set()
    expected = {
        "driver_hourly_stats": {"online/driver_hourly_stats", "services/driver_activity_v1", "services/driver_activity_v2", "registry"},
        "driver_hourly_stats_fresh": {"online/driver_hourly_stats_fresh", "services/driver_activity_v3", "registry"},
        "transformed_conv_rate": {"services/driver_activity_v1", "services/driver_activity_v2", "registry"},
        "driver_quality_labels": {"registry"},
    }  # fmt: skip
    for name, dependents in expected.items():
        views = tuple(replace(v, fingerprint="edited") if v.name == name else v for v in world.description.views)
        edited = replace(world.repository, description=replace(world.description, views=views))
        assert stale(world, edited) == dependents, name
    # The function that computes a view counts as the view does.
    edited = replace(world.repository, partitions={}, functions={})
    views = {view.name: edited.versions[view.name] for view in world.description.views}
    with_function = replace(edited, functions={"driver_hourly_stats_fresh": ("m:f", "digest")}).versions
    assert {name for name, version in with_function.items() if version != views[name]} == {
        "driver_hourly_stats_fresh",
        "transformed_conv_rate_fresh",
    }


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A repository whose table a function of the user's project computes, in days."""
    folder = tmp_path_factory.mktemp("computed")
    (folder / "data").mkdir()
    (folder / "repo.py").write_text(VIEWS)
    (folder / "feature_store.yaml").write_text(
        "project: drivers\nregistry: data/registry.db\nprovider: local\nonline_store: {type: sqlite, path: data/online.db}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    code = tmp_path_factory.mktemp("project")
    (code / "drivers_project.py").write_text(COMPUTED)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame({"driver_id": [1], "event_timestamp": [day], "created": [day], "conv_rate": [0.25]})
    for name in ("stats", "other", "streamed"):
        rows.cast({"conv_rate": pl.Float32, "event_timestamp": pl.Datetime("us", "UTC")}).write_parquet(
            folder / "data" / f"{name}.parquet"
        )
    FeatureRepo(path=str(folder)).write_state_to_path(folder / "state")
    sys.path.insert(0, str(code))
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(
            repository_at(folder, folder / "state", functions={"stats": ("drivers_project:stats", "d1")}),
            folder / "state",
            instance,
        )
        world.run(world.repository.registry_key)
        yield world
    sys.path.remove(str(code))


def specs_of(world: World) -> dict[str, dg.AssetSpec]:
    specs = repository_definitions(world.repository).resolve_all_asset_specs()
    return {"/".join(spec.key.path[1:]): spec for spec in specs}


def test_each_kind_of_view_appears_and_says_what_feast_cannot_do_with_it(computed: World) -> None:
    specs = specs_of(computed)
    views = ("stats", "other", "streamed", "batch", "pushed")
    assert {f"features/{view}" for view in views} <= set(specs)
    assert {"sources/rides", "sources/push", "sources/streamed_table", "sources/pushed_table"} <= set(specs)
    assert {key for key in specs if key.startswith("online/")} == {
        f"online/{view}" for view in views if view != "batch"
    }
    assert "does not read the stream `rides` by itself" in str(specs["features/streamed"].description)
    assert "is not served online" in str(specs["features/batch"].description)
    for view in ("streamed", "batch"):
        assert "reads its table as it is" in str(specs[f"features/{view}"].description)
    assert "`push` writes the same values online at once" in str(specs["online/pushed"].description)
    deps = {dep.asset_key.path[-1] for dep in specs["features/pushed"].deps}
    assert deps == {"pushed_table", "push"}
    # The function's text counts where Feast keeps only its pickled code.
    views = {view.name: view for view in computed.description.views}
    assert "2 * rows" in views["streamed"].code
    assert "2 * rows" in views["batch"].code


@pytest.mark.filterwarnings("ignore:.*experimental features in alpha:RuntimeWarning")
def test_a_stream_views_function_is_run_for_the_online_store_alone(computed: World) -> None:
    """As its asset says, of Feast itself."""
    from resources.feast_repository.store import opened

    assert computed.run(computed.repository.key("online", "streamed"), first="2026-01-01").success
    store = opened(computed.repository.path)
    store.refresh_registry()
    online = store.get_online_features(["streamed:conv_rate"], [{"driver_id": 1}]).to_dict()["conv_rate"]
    rows = pl.DataFrame({"driver_id": [1], "event_timestamp": [datetime(2026, 1, 1, 5, tzinfo=UTC)]}).to_pandas()
    trained = store.get_historical_features(rows, ["streamed:conv_rate"]).to_df()["conv_rate"].to_list()
    assert (online, trained) == ([0.5], [0.25])


def test_columns_come_from_what_the_repository_says(computed: World) -> None:
    specs = specs_of(computed)

    def lineage(key: str) -> dict[str, set[str]]:
        deps = specs[key].metadata["dagster/column_lineage"].deps_by_column
        return {name: {f"{d.asset_key.to_user_string()}.{d.column_name}" for d in read} for name, read in deps.items()}

    assert lineage("features/stats") == {"conv_rate": {"raw/rides.accepted", "raw/rides.asked"}}  # computed: as tagged
    assert {dep.asset_key.to_user_string() for dep in specs["features/stats"].deps} == {"raw/rides"}
    assert lineage("features/other")["conv_rate"] == {"drivers/sources/other_table.conv_rate"}
    assert lineage("services/alone") == {"conv_rate": {"drivers/features/other.conv_rate"}}
    assert lineage("services/both") == {
        "stats__conv_rate": {"drivers/features/stats.conv_rate"},
        "other__conv_rate": {"drivers/features/other.conv_rate"},
    }


def test_a_plan_tells_a_service_from_a_view_of_the_same_name(computed: World) -> None:
    event = computed.instance.get_latest_materialization_event(computed.repository.registry_key)
    assert event is not None
    assert event.asset_materialization is not None
    said = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    lines = str(said["plan"]).splitlines()
    assert {"feature view `stats` is added", "feature service `stats` is added"} <= set(lines)
    assert (said["feature view"], said["stream feature view"], said["feature service"]) == (4, 1, 3)


def test_a_registered_function_computes_its_days_in_place(computed: World) -> None:
    table = Path(computed.repository.path) / "data" / "stats.parquet"
    key, view = computed.repository.table_key("stats"), computed.description.view("stats")
    assert view is not None
    assert computed.run(key, first="2026-01-01", last="2026-01-03").success
    assert computed.run(key, first="2026-01-02").success
    rows = pl.read_parquet(table)
    assert rows["driver_id"].to_list() == [7, 7, 7]
    assert rows["event_timestamp"].to_list() == [datetime(2026, 1, d, tzinfo=UTC) for d in (1, 2, 3)]
    spec = next(s for s in repository_definitions(computed.repository).resolve_all_asset_specs() if s.key == key)
    assert spec.owners == ["risk@example.com"]
    assert isinstance(computed.repository.cut(view), dg.DailyPartitionsDefinition)
    assert {check.passed for name, check in computed.check("stats").items() if name != "freshness"} == {True}


def test_a_day_that_fails_stays_failed_and_is_retried_alone(computed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import drivers_project  # pyright: ignore[reportMissingImports]

    table, key = Path(computed.repository.path) / "data" / "stats.parquet", computed.repository.table_key("stats")
    days = ["2026-02-01", "2026-02-02", "2026-02-03"]
    whole = drivers_project.stats

    def damaged(start: datetime, end: datetime) -> pl.DataFrame:
        if start.day == 2:
            raise OSError("the disk is full")
        return whole(start, end)

    cut = computed.repository.cut(computed.description.view("stats"))  # pyright: ignore[reportArgumentType]
    assert cut is not None

    def statuses(cut: dg.PartitionsDefinition[str] = cut) -> list[str]:
        found = computed.instance.get_status_by_partition(key, days, cut)
        return ["none" if (status := (found or {})[day]) is None else status.value.lower() for day in days]

    monkeypatch.setattr(drivers_project, "stats", damaged)
    assert [computed.run(key, first=day, fails=True).success for day in days] == [True, False, True]
    assert statuses() == ["materialized", "failed", "materialized"]
    monkeypatch.setattr(drivers_project, "stats", whole)
    assert computed.run(key, first=days[1]).success
    assert statuses() == ["materialized"] * 3
    stored = pl.read_parquet(table).filter(pl.col("event_timestamp").dt.month() == 2)
    assert stored["event_timestamp"].dt.day().to_list() == [1, 2, 3]


def failure(done: Any) -> str:
    """What the failed steps say."""
    assert not done.success
    return "".join(event.event_specific_data.error_display_string for event in done.all_events if event.is_step_failure)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.clear(), ["stats: ", "stats.parquet: no rows, where 1 stood", "Nothing was written"]),
        (lambda rows: rows.cast({"conv_rate": pl.Float64}), ["stats.parquet: `conv_rate` is Float64, the table has Float32", "hint: cast it"]),
        (lambda rows: rows.with_columns(pl.col("created").dt.replace_time_zone(None)), ["stats: ", "`created` is Datetime", "with a time zone"]),
        (lambda rows: rows.with_columns(pl.col("created").cast(pl.Datetime("ns", "UTC")).dt.offset_by("1ns")), ["stats: ", "`created` is finer than microseconds"]),
        (lambda rows: rows.drop("conv_rate"), ["stats: ", "lack conv_rate"]),
    ],
)  # fmt: skip
def test_what_a_function_may_not_write_leaves_the_table_as_it_was(
    computed: World, spoil: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import drivers_project  # pyright: ignore[reportMissingImports]

    table, key = Path(computed.repository.path) / "data" / "stats.parquet", computed.repository.table_key("stats")
    assert computed.run(key, first="2026-03-01").success
    before, whole = table.read_bytes(), drivers_project.stats
    monkeypatch.setattr(drivers_project, "stats", lambda start, end: spoil(whole(start, end)))
    told = failure(computed.run(key, first="2026-03-01", fails=True))
    assert [part for part in said if part not in told] == [], told
    assert table.read_bytes() == before
    assert [path.name for path in table.parent.glob(".*")] == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path, rows: path.unlink(), ["view `other`: ", "there is nothing at ", "other.parquet"]),
        (lambda path, rows: path.write_bytes(path.read_bytes()[:-20]), ["view `other`: ", "other.parquet is no whole Parquet file", "hint: restore"]),
        (lambda path, rows: rows.drop("conv_rate").write_parquet(path), ["view `other`: ", "other.parquet has no column `conv_rate`; columns: driver_id"]),
        (lambda path, rows: rows.cast({"event_timestamp": pl.String}).write_parquet(path), ["view `other`: ", "`event_timestamp` of other_table is String"]),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_named_with_its_view(
    computed: World, spoil: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_waits(monkeypatch)
    path = Path(computed.repository.path) / "data" / "other.parquet"
    kept = path.read_bytes()
    try:
        spoil(path, pl.read_parquet(path))
        told = failure(computed.checked("other"))
        loaded = failure(computed.run(computed.repository.key("online", "other"), first="2026-01-01", fails=True))
    finally:
        path.write_bytes(kept)
    assert [part for part in said if part not in told] == [], told
    assert "view `other`: data/other.parquet: " in loaded


def test_an_empty_table_is_checked_and_loads_nothing(computed: World) -> None:
    path = Path(computed.repository.path) / "data" / "other.parquet"
    kept = path.read_bytes()
    try:
        pl.read_parquet(path).clear().write_parquet(path)
        passed = {name: check.passed for name, check in computed.check("other").items()}
        assert computed.run(computed.repository.key("online", "other"), first="2026-01-01").success
    finally:
        path.write_bytes(kept)
    assert passed == {"freshness": False, "nulls": True, "ranges": True, "duplicates": True}


def test_a_table_that_is_out_of_range_and_late_fails_its_checks(computed: World) -> None:
    path = Path(computed.repository.path) / "data" / "other.parquet"
    kept = path.read_bytes()
    rows = pl.read_parquet(path)
    bad = rows.with_columns(
        pl.lit(1.5).cast(pl.Float32).alias("conv_rate"), pl.col("event_timestamp") + timedelta(hours=1)
    )
    pl.concat([rows, bad, rows.with_columns(driver_id=None)], how="vertical_relaxed").write_parquet(path)
    found = computed.check("other")
    path.write_bytes(kept)
    assert {name: check.passed for name, check in found.items()} == {
        "freshness": False,
        "nulls": False,
        "ranges": False,
        "duplicates": True,
    }
    assert found["freshness"].severity == dg.AssetCheckSeverity.WARN
    assert "conv_rate" in str(found["ranges"].description)


@pytest.mark.long
def test_deletions_are_explicit_and_a_lost_registry_is_refused(computed: World) -> None:
    """One story, since each apply is a process of its own: 8 CPU s."""
    place, registry = Path(computed.repository.path), computed.repository.registry_key
    (place / "repo.py").write_text(re.sub(r"alone = .*\n", "", VIEWS))
    done = computed.run(registry)
    metadata = done.get_asset_materialization_events()[0].materialization.metadata
    assert metadata["left over"].value == "alone"
    assert "is kept" in str(metadata["plan"].value)
    stood = (place / "data" / "registry.db").read_bytes()
    done = computed.run(registry, config={"plan_only": True, "delete": ["alone"]})
    assert (done.success, done.get_asset_materialization_events()) == (True, [])
    (seen,) = computed.instance.fetch_observations(registry, limit=1).records
    assert seen.asset_observation is not None
    assert "feature service `alone`: is deleted" in str(seen.asset_observation.metadata["plan"].value)
    assert (place / "data" / "registry.db").read_bytes() == stood
    lost = (place / "data" / "registry.db").rename(place / "data" / "lost.db")
    done = computed.run(registry, fails=True)
    assert not done.success
    assert "the registry is empty; after the last apply it held" in str(done.all_events)
    shutil.copy(lost, place / "data" / "registry.db")
    deleted = computed.run(registry, config={"delete": ["alone"]})
    assert deleted.get_asset_materialization_events()[0].materialization.metadata["deleted"].value == 1
    assert not computed.run(computed.repository.key("services", "alone"), fails=True).success


@pytest.mark.long
@pytest.mark.parametrize(
    ("template", "source"), [("gcp", "BigQuerySource"), ("spark", "SparkSource"), ("milvus", "FileSource")]
)
def test_other_templates_of_feast_appear_without_their_engines(template: str, source: str, tmp_path: Path) -> None:
    """A description asks no store, so the graph is there before the credentials are."""
    from feast.repo_operations import init_repo

    init_repo("drivers", template, str(tmp_path / "drivers"))
    place = next((tmp_path / "drivers").rglob("feature_store.yaml")).parent
    FeatureRepo(path=str(place)).write_state_to_path(tmp_path / "state")
    repository = repository_at(place, tmp_path / "state")
    dg.Definitions.validate_loadable(repository_definitions(repository))
    assert source in {found.kind for found in repository.description.sources}
    assert len(repository.description.views) >= 2


@pytest.mark.long
def test_a_repository_without_views_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: empty\nprovider: local\nregistry: r.db\n")
    with pytest.raises(ConfigurationError, match="defines a view"):
        FeatureRepo(path=str(tmp_path)).write_state_to_path(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_description_survives_its_json(world: World) -> None:
    assert from_json(world.description.to_json()) == world.description
    with pytest.raises(ConfigurationError, match="another version"):
        from_json(json.dumps({**json.loads(world.description.to_json()), "version": 0}))
