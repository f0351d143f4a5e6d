"""Feature views as assets: months add up to the whole, checks find faults, the online store gets the latest rows."""

import runpy
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox
from polars.testing import assert_frame_equal

from platform_assets.components import feature_views, source_window
from platform_assets.components.feature_steps import faults, freshness, function_of
from platform_assets.components.feature_views import CHECKS, FeatureView, ViewSpec, column_lineage, view_definitions
from platform_assets.components.source_window import SourceWindow
from platform_assets.defs.features.registry.assets import feature_registry
from platform_assets.science.demand import columns
from resources.clock import Clock
from resources.feature_store import FeatureStoreResource
from resources.table_io import DeltaIOManager
from resources.tables import Tables
from tests.components.code_copy import copied_code, edit

ROOT = Path(__file__).parents[2]
WINDOW = SourceWindow("shop", date(2024, 1, 1), date(2024, 3, 31))
ENDS_AT = datetime(2024, 4, 1, 12, tzinfo=UTC)
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SCIENCE = "platform_assets.science.demand"
FUNCTIONS = {
    "demand_history": f"{SCIENCE}.features:demand_history",
    "price_history": f"{SCIENCE}.features:price_history",
    "season": f"{SCIENCE}.season:season",
    "offer": f"{SCIENCE}.offer:offer",
}


