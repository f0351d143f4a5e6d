"""The whole loop with a real daemon on the state of a demo: drift is answered by one retraining, a new day by a new forecast.

Nothing is switched on by hand: every sensor runs by default, runs are launched as processes of their own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from platform_assets import names
from resources.deployment import Settings
from tests.small import (
    DAYS,
    FIRST_ON,
    LAST_ON,
    PERENNIAL,
    copy_project,
    environment,
    lines_of,
    shrink_models,
    write_world,
)

PATIENCE_SECONDS = 420
RECIPE = {
    "parameters": {"rounds": 60, "learning_rate": 0.2},
    "rows_per_series": 100,
    "retraining": {"settle_days": 0, "when": ["drift", "error"]},
}
MONITORING = dg.AssetKey(["demand", "monitoring"])
NEXT_ON = LAST_ON + timedelta(days=1)
ISSUED_AT = datetime(2025, 2, 23, 23, tzinfo=UTC)  # the midnight in Berlin that ends LAST_ON


class Platform:
    """A copied project, its state after a demo, and a daemon on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project, self.state = folder, copy_project(folder / "project"), folder / "state"
        shrink_models(self.project, "demand", **RECIPE)
        self.world = write_world(folder / "world.parquet")
        self.environment = environment(self.project)
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None

    def perennial(self, *arguments: str) -> str:
        done = subprocess.run(
            [*PERENNIAL, *arguments, "--state", str(self.state)],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def start(self) -> None:
        settings = Settings.local(self.state, "simulator", self.world, window=(FIRST_ON, LAST_ON))
        self.environment |= {**settings.environment(), "DAGSTER_HOME": str(settings.dagster_home())}
        self.settings, self.ledger = settings, settings.ledger()
        self.instance = dg.DagsterInstance.from_config(str(settings.dagster_home()))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
            cwd=self.project,
            env=self.environment,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.ledger.close()
            self.instance.dispose()

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            if found := look():
                return found
            time.sleep(1)
        raise AssertionError(
            f"{what}: not within {PATIENCE_SECONDS} s; runs {self.told()}\n{self.log.read_text()[-3000:]}"
        )

    def told(self) -> list[tuple[str, str, str]]:
        runs = self.instance.get_runs()
        return [(run.job_name, run.status.value, run.tags.get(names.TAG_REASON, "")) for run in runs]

    def retrainings(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(filters=dg.RunsFilter(job_name=names.retraining_job("demand"))))

    def drifts(self, as_of: date) -> None:
        """A failed evaluation of the drift check, as the champion's monitoring reports it."""
        champion = self.ledger.champion("demand")
        assert champion is not None
        facts: dict[str, Any] = {
            "champion": champion.version,
            "as_of": as_of.isoformat(),
            "statistic": 0.71,
            "threshold": 0.5,
        }
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(MONITORING, "feature_drift", passed=False, metadata=facts)
        )

    def arrives(self, day: date) -> None:
        """The file of one more day."""
        longer = lines_of(write_world(self.folder / "longer.parquet", days=DAYS + 1)).filter(pl.col("sold_on") == day)
        landing = self.state / "landing"
        landing.mkdir(exist_ok=True)
        longer.write_parquet(self.folder / "day.parquet")
        (self.folder / "day.parquet").rename(landing / f"{day}.parquet")

    def issued(self) -> set[datetime]:
        return set(self.settings.tables().scan("demand/predictions").select("issued_at").collect()["issued_at"])


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    found = Platform(tmp_path)
    yield found
    found.stop()


