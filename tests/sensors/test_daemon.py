"""A real daemon with the project's sensors: what has a condition is computed, what has a cause is retrained, once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from platform_assets import names
from resources.ledger import Ledger

ROOT = Path(__file__).parents[2]
MONITORING = dg.AssetKey(["demand", "monitoring"])
PATIENCE_SECONDS = 240

# The keys, checks and job of one model's life with empty bodies, and the real sensors.
LOCATION = """
import os
import dagster as dg
from platform_assets import policies
from resources.clock import Clock
from resources.ledger import Ledger
from sensors.failure import failure_sensor
from sensors.monitoring import automation_sensor
from sensors.retraining import retraining_sensor

@dg.asset(key="sales", check_specs=[dg.AssetCheckSpec("contract", asset="sales", blocking=True)])
def sales() -> dg.MaterializeResult: ...

@dg.asset(key=["features", "demand_history"], deps=["sales"], automation_condition=policies.WHEN_UPSTREAM_MOVES)
def features() -> None: ...

@dg.asset(key=["demand", "training_set"], deps=[["features", "demand_history"]])
def training_set() -> None:
    if os.path.exists(os.environ["FAILS"]):
        raise RuntimeError("no rows to fit on")

@dg.asset(key=["demand", "monitoring"], check_specs=[
    dg.AssetCheckSpec(name, asset=["demand", "monitoring"]) for name in ("feature_drift", "error")
])
def monitoring() -> dg.MaterializeResult: ...

defs = dg.Definitions(
    assets=[sales, features, training_set, monitoring],
    jobs=[dg.define_asset_job("retrain_demand", selection=dg.AssetSelection.assets(["demand", "training_set"]))],
    sensors=[automation_sensor(), failure_sensor(), retraining_sensor("demand", {"when": ["drift"], "cooldown_days": 0, "settle_days": 0})],
    resources={"ledger": Ledger(os.environ["LEDGER"]), "clock": Clock(), "tables": None},
)
"""


class Daemon:
    """A daemon process, its instance and its ledger."""

    def __init__(self, folder: Path) -> None:
        home = folder / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        (folder / "location.py").write_text(LOCATION)
        (folder / "workspace.yaml").write_text(f"load_from: [{{python_file: {folder / 'location.py'}}}]\n")
        self.url, self.fails = f"sqlite:///{folder / 'ledger.db'}", folder / "fails"
        self.ledger, self.instance = Ledger(self.url), dg.DagsterInstance.from_config(str(home))
        self.log = folder / "daemon.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "LEDGER": self.url,
            "FAILS": str(self.fails),
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        workspace = self.log.parent / "workspace.yaml"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run", "-w", str(workspace)],
            env=self.environment,
            cwd=ROOT,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def checked(self, key: dg.AssetKey, check: str, passed: bool, *, blocking: bool = False) -> None:
        said = {"champion": "1", "as_of": "2025-06-28"}
        metadata = {name: dg.MetadataValue.text(value) for name, value in said.items()}
        self.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(key, check, passed, metadata=metadata, blocking=blocking)
        )

    def runs(self, **tags: str) -> list[dg.DagsterRun]:
        return [run for run in self.instance.get_runs() if all(run.tags.get(k) == v for k, v in tags.items())]

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            if found := look():
                return found
            time.sleep(1)
        raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} s\n{self.log.read_text()[-3000:]}")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path)
    yield found
    found.stop()
    found.ledger.close()
    found.instance.dispose()


@pytest.mark.long
def test_a_daemon_computes_what_moved_and_retrains_for_a_cause_once(daemon: Daemon) -> None:
    """Nothing is switched on by hand: the sensors run by default; the veto holds, a failed run is recorded."""
    daemon.ledger.promote(
        "demand", from_version=None, to_version="1", reason="first", evidence={}, at=datetime.now(UTC)
    )
    daemon.checked(MONITORING, "feature_drift", passed=False)
    daemon.checked(dg.AssetKey("sales"), "contract", passed=False, blocking=True)
    daemon.start()
    vetoed = daemon.until("a decision", lambda: daemon.ledger.decisions("demand", kind="retraining"))
    assert "sales:contract" in " ".join(vetoed[0].reasons)
    assert daemon.ledger.causes("demand") == []

    daemon.fails.touch()
    daemon.checked(dg.AssetKey("sales"), "contract", passed=True, blocking=True)
    daemon.instance.report_runless_asset_event(dg.AssetMaterialization("sales"))
    [run] = daemon.until("a retraining", lambda: daemon.runs(**{names.TAG_MODEL: "demand"}))
    assert run.job_name == "retrain_demand"
    assert run.tags[names.TAG_CAUSE] == "drift/1/2025-06-28"
    assert "drift" in run.tags[names.TAG_REASON]
    daemon.until("the features", lambda: _features(daemon))
    [failure] = daemon.until("the failure", lambda: daemon.ledger.decisions("demand", kind="failure"))
    assert failure.run_id == run.run_id
    assert "no rows to fit on" in failure.reasons[0]
    [cause] = daemon.ledger.causes("demand")
    assert (cause.status, cause.run_id) == ("failed", run.run_id)
    assert len(daemon.runs(**{names.TAG_MODEL: "demand"})) == 1


def _features(daemon: Daemon) -> list[dg.DagsterRun]:
    """Runs of the automation; sales move again now and then, for what moved before its first tick does not count."""
    found = daemon.runs(**{names.TAG_REASON: "an upstream has moved"})
    if not found and int(time.monotonic()) % 20 == 0:
        daemon.instance.report_runless_asset_event(dg.AssetMaterialization("sales"))
    return found
