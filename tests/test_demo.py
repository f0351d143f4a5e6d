"""The main job end to end on a small world, through the command line: from a file to a champion, and every question about it."""

import io
import itertools
import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from platform_assets import cli, locate, names
from platform_assets.components import source_window
from platform_assets.components.model_assets import STAGES, model_names
from platform_assets.definitions import assemble
from platform_assets.demo import LAUNCHER, alone, failures, tidy
from platform_assets.errors import ConfigurationError, LedgerError, ModelError, PerennialError, TableError
from platform_assets.locate import current
from resources.clock import Clock
from resources.ledger import Ledger
from tests.small import LAST_ON, write_world

ISSUED_AT = datetime(2025, 2, 23, 23, tzinfo=UTC)  # the midnight in Berlin that ends the last day
QUANTILES = ["q015", "q250", "q500", "q750", "q950", "q990"]


@dataclass
class Demo:
    """A state directory after one demo, and what the demo printed."""

    state: Path
    world: Path
    printed: str

    def ask(self, *arguments: str) -> Result:
        """A command on this state; an error made on purpose is raised."""
        return invoke(*arguments, "--state", str(self.state))

    def answer(self, *arguments: str) -> Any:
        return json.loads(self.ask(*arguments, "--json").stdout)

    @cached_property
    def settings(self) -> Any:
        return current(self.state)

    @property
    def ledger(self) -> Ledger:
        return self.settings.ledger()

    def table(self, name: str) -> pl.DataFrame:
        return self.settings.tables().scan(name).collect()

    def champion(self, model: str) -> str:
        found = self.ledger.champion(model)
        assert found is not None
        return found.version


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=True)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    world = write_world(folder / "world.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locate, "STATES", folder / "states")  # else the user's last demo would be forgotten
        printed = invoke("demo", "--data", str(world), "--source", "simulator", "--state", str(folder / "state"))
        yield Demo(folder / "state", world, printed.output)


@pytest.fixture(autouse=True)
def forgotten(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question comes to a new process, which has not assembled a graph."""
    monkeypatch.setattr(source_window, "_active", None)


def test_every_stage_of_every_model_was_made(demo: Demo) -> None:
    for model in model_names():
        for stage in STAGES:
            assert re.search(rf"{model}/{stage}: \d+\.\d s", demo.printed), f"{model}/{stage}"
    assert "FAILED" not in demo.printed
    assert re.search(r"did: data, demand, .*; \d+ s, peak memory \d\.\d+ GB", demo.printed)


def test_lines_in_are_lines_accepted_and_lines_set_aside(demo: Demo) -> None:
    lines, aside = demo.table("simulator/lines"), demo.table("simulator/quarantine")
    given = pl.read_parquet(demo.world)
    assert lines.height == given.height
    assert demo.table("sales").height + aside["file_row"].n_unique() == lines.height
    assert demo.table("sales")["series_id"].n_unique() == given.select("store", "sku").n_unique()


def test_demand_has_a_champion_that_earned_it(demo: Demo) -> None:
    champion = demo.ledger.champion("demand")
    assert champion is not None
    (decision,) = demo.ledger.decisions("demand", kind="gate")
    assert decision.answer == "better"
    assert champion.version == "1"
    assert champion.from_version is None
    improvement = champion.evidence["improvement"]
    assert 0 < improvement["low"] <= improvement["estimate"] <= improvement["high"] < 1
    assert champion.evidence["against"] in champion.reason
    assert not champion.evidence["is_against_champion"]


def test_each_other_model_has_a_champion_or_a_recorded_refusal(demo: Demo) -> None:
    for model in model_names():
        (decision,) = demo.ledger.decisions(model, kind="gate")
        champion = demo.ledger.champion(model)
        assert (champion is not None) == bool(decision.evidence["promotes"]), model
        assert decision.reasons


def test_the_registry_mirrors_the_ledger(demo: Demo) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(demo.settings.mlflow_uri)
    for model in model_names():
        champion = demo.ledger.champion(model)
        aliases = {name: str(version) for name, version in client.get_registered_model(model).aliases.items()}
        assert aliases == ({"champion": champion.version} if champion else {})


def test_nothing_was_learned_from_the_rows_that_judge(demo: Demo) -> None:
    for model in model_names():
        (decision,) = demo.ledger.decisions(model, kind="gate")
        judged_from = datetime.fromisoformat(decision.evidence["judged_from"])
        manifest = demo.settings.registry().manifest(model, "1")
        assert manifest.evaluation.cut_at <= judged_from
        assert manifest.shipped.cut_at > judged_from
        rows = demo.table(f"{model}/training_set")
        judged = rows.filter(pl.col("purpose") == "evaluation")
        assert judged["issued_at"].min() == judged_from
        fitted = rows.filter((pl.col("purpose") == "fit") & (pl.col("label_known_at") <= manifest.evaluation.cut_at))
        assert fitted.height == manifest.evaluation.row_count
        assert (fitted["label_known_at"] <= judged_from).all()
        assert (rows.filter(pl.col("label_known_at").is_not_null())["label_known_at"] > judged_from).any()
        assert rows.filter(pl.col("label_known_at") <= pl.col("issued_at")).is_empty()


def test_the_champion_said_the_coming_28_days_of_every_live_series(demo: Demo) -> None:
    said = demo.table("demand/predictions")
    assert set(said["model_version"]) == {"1"}
    assert set(said["issued_at"]) == {ISSUED_AT}
    assert set(said["target_on"]) == {LAST_ON + timedelta(days=ahead) for ahead in range(1, 29)}
    assert (said["horizon_days"] == (said["target_on"] - LAST_ON).dt.total_days()).all()
    sales = demo.table("sales").filter(pl.col("units") > 0)
    live = sales.filter(pl.col("period_on") > LAST_ON - timedelta(days=91))["series_id"].unique()
    assert set(said["series_id"]) == set(live)
    assert said.height == 28 * live.len()
    assert said.select(QUANTILES).null_count().sum_horizontal().item() == 0
    for low, high in itertools.pairwise(QUANTILES):
        assert (said[low] <= said[high]).all()


def test_why_tells_version_time_data_and_reason(demo: Demo) -> None:
    text = demo.ask("why", "demand").stdout
    assert re.search(r"demand@1 is champion since \d{4}-\d\d-\d\d \d\d:\d\d UTC \(promotion\)", text)
    assert "trained: first training: the demo" in text
    assert "demand/training_set v0" in text
    answer = demo.answer("why", "demand")
    assert answer["champion"]["version"] == "1"
    assert answer["champion"]["reason"] in text
    assert answer["champion"]["before"] is None
    assert set(answer["champion"]["data"]) == {"tables", "rows", "code"}
    assert answer["champion"]["improvement"]["low"] > 0
    assert answer["state"] == str(demo.state)


def test_why_of_a_refused_model_tells_the_refusal(demo: Demo, tmp_path: Path) -> None:
    """In a state of its own, in which the gate has refused the only candidate."""
    (tmp_path / "source.json").write_bytes((demo.state / "source.json").read_bytes())
    ledger = current(tmp_path).ledger()
    at = datetime(2025, 3, 1, tzinfo=UTC)
    ledger.record_decision(
        "gate", "dormant", "undecided", reasons=["too little"], evidence={"version": "1", "promotes": False}, at=at
    )
    text = invoke("why", "dormant", "--state", str(tmp_path)).stdout
    assert "dormant has no champion yet" in text
    assert "refused: dormant@1 (undecided): too little" in text
    with pytest.raises(TableError, match="dormant has no champion: what was trained was refused"):
        invoke("predict", "dormant", "--state", str(tmp_path))


def test_why_of_an_unknown_model_names_the_known(demo: Demo) -> None:
    with pytest.raises(ConfigurationError, match="no model 'demnad'; known: demand, "):
        demo.ask("why", "demnad")


def test_predict_prints_the_forecast_with_the_stock_that_the_costs_imply(demo: Demo) -> None:
    series = demo.table("demand/predictions")["series_id"].unique().sort()[0]
    table = pl.read_csv(io.StringIO(demo.ask("predict", "demand", "--series", series, "--csv").stdout))
    assert table.height == 28
    assert set(table["series_id"]) == {series}
    # A unit too many costs 10%, one too few 30%: the level is 30 / 40 = .75.
    assert ((table["stock_level"] - table["q750"]).abs() <= 0.5 + 1e-6).all()
    text = demo.ask("predict", "demand", "--series", series).stdout
    assert "one unit too many costs 10% of its price, one too few 30%" in text
    assert "issued 2025-02-24 00:00:00+01:00" in text
    assert f"add up to {table['q500'].sum():.1f}, the stock levels to {table['stock_level'].sum():g}" in text
    assert len(demo.answer("predict", "demand", "--series", series)["predictions"]) == 28


def test_predict_of_an_unknown_series_names_some_that_there_are(demo: Demo) -> None:
    with pytest.raises(ConfigurationError, match=r"says nothing about series .*misspelt") as error:
        demo.ask("predict", "demand", "--series", "store_09/sku_0000")
    assert "did you mean store_0" in str(error.value)


def test_impact_answers_on_a_state(demo: Demo) -> None:
    assert "demand/predictions" in demo.answer("impact", "sales.price")["impact"]


def test_the_first_champion_cannot_be_rolled_back(demo: Demo) -> None:
    with pytest.raises(LedgerError):
        demo.ask("rollback", "demand")
    assert demo.champion("demand") == "1"


def test_a_retraining_asked_for_by_hand_is_launched_once_with_its_reason(demo: Demo) -> None:
    answer = demo.answer("retrain", "demand", "--reason", "new shelf plan")
    graph = assemble(demo.settings)
    repository = graph.get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=repository,
            resources={"ledger": demo.ledger, "clock": Clock(), "tables": demo.settings.tables()},
        )
        request = repository.get_sensor_def("demand_retraining")(context)
        assert isinstance(request, dg.RunRequest)
        assert request.tags[names.TAG_CAUSE] == answer["cause"]
        assert "new shelf plan" in request.tags[names.TAG_REASON]
        instance.create_run_for_job(graph.resolve_job_def("retrain_demand"), tags=dict(request.tags))
        assert isinstance(repository.get_sensor_def("demand_retraining")(context), dg.SkipReason)
    (cause,) = demo.answer("why", "demand")["causes"]
    assert (cause["trigger"], cause["is_open"]) == ("manual", True)
    assert "cause:   " in (text := demo.ask("why", "demand").stdout)
    assert "by hand: new shelf plan: its run has not been asked for yet" in text


@pytest.mark.parametrize("command", ["retrain", "rollback"])
def test_an_empty_reason_is_none(demo: Demo, command: str) -> None:
    with pytest.raises(ConfigurationError, match="the reason is empty"):
        demo.ask(command, "demand", "--reason", "  ")


def test_an_error_is_a_message_and_not_a_traceback(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["perennial", "why", "demnad", "--state", str(demo.state)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert "\nerror: no model 'demnad'; known: demand" in said
    assert "hint: did you mean demand?" in said
    assert "Traceback" not in said


def test_the_report_is_a_page_and_figures(demo: Demo) -> None:
    for name in ("1", "latest"):
        page = (demo.state / "reports" / "demand" / f"{name}.html").read_text()
        assert "<html" in page
        assert "http://" not in page.replace("http://www.w3.org", "")  # complete in itself
        figures = json.loads((demo.state / "reports" / "demand" / f"{name}.json").read_text())
        assert figures["primary"] == "pinball"
    assert f"report   {demo.state}/reports/demand/1.html" in demo.printed  # the champion's, whatever was refused since


def test_a_version_can_be_rebuilt(demo: Demo) -> None:
    answer = demo.answer("reproduce", "demand")
    assert answer["verdict"] == "equal"
    assert set(answer["fits"]) == {"shipped", "evaluation"}


def test_a_second_demo_trains_nothing_and_shows_the_same_champion(demo: Demo) -> None:
    before = {model: [p.version for p in demo.ledger.history(model)] for model in model_names()}
    decisions = {model: len(demo.ledger.decisions(model)) for model in model_names()}
    tables = {name: demo.settings.tables().version(name) for name in ("sales", "demand/training_set")}
    answer = json.loads(
        invoke("demo", "--data", str(demo.world), "--source", "simulator", "--state", str(demo.state), "--json").stdout
    )
    assert answer["ran"] == []
    assert answer["seconds"] < 20
    assert answer["champions"]["demand"]["champion"]["version"] == "1"
    assert {model: [p.version for p in demo.ledger.history(model)] for model in model_names()} == before
    assert {model: len(demo.ledger.decisions(model)) for model in model_names()} == decisions
    assert {name: demo.settings.tables().version(name) for name in tables} == tables


def test_a_manifest_names_the_tables_that_made_the_version_and_no_others(demo: Demo) -> None:
    from platform_assets.components.service_features import services
    from platform_assets.reproduction import spec_of

    tables = demo.settings.tables()
    for model in model_names():
        named = demo.settings.registry().manifest(model, "1").tables
        views = {names.table_name(names.view_key(view)) for view in services()[spec_of(model).feature_service]}
        own = names.table_name(names.model_key(model, "training_set"))
        assert set(named) == {own, names.SALES, *(view for view in views if tables.exists(view))}
        assert all(named[name] <= tables.version(name) for name in named)


def test_a_champion_whose_features_are_no_more_does_not_block_its_successor(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best baseline stands in for it: else removing a feature would end every retraining of the model."""
    from platform_assets.answers import source_of
    from platform_assets.components import evaluating, predicting
    from platform_assets.reproduction import spec_of
    from resources.deployment import resources_for

    standing, manifest = demo.ledger.champion("demand"), demo.settings.registry().manifest("demand", "1")
    assert standing is not None
    aged = replace(manifest, features=(*manifest.features, "moon_phase"))
    monkeypatch.setattr(evaluating, "champion_manifest", lambda *_: (standing, aged))
    decision = demo.ledger.decisions("demand", kind="gate")[0]
    candidate = {
        "version": standing.version,
        "judged_from": decision.evidence["judged_from"],
        "training_set": 0,
        "reason": "a feature was removed",
    }
    context = dg.build_asset_context(resources=resources_for(demo.settings, source_of(demo.settings)))
    result = evaluating.evaluate_candidate(spec_of("demand"), context, candidate)  # pyright: ignore[reportArgumentType]
    assert not result.value["evidence"]["is_against_champion"]
    assert result.value["champion"] == standing.version  # whom the promotion will replace
    assert result.value["is_champion_gone"]
    assert result.value["evidence"]["improvement"] == decision.evidence["improvement"]

    registry = context.resources.registry
    monkeypatch.setattr(type(registry), "manifest", lambda *_: aged)
    with pytest.raises(ModelError, match="reads features that are no more: moon_phase"):
        predicting.predict_champion(spec_of("demand"), context)  # pyright: ignore[reportArgumentType]


def test_figures_that_came_as_they_were_known_cost_nothing(demo: Demo) -> None:
    """A store's days that are no fault, treated like one: both worlds are the same, from lines to forecasts."""
    from platform_assets.answers import source_of
    from platform_assets.reproduction import spec_of
    from platform_assets.science.segment_quarantine import DETECTOR, Spell
    from platform_assets.story import FAULT_WEEKS, WEEKS
    from platform_assets.story_fault import _cost  # pyright: ignore[reportPrivateUsage]
    from resources.deployment import resources_for

    begins = LAST_ON - timedelta(days=7 * WEEKS - 1)
    days = {n: (begins + timedelta(days=7 * (n - 1)), begins + timedelta(days=7 * n - 1)) for n in range(1, WEEKS + 1)}
    first_on, last_on = days[FAULT_WEEKS[0]][0], days[FAULT_WEEKS[-1]][1]
    spell = Spell("store_01", first_on, last_on, "none", DETECTOR, ISSUED_AT, "standing", ())
    with dg.build_asset_context(resources=resources_for(demo.settings, source_of(demo.settings))) as context:
        found = _cost(spec_of("demand"), context.resources, spell, days)
    assert found["weeks"] == [4, 7]
    assert len(found["loss"]) == 4
    assert found["loss"] == found["misled"]
    assert found["cost"]["estimate"] == found["by_training"]["estimate"] == 0


def test_policies_are_replayed_with_real_trainings_and_resumed(demo: Demo) -> None:
    arguments = ["backtest", "dormant", "--policies", "weekly,monthly,own", "--weeks", "3", "--rows", "1000"]
    first = invoke(*arguments, "--state", str(demo.state), "--json")
    again = invoke(*arguments, "--state", str(demo.state), "--json")
    assert first.stderr.count("trained on labels known by") == again.stderr.count("kept from before") == 6
    assert "kept from before" not in first.stderr
    found, kept = json.loads(first.stdout), json.loads(again.stdout)
    assert found == kept
    trained = {policy["policy"]: policy["trained_before"] for policy in found["policies"]}
    assert (trained["never"], trained["weekly"], trained["monthly"]) == ([], found["weeks"][1:], [])
    costs = {policy["policy"]: policy["cost"] for policy in found["policies"]}
    assert costs["best in hindsight"] <= min(costs["never"], costs["weekly"])
    weekly = next(policy for policy in found["policies"] if policy["policy"] == "weekly")
    assert weekly["cost"] == pytest.approx(weekly["loss"] + 2 * found["price_of_a_training"])
    changes = {policy["policy"]: policy["change"] for policy in found["policies"]}
    assert changes["never"] == changes["monthly"] == 0
    assert (changes["weekly"] > 0) == bool(weekly["promoted_before"])


def test_an_unknown_policy_is_named(demo: Demo) -> None:
    with pytest.raises(ConfigurationError, match="no policy 'daily'; known: never, weekly"):
        invoke("backtest", "dormant", "--policies", "daily", "--state", str(demo.state))


def test_the_source_is_told_from_the_file(demo: Demo) -> None:
    answer = json.loads(invoke("demo", "--data", str(demo.world), "--state", str(demo.state), "--json").stdout)
    assert answer["ran"] == []


def test_a_state_takes_no_other_data(demo: Demo, tmp_path: Path) -> None:
    other = write_world(tmp_path / "other.parquet", days=30)
    with pytest.raises(ConfigurationError, match="belongs to source simulator") as error:
        invoke("demo", "--data", str(other), "--source", "simulator", "--state", str(demo.state))
    assert "STATE=path" in str(error.value)
    with pytest.raises(PerennialError, match="belongs to source simulator"):
        invoke("demo", "--state", str(demo.state))
    assert demo.champion("demand") == "1"


def test_the_last_demo_is_the_one_that_is_asked(demo: Demo) -> None:
    assert "demand@1 is champion" in invoke("why", "demand").stdout


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.parquet: no such file"):
        invoke("demo", "--data", str(tmp_path / "nowhere.parquet"), "--state", str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_an_unknown_source_is_named(demo: Demo, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no source 'simulater'.*known: .*simulator"):
        invoke("demo", "--data", str(demo.world), "--source", "simulater", "--state", str(tmp_path / "state"))


def test_no_state_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it has no source\.json") as error:
        invoke("why", "demand", "--state", str(tmp_path))
    assert "make demo" in str(error.value)


def test_reset_forgets_one_state_and_nothing_else(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "STATES", tmp_path / "states")
    made = locate.choose(data=demo.world, source=None, state=tmp_path / "state").state
    assert "deleted" in invoke("demo-reset", "--data", str(demo.world), "--state", str(made)).stdout
    assert not made.exists()
    assert (demo.state / "source.json").exists()
    assert "nothing to forget" in invoke("demo-reset", "--data", str(demo.world), "--state", str(made)).stdout
    assert not made.exists()


def test_reset_deletes_no_folder_that_no_demo_has_made(demo: Demo, tmp_path: Path) -> None:
    """Reset pinned the folder that it was given before it looked, and so deleted whatever it was pointed at."""
    (tmp_path / "thesis.txt").write_text("years of work")
    for arguments in (["--state", str(tmp_path)], ["--data", str(demo.world), "--state", str(tmp_path)]):
        assert "nothing to forget" in invoke("demo-reset", *arguments).stdout
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigurationError, match="belongs to source simulator"):
        invoke("demo-reset", "--source", "online_retail", "--state", str(demo.state))
    assert demo.champion("demand") == "1"


def test_runs_of_a_killed_demo_are_ended(demo: Demo) -> None:
    """Left STARTED, such a run would keep its model's retraining waiting in the queue for hours."""
    with dg.DagsterInstance.from_config(str(demo.settings.dagster_home())) as instance:
        own, other = (
            instance.create_run_for_job(
                dg.job(name="killed")(lambda: None), tags=tags, status=dg.DagsterRunStatus.STARTED
            )
            for tags in ({LAUNCHER: "demo"}, {})
        )
        with alone(demo.settings):
            tidy(demo.settings)  # a demo is at work: its run may be alive
            assert instance.get_run_by_id(own.run_id).status is dg.DagsterRunStatus.STARTED  # pyright: ignore[reportOptionalMemberAccess]
        tidy(demo.settings)
        found = [instance.get_run_by_id(run.run_id) for run in (own, other)]
        assert [run.status for run in found if run] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]
        instance.delete_run(other.run_id)


def test_two_demos_do_not_work_in_one_state(demo: Demo) -> None:
    with alone(demo.settings), pytest.raises(ConfigurationError, match="another demo is at work in"):
        invoke("demo", "--data", str(demo.world), "--state", str(demo.state))


def test_a_failed_check_is_told_with_what_it_found() -> None:
    spec = dg.AssetCheckSpec("values", asset="prices", blocking=True)

    @dg.asset(check_specs=[spec])
    def prices() -> dg.MaterializeResult:
        found = dg.AssetCheckResult(check_name="values", passed=False, description="14 rows below 0, such as sku_7")
        return dg.MaterializeResult(check_results=[found])

    @dg.asset
    def broken() -> None:
        raise ValueError("no such shelf")

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([prices, broken], instance=instance, raise_on_error=False)
        assert sorted(failures(result)) == [
            "broken: ValueError: no such shelf",
            "prices: check `values` failed: 14 rows below 0, such as sku_7",
        ]


def test_a_policy_is_told_in_words() -> None:
    told = invoke("policy", "explain", "demand").stdout
    assert "the newest sales that the last training learned from are 91 days old" in told
    assert "Within 21 days of the last retraining nothing but a request by hand is heard" in told
    assert json.loads(invoke("policy", "explain", "demand", "--json").stdout)["model"] == "demand"


def test_features_diff_has_the_numbers_of_the_tables(demo: Demo) -> None:
    series = demo.table("sales")["series_id"].unique().sort()[3]
    answer = demo.answer("features", "diff", series, "--model", "demand")
    assert (answer["entity"], answer["model"], answer["champion"]) == (series, "demand", demo.champion("demand"))
    assert answer["differences"] == 0
    found = {row["feature"]: row for row in answer["features"]}
    asked = pl.col("series_id") == series
    for view in dict.fromkeys(row["view"] for row in answer["features"]):
        rows = demo.table(f"features/{view}").filter(asked)
        if "target_day" in rows.columns:
            rows = rows.filter(pl.col("target_day") == (date.fromisoformat(answer["target"]) - date(1970, 1, 1)).days)
        last = rows.sort("event_at", "known_at").row(-1, named=True)
        for feature in (name for name, row in found.items() if row["view"] == view):
            assert found[feature]["online"] == found[feature]["offline"] == last[feature], feature
    version = demo.settings.registry().manifest("demand", answer["champion"]).tables["demand/training_set"]
    training = demo.settings.tables().scan("demand/training_set", version=version)
    rows = training.filter(asked, pl.col("purpose") == "fit").collect()
    row = rows.sort("issued_at", "target_on", descending=[True, False]).row(0, named=True)
    assert {name: told["training"] for name, told in found.items()} == {name: row[name] for name in found}


def test_features_diff_of_what_there_is_not(demo: Demo) -> None:
    with pytest.raises(ConfigurationError, match="no series 'nowhere'") as error:
        demo.ask("features", "diff", "nowhere")
    assert "such as store_" in str(error.value)
    with pytest.raises(ConfigurationError, match="no model 'demnad'") as error:
        demo.ask("features", "diff", "store_01/sku_0001", "--model", "demnad")
    assert "did you mean demand?" in str(error.value)
    with pytest.raises(ConfigurationError, match="expected a day such as"):
        demo.ask("features", "diff", "store_01/sku_0001", "--target", "soon")


def test_features_diff_of_a_series_without_an_online_row_shows_what_differs(demo: Demo) -> None:
    series = demo.table("sales")["series_id"].unique().sort()[5]
    view = demo.answer("features", "diff", series)["features"][0]["view"]
    with sqlite3.connect(demo.state / "feast" / "online.db") as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?", (f"%{view}",)
        ).fetchone()
        held = connection.execute(f'SELECT * FROM "{table}" WHERE instr(entity_key, ?)', (series.encode(),)).fetchall()
        assert held
        connection.execute(f'DELETE FROM "{table}" WHERE instr(entity_key, ?)', (series.encode(),))
    try:
        answer = demo.answer("features", "diff", series)
        lost = [row for row in answer["features"] if row["view"] == view]
        assert {row["online"] for row in lost} == {None}
        assert answer["differences"] == sum(row["offline"] is not None for row in lost) > 0
    finally:
        with sqlite3.connect(demo.state / "feast" / "online.db") as connection:
            connection.executemany(f'INSERT INTO "{table}" VALUES ({",".join("?" * len(held[0]))})', held)
