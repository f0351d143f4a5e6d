"""An evaluation as a page for whoever buys by the forecast, as JSON, as a few lines, and as a plot of a few hundred bytes.

The page stands alone: no network, no scripts, and every name in it is escaped.
"""

import base64
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from platform_assets.science import report_opponents as opponents
from platform_assets.science import report_plots as plots
from platform_assets.science import report_words as words
from platform_assets.science.findings import Evaluation, Slice
from platform_assets.science.gate import GateDecision
from platform_assets.science.report_html import figure, page, section, table

TINY_BYTES: Final = 522  # of SVG: 696 in base64, which the UI shows in place
MARKDOWN_CHARACTERS: Final = 1000  # longer text is hidden behind a button
SEGMENT_TITLES: Final = {
    "volume": "Volume",
    "price_level": "Price",
    "intermittency": "How often it sells",
    "age": "Age",
}


@dataclass(frozen=True)
class Report:
    """The page, its figures as JSON has them, a few lines of Markdown, and a tiny plot (SVG in base64)."""

    html: str
    summary: dict[str, Any]
    markdown: str
    svg: str


def build(evaluation: Evaluation, *, title: str = "", decision: GateDecision | None = None) -> Report:
    """The report of an evaluation; with the gate's decision, where it has been made. The same inputs give the same bytes."""
    name = title or evaluation.candidate
    tiny = plots.tiny_forest([(words.plain(n), i) for n, i in opponents.ranked(evaluation)], limit=TINY_BYTES)
    return Report(
        html=_page(evaluation, name, decision),
        summary=evaluation.to_dict(),
        markdown=_markdown(evaluation, decision),
        svg=base64.b64encode(tiny.encode()).decode(),
    )


def _markdown(evaluation: Evaluation, decision: GateDecision | None) -> str:
    lines = [f"**{words.verdict(evaluation)}**", "", words.basis(evaluation)]
    if decision is not None:
        lines += ["", words.gate(decision)]
    rows = [f"| {words.plain(n)} | {words.percent(i)} |" for n, i in opponents.ranked(evaluation)]
    rows += [
        f"| {words.plain(name)}, on {c.series} series | {words.percent(c.improvements[evaluation.primary])} |"
        for name in opponents.sampled(evaluation)
        for c in [evaluation.comparisons[name]]
    ]
    head = ["", "| error less than | by |", "|---|---|"]
    fitting = (
        "\n".join([*lines, *(head if shown else []), *rows[:shown]]).replace("<", "&lt;")
        for shown in range(len(rows), -1, -1)
    )
    shortest = "\n".join(lines).replace("<", "&lt;")[: MARKDOWN_CHARACTERS - 1]
    return next((text for text in fitting if len(text) < MARKDOWN_CHARACTERS), shortest)


def _page(evaluation: Evaluation, title: str, decision: GateDecision | None) -> str:
    parts = [
        f'<h1>{escape(title)}</h1><p class="verdict {words.tone(evaluation)}">{escape(words.verdict(evaluation))}</p>',
        f"<p>{escape(words.basis(evaluation))}</p>",
    ]
    if decision is not None:
        parts.append(f"<p>{escape(words.gate(decision))}</p>")
    parts.append(_cards(evaluation))
    parts += [part for build_part in _SECTIONS for part in [build_part(evaluation)] if part]
    return page(title, "\n".join(parts))


def _cards(evaluation: Evaluation) -> str:
    cards = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(said)}</span></div>'
        for value, said in words.cards(evaluation)
    )
    return f'<div class="cards">{cards}</div>'


def _examples(evaluation: Evaluation) -> str:
    if not evaluation.examples:
        return ""
    opponent = words.plain(evaluation.opponent or "")
    drawing = plots.fans(evaluation.examples, evaluation.levels, label="Example forecasts against what was sold")
    return section(
        "What do the forecasts look like?",
        f"The last forecasts that were judged, for series of the busier half: where it did worst, typically and best against {opponent}. "
        "The grey line is what had been sold before, the shaded band is the range that was forecast, the dots are what then was sold. "
        "The percentage is the error less than the other method's for that series.",
        figure(drawing),
    )


def _calibration(evaluation: Evaluation) -> str:
    levels = evaluation.calibration.get(evaluation.candidate)
    if not levels:
        return ""
    rows = [
        [
            f"{100 * found.level:.4g}%",
            words.percent(found.share_below, signed=False),
            words.percent(found.share_not_above, signed=False),
            "yes" if found.distance == 0 else f"off by {100 * found.distance:.1f} points",
        ]
        for found in levels
    ]
    return section(
        "Can the range be trusted?",
        "If a level of 95% is promised, demand should stay at or below it in 95% of periods. Demand is whole units and often "
        "exactly at the level, so the promise is kept if it lies between the share of periods strictly below the level and the "
        "share at or below it: the bars in the plot must touch the dashed line.",
        figure(plots.calibration(levels, label="Promised against observed shares"))
        + table(["Level promised", "Demand below it", "Demand at or below it", "Kept?"], rows, numbers=(0, 1, 2)),
    )


def _probability(evaluation: Evaluation) -> str:
    if not evaluation.reliability:
        return ""
    shown = [evaluation.candidate, *([evaluation.opponent] if evaluation.opponent else [])]
    said = {words.plain(name): evaluation.reliability[name] for name in shown}
    curves = {words.plain(name): evaluation.roc[name] for name in shown}
    rows = [
        [words.plain(name), *(words.number(figures[key]) for key in ("log_loss", "brier", "auc", "calibration_error"))]
        for name, figures in evaluation.figures.items()
        if "auc" in figures
    ]
    return section(
        "Can the probability be trusted?",
        "Left: of all cases to which about 30% was given, about 30% should come true, so the line should follow the dashed one. "
        "Right: how many of the true cases are found for a given share of false alarms; further up and left is better.",
        f'<div class="pair">{figure(plots.reliability(said, label="Said against observed probability"))}'
        f"{figure(plots.roc(curves, label='Found against false alarms'))}</div>"
        + table(["Method", "Log loss", "Brier score", "AUC", "Calibration error"], rows, numbers=(1, 2, 3, 4)),
    )


