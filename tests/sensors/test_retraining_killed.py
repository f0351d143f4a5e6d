"""The retraining sensor's process killed at twelve points between reading and asking: one cause, one run, in the end.

Seven are of the sensor, five of Dagster's own sensor daemon, at the places where its own tests kill it.
"""

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
fire, record, complete, status = ledger.fire, retraining.record, ledger.complete, ledger.record_cause_status
if point == "before the claim":
    ledger.fire = lambda *args, **kwargs: die()
if point == "after the claim":
    ledger.fire = lambda *args, **kwargs: (fire(*args, **kwargs), die())
if point == "after the decision":
    retraining.record = lambda *args, **kwargs: (record(*args, **kwargs), die())
if point == "after the claim to ask again":
    ledger.complete = lambda *args, **kwargs: (complete(*args, **kwargs), die())
if point == "before the end is kept":
    ledger.record_cause_status = lambda *args, **kwargs: die()
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
    for _ in range({"after the claim to ask again": 2, "before the end is kept": 2}.get(point, 1) if point in POINTS else 3):
        context = dg.build_sensor_context(
            instance=instance, repository_def=definitions.get_repository_def(),
            resources={"ledger": ledger, "clock": Clock, "tables": None},
        )
        answer = retraining.retraining_sensor("demand", {"settle_days": 0})(context)
        if point == "before the run":
            die()
        keyed = {"dagster/run_key": getattr(answer, "run_key", "")}
        if point == "after the claim to ask again":
            continue  # the first answer is lost
        if isinstance(answer, dg.RunRequest) and not instance.get_runs(dg.RunsFilter(tags=keyed)):
            run = instance.create_run_for_job(definitions.resolve_job_def("retrain_demand"), tags={**answer.tags, **keyed})
            if point == "after the run":
                die()
            done = DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name, message="done")
            instance.report_dagster_event(done, run_id=run.run_id)
"""
POINTS = [
    "before the claim",
    "after the claim",
    "after the decision",
    "before the run",
    "after the run",
    "after the claim to ask again",
    "before the end is kept",
]

# The same by Dagster's own daemon: one iteration over a real workspace, killed by the flags of its own tests.
DAEMON = """
import logging, signal, sys, time
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.sensor import execute_sensor_iteration

flag, location = sys.argv[1], sys.argv[2]
target = PythonFileTarget(python_file=location, attribute=None, working_directory=None, location_name="location")
flags = {"demand_retraining": {flag: signal.SIGKILL}} if flag else None
with DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
    for _ in range(1 if flag else 2):
        time.sleep(1.5)
        list(execute_sensor_iteration(workspace, logging.getLogger("daemon"), None, None, debug_crash_flags=flags))
"""
LOCATION = """
import os
from datetime import UTC, datetime, timedelta
import dagster as dg
from resources.ledger import Ledger
from sensors import retraining

retraining.CLAIM_GRACE = timedelta()

class Clock:
    now = staticmethod(lambda: datetime(2025, 6, 30, tzinfo=UTC))

@dg.asset(key=["demand", "training_set"])
def training_set(): ...

@dg.asset(key=["demand", "monitoring"], check_specs=[dg.AssetCheckSpec("error", asset=["demand", "monitoring"])])
def monitoring() -> dg.MaterializeResult: ...

sensor = retraining.retraining_sensor("demand", {"settle_days": 0})
sensor._min_interval = 1  # a minute in production
defs = dg.Definitions(
    assets=[training_set, monitoring],
    jobs=[dg.define_asset_job("retrain_demand", selection=dg.AssetSelection.assets(["demand", "training_set"]))],
    sensors=[sensor],
    resources={"ledger": Ledger(os.environ["LEDGER"]), "clock": Clock(), "tables": None},
)
"""
FLAGS = ["TICK_CREATED", "TICK_HELD", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED"]


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


def iterate(folder: Path, flag: str) -> tuple[int, str]:
    """Exit code and what was said, to a file: the code server outlives its daemon by half a minute, and would hold a pipe."""
    location, log = folder / "location.py", folder / "daemon.log"
    location.write_text(LOCATION)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DAEMON, flag, str(location)],
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env={
            **os.environ,
            "DAGSTER_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
            "LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        },
        check=False,
        timeout=120,
    )
    return done.returncode, log.read_text()[-2000:]


@pytest.mark.long
@pytest.mark.parametrize("flag", FLAGS)
def test_dagsters_daemon_killed_anywhere_launches_exactly_one_run(flag: str, prepared: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "state"))
    code, said = iterate(folder, flag)
    assert code == -signal.SIGKILL, said
    code, said = iterate(folder, "")
    assert code == 0, said
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    assert [(cause.trigger, cause.episode) for cause in ledger.causes("demand")] == [("error", "1/2025-06-28")]
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        runs = instance.get_runs()
    assert [run.tags["dagster/run_key"] for run in runs] == ["demand/error/1/2025-06-28"]
    ledger.close()