def spec_of(view: str) -> ViewSpec:
    reads = "plans" if view == "offer" else "sales"
    return ViewSpec(view, FUNCTIONS[view], reads, f"One row of {view}.", 98, 35)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def sales() -> pl.DataFrame:
    """Three series over three months of open weekdays, one of them corrected a week later."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for series in ("1/a", "1/b", "2/a"):
        for n in range(91):
            day = date(2024, 1, 1) + timedelta(days=n)
            if day.weekday() == 6 or rng.random() < 0.3:
                continue
            units = float(rng.integers(0, 9))
            for known in (0, 7) if rng.random() < 0.05 else (0,):
                rows.append(
                    {
                        "series_id": series,
                        "period_on": day,
                        "event_at": midnight(day),
                        "known_at": midnight(day + timedelta(days=known)),
                        "units": units + known,
                        "price": 2.5 if units else None,
                        "is_promoted": bool(rng.random() < 0.2),
                        "stock": None,
                        "lines": int(units),
                        "tickets": int(units),
                    }
                )
    times = {"event_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema_overrides=times | {"stock": pl.Float64, "lines": pl.Int64, "tickets": pl.Int64})


def plans(count: int = 60) -> pl.DataFrame:
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(count)]
    return pl.DataFrame(
        {
            "series_id": ["1/a"] * count,
            "target_on": [day + timedelta(days=28) for day in days],
            "event_at": [midnight(day) for day in days],
            "known_at": [midnight(day) for day in days],
            "planned_price": [2.0] * count,
            "is_planned_promotion": [True] * count,
            "arrived_on": days,
        },
        schema_overrides={"event_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
    )


def resources_at(folder: Path) -> dict[str, Any]:
    tables = Tables(folder / "tables")
    return {
        "tables": tables,
        "io_manager": DeltaIOManager(tables),
        "source": SimpleNamespace(period_days=1, plans={}),
        "clock": Clock(None),
        "feature_store": FeatureStoreResource(
            state=str(folder / "feast"), tables=str(folder / "tables"), ends_at=ENDS_AT.isoformat()
        ),
    }


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dg.JobDefinition, dg.DagsterInstance, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("state")
    resources = resources_at(folder)
    resources["tables"].write("sales", sales(), partition_by="period_on")
    resources["tables"].write("plans", plans(), partition_by="arrived_on")
    defs = dg.Definitions.merge(
        dg.Definitions(assets=[feature_registry], resources=resources),
        *(view_definitions(spec_of(view), WINDOW) for view in columns.VIEWS),
    )
    dg.Definitions.validate_loadable(defs)
    with dg.DagsterInstance.ephemeral() as instance:
        yield defs.resolve_implicit_global_asset_job_def(), instance, resources


def materialize(world: Any, keys: list[list[str]], first: str | None = None, last: str | None = None) -> Any:
    job, instance, _ = world
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last or first}
    return job.execute_in_process(
        asset_selection=[dg.AssetKey(key) for key in keys],
        instance=instance,
        tags={name: value for name, value in tags.items() if value},
        run_config=SILENT,
        raise_on_error=False,
    )


@pytest.fixture(scope="module")
def loaded(world: Any) -> Any:
    """All months in one run, the registry and the online loads in a second one."""
    done = materialize(world, [["features", view] for view in columns.VIEWS], "2024-01-01", "2024-03-01")
    assert done.success
    assert [c.description for c in done.get_asset_check_evaluations() if not c.passed] == []
    assert materialize(world, [["feature_registry"], *(["online", view] for view in columns.VIEWS)]).success
    return world


@pytest.mark.parametrize("view", columns.VIEWS)
def test_months_of_one_run_are_what_the_function_says_of_everything(loaded: Any, view: str) -> None:
    tables = loaded[2]["tables"]
    spec = spec_of(view)
    key = [*spec.keys, "event_at", "known_at"]
    whole = function_of(spec)(tables.scan(spec.reads), period_days=1).collect().sort(key)
    stored = tables.scan(f"features/{view}").collect().sort(key)
    assert whole.height > 20
    assert_frame_equal(stored.select(whole.columns), whole)
    assert stored.columns[-1] == feature_views.PARTITIONED_BY[spec.reads]


def test_one_month_again_changes_nothing(loaded: Any) -> None:
    tables = loaded[2]["tables"]
    before = tables.scan("features/demand_history").collect().sort("series_id", "known_at", "event_at")
    assert materialize(loaded, [["features", "demand_history"]], "2024-02-01").success
    after = tables.scan("features/demand_history").collect().sort("series_id", "known_at", "event_at")
    assert_frame_equal(before, after)


def test_the_online_store_serves_what_the_offline_store_knows_now(loaded: Any) -> None:
    store = loaded[2]["feature_store"]
    now = sales()["event_at"].max()
    today = (date(2024, 3, 31) - date(1970, 1, 1)).days
    rows = pl.DataFrame({"series_id": ["1/a", "1/b", "2/a"]}).join(
        pl.DataFrame({"target_day": [today + 2, today + 9]}), how="cross"
    )
    served = store.online(rows, "demand_v1", now=now)
    known = store.historical(rows.with_columns(issued_at=pl.lit(now)), "demand_v1").drop("issued_at")
    assert_frame_equal(served, known)
    assert served["level"].null_count() == 0


def test_a_source_without_plans_has_an_empty_offer_that_joins_to_nulls(tmp_path: Path) -> None:
    resources = resources_at(tmp_path)
    for view in ("demand_history", "price_history", "season"):
        frame = function_of(spec_of(view))(sales().lazy(), period_days=1).collect()
        resources["tables"].write(f"features/{view}", frame)
    resources["tables"].write("plans", plans().clear(), partition_by="arrived_on")
    defs = dg.Definitions.merge(
        dg.Definitions(resources=resources, assets=[feature_registry]), view_definitions(spec_of("offer"), WINDOW)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        world = (defs.resolve_implicit_global_asset_job_def(), instance, resources)
        assert materialize(world, [["features", "offer"]], "2024-01-01", "2024-03-01").success
        assert materialize(world, [["feature_registry"], ["online", "offer"]]).success
    rows = pl.DataFrame({"series_id": ["1/a"], "target_day": [20000], "issued_at": [datetime(2024, 3, 1, tzinfo=UTC)]})
    joined = resources["feature_store"].historical(rows, "demand_v1")
    assert joined["planned_price"].to_list() == [None]
    assert joined["level"].null_count() == 0


def graph_of(resources: dict[str, Any]) -> dg.Definitions:
    """The views, the services and the registry, as the code says now."""
    defs = ROOT / "platform_assets" / "defs" / "features"
    return dg.Definitions.merge(
        dg.Definitions(
            assets=[
                runpy.run_path(str(defs / "registry" / "assets.py"))["feature_registry"],
                *runpy.run_path(str(defs / "services" / "assets.py"))["feature_services"],
                reads_offer,
                reads_season,
            ],
            resources=resources,
        ),
        *(view_definitions(spec_of(view), WINDOW) for view in columns.VIEWS),
    )


@dg.asset(deps=[dg.AssetKey(["features", "offer"]), dg.AssetKey(["services", "demand_v1"])], code_version="1")
def reads_offer() -> None: ...


@dg.asset(deps=[dg.AssetKey(["features", "season"]), dg.AssetKey(["services", "dormant_v1"])], code_version="1")
def reads_season() -> None: ...


def stale(graph: dg.Definitions, instance: dg.DagsterInstance) -> set[str]:
    """What Dagster shows as stale."""
    nodes = graph.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, nodes, LoadingContextForTest(instance))
    return {
        key.to_user_string()
        for key in nodes.materializable_asset_keys
        for partition in (instance.get_materialized_partitions(key) if nodes.get(key).is_partitioned else {None})
        if resolver.get_status(key, partition) == StaleStatus.STALE
    }


OF_OFFER = {"features/offer", "online/offer", "services/demand_v1"}
OF_SEASON = {"features/season", "online/season", "services/demand_v1", "services/dormant_v1"}
EDITS = (
    # The definitions of two views, and the function that computes one of them.
    ("feature_repo/views/offer.py", "days=400", "days=401", {*OF_OFFER, "feature_registry"}),
    ("feature_repo/views/season.py", "days=400", "days=401", {*OF_SEASON, "feature_registry"}),
    ("platform_assets/science/demand/offer.py", "return plans.select(", "return plans.limit(9).select(", OF_OFFER),
)


def test_editing_one_view_makes_exactly_its_dependents_stale(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once what its code version is part of; what reads only its rows, once these are made anew."""
    _, instance, resources = loaded
    code = copied_code(tmp_path, monkeypatch)
    monkeypatch.setattr(feature_views, "REPOSITORY", code / "feature_repo")

    def made(*keys: str) -> set[str]:
        """What is stale after a run of these assets."""
        graph = graph_of(resources)
        world = (graph.resolve_implicit_global_asset_job_def(), instance, resources)
        months = [key.split("/") for key in keys if key.startswith("features/")]
        assert not months or materialize(world, months, "2024-01-01", "2024-03-01").success
        assert materialize(world, [key.split("/") for key in keys if not key.startswith("features/")]).success
        return stale(graph, instance)

    assert made("services/demand_v1", "services/dormant_v1", "reads_offer", "reads_season") == set()
    for file, old, new, expected in EDITS:
        edit(code / file, old, new)
        assert stale(graph_of(resources), instance) == expected
        if expected == OF_OFFER:
            assert made(*expected) == {"reads_offer"}
        edit(code / file, new, old)
    assert made(*OF_OFFER) == set()  # as it was made before


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        ("keys", {"series_id": pl.lit(None, pl.String)}),
        ("one_row", None),
        ("times", {"known_at": pl.col("known_at") - timedelta(days=3)}),
        ("values", {"zero_share_28": pl.lit(1.5)}),
        ("values", {"mean_7": pl.lit(float("inf"))}),
        ("values", {"level": pl.lit(0.0)}),
        ("values", {"recent_units": pl.lit([float("nan")], pl.List(pl.Float32))}),
    ],
)
def test_each_check_finds_its_fault_and_only_that(loaded: Any, check: str, spoil: dict[str, pl.Expr] | None) -> None:
    spec = spec_of("demand_history")
    sound = loaded[2]["tables"].scan("features/demand_history").collect()
    row = sound.head(1)
    spoilt = pl.concat([sound, row]) if spoil is None else pl.concat([row.with_columns(**spoil), sound[1:]])
    counts = {name: offenders.collect().height for name, offenders in faults(spec, spoilt.lazy()).items()}
    assert counts == {name: int(name == check) for name in CHECKS}


