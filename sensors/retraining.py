"""One sensor per model: reads what monitoring found, lets the policy decide, and asks for one run per cause.

A cause is claimed in the ledger before its run is asked for. Killed between the two, the claim stands and the run is
missing: the next ticks ask again with the same run key, until a run with the cause's tag exists.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus as Status
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from platform_assets import names, policies
from platform_assets.errors import DuplicateCauseError
from platform_assets.science.retraining import (
    PastRetraining,
    RetrainingDecision,
    RetrainingEvidence,
    RetrainingPolicy,
    Signal,
    decide,
)
from resources.ledger import Cause, Ledger

KIND: Final = "retraining"  # of the decisions in the ledger
CHECKS: Final = {"feature_drift": "drift", "error": "error"}  # check of <model>/monitoring -> trigger
PAGE: Final = 100  # check evaluations read at once
UNFINISHED: Final = [Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING]
# A claim this young may be another daemon's whose request is on its way.
CLAIM_GRACE: Final = timedelta(minutes=2)
RETRY_DELAY: Final = timedelta(minutes=5)  # before a failed run is repeated, doubled each time


def retraining_sensor(model: str, policy: RetrainingPolicy | Mapping[str, Any]) -> dg.SensorDefinition:
    """The sensor of one model, running by default; `policy` is the mapping of its defs.yaml."""
    rules = policy if isinstance(policy, RetrainingPolicy) else RetrainingPolicy.from_mapping(policy)

    @dg.sensor(
        name=f"{model}_retraining",
        job_name=names.retraining_job(model),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Retrains {model} when its policy says so, once per cause: {_told(rules)}.",
    )
    def sensor(
        context: dg.SensorEvaluationContext,
        ledger: dg.ResourceParam[Any],
        clock: dg.ResourceParam[Any],
        tables: dg.ResourceParam[Any],
    ) -> dg.RunRequest | dg.SkipReason:
        return evaluate(context, gather(context, model, rules, ledger, clock, tables), model, rules, ledger)

    return sensor


def evaluate(
    context: dg.SensorEvaluationContext,
    evidence: RetrainingEvidence,
    model: str,
    policy: RetrainingPolicy,
    ledger: Ledger,
) -> dg.RunRequest | dg.SkipReason:
    """One tick: a claimed cause that still lacks its run, else the policy's decision."""
    for cause in ledger.causes(model):
        if cause.status in {"fired", "failed"} and (answer := _outstanding(context.instance, ledger, cause, evidence)):
            return answer
    past = [PastRetraining(cause.trigger, cause.episode, cause.at) for cause in ledger.causes(model)]
    decision = decide(evidence, policy, past)
    if decision.trigger is None or decision.episode is None:
        record(ledger, model, decision, evidence)
        return dg.SkipReason("; ".join([decision.reason, *decision.reasons_against]))
    try:
        ledger.fire(
            model,
            decision.trigger,
            decision.episode,
            reason=decision.reason,
            at=evidence.now,
            evidence={"claimed_at": datetime.now(UTC).isoformat(), **_plain(evidence)},
        )
    except DuplicateCauseError as error:
        return dg.SkipReason(f"another sensor was first: {error.message}")
    record(ledger, model, decision, evidence)
    return _request(model, decision.trigger, decision.episode, decision.reason)


def gather(
    context: dg.SensorEvaluationContext, model: str, policy: RetrainingPolicy, ledger: Ledger, clock: Any, tables: Any
) -> RetrainingEvidence:
    """What the instance, the ledger and the tables say about a model now."""
    instance, champion = context.instance, ledger.champion(model)
    trained_until = _trained_until(instance, model)
    now: datetime = clock.now()
    rows = None
    if trained_until is not None and (policy.new_rows is not None or policy.is_older(now - trained_until)):
        rows = _rows_between(tables, trained_until, now)
    running = dg.RunsFilter(job_name=names.retraining_job(model), statuses=UNFINISHED)
    return RetrainingEvidence(
        now=now,
        champion_version=None if champion is None else champion.version,
        trained_until=trained_until,
        rows_since_training=rows,
        signals=tuple(_signals(instance, model)),
        failed_data_checks=tuple(_failed_data_checks(context, model)),
        overdue_inputs=tuple(_overdue_inputs(context, model)),
        is_running=instance.get_runs_count(running) > 0,
    )


