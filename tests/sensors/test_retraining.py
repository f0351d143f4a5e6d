"""The retraining sensor against a real ledger and a real instance: every cause once, whatever happens in between."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CODE_VERSION_TAG
from dagster._core.events import DagsterEvent

from platform_assets import names, policies
from platform_assets.errors import ConfigurationError, DuplicateCauseError
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import (
    Alarms,
    Code,
    Drift,
    Error,
    NewData,
    Operations,
    Performance,
    Schedule,
    Staleness,
)
from resources.ledger import Ledger
from sensors import evidence, retraining
from sensors.retraining import KIND, retraining_sensor

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
MONITORING = dg.AssetKey(["demand", "monitoring"])
TICKS = RetrainingPolicy((Drift(), Error()), cooldown_days=7, settle_days=0, follow_up_weeks=())
ALL = RetrainingPolicy((Drift(), Error(), Staleness(28)), settle_days=0)


class Clock:
    """The platform's now, moved by hand."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return datetime.now(UTC)


@cache
def graph(training_code: str = "1", candidate_code: str = "1") -> dg.Definitions:
    """The keys, checks and job names of one model's life, with empty bodies."""

    @dg.asset(key=["sales"], check_specs=[dg.AssetCheckSpec("contract", asset="sales", blocking=True)])
    def sales() -> dg.MaterializeResult: ...  # pyright: ignore

    @dg.asset(key=["demand", "training_set"], deps=[dg.AssetKey(["sales"])], code_version=training_code)
    def training_set() -> None: ...

    @dg.asset(key=["demand", "candidate"], deps=[dg.AssetKey(["demand", "training_set"])], code_version=candidate_code)
    def candidate() -> None: ...

    checks = [dg.AssetCheckSpec(name, asset=MONITORING) for name in ("feature_drift", "error")]

    @dg.asset(key=MONITORING, check_specs=checks, deps=[dg.AssetKey(["demand", "candidate"])])
    def monitoring() -> dg.MaterializeResult: ...  # pyright: ignore

    job = dg.define_asset_job("retrain_demand", selection=dg.AssetSelection.assets(["demand", "training_set"]))
    return dg.Definitions(assets=[sales, training_set, candidate, monitoring], jobs=[job])


class World:
    """An instance, a ledger and a clock, and what the sensor says of them."""

    def __init__(self, instance: dg.DagsterInstance, ledger: Ledger) -> None:
        self.instance, self.ledger, self.clock = instance, ledger, Clock()
        self.definitions = graph()
        self.repository = self.definitions.get_repository_def()

    def evaluate(
        self, check: str, passed: bool, *, champion: str = "1", as_of: str = "2025-06-30", **numbers: Any
    ) -> None:
        """One evaluation of a monitoring check, as the monitoring asset reports it."""
        metadata = {"champion": champion, "as_of": as_of, "statistic": 5.0, "threshold": 4.0, **numbers}
        self.report(dg.AssetCheckEvaluation(MONITORING, check, passed, metadata=_metadata(metadata)))

    def data_check(self, passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> None:
        self.report(
            dg.AssetCheckEvaluation(dg.AssetKey("sales"), "contract", passed, {}, severity=severity, blocking=True)
        )

    def report(self, event: Any) -> None:
        self.instance.report_runless_asset_event(event)

    def promote(self, version: str, before: str | None = None) -> None:
        self.ledger.promote(
            "demand", from_version=before, to_version=version, reason="better", evidence={}, at=self.clock.at
        )

    def trained(self, until: datetime) -> None:
        metadata = {"labels known by": str(until)}
        self.report(dg.AssetMaterialization(dg.AssetKey(["demand", "candidate"]), metadata=metadata))

    def tick(self, policy: RetrainingPolicy = TICKS, tables: Any = None) -> dg.RunRequest | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=self.repository,
            resources={"ledger": self.ledger, "clock": self.clock, "tables": tables},
        )
        found = retraining_sensor("demand", policy)(context)
        assert isinstance(found, dg.RunRequest | dg.SkipReason)
        return found

    def launch(self, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
        """A run of the request, as the daemon makes it, that has come to this status."""
        run = self.instance.create_run_for_job(
            self.definitions.resolve_job_def("retrain_demand"),
            tags={**request.tags, "dagster/run_key": str(request.run_key)},
        )
        kind = {"STARTED": "START"}.get(status.value, status.value)
        event = DagsterEvent(event_type_value=f"PIPELINE_{kind}", job_name=run.job_name, message=kind)
        self.instance.report_dagster_event(event, run_id=run.run_id)

    def decisions(self) -> list[str]:
        return [kept.answer for kept in self.ledger.decisions("demand", kind=KIND)]


def _metadata(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: dg.MetadataValue.float(v) if isinstance(v, float) else dg.MetadataValue.text(v)
        for name, v in values.items()
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance, ledger)
    ledger.close()


def test_nothing_happens_before_there_is_a_champion(world: World) -> None:
    world.evaluate("feature_drift", passed=False)
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert "no champion" in str(answer.skip_message)


def test_a_failed_check_asks_for_one_run_that_says_why(world: World) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False, as_of="2025-06-28")
    world.evaluate("error", passed=True)
    request = world.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "demand/drift/1/2025-06-28"
    assert request.tags[names.TAG_MODEL] == "demand"
    assert request.tags[names.TAG_CAUSE] == "drift/1/2025-06-28"
    assert request.tags[names.TAG_REASON] == "drift in 5 features, at most 4 allowed, since 2025-06-28, champion 1"
    assert [(c.trigger, c.episode) for c in world.ledger.causes("demand")] == [("drift", "1/2025-06-28")]
    assert world.decisions() == ["retrain"]


