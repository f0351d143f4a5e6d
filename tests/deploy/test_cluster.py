"""A run on Kubernetes from launcher to table, through dagster-k8s unmodified, against a fake API server."""

import json
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.launcher import LaunchRunContext

from tests.deploy import fake_kubernetes
from tests.deploy.test_pods import GOLDEN, INSTANCE, VARIABLES

GRAPH = Path(__file__).parent / "graph.py"


def run_on(
    cluster_folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dg.DagsterRun, fake_kubernetes.Cluster]:
    """The finished run, and what the API server saw."""
    local = {
        "PERENNIAL_TABLES": str(state / "tables"),
        "PERENNIAL_ARTIFACTS": str(state),
        "PERENNIAL_LEDGER": f"sqlite:///{state}/ledger.db",
    }
    for name, value in {**VARIABLES, **local, "PERENNIAL_STATE": str(state)}.items():
        monkeypatch.setenv(name, value)
    with fake_kubernetes.cluster(cluster_folder) as (cluster, kubeconfig):
        configuration = yaml.safe_load(INSTANCE.read_text())
        configuration.pop("storage")  # SQLite in the folder instead of PostgreSQL
        configuration["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
        home = state / "home"
        home.mkdir(parents=True)
        (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            job = ReconstructableJob.for_file(str(GRAPH), "job")
            run = instance.create_run_for_job(job.get_definition(), job_code_origin=job.get_python_origin())
            instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
            name = f"dagster-run-{run.run_id}"
            deadline = time.monotonic() + 150
            while cluster.processes[name].poll() is None:
                assert time.monotonic() < deadline, cluster.logs()
                time.sleep(0.2)
            finished = instance.get_run_by_id(run.run_id)
            assert finished is not None
            print(cluster.logs())  # noqa: T201  # shown where the test fails
            return finished, cluster


@pytest.mark.long
def test_each_step_gets_the_pod_of_its_profile_and_the_table_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster").mkdir()
    run, cluster = run_on(tmp_path / "cluster", tmp_path / "state", monkeypatch)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    total = json.loads((tmp_path / "state/values/total.json").read_text())
    assert total["units"] == 3.0
    assert total["process"] in {process.pid for process in cluster.processes.values()}, "not in a process of its own"

    steps = {job["metadata"]["labels"].get("dagster/op", "run"): job for job in cluster.jobs.values()}
    assert set(steps) == {"run", "sales", "total", "check"}
    for step, golden in (("run", "run"), ("sales", "small"), ("total", "gpu")):
        found, expected = steps[step]["spec"], yaml.safe_load((GOLDEN / f"{golden}.yaml").read_text())["spec"]
        assert {key: found[key] for key in ("backoffLimit", "ttlSecondsAfterFinished")} == {
            key: expected[key] for key in ("backoffLimit", "ttlSecondsAfterFinished")
        }
        pod, reviewed = found["template"]["spec"], expected["template"]["spec"]
        assert pod["containers"][0]["resources"] == reviewed["containers"][0]["resources"], step
        for part in ("nodeSelector", "tolerations", "restartPolicy", "serviceAccountName"):
            assert pod.get(part) == reviewed.get(part), step
    assert steps["total"]["spec"]["template"]["spec"]["containers"][0]["image"] == "images/perennial:1-gpu"
    assert "hunter2" not in json.dumps(cluster.jobs)


@pytest.mark.long
def test_a_failed_run_fails_its_job_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the Kubernetes Job of a failed run says Complete."""
    monkeypatch.setenv("FAIL", "1")
    (tmp_path / "cluster").mkdir()
    run, cluster = run_on(tmp_path / "cluster", tmp_path / "state", monkeypatch)
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert cluster.processes[f"dagster-run-{run.run_id}"].returncode != 0
    assert (tmp_path / "state/values/total.json").exists()