@pytest.mark.parametrize(
    ("view", "now", "ends_at", "hours_late"),
    [
        ("demand_history", ENDS_AT + timedelta(days=900), ENDS_AT, None),  # it ended, and all of it is there
        # Its last row is of the midnight before a Sunday.
        ("demand_history", ENDS_AT + timedelta(hours=21), None, None),
        ("demand_history", ENDS_AT + timedelta(hours=22), None, 58),
        ("season", ENDS_AT + timedelta(hours=22), None, 58),
        ("demand_history", ENDS_AT + timedelta(days=900), ENDS_AT + timedelta(days=3), 108),
        ("offer", ENDS_AT + timedelta(days=900), None, None),  # announcements have no rhythm
    ],
)
def test_a_view_is_late_when_two_arrivals_were_missed(
    loaded: Any, view: str, now: datetime, ends_at: datetime | None, hours_late: int | None
) -> None:
    store = SimpleNamespace(ends_at=ends_at.isoformat() if ends_at else "")
    resources = SimpleNamespace(clock=Clock(now), feature_store=store, source=SimpleNamespace(period_days=1))
    found = freshness(spec_of(view), loaded[2]["tables"].scan(f"features/{view}"), resources)
    assert found.is_clean is (hours_late is None)
    if hours_late is not None:
        assert found.figures["age in hours"] == hours_late
        assert found.figures["limit in hours"] == 57


