"""`MODEL/performance`: figures of each week and segment, the expected loss and what came of it, drawn from their tables."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import dagster as dg

from platform_assets import names
from platform_assets.components.estimating import CAME, CAME_KEY, EXPECTED, WEEKLY, WEEKLY_KEY
from platform_assets.components.model_spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl


def show_performance(spec: ModelSpec, context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The report of what monitoring has kept; numbers and plots stand here."""
    import polars as pl

    from platform_assets.science import outlook, performance, performance_plots, performance_report
    from platform_assets.science.tasks import TASKS

    res, loss = context.resources, TASKS[spec.task].primary
    champion = res.ledger.champion(spec.name)
    if champion is None:
        return dg.MaterializeResult(metadata={"about": f"{spec.name} has no champion yet: nothing to show"})
    weekly = performance.first_and_last(_read(res, spec, WEEKLY), key=WEEKLY_KEY, values=("value", "rows"))
    came = performance.first_and_last(_read(res, spec, CAME), key=CAME_KEY, values=("realized", "rows"))
    mine = _read(res, spec, EXPECTED).filter(pl.col("model_version") == champion.version)
    inside, compared = outlook.coverage(came)
    spans = outlook.spans(mine)
    weeks = performance_report.weeks_shown(came, outlook.coming(mine), champion.version)
    page = performance_report.build(
        performance_report.PerformancePage(
            title=f"{spec.name}@{champion.version}: performance",
            loss=loss,
            spans=spans,
            about=outlook.about(mine),
            weeks=weeks,
            inside=inside,
            compared=compared,
            weekly=weekly,
        )
    )
    uri = res.artifacts.put(f"reports/{spec.name}/performance/latest.html", page.encode())
    overall = performance_report.overall_weeks(weekly, loss)
    plots = {
        "estimated and realized": performance_plots.outlook_chart(weeks, label="estimated and realized"),
        "week by week": performance_plots.history_chart(overall, label=f"{loss} by week"),
    }
    return dg.MaterializeResult(
        metadata={
            "champion": int(champion.version),
            "expected": performance_report.headline(loss, spans),
            "how good estimates were": performance_report.compared(inside, compared),
            **({"weeks inside their interval": inside} if math.isfinite(inside) else {}),
            "weeks compared with their estimate": compared,
            **_newest(weekly, loss),
            **{name: dg.MetadataValue.md(_image(name, svg)) for name, svg in plots.items()},
            "report": dg.MetadataValue.path(uri),
        }
    )


def _read(res: Any, spec: ModelSpec, stage: str) -> pl.DataFrame:
    """A table that monitoring keeps; without rows before there is any."""
    import polars as pl

    from platform_assets.science import outlook, performance

    table = names.table_name(names.model_key(spec.name, stage))
    if res.tables.exists(table):
        return res.tables.scan(table).collect()
    columns = {WEEKLY: performance.WEEKLY_SCHEMA, CAME: outlook.OUTCOMES, EXPECTED: outlook.ESTIMATES}[stage]
    known_at = {} if stage == EXPECTED else {"known_at": pl.Datetime("us", "UTC")}
    return pl.DataFrame(schema={**columns, "model_version": pl.String, **known_at})


def _newest(weekly: pl.DataFrame, loss: str) -> dict[str, float]:
    """The loss of the newest week, overall, of a baseline and by segment: numbers with a history."""
    import polars as pl

    of_loss = weekly.filter(pl.col("metric") == loss)
    newest = of_loss.filter(pl.col("week_on") == pl.col("week_on").max()).unique("segment", keep="last")
    told: dict[str, float] = {}
    for segment, value, baseline in newest.sort("segment").select("segment", "value", "baseline").iter_rows():
        told[f"{loss}, last week{f', {segment}' if segment else ''}"] = value
        if not segment:
            told[f"{loss} of the baseline, last week"] = baseline
    return {name: value for name, value in told.items() if math.isfinite(value)}


def _image(name: str, svg: str) -> str:
    return f"![{name}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
