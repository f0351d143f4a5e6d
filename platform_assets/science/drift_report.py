"""The drift report: a page of small multiples, the features that moved most first, with every figure beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite, isnan
from typing import Final

import polars as pl

from platform_assets.science.distances import stability_threshold
from platform_assets.science.drift_plots import BEFORE, panel
from platform_assets.science.feature_drift import worst_first
from platform_assets.science.joint_shift import JointShift
from platform_assets.science.report_html import PANELS, page, section, table
from platform_assets.science.report_plots import OURS, WORSE
from platform_assets.science.skew import Finding

STYLE: Final = """
.panel { border-top: 3px solid #c9cdd3; padding-top: .45rem; min-width: 0; } .panel.moved { border-color: #b5482f; }
.panel p { font-size: .8rem; line-height: 1.4; margin: .15rem 0 0; color: #3c424d; } .panel p.about { color: #6b717c; }
"""


@dataclass(frozen=True)
class DriftPage:
    """What a report is about: the two samples, and all that was found out about them."""

    title: str
    verdict: str
    has_passed: bool
    about_reference: str
    about_current: str
    reference: pl.DataFrame
    current: pl.DataFrame
    drift: pl.DataFrame  # of `feature_drift`
    findings: Sequence[Finding] = ()
    joint: JointShift | None = None
    descriptions: Mapping[str, str] | None = None


def build(report: DriftPage) -> str:
    """The report as one HTML page without scripts or anything from elsewhere; names and values are escaped."""
    ordered = worst_first(report.drift)
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="verdict {"better" if report.has_passed else "worse"}">{escape(report.verdict)}</p>',
        f"<p>Reference: {escape(report.about_reference)}. Now: {escape(report.about_current)}.</p>",
        _findings(report.findings),
        _joint(report.joint),
        _panels(report, ordered),
        _figures(ordered),
    ]
    return page(report.title, "\n".join(part for part in parts if part), style=PANELS + STYLE)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return section(
            "Are the rows whole?",
            "No fault was found: columns, types, categories, nulls, volume and keys are as ever.",
            "",
        )
    rows = [
        [finding.kind + ("" if finding.is_fault else " (no fault)"), finding.where, finding.found, finding.expected]
        for finding in findings
    ]
    return section(
        "Are the rows whole?",
        "Faults are repaired where they arose: a model retrained on them learns the fault.",
        table(["what", "where", "found", "expected"], rows),
    )


def _joint(joint: JointShift | None) -> str:
    if joint is None or isnan(joint.auc):
        return ""
    told = ", ".join(f"{name} ({share:.0%})" for name, share in joint.told_by)
    usual = "" if isnan(joint.usual) else f" On past occasions it was {joint.usual:.2f}."
    unusual = "" if isnan(joint.p_value) else f" The chance of so much among them: {joint.p_value:.2g}."
    text = f"A classifier ranks a present row above one of the reference with probability {joint.auc:.2f}; one half is blind.{usual}{unusual}"
    return section(
        "Can all features together tell now from then?", text, f"<p>Told by: {escape(told)}.</p>" if told else ""
    )


def _panels(report: DriftPage, ordered: pl.DataFrame) -> str:
    legend = (
        f'<p><span class="key" style="background:{BEFORE}"></span>reference &nbsp; '
        f'<span class="key" style="background:{OURS}"></span>now &nbsp; '
        f'<span class="key" style="background:{WORSE}"></span>now, of a feature that has left its range</p>'
    )
    descriptions = report.descriptions or {}
    cards = [_panel(report, row, descriptions.get(row["feature"], "")) for row in ordered.iter_rows(named=True)]
    return section(
        "Which features have moved?",
        "Those that moved most come first. A distance says something only beside its usual one: that of past occasions, each "
        "against the whole reference as the present rows are.",
        f'{legend}<div class="panels">{"".join(cards)}</div>',
    )


def _panel(report: DriftPage, row: Mapping[str, float | str | bool], about: str) -> str:
    name = str(row["feature"])
    before, now = report.reference[name], report.current[name]
    drawing = panel(before, now, has_drifted=bool(row["has_drifted"]))
    distance = f"distance {_number(row['statistic'])}, usually {_number(row['usual'])}; q {_number(row['q_value'])}"
    missing = f"without a value {_missing(now):.1%}, in the reference {_missing(before):.1%}"
    said = f'<p class="about">{escape(about)}</p>' if about else ""
    mark = " moved" if row["has_drifted"] else ""
    return f'<div class="panel{mark}"><h3>{escape(name)}</h3>{drawing}<p>{escape(distance)}</p><p>{escape(missing)}</p>{said}</div>'


def _figures(ordered: pl.DataFrame) -> str:
    names = ["statistic", "usual", "stability_index", "divergence", "moved", "p_value", "q_value"]
    rows = [[str(row["feature"]), *(_number(row[name]) for name in names)] for row in ordered.iter_rows(named=True)]
    header = ["feature", "distance", "usually", "PSI", "JS, bits", "moved by", "p", "q"]
    chance = stability_threshold(10_000, 200)
    return section(
        "All figures",
        "Distance: Kolmogorov-Smirnov, of categories chi-square. PSI: population stability index over ten bins; of 200 "
        f"independent rows against 10,000 one in a hundred exceeds {chance:.2f} by chance, and rows of one day are not independent. JS: "
        "Jensen-Shannon divergence. Moved by: Wasserstein distance, in the feature's unit. q: p adjusted for the number of features.",
        table(header, rows, numbers=range(1, len(header))),
    )


def _missing(column: pl.Series) -> float:
    known = column.fill_nan(None) if column.dtype.is_float() else column
    return known.null_count() / max(known.len(), 1)


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) and isfinite(value) else "-"
