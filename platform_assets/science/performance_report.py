"""The performance report: what is expected before labels come, how good that was, and every week's figures by segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import polars as pl

from platform_assets.science.outlook import LEVEL
from platform_assets.science.performance_plots import BAND, history_chart, outlook_chart
from platform_assets.science.report_html import PANELS, figure, page, section, table
from platform_assets.science.report_plots import OURS, THEIRS, WORSE
from platform_assets.science.report_words import rounded

MOST_WEEKS: Final = 60  # that are drawn
Span = tuple[float, float | None, float | None]


@dataclass(frozen=True)
class PerformancePage:
    """What the report is about.

    spans, about: expected loss of the coming days, and what that stands on. weeks: as `weeks_shown` gives them.
    inside, compared: share of past weeks inside their interval, and of how many. weekly: week_on, segment, metric,
    value, baseline, rows, value_first, model_version.
    """

    title: str
    loss: str
    spans: Mapping[str, Span]
    about: str
    weeks: pl.DataFrame
    inside: float
    compared: int
    weekly: pl.DataFrame


def weeks_shown(came: pl.DataFrame, pending: pl.DataFrame, champion: str) -> pl.DataFrame:
    """One row per calendar week, ascending: the newest estimate that was made of it a week ahead, and what came of it.

    came: `outlook.compared` of all versions, with model_version. pending: `outlook.coming` of the champion, of which
    each week is shown, however far ahead, unless something came of it.
    """
    columns = ["model_version", "last_on", "expected", "low", "high", "realized", "is_inside"]
    block = pl.col("last_on").dt.truncate("1w").alias("block")
    past = came.filter(pl.col("week") == 1).sort("issued_at").select(block, *columns).unique("block", keep="last")
    ahead = pending.with_columns(model_version=pl.lit(champion)).sort("last_on").select(block, *columns)
    ahead = ahead.unique("block", keep="first").join(past, on="block", how="anti")
    return pl.concat([past, ahead]).sort("last_on").tail(MOST_WEEKS).drop("block")


def build(report: PerformancePage) -> str:
    """The report as one HTML page without scripts or anything from elsewhere; names are escaped."""
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="verdict">{escape(headline(report.loss, report.spans))}</p>',
        _expected(report),
        _history(report),
        _segments(report),
        _figures(report),
    ]
    return page(report.title, "\n".join(part for part in parts if part), style=PANELS)


def headline(loss: str, spans: Mapping[str, Span]) -> str:
    """The expected loss of the coming days in a sentence."""
    if not spans:
        return f"No estimate of {loss}: nothing is forecast that is not known yet, or nothing to learn from"
    told = []
    for name, (expected, low, high) in spans.items():
        interval = "no interval promised" if low is None else f"{LEVEL:.0%} interval {low:.3g} to {high:.3g}"
        told.append(f"{expected:.3g} in the {name} ({interval})")
    return f"Expected {loss} per row: {', '.join(told)}"


def compared(inside: float, weeks: int) -> str:
    """How good past estimates were, in a sentence."""
    if not weeks:
        return "No week with an interval has passed yet: nothing is known of how good these estimates are."
    return (
        f"Of the estimates of {weeks} past weeks, made one to four weeks ahead, {inside:.0%} of the intervals that were promised at "
        f"{LEVEL:.0%} held what came."
    )


def _expected(report: PerformancePage) -> str:
    legend = (
        f'<p><span class="key" style="background:{BAND}"></span>interval as estimated a week ahead &nbsp; '
        f'<span class="key" style="background:{OURS};height:.2em"></span>estimate &nbsp; '
        f'<span class="key" style="background:#23272f;width:.7em;border-radius:50%"></span>what came &nbsp; '
        f'<span class="key" style="background:{WORSE};width:.7em;border-radius:50%"></span>outside the interval</p>'
    )
    drawing = outlook_chart(report.weeks, label=f"{report.loss} per row by week: estimated and realized")
    text = f"{report.about}. {compared(report.inside, report.compared)}"
    return section("What will it cost, and how good were such estimates?", text, legend + figure(drawing))


def _history(report: PerformancePage) -> str:
    overall = overall_weeks(report.weekly, report.loss)
    if overall.is_empty():
        return section("Week by week", "No whole week of forecasts has its labels yet.", "")
    legend = (
        f'<p><span class="key" style="background:{OURS};height:.2em"></span>champion &nbsp; '
        f'<span class="key" style="background:{THEIRS};height:.2em"></span>baseline</p>'
    )
    text = (
        f"{report.loss} per row of all forecasts of a week, beside a baseline's on the same rows; labels as known now."
    )
    return section("Week by week", text, legend + figure(history_chart(overall, label=f"{report.loss} by week")))


def _segments(report: PerformancePage) -> str:
    of_metric = report.weekly.filter(pl.col("metric") == report.loss, pl.col("segment") != "")
    cards = []
    for segment in of_metric["segment"].unique().sort():
        rows = _one_a_week(of_metric.filter(segment=segment))
        drawing = history_chart(rows, label=f"{report.loss} of {segment} by week", is_small=True)
        cards.append(f'<div class="panel"><h3>{escape(str(segment))}</h3>{drawing}</div>')
    return section("By segment", "", f'<div class="panels">{"".join(cards)}</div>') if cards else ""


def _figures(report: PerformancePage) -> str:
    overall = _one_a_week(report.weekly.filter(segment="", metric=report.loss)).reverse()
    if overall.is_empty():
        return ""
    rows = [
        [
            str(row["week_on"]),
            str(row["model_version"]),
            rounded(row["value"]),
            rounded(row["value_first"]),
            rounded(row["baseline"]),
            f"{row['rows']:,}",
        ]
        for row in overall.iter_rows(named=True)
    ]
    text = (
        "A label may come late or be corrected: what was known when the week had passed stands beside what is known now. The "
        "table of all metrics and segments keeps each revision."
    )
    header: Sequence[str] = ["week from", "version", report.loss, "as known first", "baseline", "rows"]
    return section("All weeks", text, table(header, rows, numbers=range(1, len(header))))


def overall_weeks(weekly: pl.DataFrame, loss: str) -> pl.DataFrame:
    """The loss of all rows, one row per week, ascending."""
    return _one_a_week(weekly.filter(segment="", metric=loss))


def _one_a_week(rows: pl.DataFrame) -> pl.DataFrame:
    """Of versions that were champion in the same week the newest."""
    newest = rows.sort("week_on", pl.col("model_version").cast(pl.Int64, strict=False), "model_version")
    return newest.unique("week_on", keep="last").sort("week_on").tail(MOST_WEEKS)
