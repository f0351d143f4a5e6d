"""A store's days put under quarantine: nothing is retrained until sales and features follow, by the graph's own runs."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from platform_assets import names
from platform_assets.answers import ask_for_retraining
from platform_assets.components.quarantine_masks import masks_of
from platform_assets.definitions import assemble
from platform_assets.errors import ConfigurationError
from platform_assets.quarantining import listed, put
from platform_assets.science.demand.features import demand_history, price_history
from platform_assets.science.demand.masks import Mask
from platform_assets.science.retraining import decide
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.simulate import Scenario, SimulatorConfig, simulate
from resources.deployment import Settings
from resources.table_revision import Revision
from sensors.evidence import gather

STARTS_ON, DAYS = date(2025, 1, 1), 100
FAULT_ON = date(2025, 3, 3)
NOW = datetime(2025, 4, 10, 23, tzinfo=UTC)  # an hour after the midnight in Berlin that ends the last day
VIEWS = [["features", "demand_history"], ["features", "price_history"], ["features", "season"]]
DATA = [["simulator", "lines"], ["simulator", "quarantine"], ["sales"]]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class World:
    """The project's own graph over one state directory; requests of its sensors are run in this process."""

    def __init__(self, state: Path, lines: pl.DataFrame) -> None:
        state.mkdir(parents=True, exist_ok=True)
        lines.write_parquet(state / "history.parquet")
        self.settings = Settings.local(state / "s", "simulator", data=state / "history.parquet", now=NOW)
        self.graph = assemble(self.settings)
        self.repository = self.graph.get_repository_def()
        self.job = self.graph.resolve_implicit_global_asset_job_def()
        self.instance = dg.DagsterInstance.ephemeral()
        self.resources: dict[str, Any] = {
            name: self.graph.resources[name]  # pyright: ignore[reportOptionalSubscript]
            for name in ("ledger", "clock", "tables", "source")
        }
        self.ledger, self.tables = self.resources["ledger"], self.resources["tables"]

    def run(self, keys: list[list[str]], tags: dict[str, str] | None = None) -> bool:
        span = {"dagster/asset_partition_range_start": "2025-01-01", "dagster/asset_partition_range_end": "2025-04-01"}
        return self.job.execute_in_process(
            asset_selection=[dg.AssetKey(key) for key in keys],
            instance=self.instance,
            tags={**span, **(tags or {})},
            run_config=QUIET,
            raise_on_error=False,
        ).success

    def context(self, *wanted: str) -> dg.SensorEvaluationContext:
        resources = {name: self.resources[name] for name in wanted}
        return dg.build_sensor_context(instance=self.instance, repository_def=self.repository, resources=resources)

    def asked(self) -> dg.RunRequest | None:
        """What the quarantine's sensor asks for."""
        sensor = self.repository.get_sensor_def("quarantine_sensor")
        found = sensor.evaluate_tick(self.context("ledger", "tables")).run_requests or []
        return found[0] if found else None

    def follow(self, request: dg.RunRequest) -> bool:
        return self.run([list(key.path) for key in request.asset_selection or []], dict(request.tags))

    def held(self) -> list[str]:
        """Why nothing is retrained, although somebody asks for it by hand."""
        policy = RetrainingPolicy.from_mapping({})
        evidence = gather(
            self.context("ledger", "clock", "tables"),
            "demand",
            policy,
            self.ledger,
            self.resources["clock"],
            self.tables,
        )
        decision = decide(evidence, policy)
        return [said for said in decision.reasons_against if "quarantine" in said]

    @property
    def sales(self) -> pl.DataFrame:
        return self.tables.scan("sales").collect().sort("period_on", "series_id", "known_at")

    def features(self, view: str = "demand_history") -> pl.DataFrame:
        return self.tables.scan(f"features/{view}").collect().sort("series_id", "event_at", "known_at")


def lines(*, is_faulty: bool) -> pl.DataFrame:
    scenarios = (Scenario("fault", FAULT_ON, FAULT_ON + timedelta(days=14)),) if is_faulty else ()
    return simulate(
        SimulatorConfig(stores=3, skus=20, days=DAYS, starts_on=STARTS_ON, seed=4, scenarios=scenarios)
    ).lines


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("sound"), lines(is_faulty=False))
    assert world.run([*DATA, *VIEWS])
    yield world
    world.instance.dispose()