def _horizon(evaluation: Evaluation) -> str:
    weeks = [part for part in evaluation.slices if part.kind == "horizon"]
    if len(weeks) < 2:
        return ""
    models = [evaluation.candidate, *([evaluation.opponent] if evaluation.opponent else [])]
    points = [(part.name, {words.plain(model): part.loss[model] for model in models}) for part in weeks]
    return section(
        "How far ahead does it see?",
        "The error of each week of the forecast; lower is better. The band is the range of the candidate's error over series.",
        figure(plots.by_horizon(points, label="Error by week of the horizon")),
    )


def _segments(evaluation: Evaluation) -> str:
    opponent = evaluation.opponent
    parts = [part for part in evaluation.slices if part.kind not in ("origin", "horizon")]
    if not parts or opponent is None:
        return ""
    bars = [(part.name, part.improvements[opponent]) for part in parts]
    rows = [[SEGMENT_TITLES.get(part.kind, part.kind), *_slice_row(part, evaluation, opponent)] for part in parts]
    return section(
        "Where is it better, and where not?",
        f"The gain against {words.plain(opponent)} in each part of the assortment, by what was known when the forecast was made.",
        figure(plots.forest(bars, label="Improvement by part of the assortment"))
        + table(["By", "Part", "Series", "Forecasts", "Error", "Error less by"], rows, numbers=(2, 3, 4, 5)),
    )


def _slice_row(part: Slice, evaluation: Evaluation, opponent: str) -> list[str]:
    return [
        part.name,
        f"{part.series:,}",
        f"{part.rows:,}",
        words.number(part.loss[evaluation.candidate]),
        words.percent(part.improvements[opponent]),
    ]


def _stock(evaluation: Evaluation) -> str:
    if "stock_cost" not in evaluation.figures[evaluation.candidate]:
        return ""
    rows = [
        [words.plain(name), *(words.number(figures[key]) for key in ("overstock_cost", "stockout_cost", "stock_cost"))]
        for name, figures in evaluation.figures.items()
        if name == evaluation.candidate or evaluation.comparisons[name].rows == evaluation.rows
    ]
    return section(
        "What would the stock have cost?",
        words.cost_rule(evaluation),
        table(["Method", "Overstock", "Stock-outs", "Together"], rows, numbers=(1, 2, 3)),
    )


def _origins(evaluation: Evaluation) -> str:
    opponent = evaluation.opponent
    parts = [part for part in evaluation.slices if part.kind == "origin"]
    if not parts or opponent is None:
        return ""
    rows = [_slice_row(part, evaluation, opponent) for part in parts]
    return section(
        "Does it hold at different times?",
        f"One row for each date on which forecasts were made, against {words.plain(opponent)}.",
        table(["Made at the end of", "Series", "Forecasts", "Error", "Error less by"], rows, numbers=(1, 2, 3, 4)),
    )


def _figures(evaluation: Evaluation) -> str:
    figures = evaluation.figures[evaluation.candidate]
    opponents = [c for c in evaluation.comparisons.values() if c.rows == evaluation.rows]
    own = [[words.FIGURES[name], words.number(figures[name])] for name in words.FIGURES if name in figures]
    paired = [
        [words.FIGURES[name], words.plain(c.opponent), words.percent(c.improvements[name])]
        for name in words.FIGURES
        for c in opponents
        if name in c.improvements
    ]
    paired += [
        ["Distance from calibration, mean over the quantiles", words.plain(c.opponent), words.points(c.calibration)]
        for c in opponents
        if c.calibration is not None
    ]
    return section(
        "All figures",
        "Of this model, each with its interval; and how much lower each is than every other method's on the same forecasts.",
        table(["Figure", "Value"], own, numbers=(1,))
        + "<details><summary>Show each against every method</summary>"
        + table(["Figure", "Compared with", "Less by"], paired, numbers=(2,))
        + "</details>",
    )


def _figures_by_part(evaluation: Evaluation) -> str:
    opponent = evaluation.opponent
    parts = [part for part in evaluation.slices if part.kind not in ("origin", "horizon")]
    if not parts or opponent is None:
        return ""
    named = [name for name in words.FIGURES if name in parts[0].figures]
    rows = [
        [words.FIGURES[name], part.name, words.number(part.figures[name]), _gain(part, opponent, name)]
        for name in named
        for part in parts
    ]
    return section(
        "All figures, part by part",
        f"Of this model in each part of the assortment, and how much lower each is than {words.plain(opponent)}'s there.",
        "<details><summary>Show the table</summary>"
        + table(["Figure", "Part", "Value", f"Less than {words.plain(opponent)} by"], rows, numbers=(2, 3))
        + "</details>",
    )


def _gain(part: Slice, opponent: str, name: str) -> str:
    found = part.compared[opponent].get(name)
    return "" if found is None else words.percent(found)


def _glossary(evaluation: Evaluation) -> str:
    entries = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in words.glossary(evaluation)
    )
    return section("What the words mean", "", f"<dl>{entries}</dl>")


_SECTIONS: Final = (
    opponents.against,
    opponents.automatic,
    _examples,
    _calibration,
    _probability,
    _horizon,
    _segments,
    _stock,
    _origins,
    _figures,
    _figures_by_part,
    _glossary,
)