def test_the_run_is_told_on_what_and_a_repeated_one_the_same(world: World) -> None:
    after_alarm = {"recent_days": 28, "recent_density": 5}
    policy = RetrainingPolicy.from_mapping({"when": ["drift"], "settle_days": 0, "after_alarm": after_alarm})
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    request = world.tick(policy)
    assert isinstance(request, dg.RunRequest)
    told = json.loads(request.tags[names.TAG_TRAIN_ON])
    assert told == {
        "window_days": None,
        "recent_days": 28,
        "recent_density": 5,
        "judged_days": None,
        "start": "scratch",
    }
    (cause,) = world.ledger.causes("demand")
    assert cause.evidence["train_on"] == told
    assert world.ledger.decisions("demand")[-1].evidence["train_on"] == told
    world.launch(request, dg.DagsterRunStatus.FAILURE)
    _age_runs(world, timedelta(hours=1))
    again = world.tick(ALL)  # edited since: the cause keeps what it was asked with
    assert isinstance(again, dg.RunRequest)
    assert again.tags[names.TAG_TRAIN_ON] == request.tags[names.TAG_TRAIN_ON]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"window_days": 400, "recent_days": 56, "recent_density": 1.0, "judged_days": None, "start": "scratch"}),
        (
            {"recent_density": 7.0},
            {"window_days": 400, "recent_days": 56, "recent_density": 7.0, "judged_days": None, "start": "scratch"},
        ),
        (
            {"window_days": None},
            {"window_days": None, "recent_days": 56, "recent_density": 1.0, "judged_days": None, "start": "scratch"},
        ),
    ],
)
def test_who_asks_by_hand_says_on_what_and_else_the_policy_does(
    world: World, given: dict[str, Any], told: dict[str, Any]
) -> None:
    evidence = {"train_on": given} if given else None
    world.ledger.fire("demand", "manual", "2025-06-30-ada", reason="why", at=NOW, evidence=evidence)
    request = world.tick(RetrainingPolicy.from_mapping({"train_on": {"window_days": 400}}))
    assert isinstance(request, dg.RunRequest)
    assert json.loads(request.tags[names.TAG_TRAIN_ON]) == told


def test_a_quiet_tick_gives_the_numbers_that_it_compared(world: World) -> None:
    world.promote("1")
    world.trained(NOW - timedelta(days=10))
    world.evaluate("feature_drift", passed=True, statistic=1.5)
    world.evaluate("error", passed=True, statistic=0.25)
    answer = world.tick(ALL)
    assert isinstance(answer, dg.SkipReason)
    for said in ("drift in 1.5 features, at most 4 allowed", "error 0.25", "10.0 days ago, at most 28"):
        assert said in str(answer.skip_message)


