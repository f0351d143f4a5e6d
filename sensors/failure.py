"""Failed runs, kept in the ledger with the steps that failed and why; a retraining's cause learns of it too."""

from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from dagster import DagsterEventType

from platform_assets import names
from resources.ledger import Ledger

KIND: Final = "failure"  # of the decisions in the ledger
NO_MODEL: Final = "-"  # a run of data or features


def failure_sensor() -> dg.SensorDefinition:
    """Records every failed run once; repeating a retraining, a bounded number of times, is its model's sensor's."""

    @dg.run_failure_sensor(
        name="failure",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps each failed run in the ledger: its steps, their errors, its model and its cause.",
    )
    def sensor(context: dg.RunFailureSensorContext, ledger: dg.ResourceParam[Any]) -> None:
        record_failure(ledger, context.instance, context.dagster_run)

    return sensor


def record_failure(ledger: Ledger, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Keep one failed run, the first time that it is seen."""
    model = run.tags.get(names.TAG_MODEL, NO_MODEL)
    if any(kept.run_id == run.run_id for kept in ledger.decisions(model, kind=KIND)):
        return
    reasons = reasons_of(instance, run)
    kept_run = instance.get_run_record_by_id(run.run_id)
    ended = None if kept_run is None else kept_run.end_time
    at = datetime.now(UTC) if ended is None else datetime.fromtimestamp(ended, UTC)
    ledger.record_decision(
        KIND,
        model,
        "failed",
        reasons=reasons,
        evidence={"job": run.job_name, "tags": dict(run.tags)},
        at=at,
        run_id=run.run_id,
    )
    trigger, _, episode = run.tags.get(names.TAG_CAUSE, "").partition("/")
    if any((cause.trigger, cause.episode) == (trigger, episode) for cause in ledger.causes(model)):
        ledger.record_cause_status(
            model, trigger, episode, "failed", at=at, run_id=run.run_id, detail="; ".join(reasons)[:2000]
        )


def reasons_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """One line per failed step, its innermost cause; the run's own message where no step has failed."""
    steps = instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)
    found = [
        f"{event.step_key}: {_innermost(getattr(event.event_specific_data, 'error', None))}"
        for entry in steps
        if (event := entry.dagster_event) is not None
    ]
    if found:
        return found
    ends = instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
    messages = [entry.dagster_event.message or "" for entry in ends if entry.dagster_event is not None]
    return messages or ["the run failed without saying why"]


def _innermost(error: Any) -> str:
    """Message of the error that began it; Dagster wraps it in its own."""
    if error is None:
        return "no error was recorded"
    while error.cause is not None:
        error = error.cause
    return error.message.strip()
