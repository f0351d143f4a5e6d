"""Drawings of the performance report as SVG text of our own: estimates beside what came, and figures week by week."""

from collections.abc import Sequence
from datetime import date
from html import escape
from math import floor, isfinite, log10
from typing import Final

import polars as pl

from platform_assets.science.report_plots import INK, OURS, THEIRS, WORSE

WIDTH, HEIGHT = 720, 250
SMALL_WIDTH, SMALL_HEIGHT = 260, 120
LEFT, RIGHT, TOP, FOOT = 46, 12, 14, 24
BAND: Final = "#d5e4ea"
PENDING: Final = "#edf3f5"
GRID: Final = "#e6e9ed"
XMLNS: Final = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif"'


def outlook_chart(weeks: pl.DataFrame, *, label: str) -> str:
    """One bar per week: the interval as it was estimated, a line at the estimate, a dot at what came, red where outside.

    weeks: last_on, model_version, expected, low, high, realized, is_inside, ascending; realized is null where it has not come.
    """
    if weeks.is_empty():
        return _empty(WIDTH, 60, label, "no estimates yet")
    known = pl.concat([weeks[name].rename("y") for name in ("expected", "low", "high", "realized")]).drop_nulls()
    scale = _Scale(WIDTH, HEIGHT, weeks.height, float(known.to_numpy().max()))
    parts = [scale.grid()]
    width = min(0.62 * scale.step, 26.0)
    before = None
    for at, row in enumerate(weeks.iter_rows(named=True)):
        x, is_pending = scale.x(at), row["realized"] is None
        if before is not None and row["model_version"] != before:
            edge = x - scale.step / 2
            parts.append(
                f'<path d="M{edge:.1f} {TOP}V{scale.base}" stroke="{THEIRS}" stroke-dasharray="3 3"/>'
                f'<text x="{edge + 3:.1f}" y="{TOP + 8}" font-size="9.5" fill="#555b66">version {escape(str(row["model_version"]))}</text>'
            )
        before = row["model_version"]
        if row["low"] is not None and row["high"] is not None:
            top, bottom = scale.y(row["high"]), scale.y(row["low"])
            parts.append(
                f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(bottom - top, 0):.1f}" '
                f'fill="{PENDING if is_pending else BAND}" stroke="{OURS}" stroke-width="{0.8 if is_pending else 0}" stroke-dasharray="2 2"/>'
            )
        y = scale.y(row["expected"])
        parts.append(
            f'<path d="M{x - width / 2:.1f} {y:.1f}h{width:.1f}" stroke="{OURS}" stroke-width="2"><title>{escape(_said(row))}</title></path>'
        )
        if not is_pending:
            colour = WORSE if row["is_inside"] is False else INK
            parts.append(
                f'<circle cx="{x:.1f}" cy="{scale.y(row["realized"]):.1f}" r="3.6" fill="{colour}"><title>{escape(_said(row))}</title></circle>'
            )
    parts.append(scale.dates(weeks["last_on"].to_list()))
    return _svg(WIDTH, HEIGHT, label, "".join(parts))


def history_chart(weeks: pl.DataFrame, *, label: str, is_small: bool = False) -> str:
    """A figure week by week, the baseline's in grey. weeks: week_on, value, baseline, ascending."""
    width, height = (SMALL_WIDTH, SMALL_HEIGHT) if is_small else (WIDTH, HEIGHT)
    values = pl.concat([weeks[name].rename("y") for name in ("value", "baseline")]).drop_nulls().drop_nans()
    if values.is_empty():
        return _empty(width, 60, label, "no whole week yet")
    shown = values.to_numpy()
    scale = _Scale(width, height, weeks.height, float(shown.max()), min(float(shown.min()), 0.0))
    lines = "".join(
        scale.line(weeks[name].to_list(), colour) for name, colour in (("baseline", THEIRS), ("value", OURS))
    )
    return _svg(width, height, label, scale.grid() + lines + scale.dates(weeks["week_on"].to_list()))


def _said(row: dict[str, object]) -> str:
    told = f"week to {row['last_on']}: expected {row['expected']:.3g}"
    if row["low"] is not None:
        told += f" ({row['low']:.3g} to {row['high']:.3g})"
    return told if row["realized"] is None else f"{told}, came {row['realized']:.3g}"


class _Scale:
    """Places of values and weeks within a drawing."""

    def __init__(self, width: int, height: int, count: int, most: float, least: float = 0.0) -> None:
        self.width, self.base = width, height - FOOT
        self.ticks = _ticks(least, most)
        self.low, self.high = min(least, self.ticks[0]), max(most, self.ticks[-1])
        self.step = (width - LEFT - RIGHT) / max(count, 1)

    def x(self, at: int) -> float:
        return LEFT + (at + 0.5) * self.step

    def y(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.base - (value - self.low) / span * (self.base - TOP)

    def grid(self) -> str:
        return "".join(
            f'<path d="M{LEFT} {self.y(tick):.1f}H{self.width - RIGHT}" stroke="{GRID}"/>'
            f'<text x="{LEFT - 5}" y="{self.y(tick) + 3:.1f}" font-size="9.5" fill="#555b66" text-anchor="end">{tick:.4g}</text>'
            for tick in self.ticks
        )

    def line(self, values: Sequence[float | None], colour: str) -> str:
        known = [
            (self.x(at), self.y(value)) for at, value in enumerate(values) if value is not None and isfinite(value)
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in known)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8" fill="{colour}"/>' for x, y in known)
        return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>{dots}' if known else ""

    def dates(self, days: Sequence[date]) -> str:
        shown = max(int(self.width / 90), 2)
        every = max(-(-len(days) // shown), 1)
        return "".join(
            f'<text x="{self.x(at):.1f}" y="{self.base + 15}" font-size="9.5" fill="#555b66" text-anchor="middle">{day:%Y-%m-%d}</text>'
            for at, day in enumerate(days)
            if at % every == 0
        )


def _ticks(least: float, most: float) -> list[float]:
    """Three to six round values from one below `least` to one below `most`."""
    span = max(most - least, 1e-9)
    unit = 10 ** floor(log10(span))
    step = next(unit * part for part in (0.2, 0.5, 1.0, 2.0, 5.0) if span / (unit * part) <= 6)
    first = floor(least / step)
    return [round((first + number) * step, 12) for number in range(8) if (first + number) * step <= most + 1e-12]


def _svg(width: int, height: int, label: str, body: str) -> str:
    return (
        f'<svg {XMLNS} role="img" aria-label="{escape(label, quote=True)}" viewBox="0 0 {width} {height}">{body}</svg>'
    )


def _empty(width: int, height: int, label: str, text: str) -> str:
    return _svg(width, height, label, f'<text x="6" y="36" font-size="12" fill="{INK}">{escape(text)}</text>')