def test_an_unchanged_no_is_kept_once_and_a_changed_one_again(world: World) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=True)
    for _ in range(3):
        world.clock.at += timedelta(hours=1)
        world.evaluate("feature_drift", passed=True, statistic=1.0 + world.clock.at.hour)
        world.tick()
    assert world.decisions() == ["wait"]
    world.data_check(passed=False)
    world.tick()
    assert world.decisions() == ["wait", "wait"]
    assert "sales:contract" in " ".join(world.ledger.decisions("demand", kind=KIND)[-1].reasons)


def test_the_same_episode_fires_once_although_the_check_fails_every_day(world: World) -> None:
    """Keyed on the evaluation, a drift sensor fires on every evaluation; keyed on the episode, once."""
    world.promote("1")
    fired = []
    for day in range(20):
        world.clock.at = NOW + timedelta(days=day)
        world.evaluate("feature_drift", passed=False, as_of=world.clock.at.date().isoformat())
        answer = world.tick()
        if isinstance(answer, dg.RunRequest):
            fired.append(answer.run_key)
            world.launch(answer, dg.DagsterRunStatus.SUCCESS)
    assert fired == ["demand/drift/1/2025-06-30"]


def test_a_new_episode_begins_after_a_pass_and_another_under_a_new_champion(world: World) -> None:
    world.promote("1")
    fired = []
    story = [(False, "1", "06-01"), (True, "1", "06-10"), (False, "1", "06-20"), (False, "2", "06-29")]
    for passed, champion, day in story:
        if champion == "2":
            world.promote("2", "1")
        world.clock.at = datetime.fromisoformat(f"2025-{day}T12:00:00+00:00")
        world.evaluate("feature_drift", passed=passed, champion=champion, as_of=f"2025-{day}")
        answer = world.tick()
        if isinstance(answer, dg.RunRequest):
            fired.append(answer.run_key)
            world.launch(answer, dg.DagsterRunStatus.SUCCESS)
    assert fired == ["demand/drift/1/2025-06-01", "demand/drift/1/2025-06-20", "demand/drift/2/2025-06-29"]


def test_the_onset_survives_more_evaluations_than_one_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PAGE", 3)
    world.promote("1")
    world.evaluate("error", passed=True, as_of="2025-01-01")
    for day in range(1, 9):
        world.evaluate("error", passed=False, as_of=f"2025-02-0{day}")
    request = world.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "demand/error/1/2025-02-01"


def test_a_verdict_on_a_former_champion_says_nothing_about_this_one(world: World) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False, champion="1")
    world.promote("2", "1")
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert "judged version 1, the champion is 2" in str(answer.skip_message)


@pytest.mark.parametrize(
    ("passed", "kind", "is_refused"),
    [
        (False, "fewer rows", True),
        (False, "duplicate key", True),
        (False, "column retyped", False),
        (False, "new category", False),  # it lasts, and a training is its cure
        (True, "column added", False),
    ],
)
def test_a_fault_of_the_issued_rows_that_a_training_would_learn_vetoes(
    world: World, passed: bool, kind: str, is_refused: bool
) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    found: dict[str, Any] = {kind: 1.0}
    world.evaluate("input_faults", passed=passed, **found)
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason if is_refused else dg.RunRequest)
    if is_refused:
        assert f"blocking data check demand/monitoring:input_faults ({kind}) has failed" in str(answer)
        world.evaluate("input_faults", passed=True)
        assert isinstance(world.tick(), dg.RunRequest)


@pytest.mark.parametrize(
    ("severity", "is_vetoed"),
    [(dg.AssetCheckSeverity.ERROR, True), (dg.AssetCheckSeverity.WARN, False)],  # a warning does not block
)
def test_a_failed_blocking_data_check_vetoes(world: World, severity: dg.AssetCheckSeverity, is_vetoed: bool) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    world.data_check(passed=False, severity=severity)
    assert isinstance(world.tick(), dg.SkipReason) is is_vetoed
    world.data_check(passed=True)
    assert isinstance(world.tick(), dg.RunRequest) is is_vetoed  # held back until now, or fired before


