"""The gate's answer, written to the ledger, mirrored in the registry."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import PromotionConflictError

if TYPE_CHECKING:
    from platform_assets.science.gate import GateDecision, GateEvidence
    from resources.ledger import Promotion

KIND = "gate"
ATTEMPTS = 8  # at deciding, while other promoters come first


def judge_candidate(
    spec: ModelSpec, context: dg.AssetExecutionContext, evaluation: dict[str, Any]
) -> dg.MaterializeResult[dict[str, Any]]:
    """Decide; promote by compare-and-set; record the decision, a refusal too; mirror the alias.

    Where the champion is another one than the candidate was judged against, it is judged again, against that one.
    Raises: PromotionConflictError where others came first at every attempt.
    """
    res, log = context.resources, context.log
    evaluation, evidence, decision = _settled(spec, context, evaluation)
    version = evaluation["version"]
    now = res.clock.wall_now()
    _record(
        res.ledger,
        spec.name,
        decision.to_dict() | {"version": version, "trained because": evaluation["reason"]},
        evidence.to_dict(),
        now,
        context.run.run_id,
    )
    champion = res.ledger.champion(spec.name)
    if champion is not None:
        res.registry.mirror_alias(spec.name, champion.version)
    res.registry.tag_version(
        spec.name,
        version,
        {"perennial/gate": decision.answer, "perennial/gate_reasons": "; ".join(decision.reasons)[:4000]},
    )
    told = "; ".join(decision.reasons)
    log.info(f"{spec.name}@{version}: {decision.answer}{', promoted' if decision.promotes else ''}: {told}")
    return dg.MaterializeResult(
        value={
            "model": spec.name,
            "version": champion.version if champion else None,
            "candidate": version,
            **decision.to_dict(),
        },
        data_version=dg.DataVersion(champion.version if champion else "none"),
        metadata={
            "champion": int(champion.version) if champion else "none yet",
            "candidate": int(version),
            "answer": decision.answer,
            "promoted": decision.promotes,
            "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in decision.reasons)),
            "against": decision.against,
        },
    )


def _settled(
    spec: ModelSpec, context: dg.AssetExecutionContext, evaluation: dict[str, Any], attempt: int = 1
) -> tuple[dict[str, Any], GateEvidence, GateDecision]:
    """The evaluation that counted, its evidence and the answer; what the answer promotes is champion then."""
    from platform_assets.components.evaluating import evaluate

    res, log, version = context.resources, context.log, evaluation["version"]
    evidence, decision, standing = _decide(spec, res, evaluation)
    if standing is not None and standing.version == version:
        log.info(f"{spec.name}@{version} is champion already")
    elif decision.promotes:
        try:
            _promote(spec, res, evaluation, evidence, decision, standing, context.run.run_id)
        except PromotionConflictError as conflict:
            if attempt == ATTEMPTS:
                raise
            log.info(f"{conflict.message}: judged again, against who is champion now")
            return _settled(spec, context, evaluate(spec, res, log, evaluation["candidate"])[0], attempt + 1)
    return evaluation, evidence, decision


def _decide(
    spec: ModelSpec, res: Any, evaluation: dict[str, Any]
) -> tuple[GateEvidence, GateDecision, Promotion | None]:
    """The gate's answer to the evidence, and who is champion at this moment."""
    from platform_assets.components.evidence import evidence_from
    from platform_assets.science.gate import GatePolicy, decide

    history = res.ledger.history(spec.name)
    taken_back = [row.at for row in history if row.kind == "rollback" and row.from_version == evaluation["version"]]
    evidence = replace(evidence_from(evaluation["evidence"]), rolled_back_at=taken_back[-1] if taken_back else None)
    return evidence, decide(evidence, GatePolicy.from_mapping(spec.gate)), history[-1] if history else None


def _promote(
    spec: ModelSpec,
    res: Any,
    evaluation: dict[str, Any],
    evidence: GateEvidence,
    decision: GateDecision,
    standing: Promotion | None,
    run_id: str,
) -> None:
    """Into the ledger, if the champion is still the very one that the candidate was judged against."""
    now_stands, seq = (standing.version, standing.seq) if standing else (None, 0)
    judged_against = evaluation["champion"]
    is_compared = standing is None or evidence.is_against_champion or evaluation["is_champion_gone"]
    if (now_stands, seq) != (judged_against, evaluation["champion_seq"]) or not is_compared:
        raise PromotionConflictError(
            f"{spec.name}@{evaluation['version']} was judged against {judged_against or 'no champion'}, and {now_stands} is champion now"
        )
    res.ledger.promote(
        spec.name,
        from_version=now_stands,
        from_seq=seq,
        to_version=evaluation["version"],
        reason="; ".join(decision.reasons),
        evidence={**evidence.to_dict(), "trained because": evaluation["reason"], "data": evaluation["data"]},
        at=res.clock.wall_now(),
        run_id=run_id,
    )


def _record(
    ledger: Any, model: str, decision: dict[str, Any], evidence: dict[str, Any], at: datetime, run_id: str
) -> None:
    ledger.record_decision(
        kind=KIND,
        model=model,
        answer=decision["answer"],
        reasons=decision["reasons"],
        evidence={**evidence, **decision},
        at=at,
        run_id=run_id,
    )