def test_a_failing_check_names_the_rows_and_stops_the_run(tmp_path: Path) -> None:
    resources = resources_at(tmp_path)
    resources["tables"].write("sales", sales(), partition_by="period_on")
    resources["tables"].write(
        "plans", plans().with_columns(known_at=pl.col("known_at") - timedelta(days=1)), partition_by="arrived_on"
    )
    defs = dg.Definitions.merge(dg.Definitions(resources=resources), view_definitions(spec_of("offer"), WINDOW))
    with dg.DagsterInstance.ephemeral() as instance:
        world = (defs.resolve_implicit_global_asset_job_def(), instance, resources)
        done = materialize(world, [["features", "offer"]], "2024-01-01", "2024-03-01")
    failed = [check for check in done.get_asset_check_evaluations() if not check.passed]
    assert not done.success
    assert [check.check_name for check in failed] == ["times"]
    assert "features/offer: 60 rows, such as {'series_id': '1/a'" in (failed[0].description or "")


def test_every_folder_agrees_with_the_feast_repository() -> None:
    """The function stands in defs.yaml for the graph and in a tag for Feast, as neither may load the other."""
    import yaml

    from feature_repo import services

    folder = ROOT / "platform_assets" / "defs" / "features"
    said = {path.parent.name: yaml.safe_load(path.read_text()) for path in folder.glob("*/defs.yaml")}
    assert set(said) == set(columns.VIEWS)
    for view, document in said.items():
        assert document["attributes"]["function"] == getattr(services, view).tags["computed_by"]
        assert document["attributes"]["online_days"] <= getattr(services, view).ttl.days


@pytest.mark.parametrize("view", columns.VIEWS)
def test_every_column_has_a_lineage_that_exists(view: str) -> None:
    known = {"sales": {*sales().columns}, "plans": {*plans().columns}}
    lineage = column_lineage(spec_of(view)).deps_by_column
    assert set(lineage) == {*spec_of(view).keys, "event_at", "known_at", *columns.VIEWS[view]}
    for deps in lineage.values():
        for dep in deps:
            assert dep.column_name in known[dep.asset_key.path[0]]


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"function": f"{SCIENCE}.features:demand_histry"}, "features.py defines no `demand_histry`"),
        ({"function": f"{SCIENCE}.nowhere:season"}, "there is no module platform_assets.science.demand.nowhere"),
    ],
)
def test_a_misspelt_function_is_refused_with_file_and_line(attributes: dict[str, Any], says: str) -> None:
    source_window.set_window("shop", WINDOW.starts_on, WINDOW.ends_on)
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.scaffold_component(
            component_cls=FeatureView,
            defs_path="features/demand_history",
            defs_yaml_contents={
                "type": "platform_assets.components.feature_views.FeatureView",
                "attributes": {"row": "One row.", **attributes},
            },
        )
        with (
            pytest.raises(ComponentTreeException) as error,
            sandbox.load_component_and_build_defs(defs_path=folder),
        ):
            pass
        told = "".join(traceback.format_exception(error.value))
        assert says in told
        assert "defs.yaml:2" in told


def test_building_the_assets_imports_neither_polars_nor_feast() -> None:
    code = (
        "import sys; from datetime import date\n"
        "from platform_assets.components.feature_views import ViewSpec, view_definitions\n"
        "from platform_assets.components.source_window import SourceWindow\n"
        "import platform_assets.defs.features.registry.assets, resources.feature_store\n"
        f"spec = ViewSpec('season', '{FUNCTIONS['season']}', 'sales', 'One row.', 98, 35)\n"
        "view_definitions(spec, SourceWindow('shop', date(2024, 1, 1), date(2024, 3, 31)))\n"
        "print([m for m in ('polars', 'feast', 'deltalake', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stderr
