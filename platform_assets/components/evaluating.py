"""The candidate against baselines and champion, on rows that neither was trained on."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.judged_window import Window, champion_manifest, evaluation_window
from platform_assets.components.model_spec import ModelSpec
from platform_assets.components.training_choice import alarm_known_at

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.evaluation import Evaluation
    from platform_assets.science.manifest import Manifest
    from resources.contract_test import ContractResult


def observed(sales: pl.LazyFrame) -> pl.DataFrame:
    """The panel as known now: series_id, period_on, units, price; what baselines and segments are computed from."""
    from platform_assets.science.demand import panel

    rows = panel.dense(sales).rows.sort("history", names.PERIOD_ON)
    return rows.unique([names.SERIES_ID, names.PERIOD_ON], keep="last", maintain_order=True).select(
        names.SERIES_ID, names.PERIOD_ON, names.UNITS, "price"
    )


def evaluate_candidate(
    spec: ModelSpec, context: dg.AssetExecutionContext, candidate: dict[str, Any]
) -> dg.MaterializeResult[dict[str, Any]]:
    """Predict, compare, report; figures go to the candidate's MLflow run."""
    value, metadata = evaluate(spec, context.resources, context.log, candidate)
    return dg.MaterializeResult(value=value, metadata=metadata)


def evaluate(spec: ModelSpec, res: Any, log: Any, candidate: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The candidate against who is champion now and the baselines: what the gate reads, and what the UI shows."""
    with res.compute.profile(spec.compute).limits():
        return _evaluated(spec, res, log, candidate)


def _evaluated(spec: ModelSpec, res: Any, log: Any, candidate: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    import polars as pl

    from platform_assets.components.judged_baselines import judged_baselines
    from platform_assets.components.training_set import known_sales, read_judged
    from platform_assets.science import evaluation, report, segments
    from platform_assets.science.gate import GatePolicy, decide
    from platform_assets.science.stock_cost import UnitCosts
    from platform_assets.science.tasks import TASKS
    from resources.contract_test import contract_test_beside

    version = candidate["version"]
    task = TASKS[spec.task]
    standing, against = champion_manifest(spec, res)
    champion = standing.version if standing else None
    judged = read_judged(spec, res.tables, candidate["training_set"], datetime.fromisoformat(candidate["judged_from"]))
    window = evaluation_window(judged["issued_at"].to_list(), against)  # the champion may be another by now
    rows = judged.filter(pl.col("issued_at") >= window.opens_at)
    manifest = res.registry.manifest(spec.name, version)
    history = observed(known_sales(res))
    log.info(
        f"{rows.height:,} rows judged from {window.opens_at:%Y-%m-%d} on; baselines {', '.join(spec.baselines or task.baselines)}"
    )
    predictions = {
        "candidate": res.registry.load(spec.name, version, "evaluation").predict(rows.select(manifest.features))
    }
    gone = sorted(set(against.features) - set(rows.columns)) if against is not None else []
    if gone:
        log.warning(f"champion {champion} reads {gone}, which are no more: the best baseline stands in for it")
    elif champion is not None and against is not None and window.champion_fit is not None:
        fitted = res.registry.load(spec.name, champion, window.champion_fit)
        predictions["champion"] = fitted.predict(rows.select(against.features))
    # Not before: the process of the contract test and what was read for this one would be in memory together.
    with contract_test_beside(res.registry, spec.name, version) as contract:
        predictions |= judged_baselines(spec, res, rows, history, task)
        log.info("paired intervals over series")
        found = evaluation.evaluate(
            task,
            rows,
            predictions,
            label=spec.label,
            champion="champion" if "champion" in predictions else None,
            segments=segments.describe(rows, history),
            history=history,
            costs=UnitCosts(res.source.overstock_cost, res.source.stockout_cost),
            seed=spec.seed,
        )
        evidence = replace(
            _evidence(spec, res, version, found, champion, against, window, contract()),
            alarm_known_at=alarm_known_at(res.source, candidate.get("cause", "")),
        )
    decision = decide(evidence, GatePolicy.from_mapping(spec.gate))  # once more, with who stands then, by the next step
    page = report.build(found, title=f"{spec.name}@{version}", decision=decision)
    uri = _publish(spec, res, version, found, page)
    figures = {name: interval.estimate for name, interval in found.figures["candidate"].items()}
    gains = {
        f"improvement over {name}": c.improvements[found.primary].estimate for name, c in found.comparisons.items()
    }
    return (
        {
            "model": spec.name,
            "version": version,
            "reason": candidate["reason"],
            "candidate": candidate,
            "champion": champion,
            "champion_seq": standing.seq if standing else 0,
            "is_champion_gone": bool(gone),
            "evidence": evidence.to_dict(),
            "data": _data(manifest),
            "figures": {name: value for name, value in figures.items() if math.isfinite(value)},
        },
        {
            "version": int(version),
            "verdict": dg.MetadataValue.md(page.markdown),
            "plot": dg.MetadataValue.md(f"![improvement](data:image/svg+xml;base64,{page.svg})"),
            "report": dg.MetadataValue.path(uri),
            "rows": found.rows,
            "series": found.series,
            **_about_sample(found),
            **{name: value for name, value in {**figures, **gains}.items() if math.isfinite(value)},
        },
    )


def _about_sample(found: Evaluation) -> dict[str, str]:
    sample = found.sample
    if sample is None:
        return {}
    return {
        ", ".join(sample.baselines): f"on a seeded sample of {sample.series} of {sample.of} series (seed {sample.seed})"
    }


def _evidence(
    spec: ModelSpec,
    res: Any,
    version: str,
    found: Evaluation,
    champion: str | None,
    against: Manifest | None,
    window: Window,
    contract: ContractResult,
) -> Any:
    cut = getattr(against, window.champion_fit).cut_at if against is not None and window.champion_fit else None
    return found.gate_evidence(
        spec.name,
        candidate_cut=res.registry.manifest(spec.name, version).evaluation.cut_at,
        champion_cut=cut,
        champion_version=champion,
        has_contract_passed=contract.passed,
        contract_failure="" if contract.passed else contract.reason,
    )


def _publish(spec: ModelSpec, res: Any, version: str, found: Evaluation, page: Any) -> str:
    """The report beside the version, as the model's latest, and in its MLflow run; returns where it lies."""
    import json

    folder, content = f"reports/{spec.name}", json.dumps(found.to_dict(), indent=1, allow_nan=False)
    for name in (version, "latest"):
        res.artifacts.put(f"{folder}/{name}.html", page.html.encode())
        res.artifacts.put(f"{folder}/{name}.json", content.encode())
    metrics = {name: i.estimate for name, i in found.figures["candidate"].items() if math.isfinite(i.estimate)}
    metrics |= {
        f"improvement_over_{name}": c.improvements[found.primary].estimate for name, c in found.comparisons.items()
    }
    res.registry.annotate(
        res.registry.version(spec.name, version),
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        artifacts={"report.html": page.html, "evaluation.json": content},
    )
    return res.artifacts.uri(f"{folder}/{version}.html")


def _data(manifest: Manifest) -> dict[str, str]:
    """What the version was trained on, for `perennial why`."""
    tables = ", ".join(f"{name} v{number}" for name, number in sorted(manifest.tables.items()))
    return {
        "tables": tables,
        "rows": f"{manifest.shipped.row_count:,} of {_learned_from(manifest)}, labels known by {manifest.shipped.cut_at:%Y-%m-%d %H:%M} UTC",
        "code": f"{manifest.code.package_sha256[:12]} (commit {manifest.code.commit or 'none'})",
    }


def _learned_from(manifest: Manifest) -> str:
    from platform_assets.science.train_on import TrainOn

    versions = sorted({one.version for one in manifest.began.values()})
    return TrainOn(**manifest.train_on).told + "".join(f" (version {version})" for version in versions)
