"""The champion on what has come true since, and its inputs against those that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl

    from platform_assets.science.manifest import Manifest
    from platform_assets.science.monitoring import Verdict
    from platform_assets.science.outlook import Scored

WINDOW_DAYS = 28


def monitor_champion(spec: ModelSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Daily losses of the champion's backtest and of its forecasts since, and the verdicts of its checks."""
    import polars as pl

    from platform_assets.components.estimating import WEEKLY, WEEKLY_KEY, keep_estimates, keep_revised
    from platform_assets.components.input_checks import CHECKS, check_inputs
    from platform_assets.science import monitoring
    from platform_assets.science.tasks import TASKS

    res = context.resources
    champion = res.ledger.champion(spec.name)
    if champion is None:
        about = {"about": f"{spec.name} has no champion yet: nothing to watch"}
        checks = [dg.AssetCheckResult(check_name=name, passed=True, metadata=about) for name in (*CHECKS, "error")]
        return dg.MaterializeResult(metadata=about, check_results=checks)
    manifest = res.registry.manifest(spec.name, champion.version)
    with res.compute.profile(spec.compute).limits():
        found = _results(spec, res, champion.version, manifest)
        losses, figures = found.losses, found.figures
        expected = keep_estimates(
            spec, res, champion.version, found.tested, found.lived, found.recorded, found.known_until
        )
    last = losses["day"].max() if losses.height else manifest.shipped.cut_at.date()
    errors = monitoring.judge_errors(
        found.results,
        TASKS[spec.task],
        reference_until=manifest.shipped.cut_at.date(),
        champion=champion.version,
        as_of=last,  # pyright: ignore[reportArgumentType]
    )
    inputs = check_inputs(spec, res, champion.version, manifest)
    version = res.tables.replace(
        names.table_name(names.model_key(spec.name, "monitoring")),
        losses.with_columns(pl.col("rows").cast(pl.Int64), model_version=pl.lit(champion.version)),
    )
    if figures is not None:
        table = names.table_name(names.model_key(spec.name, "performance"))
        res.tables.append(table, figures, key=["model_version", "as_of", "segment", "metric"])
    if found.weekly is not None:
        keep_revised(res, names.model_key(spec.name, WEEKLY), found.weekly, key=WEEKLY_KEY, values=("value", "rows"))
    return dg.MaterializeResult(
        metadata={
            "champion": int(champion.version),
            "days judged": losses.height,
            **_overall(spec, figures),
            **expected,
            "table version": version,
            "loss over the baseline's": _ratio(losses),
            "errors": errors.about,
            "inputs": inputs.drift.about,
            "faults of inputs": inputs.faults.about,
        },
        check_results=[*inputs.results, _check("error", errors)],
    )


def _check(name: str, verdict: Verdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=verdict.about,
        metadata=dict(verdict.metadata),
    )


def _ratio(losses: pl.DataFrame) -> float:
    below = float(losses["baseline_loss"].sum())
    return float(losses["loss"].sum()) / below if below else 0.0


def _overall(spec: ModelSpec, figures: pl.DataFrame | None) -> dict[str, float]:
    """Losses over all forecasts of the window, each a number with a history plot in the UI."""
    from platform_assets.science.tasks import TASKS

    if figures is None:
        return {}
    overall = figures.filter(figures["metric"].is_in(TASKS[spec.task].compared), segment="")
    return {
        f"{metric}, last {WINDOW_DAYS} days": value for metric, value in overall.select("metric", "value").iter_rows()
    }


@dataclass(frozen=True)
class _Results:
    """What became of the forecasts: the evaluation fit's in its backtest, then the recorded ones whose labels are known.

    losses, results: per day; figures: of the last days, None before there are enough; weekly: of each week that has
    passed; recorded: all forecasts of the champion.
    """

    losses: pl.DataFrame
    results: pl.DataFrame
    figures: pl.DataFrame | None
    weekly: pl.DataFrame | None
    tested: Scored
    lived: Scored
    recorded: pl.DataFrame
    known_until: date


