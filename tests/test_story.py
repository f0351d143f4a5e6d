"""The weeks after the simulated history: what is laid down goes on from it, and what is lived through is lived once."""

import json
import signal
import subprocess
import warnings
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from platform_assets import names, story, story_worth
from platform_assets.science.story_plot import Alarm, Training
from resources.deployment import Settings
from resources.kept_files import ARRIVING_FOLDER
from resources.ledger import Ledger
from resources.tables import Tables
from sensors.retraining import cause_tag
from tests.small import DAYS, FIRST_ON, PERENNIAL, SKUS, STORES, copy_project, environment, shrink_models

SMALL = {"stores": STORES, "skus": SKUS, "days": DAYS, "starts_on": str(FIRST_ON), "seed": 3}
RECIPE = {"parameters": {"rounds": 60, "learning_rate": 0.2}, "rows_per_series": 100}


def test_the_weeks_go_on_where_the_history_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from platform_assets.science.simulate import SimulatorConfig, simulate

    last_on = FIRST_ON + timedelta(days=DAYS - 1)
    settings = Settings.local(tmp_path, "simulator", window=(FIRST_ON, last_on))
    monkeypatch.setattr(story, "source_of", lambda settings: type("Facts", (), {"simulate": SMALL}))
    world = story.future(settings)
    history = simulate(SimulatorConfig(stores=STORES, skus=SKUS, days=DAYS, starts_on=FIRST_ON, seed=3))
    assert world.lines.filter(pl.col("sold_on") <= last_on).equals(history.lines)
    assert world.plans.filter(pl.col("announced_on") <= last_on).equals(history.plans)
    for number, days in story.weeks(settings).items():
        story.lay(settings, world, f"week_{number}", *days)
    laid = [tmp_path / ARRIVING_FOLDER / f"week_{number}.parquet" for number in story.weeks(settings)]
    assert pl.concat([history.lines, *map(pl.read_parquet, laid)]).equals(world.lines)
    announced = pl.concat([history.plans, *(pl.read_parquet(f.with_suffix(".plans.parquet")) for f in laid)])
    assert announced.sort(announced.columns).equals(world.plans.sort(announced.columns))


@pytest.mark.long
def test_the_weeks_are_lived_once_and_a_shock_is_answered(tmp_path: Path) -> None:
    """Stopped in the third week and begun again: the same eight weeks, and no cause is answered twice."""
    project, state = copy_project(tmp_path / "project"), tmp_path / "state"
    shrink_models(project, "demand", **RECIPE)
    defs = project / "platform_assets" / "defs" / "data" / "simulator" / "defs.yaml"
    stated = yaml.safe_load(defs.read_text())
    stated["attributes"]["simulate"] = SMALL
    defs.write_text(yaml.safe_dump(stated))
    command = [*PERENNIAL, "demo", "--state", str(state), "--json"]
    run: dict[str, Any] = {"cwd": project, "env": environment(project), "text": True, "stdout": subprocess.PIPE}

    stopped = subprocess.Popen(command, **run, stderr=subprocess.PIPE)
    assert stopped.stderr is not None
    told = list(takewhile(lambda line: not line.startswith("week 3"), stopped.stderr))
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(timeout=10) == 128 + signal.SIGTERM
    assert any(line.startswith("week 2") for line in told)

    answer = json.loads(subprocess.run(command, **run, check=True).stdout)
    assert answer["weeks"] == [3, 4, 5, 6, 7, 8]
    last_on = FIRST_ON + timedelta(days=DAYS - 1 + 7 * story.WEEKS)
    sales = Tables(str(state / "tables")).scan("sales").collect()
    assert sales["period_on"].max() == last_on

    ledger = Ledger(f"sqlite:///{state / 'ledger.db'}")
    causes = ledger.causes("demand")
    shock_on = FIRST_ON + timedelta(days=DAYS + 7 * (story.SHOCK_WEEK - 1))
    assert {cause.trigger for cause in causes if cause.at.date() >= shock_on} & {"drift", "error", "follow_up"}
    assert len({(cause.trigger, cause.episode) for cause in causes}) == len(causes)
    ran = {run.tags.get(names.TAG_CAUSE) for run in runs_of(state)}
    for cause in causes:  # what is asked for at the very end waits for the daemon, and everything else has had its run
        is_waiting = [cause.trigger, cause.episode] in answer["story"]["asked"]
        assert is_waiting == (cause_tag(cause.trigger, cause.episode) not in ran)
        assert not is_waiting or cause.at.date() == last_on + timedelta(days=1)
    assert Path(answer["story"]["plot"]).exists()
    assert [week["week"] for week in answer["story"]["weeks"]] == list(range(1, story.WEEKS + 1))
    for week in answer["story"]["weeks"]:
        if week["model_version"] == ["1"]:  # the same forecasts again, from features as known then
            assert week["alone"] == pytest.approx(week["loss"], rel=1e-9)

    again = json.loads(subprocess.run(command, **run, check=True).stdout)
    assert (again["weeks"], again["ran"]) == ([], [])
    assert again["story"] == answer["story"]


def runs_of(state: Path) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(state / "dagster")) as instance:
        return list(instance.get_runs())


