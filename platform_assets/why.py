"""`perennial why MODEL`: who is champion and why, what was refused, and what has asked for a retraining."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from resources.ledger import Ledger

if TYPE_CHECKING:
    from resources.deployment import Settings
    from resources.ledger_rows import Cause, Decision, Promotion

SHOWN = 5  # of the policy's decisions
ENDED = ("succeeded", "canceled", "given up")  # statuses of a cause to which nothing more happens
BY_HAND = "manual"
CLOCKS = (
    "`as of`, and days within reasons but for a rollback's, are the data's time, which the demo's weeks set; champion since, "
    "judged, asked, done: the wall clock's"
)


def why_champion(settings: Settings, model: str) -> dict[str, Any]:
    """All that the ledger says of a model's champion, its refused candidates and the causes of its retrainings."""
    ledger = Ledger(settings.ledger_url)
    champion, gate = ledger.champion(model), ledger.decisions(model, kind="gate")
    policy = ledger.decisions(model, kind="retraining")
    causes = [_cause(cause, gate, _runs(settings, cause)) for cause in ledger.causes(model)]
    return {
        "model": model,
        "champion": champion and _champion(champion),
        "refused": [_judged(decision) for decision in gate if not decision.evidence.get("promotes")],
        "causes": causes,
        "clocks": (
            "`at` of causes, unless by hand, and of the policy, and days within reasons but for a rollback's: the data's "
            "time; all else: the wall clock's"
        ),
        "policy": [{"at": d.at.isoformat(), "answer": d.answer, "reasons": d.reasons} for d in policy[-SHOWN:]],
    }


def told(answer: dict[str, Any]) -> str:
    """The answer as lines."""
    model, champion = answer["model"], answer["champion"]
    if champion is None:
        lines = [f"{model} has no champion yet"]
    else:
        lines = [
            f"{model}@{champion['version']} is champion since {shown(champion['since'])} ({champion['kind']})",
            f"  why:     {champion['reason']}",
            f"  trained: {champion['trained_because'] or 'see the version before it'}",
            *(f"  data:    {name} {said}" for name, said in (champion["data"] or {}).items()),
            f"  before:  {champion['before'] or 'none'}",
        ]
    for refused in answer["refused"]:
        because = f"; trained because: {refused['trained_because']}" if refused["trained_because"] else ""
        reasons = "; ".join(refused["reasons"])
        lines.append(
            f"  refused: {model}@{refused['version']} ({refused['answer']}): {reasons}{because}; judged {shown(refused['at'])}"
        )
    for cause in answer["causes"]:
        when = f"{'asked' if cause['trigger'] == BY_HAND else 'as of'} {shown(cause['at'])}"
        lines.append(f"  cause:   {when}: {cause['reason']}: {_became(cause)}")
    lines += [
        f"  policy:  as of {shown(said['at'])}: {said['answer']}: {'; '.join(said['reasons'])}"
        for said in answer["policy"]
    ]
    if answer["policy"] or any(cause["trigger"] != BY_HAND for cause in answer["causes"]):
        lines.append(f"  clocks:  {CLOCKS}")
    return "\n".join(lines)


def shown(at: str) -> str:
    """An instant as people read it."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _champion(champion: Promotion) -> dict[str, Any]:
    evidence = champion.evidence
    return {
        "version": champion.version,
        "since": champion.at.isoformat(timespec="seconds"),
        "kind": champion.kind,
        "reason": champion.reason,
        "before": champion.from_version,
        "run_id": champion.run_id,
        "trained_because": evidence.get("trained because"),
        "data": evidence.get("data"),
        "against": evidence.get("against"),
        "improvement": evidence.get("improvement"),
    }


def _judged(decision: Decision) -> dict[str, Any]:
    return {
        "version": decision.evidence.get("version"),
        "at": decision.at.isoformat(timespec="seconds"),
        "answer": decision.answer,
        "reasons": decision.reasons,
        "run_id": decision.run_id,
        "trained_because": decision.evidence.get("trained because"),
    }


def _cause(cause: Cause, gate: list[Decision], runs: list[dict[str, str | None]]) -> dict[str, Any]:
    ids = {run["run_id"] for run in runs}
    answer = next((decision for decision in reversed(gate) if decision.run_id and decision.run_id in ids), None)
    return {
        "trigger": cause.trigger,
        "episode": cause.episode,
        "reason": cause.reason,
        "at": cause.at.isoformat(timespec="seconds"),
        "status": cause.status,
        "is_open": cause.status not in ENDED and answer is None,
        "runs": runs,
        "gate": answer and _judged(answer),
    }


def _became(cause: dict[str, Any]) -> str:
    """What has become of a cause: its newest run, and what the gate said of the version."""
    if not cause["runs"]:
        return "its run has not been asked for yet" if cause["is_open"] else cause["status"]
    newest = cause["runs"][0]
    ended = f" {shown(newest['ended_at'])}" if newest["ended_at"] else ""
    run = f"run {newest['run_id'][:8]} {newest['status'].lower().replace('success', 'done')}{ended}"
    if cause["gate"] is None:
        return run
    return f"{run}, version {cause['gate']['version']}: {cause['gate']['answer']}"


def _runs(settings: Settings, cause: Cause) -> list[dict[str, str | None]]:
    """Runs of a cause, the newest first; none where no Dagster has worked on this state."""
    if (instance := settings.dagster_instance()) is None:
        return []
    wanted = {names.TAG_MODEL: cause.model, names.TAG_CAUSE: f"{cause.trigger}/{cause.episode}"}
    with instance:
        records = instance.get_run_records(dg.RunsFilter(tags=wanted))
    return [
        {
            "run_id": record.dagster_run.run_id,
            "status": record.dagster_run.status.value,
            "ended_at": datetime.fromtimestamp(record.end_time, UTC).isoformat() if record.end_time else None,
        }
        for record in records
    ]