def test_a_claim_without_a_run_is_asked_for_again_with_the_same_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the ledger's commit and before the daemon made the run: the cause is claimed, and nothing trains."""
    monkeypatch.setattr(retraining, "CLAIM_GRACE", timedelta())
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    first = world.tick()  # its answer is lost
    again = [world.tick() for _ in range(3)]
    assert all(isinstance(answer, dg.RunRequest) for answer in [first, *again])
    assert {answer.run_key for answer in [first, *again]} == {"demand/drift/1/2025-06-30"}  # pyright: ignore
    assert len(world.ledger.causes("demand")) == 1
    world.launch(again[0], dg.DagsterRunStatus.STARTED)  # pyright: ignore
    assert isinstance(world.tick(), dg.SkipReason)


def test_a_young_claim_is_left_to_whoever_made_it(world: World) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    assert isinstance(world.tick(), dg.RunRequest)
    second_daemon = world.tick()
    assert isinstance(second_daemon, dg.SkipReason)
    assert "claimed" in str(second_daemon.skip_message)


def test_a_lost_request_and_a_retry_are_asked_for_by_one_of_two_daemons(world: World) -> None:
    """Dagster's run keys stop the second of two requests, not the second of two at the same moment."""
    world.promote("1")
    world.ledger.fire("demand", "manual", "2025-06-30-ada", reason="new assortment", at=NOW)
    answers = [world.tick(), world.tick()]
    assert [type(answer) for answer in answers] == [dg.RunRequest, dg.SkipReason]
    assert "another sensor has just asked" in str(answers[1].skip_message)  # pyright: ignore[reportAttributeAccessIssue]
    world.launch(answers[0], dg.DagsterRunStatus.FAILURE)  # pyright: ignore[reportArgumentType]
    _age_runs(world, timedelta(hours=1))
    answers = [world.tick(), world.tick()]
    assert [type(answer) for answer in answers] == [dg.RunRequest, dg.SkipReason]
    assert answers[0].run_key == "demand/manual/2025-06-30-ada/retry-1"  # pyright: ignore[reportAttributeAccessIssue]


def test_who_loses_the_race_for_a_cause_asks_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)

    def taken(*args: Any, **kwargs: Any) -> None:
        raise DuplicateCauseError("model demand: cause drift/1/2025-06-30 has already fired")

    monkeypatch.setattr(world.ledger, "fire", taken)
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert "another sensor was first" in str(answer.skip_message)


def test_a_cause_fired_by_hand_gets_its_run_and_waits_for_a_veto(world: World) -> None:
    world.promote("1")
    world.ledger.fire("demand", "manual", "2025-06-30-ada", reason="new assortment", at=NOW)
    world.data_check(passed=False)
    held = world.tick()
    assert isinstance(held, dg.SkipReason)
    assert "sales:contract" in str(held.skip_message)
    world.data_check(passed=True)
    request = world.tick()
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_REASON] == "new assortment"


def test_a_failed_run_is_repeated_later_and_not_for_ever(world: World) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    request, keys = world.tick(), []
    for _ in range(10):
        if isinstance(request, dg.RunRequest):
            keys.append(request.run_key)
            world.launch(request, dg.DagsterRunStatus.FAILURE)
            assert isinstance(world.tick(), dg.SkipReason)  # not at once
            _age_runs(world, timedelta(hours=1))
        request = world.tick()
    assert keys == [
        f"demand/drift/1/2025-06-30{end}" for end in ("", *(f"/retry-{n + 1}" for n in range(policies.RUN_RETRIES)))
    ]
    assert [cause.status for cause in world.ledger.causes("demand")] == ["given up"]


