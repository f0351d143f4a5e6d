"""The retraining sensor's process killed at each point between reading and asking: one cause, one run, in the end."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from resources.ledger import Ledger

ROOT = Path(__file__).parents[2]

# One process: a tick of the sensor on a persistent instance, its request turned into a run as a daemon does. Named points
# kill it where it stands.
TICK = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
import dagster as dg
from dagster._core.events import DagsterEvent
from platform_assets import names
from resources.ledger import Ledger
from sensors import retraining

url, point, POINTS = sys.argv[1], sys.argv[2], sys.argv[3:]
retraining.CLAIM_GRACE = timedelta()
die = lambda: os.kill(os.getpid(), signal.SIGKILL)

class Clock:
    now = staticmethod(lambda: datetime(2025, 6, 30, tzinfo=UTC))

@dg.asset(key=["demand", "training_set"])
def training_set(): ...

@dg.asset(key=["demand", "monitoring"], check_specs=[dg.AssetCheckSpec("error", asset=["demand", "monitoring"])])
def monitoring() -> dg.MaterializeResult: ...

job = dg.define_asset_job("retrain_demand", selection=dg.AssetSelection.assets(["demand", "training_set"]))
definitions = dg.Definitions(assets=[training_set, monitoring], jobs=[job])
ledger = Ledger(url)
fire, record = ledger.fire, retraining.record
if point == "before the claim":
    ledger.fire = lambda *args, **kwargs: die()
if point == "after the claim":
    ledger.fire = lambda *args, **kwargs: (fire(*args, **kwargs), die())
if point == "after the decision":
    retraining.record = lambda *args, **kwargs: (record(*args, **kwargs), die())
with dg.DagsterInstance.get() as instance:
    if point == "prepare":
        ledger.promote("demand", from_version=None, to_version="1", reason="first", evidence={}, at=Clock.now())
        said = {"champion": "1", "as_of": "2025-06-28", "statistic": 5.0, "threshold": 4.0}
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(dg.AssetKey(["demand", "monitoring"]), "error", False, metadata={
                name: dg.MetadataValue.text(v) if isinstance(v, str) else dg.MetadataValue.float(v) for name, v in said.items()
            })
        )
        sys.exit()
    for _ in range(1 if point in POINTS else 2):
        context = dg.build_sensor_context(
            instance=instance, repository_def=definitions.get_repository_def(),
            resources={"ledger": ledger, "clock": Clock, "tables": None},
        )
        answer = retraining.retraining_sensor("demand", {})(context)
        if point == "before the run":
            die()
        keyed = {"dagster/run_key": getattr(answer, "run_key", "")}
        if isinstance(answer, dg.RunRequest) and not instance.get_runs(dg.RunsFilter(tags=keyed)):
            run = instance.create_run_for_job(definitions.resolve_job_def("retrain_demand"), tags={**answer.tags, **keyed})
            if point == "after the run":
                die()
            done = DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name, message="done")
            instance.report_dagster_event(done, run_id=run.run_id)
"""
POINTS = ["before the claim", "after the claim", "after the decision", "before the run", "after the run"]


def tick(folder: Path, point: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TICK, f"sqlite:///{folder / 'ledger.db'}", point, *POINTS],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DAGSTER_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=180,
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion whose error check has failed."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    done = tick(folder, "prepare")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_cause_gets_exactly_one_run(point: str, prepared: Path, tmp_path: Path) -> None:
    """Claim and request are two steps; a kill between them must not leave a cause that nobody ever trains for."""
    folder = Path(shutil.copytree(prepared, tmp_path / "state"))
    killed = tick(folder, point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    survivor = tick(folder, "no point")
    assert survivor.returncode == 0, survivor.stderr[-2000:]
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    assert [(cause.trigger, cause.episode) for cause in ledger.causes("demand")] == [("error", "1/2025-06-28")]
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        runs = instance.get_runs()
    assert [run.tags["dagster/run_key"] for run in runs] == ["demand/error/1/2025-06-28"]
    ledger.close()
