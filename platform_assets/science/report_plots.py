"""The report's plots as SVG text, the same bytes for the same figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from platform_assets.science.bootstrap import Interval
from platform_assets.science.findings import Example, LevelFigures
from platform_assets.science.metrics import ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS: Final = "#1f6f8b"
THEIRS: Final = "#8a8f98"
WORSE: Final = "#b5482f"
INK: Final = "#23272f"
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "perennial",  # identifiers by content, not by chance
    "svg.fonttype": "none",  # text stays text: small, searchable
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c9cdd3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#555b66",
    "ytick.color": "#555b66",
    "text.parse_math": False,  # a series may be called $5
    "axes.formatter.use_mathtext": False,
}


def drawn(width: float, height: float, draw: Any, *, rows: int = 1, columns: int = 1, label: str) -> str:
    """SVG element of a figure that `draw(axes)` fills; sizes in inches."""
    import matplotlib as mpl  # deferred: .6 CPU s
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts draw the text
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots(rows, columns, squeeze=False))
        page = StringIO()
        figure.savefig(page, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inlined(page.getvalue(), label, round(width * 104))


def _inlined(svg: str, label: str, width: int) -> str:
    """The `svg` element alone, as wide as the page lets it be up to `width` pixels, without identifiers that would repeat on the page."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    return body.replace(
        "<svg", f'<svg role="img" style="max-width:{width}px" aria-label="{escape(label, quote=True)}"', 1
    ).strip()


def forest(bars: Sequence[tuple[str, Interval]], *, label: str) -> str:
    """One line per name: the improvement with its interval; right of zero is better."""

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        for place, (_, interval) in enumerate(reversed(bars)):
            colour = OURS if interval.low > 0 else WORSE if interval.high < 0 else THEIRS
            if interval.is_known:
                axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=colour, lw=2.2)
            axes.plot([100 * interval.estimate], [place], "o", color=colour, ms=6)
            axes.annotate(
                f"{100 * interval.estimate:+.1f}%",
                (100 * interval.estimate, place),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=colour,
            )
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(bars)), [name for name, _ in reversed(bars)])
        axes.set_ylim(-0.6, len(bars) - 0.2)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("forecast error less by, %     (right of zero is better)")
        axes.grid(axis="x", color="#eceef1", lw=0.8)
        axes.set_axisbelow(True)

    return drawn(7.6, 0.7 + 0.36 * max(len(bars), 1), draw, label=label)


def fans(examples: Sequence[Example], levels: Sequence[float], *, label: str) -> str:
    """For each example the recent past, the range forecast for each period, and what came."""
    columns = 2
    rows = -(-len(examples) // columns)

    def draw(grid: Any) -> None:
        panels = [axes for row in grid for axes in row]
        for axes, example in zip(panels, examples, strict=False):
            _fan(axes, example, levels)
        for axes in panels[len(examples) :]:
            axes.set_axis_off()
        handles, names = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)

    return drawn(9.2, 0.4 + 2.1 * rows, draw, rows=rows, columns=columns, label=label)


def _fan(axes: Axes, example: Example, levels: Sequence[float]) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    quantiles = list(zip(*example.quantiles, strict=True))
    middle = min(range(len(levels)), key=lambda at: abs(levels[at] - 0.5))
    days = _numbers(example.target_on)
    outer = max((at for at in range(middle + 1, len(levels)) if levels[at] <= 0.95), default=len(levels) - 1)
    for low, high, alpha in ((0, outer, 0.16), (max(middle - 1, 0), min(middle + 1, outer), 0.32)):
        if low < middle < high:
            said = f"{100 * levels[low]:.4g}% to {100 * levels[high]:.4g}% level"
            axes.fill_between(days, quantiles[low], quantiles[high], color=OURS, alpha=alpha, lw=0, label=said)
    axes.plot(days, quantiles[middle], color=OURS, lw=1.4, label="middle of the forecast")
    axes.plot(_numbers(example.past_on), example.past, color=THEIRS, lw=0.9)
    actual = [float("nan") if value is None else value for value in example.actual]
    axes.plot(days, actual, "o", color=INK, ms=2.8, label="what was sold")
    axes.axvline(days[0] - 0.5, color="#c9cdd3", lw=0.8, ls="--")
    top = max([*example.past, *quantiles[outer], *(value for value in example.actual if value is not None), 1.0])
    axes.set_ylim(-0.02 * top, 1.08 * top)
    axes.set_title(
        f"{_short(example.series_id)} · {example.kind}, {100 * example.improvement:+.0f}%", fontsize=9.5, loc="left"
    )
    locator = AutoDateLocator(minticks=3, maxticks=6)  # eight weeks of days, or of a weekly source more than a year
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))


def _numbers(days: Sequence[date]) -> list[float]:
    return [float(day.toordinal() - date(1970, 1, 1).toordinal()) for day in days]


