"""The main job in one process: data and features by range, then each model; what is done already is not done again."""

import fcntl
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from platform_assets import names
from platform_assets.components.model_assets import model_names
from platform_assets.definitions import PROJECT, assemble
from platform_assets.errors import ConfigurationError, EmptyFrameError, PerennialError
from resources.deployment import Settings

Echo = Callable[[str], None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
LAUNCHER = "perennial/launcher"  # tag of the demo's own runs
FIRST_MODEL = "demand"  # its champion is what the demo is about; the others follow


class DemoFailedError(PerennialError):
    """A run of the demo failed; the message names the step and its error."""


class UntrainedError(DemoFailedError):
    """There are no rows to train or judge a model on; others may have theirs."""


def run(settings: Settings, echo: Echo) -> dict[str, Any]:
    """Everything from raw lines to gated champions.

    Returns: seconds, peak bytes of the process tree, whether anything had to be done, and models that could not be trained.
    """
    from resources.ledger import Ledger

    started = time.monotonic()
    ledger = Ledger(settings.ledger_url)
    untrained: dict[str, str] = {}  # model to why
    code, data = code_digest(), settings.data_digest()
    with alone(settings), peak_memory() as peak:
        todo = [stage for stage in stages() if ledger.completed(completion(stage, code, data)) is None]
        if todo:
            graph = assemble(settings)
            job = graph.resolve_implicit_global_asset_job_def()
            with dg.DagsterInstance.from_config(str(settings.dagster_home())) as instance:
                end_dead_runs(instance)
                for number, stage in enumerate(todo, 1):
                    echo(f"[{number}/{len(todo)}] {stage}")
                    try:
                        execute(job, instance, stage, settings, echo)
                    except UntrainedError as error:
                        untrained |= {stage: error.message}
                        if stage not in model_names() or set(untrained) == set(model_names()):
                            raise DemoFailedError("\n".join(untrained.values())) from error
                        continue
                    ledger.complete(completion(stage, code, data), {"state": str(settings.state)})
    return {"seconds": time.monotonic() - started, "peak_bytes": peak(), "ran": todo, "untrained": untrained}


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One demo at a time in a state directory; the lock dies with its process.

    Raises: ConfigurationError where another demo is at work there.
    """
    with (settings.state / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another demo is at work in {settings.state}", hint="wait for its end, or give this one STATE=path"
            ) from error
        yield


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Runs of a demo that was killed fail now: unfinished they would hold their model's place in the queue for hours.

    To be called inside `alone`: no demo is alive then but this one.
    """
    statuses = [dg.DagsterRunStatus.NOT_STARTED, *IN_PROGRESS_RUN_STATUSES]
    unfinished = dg.RunsFilter(tags={LAUNCHER: "demo"}, statuses=statuses)
    for run in instance.get_runs(filters=unfinished):
        instance.report_run_failed(run, message="the demo's process was killed")


def tidy(settings: Settings) -> None:
    """`end_dead_runs`, unless a demo is at work."""
    home = str(settings.dagster_home())
    with suppress(ConfigurationError), alone(settings), dg.DagsterInstance.from_config(home) as instance:
        end_dead_runs(instance)


def stages() -> list[str]:
    """`data`, then the models, the demo's first one first, then what is reported of all of them."""
    models = model_names()
    return ["data", *sorted(models, key=lambda name: (name != FIRST_MODEL, name)), names.GROUP_REPORTS]


def completion(stage: str, code: str, data: str) -> str:
    """Key under which the ledger knows that this stage is done for this code and data."""
    return f"demo/{stage}/{code}/{data}"


def execute(job: dg.JobDefinition, instance: dg.DagsterInstance, stage: str, settings: Settings, echo: Echo) -> None:
    """One run: the partitioned assets by range, one model's life, or the reports."""
    keys = set(job.asset_layer.executable_asset_keys)
    if stage == "data":
        partitioned = {key for key in keys if job.asset_layer.get(key).partitions_def is not None}
        definition = job.asset_layer.get(dg.AssetKey([names.SALES])).partitions_def
        assert definition is not None
        months = [key for key in definition.get_partition_keys() if key <= str(settings.window[1] or key)]
        window = {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}
        _run(job, instance, sorted(partitioned), window, echo)
        registry = [key for key in (dg.AssetKey(["feature_registry"]),) if key in keys]
        online = [key for key in keys - partitioned if key.path[0] == "online"]
        _run(job, instance, [*registry, *sorted(online)], {}, echo)
    elif stage == names.GROUP_REPORTS:
        _run(job, instance, sorted(key for key in keys if job.asset_layer.get(key).group_name == stage), {}, echo)
    else:
        is_first = not settings.ledger().decisions(stage, kind="gate")
        reason = "first training: the demo" if is_first else "the demo, on other code or data than before"
        tags = {names.TAG_REASON: reason, names.TAG_CAUSE: "manual", names.TAG_MODEL: stage}
        _run(job, instance, sorted(key for key in keys if key.path[0] == stage), tags, echo)


def _run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, selection: list[dg.AssetKey], tags: dict[str, str], echo: Echo
) -> None:
    if not selection:
        return
    run_id = str(uuid4())
    began: dict[str, float] = {}

    def report(entry: Any) -> None:
        event = entry.dagster_event
        if event is None:
            if entry.level >= 20 and not entry.user_message.startswith("Dependencies for step"):
                echo(f"      {entry.user_message}")
        elif event.event_type is DagsterEventType.STEP_START:
            began[event.step_key] = time.monotonic()
        elif event.event_type is DagsterEventType.STEP_SUCCESS:
            echo(
                f"    {event.step_key.replace('__', '/')}: {time.monotonic() - began.get(event.step_key, time.monotonic()):.1f} s"
            )
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            echo(f"    {event.step_key.replace('__', '/')}: FAILED")

    instance.add_event_listener(run_id, report)
    result = job.execute_in_process(
        asset_selection=selection,
        instance=instance,
        tags={**tags, LAUNCHER: "demo"},
        run_config=QUIET,
        run_id=run_id,
        raise_on_error=False,
    )
    if not result.success:
        told = "\n".join(failures(result))
        if {error.cls_name for _, error in _failed_steps(result)} == {EmptyFrameError.__name__}:
            raise UntrainedError(told)
        raise DemoFailedError(told, hint="mend what it names and run the same command again; what is done stays done")


