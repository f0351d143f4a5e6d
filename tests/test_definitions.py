"""The assembled graph: reviewed as a whole, described for people, and the same through the command line's lineage.

Rewrite tests/golden/graph.json after a review: UPDATE_GOLDEN=1 make test
"""

import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from platform_assets import names
from platform_assets.answers import impact_of
from platform_assets.components.model_assets import model_names
from platform_assets.definitions import assemble
from platform_assets.errors import ConfigurationError
from resources.deployment import Settings

SHIPPED = ("data", "features", "demand", "demand_deep", "dormant", "reports")  # groups
GOLDEN = Path(__file__).parent / "golden" / "graph.json"
WINDOWS = {"simulator": (date(2024, 1, 1), date(2025, 12, 30)), "online_retail": (date(2009, 12, 1), date(2011, 12, 9))}


def settings(source: str) -> Settings:
    """Of a state directory that does not exist: loading opens nothing."""
    return Settings.local(Path("/nonexistent/state"), source, None, window=WINDOWS[source])


@cache
def graph(source: str) -> dg.Definitions:
    return assemble(settings(source))


def _told(policy: dg.FreshnessPolicy) -> str:
    windows: Any = policy
    return f"warns after {windows.warn_window.to_timedelta()}, fails after {windows.fail_window.to_timedelta()}"


def snapshot(source: str) -> dict[str, Any]:
    """What a reviewer must see change: assets, their dependencies, checks, partitions and automation; jobs and sensors."""
    definitions = graph(source)
    nodes = definitions.resolve_asset_graph()
    assets = {}
    for node in sorted(nodes.asset_nodes, key=lambda node: node.key):
        checks = [nodes.get(key) for key in sorted(nodes.get_check_keys_for_assets({node.key}))]
        assets[node.key.to_user_string()] = {
            "group": node.group_name,
            "reads": sorted(key.to_user_string() for key in node.parent_keys),
            "checks": [f"{check.key.name}{' (blocking)' if check.blocking else ''}" for check in checks],
            **({"partitions": "monthly"} if node.partitions_def else {}),
            **({"automation": node.automation_condition.get_label()} if node.automation_condition else {}),
            **({"freshness": _told(node.freshness_policy)} if node.freshness_policy else {}),
        }
    return {
        "assets": assets,
        "jobs": sorted(job.name for job in definitions.jobs or []),
        "sensors": {s.name: s.default_status.value for s in definitions.sensors or []},  # pyright: ignore[reportAttributeAccessIssue]
    }


def shipped(found: dict[str, Any]) -> dict[str, Any]:
    """Of a snapshot, what does not belong to models that somebody added: those are theirs to review."""
    added = set(model_names()) - set(SHIPPED)

    def is_ours(name: str) -> bool:
        return not any(
            name.startswith(f"{model}/") or name in {names.retraining_job(model), f"{model}_retraining"}
            for model in added
        )

    assets = {
        key: {**about, "reads": [read for read in about["reads"] if is_ours(read)]}
        for key, about in found["assets"].items()
        if is_ours(key)
    }
    return {
        "assets": assets,
        "jobs": [job for job in found["jobs"] if is_ours(job)],
        "sensors": {sensor: status for sensor, status in found["sensors"].items() if is_ours(sensor)},
    }


def test_the_graph_is_the_reviewed_one() -> None:
    found = shipped(snapshot("simulator"))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text()), "review the difference, then UPDATE_GOLDEN=1 make test"


def test_another_source_changes_its_own_assets_alone() -> None:
    def but_for_the_source(source: str) -> set[str]:
        assets = snapshot(source)["assets"]
        return {json.dumps([key, {**about, "freshness": None}]) for key, about in assets.items()}

    ours, other = but_for_the_source("simulator"), but_for_the_source("online_retail")
    told = json.dumps(sorted(ours ^ other))
    for text in sorted(ours ^ other):
        key, about = json.loads(text)
        mine = key.startswith(("simulator/", "online_retail/")) or key in {"sales", "plans"}
        assert mine, told
        assert about["group"] == "data"


def test_every_asset_is_described_for_people() -> None:
    for source in WINDOWS:
        for spec in graph(source).resolve_all_asset_specs():
            key = spec.key.to_user_string()
            assert spec.group_name != "default", key
            assert spec.kinds, key
            assert spec.description, key
            assert len(spec.description) > 40, f"{key}: say what one row is, its key, as of when, who reads it"
            assert spec.owners or spec.group_name not in SHIPPED, key


def test_groups_stand_in_the_order_of_the_flow() -> None:
    """No asset of data reads a feature, no feature reads a model."""
    order = {"data": 0, "features": 1, **dict.fromkeys(model_names(), 2), "reports": 3}
    assets = snapshot("simulator")["assets"]
    for key, about in assets.items():
        for read in about["reads"]:
            assert order[assets[read]["group"]] <= order[about["group"]], f"{key} reads {read}"


def moves_with_arrivals(key: str, about: dict[str, Any], reads: dict[str, set[str]]) -> bool:
    """Lines and sales, and of what is computed from sales the features, their online loads, forecasts and monitoring."""
    if key == "sales" or key.endswith("/lines"):
        return True
    first, _, last = key.partition("/")
    return "sales" in reads[key] and (
        first in {"features", "online"} or last in {"predictions", "monitoring", "performance"}
    )