@pytest.mark.long
def test_drift_is_answered_by_one_retraining_and_a_new_day_by_a_new_forecast(platform: Platform) -> None:
    platform.perennial("demo", "--data", str(platform.world), "--source", "simulator")
    platform.start()
    [quiet] = platform.until("a first decision", lambda: platform.ledger.decisions("demand", kind="retraining"))
    assert quiet.answer == "wait", quiet.reasons
    assert platform.retrainings() == []

    # --- drift
    platform.drifts(LAST_ON)
    platform.drifts(NEXT_ON)  # the same episode, judged again
    [run] = platform.until("a retraining", platform.retrainings)
    assert run.tags[names.TAG_CAUSE] == f"drift/1/{LAST_ON}"
    assert run.tags[names.TAG_MODEL] == "demand"
    assert "0.71" in run.tags[names.TAG_REASON]
    platform.until("its end", lambda: platform.instance.get_run_by_id(run.run_id).is_finished)  # pyright: ignore[reportOptionalMemberAccess]
    ended = platform.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.is_success, platform.told()
    said_why(platform, run)

    # --- a new day, while the ticks go on
    platform.arrives(NEXT_ON)
    new = platform.until("a new forecast", lambda: platform.issued() - {ISSUED_AT})
    assert new == {ISSUED_AT + timedelta(days=1)}
    assert ISSUED_AT in platform.issued(), "what was said before stays"
    sales = platform.settings.tables().scan("sales").filter(pl.col("period_on") == NEXT_ON).collect()
    assert sales.height > 0
    platform.until("a watch on the new day", lambda: monitored_after(platform, NEXT_ON))

    # --- once
    [cause] = platform.until(
        "the cause's end", lambda: [c for c in platform.ledger.causes("demand") if c.status == "succeeded"]
    )
    assert (cause.trigger, cause.episode, cause.run_id) == ("drift", f"1/{LAST_ON}", run.run_id)
    assert len(platform.retrainings()) == 1, platform.told()
    assert {status for _, status, _ in platform.told()} <= {"SUCCESS", "STARTED", "STARTING", "QUEUED", "NOT_STARTED"}
    rolled_back(platform)


def said_why(platform: Platform, run: dg.DagsterRun) -> None:
    """The reason, and on what it was trained, stand on the MLflow run, on the version, in its manifest and in the answer to why."""
    from mlflow.tracking import MlflowClient

    reason = run.tags[names.TAG_REASON]
    client = MlflowClient(platform.settings.mlflow_uri)
    version = client.get_model_version("demand", "2")
    assert version.tags[names.TAG_REASON] == reason
    assert version.tags[names.TAG_CAUSE] == run.tags[names.TAG_CAUSE]
    assert version.run_id is not None
    assert client.get_run(version.run_id).data.tags[names.TAG_REASON] == reason
    manifest = platform.settings.registry().manifest("demand", "2")
    assert manifest.reason == reason
    told = run.tags[names.TAG_TRAIN_ON]
    assert version.tags[names.TAG_TRAIN_ON] == client.get_run(version.run_id).data.tags[names.TAG_TRAIN_ON] == told
    assert manifest.train_on == json.loads(told)
    assert manifest.train_on["recent_density"] > 1, "an alarm learns from the last weeks more densely"
    why = json.loads(platform.perennial("why", "demand", "--json"))
    assert any(entry["answer"] == "retrain" and reason in entry["reasons"] for entry in why["policy"])
    judged = [decision.evidence["version"] for decision in platform.ledger.decisions("demand", kind="gate")]
    assert judged == ["1", "2"]


def monitored_after(platform: Platform, day: date) -> bool:
    """Whether the champion's forecast of the day has been scored."""
    rows = platform.settings.tables().scan("demand/monitoring").select("day").collect()["day"]
    return day in set(rows)


def materialized(platform: Platform, stage: str) -> float:
    """When a stage of the model was computed last."""
    event = platform.instance.get_latest_materialization_event(dg.AssetKey(names.model_key("demand", stage)))
    return 0.0 if event is None else event.timestamp


def rolled_back(platform: Platform) -> None:
    """Version 2, made champion by hand here, gives way to version 1 in one command; the mirror follows."""
    from mlflow.tracking import MlflowClient

    standing = platform.ledger.champion("demand")
    assert standing is not None
    if standing.version == "1":
        platform.ledger.promote(
            "demand", from_version="1", to_version="2", reason="by hand", evidence={}, at=datetime.now(UTC)
        )
    asked_at = time.time()
    answer = json.loads(platform.perennial("rollback", "demand", "--reason", "customers complain", "--json"))
    assert (answer["version"], answer["was"]) == ("1", "2")
    assert (
        str(MlflowClient(platform.settings.mlflow_uri).get_model_version_by_alias("demand", "champion").version) == "1"
    )
    why = platform.perennial("why", "demand")
    assert "demand@1 is champion" in why
    assert "(rollback)" in why
    assert "customers complain" in why
    platform.until("a forecast of the champion that is back", lambda: materialized(platform, "predictions") > asked_at)