@pytest.mark.parametrize(
    ("status", "kept"), [(dg.DagsterRunStatus.SUCCESS, "succeeded"), (dg.DagsterRunStatus.CANCELED, "canceled")]
)
def test_the_ledger_learns_how_a_cause_ended(world: World, status: dg.DagsterRunStatus, kept: str) -> None:
    world.promote("1")
    world.evaluate("feature_drift", passed=False)
    request = world.tick()
    assert isinstance(request, dg.RunRequest)
    world.launch(request, status)
    assert isinstance(world.tick(), dg.SkipReason)
    [cause] = world.ledger.causes("demand")
    assert cause.status == kept
    assert cause.run_id == world.instance.get_runs()[0].run_id


def test_nothing_is_asked_for_while_a_retraining_is_under_way(world: World) -> None:
    world.promote("1")
    by_hand = dg.RunRequest(run_key="by hand", tags={})
    world.launch(by_hand, dg.DagsterRunStatus.STARTED)
    world.evaluate("feature_drift", passed=False)
    answer = world.tick()
    assert isinstance(answer, dg.SkipReason)
    assert "under way" in str(answer.skip_message)


def test_age_and_new_rows_are_measured_from_the_last_training(world: World) -> None:
    import polars as pl

    class Tables:
        def __init__(self, newest: int = -5) -> None:
            self.newest = newest

        def scan(self, name: str) -> pl.LazyFrame:
            assert name == names.SALES
            known_at = [NOW - timedelta(days=day) for day in range(self.newest, 60)]
            return pl.LazyFrame({names.KNOWN_AT: known_at, names.PERIOD_ON: [at.date() for at in known_at]})

    world.promote("1")
    world.trained(NOW - timedelta(days=30))
    ended = world.tick(RetrainingPolicy((Staleness(28),)), Tables(newest=30))
    assert isinstance(ended, dg.SkipReason), "nothing newer than the training has come"
    request = world.tick(RetrainingPolicy((Staleness(28),)), Tables())
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_CAUSE].startswith("staleness/1/2025-05-31T12:00/1")
    world.launch(request, dg.DagsterRunStatus.SUCCESS)
    rows = RetrainingPolicy((NewData(rows=30),), cooldown_days=0)
    assert isinstance(world.tick(RetrainingPolicy((NewData(rows=31),), cooldown_days=0), Tables()), dg.SkipReason)
    request = world.tick(rows, Tables())  # 30 days after the training, 5 of the future left out
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_REASON] == "30 rows since the last training, at least 30"


def test_two_of_three_verdicts_are_an_alarm_that_keeps_its_name(world: World) -> None:
    policy = RetrainingPolicy((Drift(Alarms(2, 3)),), cooldown_days=0, settle_days=0)
    world.promote("1")
    for day, passed in ((1, False), (2, True), (3, True)):
        world.evaluate("feature_drift", passed, as_of=f"2025-06-{day:02d}")
        assert isinstance(world.tick(policy), dg.SkipReason)
    world.evaluate("feature_drift", passed=False, as_of="2025-06-04")
    assert isinstance(world.tick(policy), dg.SkipReason)
    world.evaluate("feature_drift", passed=False, as_of="2025-06-04")  # the same day judged again is no second alarm
    assert isinstance(world.tick(policy), dg.SkipReason)
    world.evaluate("feature_drift", passed=False, as_of="2025-06-05")
    request = world.tick(policy)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_CAUSE] == "drift/1/2025-06-04"
    world.launch(request, dg.DagsterRunStatus.SUCCESS)
    world.evaluate("feature_drift", passed=True, as_of="2025-06-06")
    assert isinstance(world.tick(policy), dg.SkipReason), "two of the last three: the same alarm, which is answered"


def test_a_schedule_fires_once_a_tick_and_not_for_one_before_the_training(world: World) -> None:
    policy = RetrainingPolicy((Schedule("0 3 * * 1", "Europe/London"),), cooldown_days=0)
    world.promote("1")
    world.trained(NOW)
    trained_at = datetime.now(UTC)
    world.clock.at = trained_at
    assert isinstance(world.tick(policy), dg.SkipReason)
    world.clock.at = trained_at + timedelta(days=8)
    request = world.tick(policy)
    assert isinstance(request, dg.RunRequest)
    at = datetime.fromisoformat(request.tags[names.TAG_CAUSE].removeprefix("schedule/")).astimezone(
        ZoneInfo("Europe/London")
    )
    assert (at.weekday(), at.hour, at.minute) == (0, 3, 0)
    assert world.clock.at - timedelta(days=7) < at <= world.clock.at
    world.launch(request, dg.DagsterRunStatus.SUCCESS)
    assert isinstance(world.tick(policy), dg.SkipReason)


