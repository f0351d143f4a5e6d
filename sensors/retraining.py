"""One sensor per model: reads what monitoring found, lets the policy decide, and asks for one run per cause.

A cause is claimed in the ledger before its run is asked for. Killed between the two, the claim stands and the run is
missing: the next ticks ask again with the same run key, until a run with the cause's tag exists.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus as Status

from platform_assets import names, policies
from platform_assets.components.training_choice import tag_of
from platform_assets.errors import DuplicateCauseError
from platform_assets.science.retraining import PastRetraining, RetrainingDecision, decide
from platform_assets.science.retraining_evidence import RetrainingEvidence
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.train_on import TrainOn
from resources.ledger import Cause, Ledger
from sensors.evidence import UNFINISHED, gather

KIND: Final = "retraining"  # of the decisions in the ledger
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
        description="\n".join([f"Retrains {model}, once for each cause. {rules.told()[0]}", *rules.told()[1:]]),
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
        if cause.status in {"fired", "failed"} and (
            answer := _outstanding(context.instance, ledger, cause, evidence, policy)
        ):
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
            evidence={"claimed_at": datetime.now(UTC).isoformat(), **_on_what(decision), **_plain(evidence)},
        )
    except DuplicateCauseError as error:
        return dg.SkipReason(f"another sensor was first: {error.message}")
    record(ledger, model, decision, evidence)
    return _request(model, decision.trigger, decision.episode, decision.reason, decision.train_on or policy.train_on)


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
        evidence={"state": state, "causes": list(decision.causes), **_on_what(decision), **_plain(evidence)},
        at=evidence.now,
    )


def cause_tag(trigger: str, episode: str) -> str:
    """Value of the tag by which a run names its cause."""
    return f"{trigger}/{episode}"


def _request(model: str, trigger: str, episode: str, reason: str, train_on: TrainOn, attempt: int = 0) -> dg.RunRequest:
    cause = cause_tag(trigger, episode)
    return dg.RunRequest(
        run_key=f"{model}/{cause}" + (f"/retry-{attempt}" if attempt else ""),
        tags={
            names.TAG_MODEL: model,
            names.TAG_CAUSE: cause,
            names.TAG_REASON: reason,
            names.TAG_TRAIN_ON: tag_of(train_on),
        },
    )


def _outstanding(
    instance: dg.DagsterInstance, ledger: Ledger, cause: Cause, evidence: RetrainingEvidence, policy: RetrainingPolicy
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
    if evidence.quarantined:
        waiting = ", ".join(sorted(one.name for one in evidence.quarantined))
        return dg.SkipReason(f"{tag} waits: {waiting} under quarantine, until sales and features have been rebuilt")
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
    train_on = policy.choice(cause.trigger).but(cause.evidence.get("train_on", {}))
    return _request(cause.model, cause.trigger, cause.episode, cause.reason, train_on, attempt=len(runs))


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


def _on_what(decision: RetrainingDecision) -> dict[str, Any]:
    """What the training learns from, as the ledger keeps it; nothing where there is none."""
    return {} if decision.train_on is None else {"train_on": decision.train_on.to_dict()}


def _plain(evidence: RetrainingEvidence) -> dict[str, Any]:
    """Evidence as JSON has it."""
    return json.loads(json.dumps(asdict(evidence), default=lambda value: value.isoformat()))