class Watched:
    """Stands in for the platform at one instant: the model's sensor asks for one run, and what is run is kept."""

    model = "demand"

    def __init__(self) -> None:
        self.ran, self.told = list[list[str]](), list[str]()

    def requests(self, sensor: str) -> list[dg.RunRequest]:
        return [dg.RunRequest(tags={names.TAG_REASON: "errors"})] if sensor == "demand_retraining" else []

    def run(self, keys: list[dg.AssetKey], tags: dict[str, str], echo: object = None) -> None:
        self.ran.append([key.to_user_string() for key in keys])

    def echo(self, line: str) -> None:
        self.told.append(line)

    def keys(self, group: str) -> list[dg.AssetKey]:
        return [dg.AssetKey([group, "one"])]

    def stages(self, *stages: str) -> list[dg.AssetKey]:
        return [dg.AssetKey([self.model, stage]) for stage in stages]


@pytest.mark.parametrize("is_last", [False, True])
def test_the_last_weeks_training_is_asked_for_and_not_run(is_last: bool) -> None:
    watched = Watched()
    story.pass_by(watched, date(2026, 2, 18), date(2026, 2, 24), is_last=is_last)  # pyright: ignore[reportArgumentType]
    assert ["demand/training_set" in run for run in watched.ran].count(True) == (0 if is_last else 1)
    assert "demand/monitoring" in watched.ran[1]
    assert ("demand/performance" in watched.ran[1]) == is_last
    assert any("retraining asked for: errors" in line for line in watched.told) == is_last


def test_what_dagster_calls_that_pydantic_deprecates_is_not_told() -> None:
    """Two lines of it stood in each of the demo's weeks, since Feast's import sets a filter before the command's."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("once", DeprecationWarning)  # as Feast does
        with story.without_dagsters_deprecations():
            warnings.warn("`parse_obj_as` is deprecated. Use another", DeprecationWarning, stacklevel=1)
    assert told == []


def test_what_no_run_has_answered_waits(tmp_path: Path) -> None:
    ledger, at = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}"), datetime(2026, 2, 25, 4, tzinfo=UTC)
    for trigger, episode in (("error", "1/2026-01-27"), ("follow_up", "error/1/2026-01-27/3w"), ("manual", "1")):
        ledger.fire("demand", trigger, episode, reason="x", at=at, evidence={})
    ledger.record_cause_status("demand", "manual", "1", "succeeded", at=at)
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {names.TAG_MODEL: "demand", names.TAG_CAUSE: cause_tag("error", "1/2026-01-27")}
        instance.create_run_for_job(dg.job(name="retraining")(lambda: None), tags=tags)
        assert story.waiting(ledger, instance, "demand") == [["follow_up", "error/1/2026-01-27/3w"]]


def test_alarms_and_retrainings_of_the_weeks_stand_on_their_days_with_the_gates_answer(tmp_path: Path) -> None:
    """By their runs: two causes may give the same reason, and the newest decision went to both."""
    settings, first_on = Settings.local(tmp_path, "simulator"), date(2025, 12, 31)
    ledger, home = Ledger(settings.ledger_url), settings.dagster_home()
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("")
    for trigger, episode, at in (
        ("manual", "1", datetime(2025, 12, 30, tzinfo=UTC)),  # before the weeks
        ("error", "1/2026-01-27", datetime(2026, 2, 4, 4, tzinfo=UTC)),
        ("follow_up", "error/1/2026-01-27/3w", datetime(2026, 2, 25, 4, tzinfo=UTC)),
        ("drift+performance", "1/2026-02-10+1/2026-02-11", datetime(2026, 2, 26, 4, tzinfo=UTC)),
    ):
        ledger.fire("demand", trigger, episode, reason="the same", at=at, evidence={})
    evidence = {"version": "2", "promotes": False, "trained because": "the same"}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        tags = {names.TAG_MODEL: "demand", names.TAG_CAUSE: cause_tag("error", "1/2026-01-27")}
        run = instance.create_run_for_job(dg.job(name="retraining")(lambda: None), tags=tags)
        ledger.record_decision(
            "gate", "demand", "undecided", reasons=["noise"], evidence=evidence, at=datetime.now(UTC), run_id=run.run_id
        )
        causes, judged = ledger.causes("demand"), story_worth.judged_by_cause(settings, "demand")
        assert instance.get_run_by_id(run.run_id)  # it is open still
    assert story_worth.alarms_since(first_on, causes) == [
        Alarm(date(2026, 1, 27), ("error",)),  # once, whatever follows it
        Alarm(date(2026, 2, 11), ("drift", "performance")),
    ]
    assert story_worth.trainings_since(first_on, causes, judged) == [
        Training(date(2026, 2, 4), "2", "undecided", is_promoted=False),
        Training(date(2026, 2, 25)),
        Training(date(2026, 2, 26)),
    ]


def test_the_weeks_make_nothing_stale_and_other_days_do(tmp_path: Path) -> None:
    began = Settings.local(tmp_path, "simulator")
    lived = [replace(began, window=(began.window[0], last_on)) for _, last_on in story.weeks(began).values()]
    assert {story.at_its_beginning(one).data_digest() for one in [began, *lived]} == {began.data_digest()}
    other = replace(began, window=(began.window[0], date(2026, 1, 5)))
    assert story.at_its_beginning(other).data_digest() != began.data_digest()


def test_weeks_are_numbered_from_the_day_after_the_history(tmp_path: Path) -> None:
    weeks = story.weeks(Settings.local(tmp_path, "simulator"))
    assert weeks[1] == (date(2025, 12, 31), date(2026, 1, 6))
    assert weeks[story.WEEKS][1] == date(2026, 2, 24)