def test_figures_of_the_forecasts_and_of_the_service_are_read(world: World, tmp_path: Path) -> None:
    import polars as pl

    from resources.tables import Tables

    tables = Tables(tmp_path / "tables")
    worse = RetrainingPolicy(
        (Performance("pinball", above=1.1, segment="low price", against="baseline"),), cooldown_days=0, settle_days=0
    )
    slow = RetrainingPolicy((Operations("latency_p99_ms", above=250),), cooldown_days=0)
    world.promote("1")
    assert isinstance(world.tick(worse, tables), dg.SkipReason), "no table yet"
    rows = [("1", "", 2.0), ("1", "low price", 1.2), ("2", "low price", 9.0)]
    figures = pl.DataFrame(rows, schema=["model_version", "segment", "value"], orient="row").with_columns(
        metric=pl.lit("pinball"), baseline=pl.lit(1.0), as_of=pl.lit(NOW.date())
    )
    tables.append("demand/performance", figures, key=["model_version", "segment", "metric", "as_of"])
    request = world.tick(worse, tables)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_REASON] == (
        "pinball in low price over the baseline 1.2 at 2025-06-30, at most 1.1 allowed, since 2025-06-30"
    )
    world.launch(request, dg.DagsterRunStatus.SUCCESS)
    for latency, answer in ((200.0, dg.SkipReason), (300.0, dg.RunRequest)):
        world.report(dg.AssetObservation(dg.AssetKey(["demand", "service"]), metadata={"latency_p99_ms": latency}))
        assert isinstance(world.tick(slow, tables), answer)


def test_new_code_fires_once_and_counts_what_the_last_training_met(world: World) -> None:
    policy = RetrainingPolicy((Code(),), cooldown_days=0)
    world.promote("1")
    world.report(dg.AssetMaterialization(dg.AssetKey(["demand", "training_set"]), tags={CODE_VERSION_TAG: "old"}))
    world.report(
        dg.AssetMaterialization(
            dg.AssetKey(["demand", "candidate"]),
            tags={CODE_VERSION_TAG: "same"},
            metadata={"labels known by": str(NOW)},
        )
    )
    # Computed again by the new code after the training: the model has not seen it all the same.
    world.report(dg.AssetMaterialization(dg.AssetKey(["demand", "training_set"]), tags={CODE_VERSION_TAG: "new"}))
    world.repository = graph("old", "same").get_repository_def()
    assert isinstance(world.tick(policy), dg.SkipReason)
    world.repository = graph("new", "same").get_repository_def()
    request = world.tick(policy)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[names.TAG_CAUSE].startswith("code/")
    world.launch(request, dg.DagsterRunStatus.SUCCESS)
    assert isinstance(world.tick(policy), dg.SkipReason)


def test_the_sensor_runs_by_default_on_the_models_job() -> None:
    sensor = retraining_sensor("demand", {"cooldown_days": 3, "settle_days": 0})
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "retrain_demand"
    dg.Definitions.validate_loadable(
        dg.Definitions.merge(
            graph(), dg.Definitions(sensors=[sensor], resources=dict.fromkeys(("ledger", "clock", "tables")))
        )
    )


def test_a_misspelt_policy_is_named_when_the_definitions_load() -> None:
    with pytest.raises(ConfigurationError, match="cooldown_day"):
        retraining_sensor("demand", {"cooldown_day": 3})


def _age_runs(world: World, by: timedelta) -> None:
    """Make the ended runs older than they are, in the instance's own storage."""
    import sqlalchemy as sa
    from dagster._core.storage.runs.schema import RunsTable

    with world.instance.run_storage.connect() as connection:  # pyright: ignore
        connection.execute(
            RunsTable.update().where(sa.true()).values(end_time=RunsTable.c.end_time - by.total_seconds())
        )
