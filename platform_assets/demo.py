"""The main job in one process: data and features by range, then each model; what is done already is not done again."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from platform_assets import names, story
from platform_assets.components.model_assets import model_names
from platform_assets.definitions import PROJECT, assemble
from platform_assets.errors import ConfigurationError, EmptyFrameError, PerennialError
from platform_assets.process_memory import give_memory_back, peak_memory
from platform_assets.recipes import REGISTRY, recipes
from platform_assets.stopping import stops_at_once
from resources.deployment import Settings
from resources.ledger import Ledger

Echo = Callable[[str], None]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
LAUNCHER = "perennial/launcher"  # tag of the demo's own runs
LONG_STEP_SECONDS = 2.0  # of a step after which it is worth half a second to give its memory back
FIRST_MODEL = "demand"  # its champion is what the demo is about; the others follow


class DemoFailedError(PerennialError):
    """A run of the demo failed; the message names the step and its error."""


class UntrainedError(DemoFailedError):
    """There are no rows to train or judge a model on; others may have theirs."""


def run(settings: Settings, echo: Echo, *, lives_on: bool = False) -> dict[str, Any]:
    """Everything from raw lines to gated champions; where it `lives_on`, the weeks after the simulated history too.

    Returns: seconds, peak bytes of the process tree, what had to be made again (stages, or assets of `data`), models that
    could not be trained, with the reason, the seconds until the first champion stood (0: none does, or nothing was made),
    and the weeks that were lived through.
    Raises: DemoFailedError where a stage failed, or where no model could be trained.
    """
    give_memory_back()
    started, ran = time.monotonic(), list[str]()
    ledger = Ledger(settings.ledger_url)
    untrained: dict[str, str] = {}  # model to why
    first_after, lived = 0.0, list[int]()
    with alone(settings), peak_memory() as peak, stops_at_once("the same command goes on from what is done"):
        graph = assemble(settings)
        wanted = {key.to_user_string(): recipe for key, recipe in recipes(graph, settings.source).items()}
        data, made = story.at_its_beginning(settings).data_digest(), made_by(ledger)
        stale = {key for key, recipe in wanted.items() if made.get(key) != f"{recipe} {data}"}
        job = graph.resolve_implicit_global_asset_job_def()
        todo = {stage: keys for stage in stages() if (keys := to_make(job, stage, stale))}
        with dg.DagsterInstance.from_config(str(settings.dagster_home())) as instance:
            if todo:
                end_dead_runs(instance)
            for number, (stage, keys) in enumerate(todo.items(), 1):
                is_whole = len(keys) == len(to_make(job, stage, set(wanted)))
                told = [stage] if is_whole else sorted(key.to_user_string() for key in keys)
                echo(f"[{number}/{len(todo)}] {stage}{'' if is_whole else ': ' + ', '.join(told)}")
                try:
                    execute(job, instance, stage, keys, settings, echo)
                except UntrainedError as error:
                    untrained |= {stage: error.message}
                    if stage not in model_names() or set(untrained) == set(model_names()):
                        raise DemoFailedError("\n".join(untrained.values())) from error
                    continue
                done = {key.to_user_string(): f"{wanted[key.to_user_string()]} {data}" for key in keys}
                ledger.complete(completion(len(completions(ledger))), done)
                ran += told
                if not first_after and stage in model_names() and ledger.champion(stage) is not None:
                    first_after = time.monotonic() - started
            if lives_on and FIRST_MODEL not in untrained:
                lived = story.live(settings, FIRST_MODEL, instance, _run, echo)
    seconds = {"seconds": time.monotonic() - started, "seconds_to_champion": first_after}
    return {**seconds, "peak_bytes": peak(), "ran": ran, "untrained": untrained, "weeks": lived}


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


def completion(number: int) -> str:
    """Key under which the ledger keeps what the demo's run of this number has made, by which recipe from which data."""
    return f"demo/made/{number:06}"


def completions(ledger: Ledger) -> list[dict[str, str]]:
    """What each run has made, the oldest first."""
    kept: list[dict[str, str]] = []
    while (made := ledger.completed(completion(len(kept)))) is not None:
        kept.append(made)
    return kept


def made_by(ledger: Ledger) -> dict[str, str]:
    """Asset to the recipe and the data that it was last made by."""
    return {key: recipe for made in completions(ledger) for key, recipe in made.items()}


def to_make(job: dg.JobDefinition, stage: str, stale: set[str]) -> list[dg.AssetKey]:
    """Assets of a stage that are to be made: of `data` the stale ones alone, of a model its whole life if one is."""
    layer, keys = job.asset_layer, sorted(job.asset_layer.executable_asset_keys)
    if stage == "data":
        loads = [
            key
            for key in keys
            if key == REGISTRY or (key.path[0] in ("online", "services") and not _is_monthly(job, key))
        ]
        # What one step makes, it makes together.
        steps = {key: layer.get(key).execution_set_asset_keys for key in keys if _is_monthly(job, key)}
        months = [key for key, together in steps.items() if {k.to_user_string() for k in together} & stale]
        return [*months, *(key for key in loads if key.to_user_string() in stale)]
    if stage == names.GROUP_REPORTS:
        found = [key for key in keys if layer.get(key).group_name == stage]
    else:
        found = [key for key in keys if key.path[0] == stage]
    return found if any(key.to_user_string() in stale for key in found) else []


def _is_monthly(job: dg.JobDefinition, key: dg.AssetKey) -> bool:
    return job.asset_layer.get(key).partitions_def is not None


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    stage: str,
    keys: list[dg.AssetKey],
    settings: Settings,
    echo: Echo,
) -> None:
    """These assets of a stage: the partitioned ones over all months in one run, then those without partitions."""
    monthly = [key for key in keys if _is_monthly(job, key)]
    if monthly:
        definition = job.asset_layer.get(dg.AssetKey([names.SALES])).partitions_def
        assert definition is not None
        months = [key for key in definition.get_partition_keys() if key <= str(settings.window[1] or key)]
        window = {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}
        _run(job, instance, monthly, window, echo)
    tags = {}
    if stage in model_names():
        is_first = not settings.ledger().decisions(stage, kind="gate")
        reason = "first training: the demo" if is_first else "the demo, on other code or data than before"
        tags = {names.TAG_REASON: reason, names.TAG_CAUSE: "manual", names.TAG_MODEL: stage}
    _run(job, instance, [key for key in keys if key not in monthly], tags, echo)


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
            seconds = time.monotonic() - began.get(event.step_key, time.monotonic())
            if seconds >= LONG_STEP_SECONDS:
                give_memory_back()
            echo(f"    {event.step_key.replace('__', '/')}: {seconds:.1f} s")
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


def prepare_home(settings: Settings) -> Path:
    """DAGSTER_HOME of this state directory, with the local instance's configuration in it."""
    home = settings.dagster_home()
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
    nux = home / ".nux" / "nux.yaml"  # without it a dialog covers the first page
    nux.parent.mkdir(exist_ok=True)
    nux.write_text("seen: 1\n")
    return home