def failures(result: Any) -> Iterator[str]:
    """One line for each failed blocking check, and for each step that failed otherwise: its innermost cause."""
    for event in result.all_events:
        if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.event_specific_data
            if not check.passed and check.blocking and check.severity is dg.AssetCheckSeverity.ERROR:
                yield f"{check.asset_key.to_user_string()}: check `{check.check_name}` failed: {check.description}"
    for step, error in _failed_steps(result):
        said, place = error.message.strip(), step.replace("__", "/")
        if said.startswith("dagster._core.errors.DagsterAssetCheckFailedError"):
            continue
        said = said.removeprefix(f"{PerennialError.__module__}.{error.cls_name}: ")
        yield said if said.startswith(f"{place}: ") else f"{place}: {said}"


def _failed_steps(result: Any) -> Iterator[tuple[str, Any]]:
    """Key and innermost error of each step that failed."""
    for event in result.all_events:
        if event.event_type is DagsterEventType.STEP_FAILURE:
            error = event.event_specific_data.error
            while error.cause is not None:
                error = error.cause
            yield event.step_key, error


def code_digest() -> str:
    """Digest of the project's own Python and YAML files, so that changed code is a new demo."""
    digest = hashlib.sha256()
    for top in ("platform_assets", "resources", "feature_repo", "sensors"):
        for file in sorted((PROJECT / top).rglob("*")):
            if file.suffix in {".py", ".yaml"} and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def peak_memory(interval_seconds: float = 0.2) -> Iterator[Callable[[], int]]:
    """Largest resident bytes of this process and its children while inside, sampled."""
    import psutil

    me, stop, seen = psutil.Process(), threading.Event(), [0]

    def sample() -> None:
        while not stop.is_set():
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            seen[0] = max(seen[0], total)
            stop.wait(interval_seconds)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        stop.set()
        thread.join()


def prepare_home(settings: Settings) -> Path:
    """DAGSTER_HOME of this state directory, with the local instance's configuration in it."""
    home = settings.dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
    nux = home / ".nux" / "nux.yaml"  # without it a dialog covers the first page
    nux.parent.mkdir(exist_ok=True)
    nux.write_text("seen: 1\n")
    return home