def backtest_said(spec: ModelSpec, res: Any, version: str, manifest: Manifest, judged: pl.DataFrame) -> pl.DataFrame:
    """What the evaluation fit says of its pinned rows: it never changes, so it is said once for a version."""
    folder = f"monitoring/{spec.name}/{version}"
    key = f"{folder}/backtest-{manifest.evaluation.weights_sha256[:16]}.parquet"
    if key in res.artifacts.keys(folder):
        return res.artifacts.get_frame(key)
    said = res.registry.load(spec.name, version, "evaluation").predict(judged.select(manifest.features))
    res.artifacts.put_frame(key, said)
    return said


def _results(spec: ModelSpec, res: Any, version: str, manifest: Manifest) -> _Results:
    import polars as pl

    from platform_assets.components.evaluating import observed
    from platform_assets.components.quarantine_masks import masks_of
    from platform_assets.components.training_set import known_sales, read_judged
    from platform_assets.science import baselines, monitoring, performance, segments, streams
    from platform_assets.science.demand import labels, panel
    from platform_assets.science.demand.masks import masked
    from platform_assets.science.outlook import Scored
    from platform_assets.science.stock_cost import UnitCosts
    from platform_assets.science.tasks import TASKS

    task, sales = TASKS[spec.task], known_sales(res)
    trained = names.table_name(names.model_key(spec.name, "training_set"))
    judged = read_judged(spec, res.tables, manifest.tables[trained], manifest.evaluation.cut_at)
    backtest = backtest_said(spec, res, version, manifest, judged)
    recorded = (
        res.tables.scan(names.table_name(names.model_key(spec.name, "predictions")))
        .filter(pl.col("model_version") == version)
        .sort("issued_at", "series_id", "target_on")
        .collect()
    )
    # What was forecast from a value that is under quarantine now says nothing of the model.
    sound = masked(recorded, masks_of(res.ledger, res.source, res.clock.now()))
    issued = labels.attach(sound, sales, label=spec.label)
    history, baseline = observed(sales), task.baselines[0]
    known_until: date = history[names.PERIOD_ON].max()  # pyright: ignore[reportAssignmentType]

    def other(rows: pl.DataFrame) -> pl.DataFrame:
        return baselines.for_rows([baseline], rows, history, task, period_days=res.source.period_days)[baseline]

    prices = panel.latest(sales).select("series_id", names.PERIOD_ON, "price").collect()

    def told(rows: pl.DataFrame, said: pl.DataFrame, beside: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        ratio = streams.price_ratios(rows, prices)
        results = streams.daily_sums(rows, said, beside, task, label=spec.label, price_ratio=ratio)
        return monitoring.daily_losses(rows, said, beside, task, label=spec.label), results

    tested, usual = told(judged, backtest, other(judged))
    known = issued.filter(pl.col(spec.label).is_not_null())
    said = known.select(task.outputs)
    scored = (Scored.of(judged, backtest, task, label=spec.label), Scored.of(known, said, task, label=spec.label))
    if known.is_empty():
        return _Results(tested, usual, None, None, *scored, recorded, known_until)
    beside = other(known)
    losses, since = told(known, said, beside)
    came = performance.CameTrue(known, said, beside, segments.describe(known, history))
    costs = UnitCosts(res.source.overstock_cost, res.source.stockout_cost)
    ended_on = known_until + timedelta(days=res.source.period_days - 1)
    figures = performance.recent_figures(came, task, label=spec.label, costs=costs, days=WINDOW_DAYS)
    weekly = performance.weekly_figures(came, task, label=spec.label, costs=costs, known_until=ended_on)
    return _Results(
        pl.concat([tested, losses]).sort("day"),
        pl.concat([usual, since]).sort("day"),
        None if figures is None else figures.with_columns(model_version=pl.lit(version)),
        weekly.with_columns(model_version=pl.lit(version)),
        *scored,
        recorded,
        known_until,
    )