def _short(name: str, length: int = 34) -> str:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)  # others are no XML
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def calibration(levels: Sequence[LevelFigures], *, label: str) -> str:
    """For each level the share of periods at or below its quantile and strictly below: the diagonal must lie between."""

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        axes.plot([0, 100], [0, 100], color=THEIRS, lw=0.9, ls="--", label="perfect")
        for at, found in enumerate(levels):
            x, low, high = (100 * v for v in (found.level, found.share_below.estimate, found.share_not_above.estimate))
            colour = OURS if found.distance <= 0.015 else WORSE
            axes.plot([x, x], [low, high], color=colour, lw=5, alpha=0.45, solid_capstyle="butt")
            axes.plot(
                [x - 1.2, x + 1.2], [high, high], color=colour, lw=2, label="share at or below" if at == 0 else None
            )
        axes.set_xlabel("what the forecast promises, % of periods")
        axes.set_ylabel("what came, % of periods")
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        axes.legend(frameon=False, fontsize=8.5, loc="upper left")

    return drawn(4.4, 3.5, draw, label=label)


def by_horizon(points: Sequence[tuple[str, Mapping[str, Interval]]], *, label: str) -> str:
    """Error of each named model in each week of the horizon; intervals for the first model."""

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        places = range(len(points))
        models = list(points[0][1]) if points else []
        for at, model in enumerate(models):
            values = [figures[model] for _, figures in points]
            colour = OURS if at == 0 else THEIRS
            axes.plot(places, [v.estimate for v in values], "o-", color=colour, lw=1.6, ms=4, label=model)
            if at == 0:
                axes.fill_between(
                    places, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.13, lw=0
                )
        axes.set_xticks(list(places), [name for name, _ in points])
        axes.set_ylim(bottom=0)
        axes.set_ylabel("forecast error per period")
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")

    return drawn(4.8, 3.0, draw, label=label)


def reliability(bins: Mapping[str, Sequence[ReliabilityBin]], *, label: str) -> str:
    """What came against what was said, for each named model; the first stands out."""

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        axes.plot([0, 100], [0, 100], color="#c9cdd3", lw=0.9, ls="--")
        for at, (model, filled) in enumerate(bins.items()):
            axes.plot(
                [100 * b.said for b in filled],
                [100 * b.came for b in filled],
                "o-",
                color=OURS if at == 0 else THEIRS,
                lw=1.8 if at == 0 else 0.9,
                ms=4 if at == 0 else 2.5,
                label=model,
            )
        axes.set_xlabel("probability that was said, %")
        axes.set_ylabel("how often it came, %")
        axes.legend(frameon=False, fontsize=8.5, loc="upper left")

    return drawn(4.4, 3.5, draw, label=label)


def roc(curves: Mapping[str, Sequence[tuple[float, float]]], *, label: str) -> str:
    """ROC curve of each named model; the first stands out."""

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        axes.plot([0, 100], [0, 100], color="#c9cdd3", lw=0.9, ls="--")
        for at, (model, points) in enumerate(curves.items()):
            xs, ys = [100 * x for x, _ in points], [100 * y for _, y in points]
            axes.plot(xs, ys, color=OURS if at == 0 else THEIRS, lw=1.8 if at == 0 else 0.9, label=model)
        axes.set_xlabel("false alarms, %")
        axes.set_ylabel("found, %")
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")

    return drawn(4.4, 3.5, draw, label=label)


def tiny_forest(bars: Sequence[tuple[str, Interval]], *, limit: int) -> str:
    """A forest plot in at most `limit` bytes of SVG, for places that show only short text: as many names as fit."""
    kept = [(name, interval) for name, interval in bars if interval.is_known]
    while True:
        svg = _tiny(kept)
        if len(svg.encode()) <= limit or not kept:
            return svg
        kept = kept[:-1]


def _tiny(bars: Sequence[tuple[str, Interval]]) -> str:
    from html import escape

    reach = max((max(abs(i.low), abs(i.high)) for _, i in bars), default=1.0) or 1.0

    def at(value: float) -> int:
        return round(170 + 60 * value / reach)

    lines = "".join(f"M{at(i.low)} {9 + 13 * n}H{at(i.high)}" for n, (_, i) in enumerate(bars))
    dots = "".join(f"M{at(i.estimate)} {9 + 13 * n}h0" for n, (_, i) in enumerate(bars))
    texts = "".join(f'<text y="{12 + 13 * n}">{escape(name)}</text>' for n, (name, _) in enumerate(bars))
    height = 13 * len(bars) + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="240" height="{height}" font-size="10">'
        f'<g stroke="#1f6f8b"><path d="M170 0V{height}" stroke="#999"/><path d="{lines}"/>'
        f'<path stroke-width="5" stroke-linecap="round" d="{dots}"/></g>{texts}</svg>'
    )
