"""The gate's answer, written to the ledger, mirrored in the registry."""

from datetime import datetime
from typing import Any

import dagster as dg

from platform_assets.components.model_spec import ModelSpec
from platform_assets.errors import PromotionConflictError

KIND = "gate"


def judge_candidate(
    spec: ModelSpec, context: dg.AssetExecutionContext, evaluation: dict[str, Any]
) -> dg.MaterializeResult[dict[str, Any]]:
    """Decide; promote by compare-and-set; record the decision, a refusal too; mirror the alias.

    Raises: PromotionConflictError where another promoter was first: the evaluation was against a champion that is none any more.
    """
    from platform_assets.components.evidence import evidence_from
    from platform_assets.science.gate import GatePolicy, decide

    res, now = context.resources, context.resources.clock.wall_now()
    evidence, version = evidence_from(evaluation["evidence"]), evaluation["version"]
    decision = decide(evidence, GatePolicy.from_mapping(spec.gate))
    champion = res.ledger.champion(spec.name)
    judged_against = evaluation["champion"]
    standing = champion.version if champion else None
    if standing == version:
        context.log.info(f"{spec.name}@{version} is champion already")
    elif decision.promotes and standing != judged_against:
        raise PromotionConflictError(
            f"{spec.name}@{version} was judged against champion {judged_against}, and {standing} is champion now",
            hint=f"materialize {spec.name}/evaluation and {spec.name}/champion again: it will be judged against {standing}",
        )
    elif decision.promotes:
        res.ledger.promote(
            spec.name,
            from_version=standing,
            to_version=version,
            reason="; ".join(decision.reasons),
            evidence={**evidence.to_dict(), "trained because": evaluation["reason"], "data": evaluation["data"]},
            at=now,
            run_id=context.run.run_id,
        )
    _record(
        res.ledger, spec.name, decision.to_dict() | {"version": version}, evidence.to_dict(), now, context.run.run_id
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
    context.log.info(f"{spec.name}@{version}: {decision.answer}{', promoted' if decision.promotes else ''}: {told}")
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