def record(ledger: Ledger, model: str, decision: RetrainingDecision, evidence: RetrainingEvidence) -> None:
    """Keep a decision, unless the last one kept was of the same situation."""
    kept = ledger.decisions(model, kind=KIND, newest=1)
    state = list(decision.state)
    if kept and kept[-1].evidence.get("state") == state:
        return
    ledger.record_decision(
        KIND,
        model,
        "retrain" if decision.retrain else "wait",
        reasons=[decision.reason, *decision.reasons_against],
        evidence={"state": state, "causes": list(decision.causes), **_plain(evidence)},
        at=evidence.now,
    )


def cause_tag(trigger: str, episode: str) -> str:
    """Value of the tag by which a run names its cause."""
    return f"{trigger}/{episode}"


def _request(model: str, trigger: str, episode: str, reason: str, attempt: int = 0) -> dg.RunRequest:
    cause = cause_tag(trigger, episode)
    return dg.RunRequest(
        run_key=f"{model}/{cause}" + (f"/retry-{attempt}" if attempt else ""),
        tags={names.TAG_MODEL: model, names.TAG_CAUSE: cause, names.TAG_REASON: reason},
    )


def _outstanding(
    instance: dg.DagsterInstance, ledger: Ledger, cause: Cause, evidence: RetrainingEvidence
) -> dg.RunRequest | dg.SkipReason | None:
    """What a claimed cause still needs: its run, a failed one repeated, or nothing; its end goes to the ledger."""
    tag = cause_tag(cause.trigger, cause.episode)
    wanted = dg.RunsFilter(tags={names.TAG_MODEL: cause.model, names.TAG_CAUSE: tag})
    runs = instance.get_run_records(wanted)
    now = datetime.now(UTC)
    statuses = {entry.dagster_run.status for entry in runs}
    if Status.SUCCESS in statuses or Status.CANCELED in statuses:
        ended = next(r for r in runs if r.dagster_run.status in {Status.SUCCESS, Status.CANCELED}).dagster_run
        status = "succeeded" if ended.status is Status.SUCCESS else "canceled"
        _keep_status(ledger, cause, status, ended.run_id, evidence.now)
        return None
    if statuses & set(UNFINISHED):
        return None
    if len(runs) > policies.RUN_RETRIES:
        _keep_status(ledger, cause, "given up", runs[0].dagster_run.run_id, evidence.now, f"{len(runs)} runs failed")
        return None
    if evidence.failed_data_checks:
        return dg.SkipReason(f"{tag} waits: blocking data checks {', '.join(evidence.failed_data_checks)} have failed")
    if runs:
        ended_at = datetime.fromtimestamp(runs[0].end_time or runs[0].update_timestamp.timestamp(), UTC)
        if now - ended_at < (delay := RETRY_DELAY * 2 ** (len(runs) - 1)):
            return dg.SkipReason(f"{tag}: run {len(runs)} failed at {ended_at:%H:%M:%S}; again {delay} later")
    else:
        claimed_at = cause.evidence.get("claimed_at")
        if claimed_at is not None and now - datetime.fromisoformat(claimed_at) < CLAIM_GRACE:
            return dg.SkipReason(f"{tag} was claimed at {claimed_at}; its run is expected within {CLAIM_GRACE}")
    if not _claimed(ledger, f"retraining/{cause.model}/{tag}/{len(runs)}", now):
        return dg.SkipReason(f"{tag}: another sensor has just asked for run {len(runs) + 1}")
    return _request(cause.model, cause.trigger, cause.episode, cause.reason, attempt=len(runs))


def _claimed(ledger: Ledger, key: str, now: datetime) -> bool:
    """Whether this caller is to ask for the run: nobody else has, or who did has died since without a run.

    Dagster's run keys do not stop two daemons that ask at the same moment.
    """
    number, last = 0, None
    while (claim := ledger.completed(f"{key}/{number}")) is not None:
        number, last = number + 1, datetime.fromisoformat(claim["at"])
    if last is not None and now - last < CLAIM_GRACE:
        return False
    return ledger.complete(f"{key}/{number}", {"at": now.isoformat()}, at=now)


def _keep_status(ledger: Ledger, cause: Cause, status: str, run_id: str, at: datetime, detail: str = "") -> None:
    ledger.record_cause_status(cause.model, cause.trigger, cause.episode, status, at=at, run_id=run_id, detail=detail)


