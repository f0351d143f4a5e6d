"""One MLflow run for one training, opened inside the step through dagster-mlflow.

dagster-mlflow was made for one MLflow run per Dagster run and for Dagster's older resources. What it lacks is mended
here and nowhere else:

- It finds its run by the tag `dagster_run_id`, so all that is trained in one Dagster run shares an MLflow run, and a step
  that is tried again meets the old one's parameters. Here each training makes a run, in its model's experiment, and
  dagster-mlflow is told to open that one.
- It takes over a run that is active in the process without a word. Here that is an error.
- It leaves the process pointing at its tracking server and experiment. Here both are put back.
- Its hook ends a run only after the last step of a job. Here the run ends with the block: FINISHED, or FAILED on an
  exception.
- A killed process leaves its run RUNNING for ever. The run is made together with a tag that says which process on
  which host it belongs to, and the next training of the model closes what is dead.
"""

import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from platform_assets.errors import RegistryError
from resources.mlflow_artifacts import as_bytes, written
from resources.mlflow_model import dataset

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRunEntity

TAG_PROCESS: Final = "perennial/process"
TAG_DAGSTER_RUN: Final = "dagster_run_id"  # set by dagster-mlflow itself


@dataclass(frozen=True)
class Run:
    """An open MLflow run; `mlflow` is dagster-mlflow's resource, on which it is active."""

    model: str
    run_id: str
    artifact_uri: str
    mlflow: Any

    def log(
        self,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        datasets: Mapping[str, int] | None = None,
        artifacts: Mapping[str, bytes | str | Mapping[str, Any]] | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        """Logged on the run: `datasets` are tables with their versions, `artifacts` file names with content."""
        if params:
            self.mlflow.log_params(dict(params))
        if metrics:
            self.mlflow.log_metrics(dict(metrics))
        if tags:
            self.mlflow.set_tags(dict(tags))
        for name, version in (datasets or {}).items():
            self.mlflow.log_input(dataset(name, version), context="training")
        for name, content in (artifacts or {}).items():
            with written({name: as_bytes(content)}) as folder:
                self.mlflow.log_artifacts(str(folder))
        for path in files:
            self.mlflow.log_artifact(str(path))


@contextmanager
def opened(
    client: "MlflowClient",
    *,
    experiment_id: str,
    tracking_uri: str,
    context: dg.OpExecutionContext | dg.AssetExecutionContext | None,
    dagster_run_id: str | None,
    tags: Mapping[str, str],
) -> Iterator[Any]:
    """dagster-mlflow's resource with one fresh run active in this process; the run ends with the block.

    Raises: RegistryError where another MLflow run is active in this process.
    """
    import mlflow  # 1.3 s

    with _without_its_warnings():
        from dagster_mlflow import mlflow_tracking

    active = mlflow.active_run()
    if active is not None:
        raise RegistryError(
            f"MLflow run {active.info.run_id} is active in this process; another cannot be opened beside it",
            hint="end it first, or train in another process",
        )
    dagster_run = context.run if context is not None else _run_outside_dagster(dagster_run_id)
    close_dead_runs(client, experiment_id, context.instance if context is not None else None)
    tracking_before = mlflow.get_tracking_uri()
    experiment = client.get_experiment(experiment_id).name
    run = client.create_run(
        experiment_id, tags={**tags, TAG_PROCESS: _this_process(), TAG_DAGSTER_RUN: dagster_run.run_id}
    )
    run_name = f"{experiment}-{dagster_run.run_id[:8]}"
    config = {
        "experiment_name": experiment,
        "mlflow_tracking_uri": tracking_uri,
        "mlflow_run_id": run.info.run_id,
        "env": {},
        "extra_tags": {**tags, "mlflow.runName": run_name},  # it opens the run under the job's name, one for all models
    }
    try:
        with ExitStack() as stack:
            with _without_its_warnings():  # while it opens; what the training warns of is heard
                built = stack.enter_context(
                    dg.build_resources(
                        {"mlflow": mlflow_tracking.configured(config)},
                        instance=context.instance if context is not None else None,
                        dagster_run=dagster_run,
                        log_manager=context.log if context is not None else _no_log(),
                    )
                )
            try:
                yield built.mlflow
            except Exception:
                built.mlflow.end_run("FAILED")
                raise
            except BaseException:
                built.mlflow.end_run("KILLED")
                raise
            built.mlflow.end_run("FINISHED")
    finally:
        mlflow.set_tracking_uri(tracking_before)


@contextmanager
def _without_its_warnings() -> Iterator[None]:
    """dagster-mlflow calls what Dagster has deprecated, and is all beta; a user can mend neither."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.filterwarnings("ignore", message="InitResourceContext.*is deprecated")
        yield


def close_dead_runs(client: "MlflowClient", experiment_id: str, instance: dg.DagsterInstance | None) -> list[str]:
    """Runs that were RUNNING while their process was dead; they are KILLED now."""
    dead = [
        run.info.run_id
        for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
        if _is_dead(run, instance)
    ]
    for run_id in dead:
        client.set_terminated(run_id, status="KILLED")
    return dead


def _is_dead(run: "MlflowRunEntity", instance: dg.DagsterInstance | None) -> bool:
    """Known to be dead: its process is gone from this host, or its Dagster run has ended. Doubt counts as life."""
    host, _, process = run.data.tags.get(TAG_PROCESS, "").rpartition("/")
    if host == socket.gethostname():
        return process not in _living(process)
    dagster_run_id = run.data.tags.get(TAG_DAGSTER_RUN)
    if instance is not None and dagster_run_id is not None:
        dagster_run = instance.get_run_by_id(dagster_run_id)
        return dagster_run is not None and dagster_run.is_finished
    return False


def _living(process: str) -> set[str]:
    """The process as `pid@start` if it still runs; the start time tells it from a later one with its number."""
    import psutil

    pid, _, _ = process.partition("@")
    try:
        return {_name(psutil.Process(int(pid)))}
    except (psutil.NoSuchProcess, ValueError):
        return set()


def _this_process() -> str:
    import psutil

    return f"{socket.gethostname()}/{_name(psutil.Process())}"


def _name(process: Any) -> str:
    return f"{process.pid}@{process.create_time():.0f}"


def _run_outside_dagster(run_id: str | None) -> dg.DagsterRun:
    """dagster-mlflow asks for a Dagster run; a training outside one gets an id of its own."""
    from dagster._core.utils import make_new_run_id

    return dg.DagsterRun(job_name="perennial", run_id=run_id or make_new_run_id())


def _no_log() -> Any:
    from dagster._core.log_manager import DagsterLogManager

    return DagsterLogManager.create(loggers=[])