def upstream(assets: dict[str, Any]) -> dict[str, set[str]]:
    found = {key: set(about["reads"]) for key, about in assets.items()}
    for _ in assets:
        found = {key: reads.union(*(found[read] for read in reads)) for key, reads in found.items()}
    return found


def test_what_moves_with_arrivals_is_stale_when_they_are_overdue_and_nothing_else() -> None:
    """A training set ages by its retraining policy; plans, and the view that reads them, come without a rhythm."""
    assets = snapshot("simulator")["assets"]
    reads = upstream(assets)
    moving = {key for key, about in assets.items() if moves_with_arrivals(key, about, reads)}
    assert {key for key, about in assets.items() if "freshness" in about} == moving
    assert {"features/season", "online/demand_history", "dormant/predictions"} <= moving
    assert not {"features/offer", "online/offer", "demand/training_set"} & moving
    assert {assets[key]["freshness"] for key in moving} == {
        "warns after 1 day, 9:00:00, fails after 2 days, 9:00:00",
    }


def test_a_source_that_ended_is_never_stale() -> None:
    assert not [key for key, about in snapshot("online_retail")["assets"].items() if "freshness" in about]


def test_every_sensor_runs_by_default() -> None:
    """Dagster's own automation sensor starts stopped, and nobody would notice that nothing keeps itself current."""
    assert set(snapshot("simulator")["sensors"].values()) == {"RUNNING"}


def test_a_training_starts_for_a_reason_only() -> None:
    assets = snapshot("simulator")["assets"]
    for key, about in assets.items():
        stage = key.rpartition("/")[2]
        if stage in {"training_set", "candidate", "evaluation", "champion"}:
            assert "automation" not in about, f"{key}: its retraining policy asks for it"


def test_a_model_waits_for_the_views_of_its_service_alone() -> None:
    assets = snapshot("simulator")["assets"]
    for stage in ("training_set", "predictions"):
        assert "features/offer" in assets[f"demand/{stage}"]["reads"]
        assert "features/offer" not in assets[f"dormant/{stage}"]["reads"]


@pytest.mark.parametrize(
    ("source", "now", "on", "last"),
    [
        ("simulator", None, datetime(2027, 5, 9, tzinfo=UTC), "2027-06-01"),  # a feed that goes on after the demo
        ("simulator", datetime(2026, 1, 20, tzinfo=UTC), datetime(2027, 5, 9, tzinfo=UTC), "2026-02-01"),
        ("simulator", datetime(2030, 1, 20, tzinfo=UTC), datetime(2027, 5, 9, tzinfo=UTC), "2030-02-01"),
        ("online_retail", None, datetime(2027, 5, 9, tzinfo=UTC), "2011-12-01"),  # it has ended
    ],
)
def test_the_months_are_those_in_which_a_file_may_arrive(
    source: str, now: datetime | None, on: datetime, last: str
) -> None:
    """The end of a demo's file was the end of its graph: a month later every file that came was unsettled for ever."""
    with freeze_time(on):
        graph = assemble(replace(settings(source), now=now)).resolve_asset_graph()
        months = graph.get(dg.AssetKey("sales")).partitions_def
        assert months is not None
        assert months.get_last_partition_key() == last


def test_loading_opens_nothing() -> None:
    graph("simulator")
    assert not Path("/nonexistent").exists()


# --- lineage ---------------------------------------------------------------------------------------------------------


def test_a_price_reaches_features_models_and_forecasts() -> None:
    answer, text = impact_of(settings("simulator"), "sales.price")
    impact = answer["impact"]
    assert set(impact["features/price_history"]) == {
        "last_price",
        "price_median_28",
        "price_median_91",
        "price_ratio_91",
        "price_ratio_364",
    }
    assert "features/demand_history" not in impact
    for model in ("demand", "demand_deep"):
        assert {"last_price", "target_price_ratio", "target_price_step"} <= set(impact[f"{model}/training_set"])
        assert "planned_price" not in impact[f"{model}/training_set"]
        assert impact[f"{model}/candidate"] == ["model"]
        assert impact[f"{model}/predictions"] == ["q015", "q250", "q500", "q750", "q950", "q990"]
    assert "features/price_history: last_price" in text


def test_stock_reaches_whatever_counts_demand_and_the_label() -> None:
    """A period with nothing to sell is unknown demand: no window counts it, and it is no label."""
    impact = impact_of(settings("simulator"), "sales.stock")[0]["impact"]
    assert {"mean_28", "level", "stock_out_share_28"} <= set(impact["features/demand_history"])
    assert "units" in impact["demand/training_set"]
    assert "is_dormant" in impact["dormant/training_set"]


def test_a_column_of_the_file_reaches_forecasts_through_sales() -> None:
    impact = impact_of(settings("online_retail"), "online_retail/lines.quantity")[0]["impact"]
    assert "units" in impact["sales"]
    assert "mean_28" in impact["features/demand_history"]
    assert impact["dormant/predictions"] == ["probability"]


def test_a_model_without_prices_is_not_reached_by_them() -> None:
    impact = impact_of(settings("simulator"), "plans.planned_price")[0]["impact"]
    assert "features/offer" in impact
    assert "dormant/candidate" not in impact


@pytest.mark.parametrize("column", ["sales.prise", "price", "nowhere.price"])
def test_an_unknown_column_is_an_error_that_lists_the_known(column: str) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing is known to depend on") as error:
        impact_of(settings("simulator"), column)
    assert "sales" in str(error.value)