def test_by_hand_lifted_and_refused_until_everything_follows(sound: World) -> None:
    world, before = sound, sound.sales
    assert world.held() == []
    with pytest.raises(ConfigurationError, match="no segment 'store_09'"):
        put(world.settings, "store_09", FAULT_ON, None, "wrong")
    with pytest.raises(ConfigurationError, match="reason is empty"):
        put(world.settings, "store_02", FAULT_ON, None, " ")
    with pytest.raises(ConfigurationError, match="is under quarantine"):
        put(world.settings, "store_02", FAULT_ON, None, "all well", lifts=True)
    last_on = FAULT_ON + timedelta(days=6)
    put(world.settings, "store_02", FAULT_ON, last_on, "the till was tested")
    ask_for_retraining(world.settings, "demand", "now")
    waits = "store_02 from 2025-03-03 to 2025-03-09 is under quarantine: added: the till was tested; waits until"
    assert world.held() == [f"{waits} sales and features have been rebuilt"]

    request = world.asked()
    assert request is not None
    assert {key.to_user_string() for key in request.asset_selection or []} == {
        "simulator/quarantine", "sales", *("/".join(view) for view in VIEWS),
    }  # fmt: skip
    months = [request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert months == ["2025-03-01", "2025-04-01"]
    assert world.run([["simulator", "quarantine"], ["sales"]])  # as an arrival would: the features do not follow
    assert world.held() == [
        f"{waits} features/demand_history, features/price_history, features/season have been rebuilt"
    ]
    assert world.asked() is None
    assert world.run(VIEWS)
    assert world.held() == []

    hidden = pl.col("series_id").str.starts_with("store_02/") & pl.col("period_on").is_between(FAULT_ON, last_on)
    assert_frame_equal(world.sales.filter(pl.col("known_at") < NOW), before)
    newest = world.sales.sort("known_at").unique(["series_id", "period_on"], keep="last")
    assert (
        newest.filter(pl.col("units").is_null()).height == newest.filter(hidden).height == before.filter(hidden).height
    )
    facts, clock = world.resources["source"], world.resources["clock"]
    issued = datetime(2025, 3, 3, 23, tzinfo=UTC)  # when the first wrong day was known
    assert masks_of(world.ledger, facts, clock.now()) == [Mask(issued, NOW, "store_02/")]
    (row,) = listed(world.settings)[0]["quarantines"]
    assert (row["segment"], row["status"], row["in_sales"]) == ("store_02", "standing", True)

    put(world.settings, "store_02", FAULT_ON, None, "the till was right", lifts=True)
    assert "lifted: the till was right" in world.held()[0]
    request = world.asked()
    assert request is not None
    assert world.follow(request)
    assert world.held() == []
    newest = world.sales.sort("known_at").unique(["series_id", "period_on"], keep="last")
    assert newest["units"].sum() == before["units"].sum()
    assert masks_of(world.ledger, facts, clock.now()) == []
    assert listed(world.settings)[0]["quarantines"][0]["status"] == "lifted"


@pytest.mark.long
def test_a_run_that_dies_before_it_has_written_holds_retrainings_and_the_repeated_one_leaves_the_fault_out(
    sound: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, write = World(tmp_path, lines(is_faulty=True)), Revision.write

    def killed(revision: Revision, *args: Any, **options: Any) -> int:
        if revision.name == names.SALES:
            raise MemoryError("killed")
        return write(revision, *args, **options)

    monkeypatch.setattr(Revision, "write", killed)
    assert not world.run([*DATA, *VIEWS])
    monkeypatch.undo()
    assert not world.tables.exists("sales")
    assert len(world.ledger.quarantines("simulator")) == 1
    (held,) = {said.split(" is ")[0] for said in world.held()}
    assert held == "store_01 from 2025-03-03 to 2025-03-16"
    assert world.run([*DATA, *VIEWS])
    assert world.held() == []
    assert len(world.ledger.quarantines("simulator")) == 1
    world.instance.dispose()

    # Every later day is described as in a world in which nobody ever knew what the store sold on these days.
    until = FAULT_ON + timedelta(days=13)
    hidden = pl.col("series_id").str.starts_with("store_01/") & pl.col("period_on").is_between(FAULT_ON, until)
    values = ["units", "price", "is_promoted", "stock", "lines", "tickets"]
    told = sound.sales.filter(pl.col("known_at") == pl.col("event_at"))
    unknown = told.with_columns(pl.when(~hidden).then(pl.col(name)).alias(name) for name in values)
    assert_frame_equal(world.sales, unknown)
    for view, function in (("demand_history", demand_history), ("price_history", price_history)):
        expected = function(unknown.lazy()).collect().sort("series_id", "event_at", "known_at")
        assert_frame_equal(world.features(view).select(expected.columns), expected)