def _signals(instance: dg.DagsterInstance, model: str) -> Iterator[Signal]:
    """Latest verdict of each monitoring check, with the beginning of its present run of failures."""
    for check, trigger in CHECKS.items():
        key = dg.AssetCheckKey(dg.AssetKey(names.model_key(model, "monitoring")), check)
        latest, since = None, None
        for found in _evaluations(instance, key):
            facts = _facts(found)
            if latest is None:
                latest = facts
            if found.status is AssetCheckExecutionRecordStatus.SUCCEEDED or facts["champion"] != latest["champion"]:
                break
            since = facts["as_of"]
        if latest is not None and latest["champion"] is not None:
            yield Signal(trigger, str(latest["champion"]), since, latest["statistic"], latest["threshold"])


def _evaluations(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, *, first: int | None = None
) -> Iterator[AssetCheckExecutionRecord]:
    """Evaluations of a check, newest first, the `first` so many read at once; planned ones are left out."""
    cursor, wanted = None, first or PAGE
    while True:
        page: Sequence[AssetCheckExecutionRecord] = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=wanted, cursor=cursor, status=set(COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES)
        )
        yield from page
        if len(page) < wanted:
            return
        cursor, wanted = page[-1].id, PAGE


def _facts(found: AssetCheckExecutionRecord) -> dict[str, Any]:
    """What the check says of itself: `champion`, `statistic`, `threshold`, `as_of` (else the day it was evaluated)."""
    metadata = {} if found.evaluation is None else found.evaluation.metadata
    values = {
        name: getattr(metadata.get(name), "value", None) for name in ("champion", "statistic", "threshold", "as_of")
    }
    if values["as_of"] is None:
        values["as_of"] = datetime.fromtimestamp(found.create_timestamp, UTC).date().isoformat()
    return values


def _failed_data_checks(context: dg.SensorEvaluationContext, model: str) -> Iterator[str]:
    """Blocking checks on anything upstream of the training set whose newest evaluation failed with an error."""
    graph = context.repository_def.asset_graph if context.repository_def is not None else None
    if graph is None:
        return
    upstream = graph.get_ancestor_asset_keys(dg.AssetKey(names.model_key(model, "training_set")))
    blocking = [node.key for node in graph.asset_check_nodes if node.blocking and node.key.asset_key in upstream]
    for key in blocking:
        newest = next(_evaluations(context.instance, key, first=1), None)
        evaluation = None if newest is None else newest.evaluation
        if evaluation and not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            yield f"{key.asset_key.to_user_string()}:{key.name}"


def _overdue_inputs(context: dg.SensorEvaluationContext, model: str) -> Iterator[str]:
    """What the training set reads and has a freshness policy that it fails; a source that ended has none."""
    graph = context.repository_def.asset_graph if context.repository_def is not None else None
    if graph is None:
        return
    upstream = graph.get_ancestor_asset_keys(dg.AssetKey(names.model_key(model, "training_set")))
    watched = [key for key in upstream if graph.has(key) and graph.get(key).freshness_policy is not None]
    for key, found in sorted(context.instance.get_freshness_state_records(watched).items()):
        if found.freshness_state is FreshnessState.FAIL:
            yield key.to_user_string()


def _trained_until(instance: dg.DagsterInstance, model: str) -> datetime | None:
    """Newest label that the last training knew, whatever the gate made of it."""
    event = instance.get_latest_materialization_event(dg.AssetKey(names.model_key(model, "candidate")))
    materialization = None if event is None else event.asset_materialization
    if materialization is None or (stated := materialization.metadata.get("labels known by")) is None:
        return None
    found = datetime.fromisoformat(str(stated.value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _rows_between(tables: Any, after: datetime, until: datetime) -> int:
    import polars as pl  # .4 CPU s, only where a policy counts rows

    known = pl.col(names.KNOWN_AT)
    return tables.scan(names.SALES).filter((known > after) & (known <= until)).select(pl.len()).collect().item()


def _plain(evidence: RetrainingEvidence) -> dict[str, Any]:
    """Evidence as JSON has it."""
    return json.loads(json.dumps(asdict(evidence), default=lambda value: value.isoformat()))


def _told(policy: RetrainingPolicy) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(policy).items())
