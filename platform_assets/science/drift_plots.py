"""Small multiples of a drift report: each feature's distribution in the reference and now, as SVG text of our own."""

from html import escape
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.science.feature_drift import CATEGORIES
from platform_assets.science.report_plots import INK, OURS, WORSE

Floats = NDArray[np.float64]

WIDTH, HEIGHT, FOOT = 260, 110, 18
BINS: Final = 24
BARS: Final = 12  # so many different values, or categories, are drawn one by one
BEFORE: Final = "#d3d7dd"


def panel(reference: pl.Series, current: pl.Series, *, has_drifted: bool) -> str:
    """The reference's shares as an area, the present ones as a line; values beyond the middle 98% are in the end bins."""
    labels, before, now = shares(reference, current)
    said = f"{reference.name}: distribution in the reference and now"
    head = f'<svg role="img" aria-label="{escape(said, quote=True)}" viewBox="0 0 {WIDTH} {HEIGHT}">'
    if not labels:
        return f'{head}<text x="6" y="40" font-size="11" fill="{INK}">no values</text></svg>'
    colour, top = (WORSE if has_drifted else OURS), max(before.max(), now.max(), 1e-9)
    base = HEIGHT - FOOT
    area = _steps(before / top, base)
    line = _steps(now / top, base)
    is_named = len(labels) == before.size
    width = WIDTH / before.size
    texts = [
        f'<text x="{x:.1f}" y="{HEIGHT - 5}" font-size="9.5" fill="#555b66" text-anchor="{anchor}">{escape(_short(text, room))}</text>'
        for x, anchor, text, room in (
            [((at + 0.5) * width, "middle", text, max(int(width / 6), 2)) for at, text in enumerate(labels)]
            if is_named
            else [(1.0, "start", labels[0], 16), (WIDTH - 1.0, "end", labels[-1], 16)]
        )
    ]
    return (
        f'{head}<path d="{area}V{base}H0Z" fill="{BEFORE}"/><path d="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        f'<path d="M0 {base}H{WIDTH}" stroke="#c9cdd3"/>{"".join(texts)}</svg>'
    )


def shares(reference: pl.Series, current: pl.Series) -> tuple[list[str], Floats, Floats]:
    """Labels and the share of rows in each bar, of the reference and now: one label a bar, or the first and the last edge."""
    if reference.dtype in CATEGORIES or current.dtype in CATEGORIES:
        return _named(reference.cast(pl.String), current.cast(pl.String))
    before, now = (_known(column) for column in (reference, current))
    both = np.r_[before, now]
    if not both.size:
        return [], both, both
    distinct = np.unique(both)
    if distinct.size <= BARS:
        counted = [
            np.array([(side == value).sum() for value in distinct]) / max(side.size, 1) for side in (before, now)
        ]
        return [f"{value:.4g}" for value in distinct], counted[0], counted[1]
    sides = [side for side in (before, now) if side.size]
    low, high = (pick(np.quantile(side, share) for side in sides) for pick, share in ((min, 0.01), (max, 0.99)))
    if not low < high:
        low, high = float(distinct[0]), float(distinct[-1])
    edges = np.linspace(low, high, BINS + 1)
    counted = [np.histogram(np.clip(side, low, high), edges)[0] / max(side.size, 1) for side in (before, now)]
    return [f"{low:.4g}", f"{high:.4g}"], counted[0], counted[1]


def _named(before: pl.Series, now: pl.Series) -> tuple[list[str], Floats, Floats]:
    frames = [
        side.rename("value").to_frame().group_by("value").agg(share=pl.len() / max(side.len(), 1))
        for side in (before, now)
    ]
    both = frames[0].join(frames[1], on="value", how="full", coalesce=True, nulls_equal=True, suffix="_now")
    both = both.with_columns(pl.col("share", "share_now").fill_null(0.0), pl.col("value").fill_null("no value"))
    both = both.sort(pl.max_horizontal("share", "share_now"), "value", descending=[True, False])
    shown, rest = both.head(BARS - 1), both[BARS - 1 :]
    labels = shown["value"].to_list()
    sides = [shown[name].to_numpy() for name in ("share", "share_now")]
    if rest.height:
        labels.append("others")
        sides = [np.r_[side, rest[name].sum()] for side, name in zip(sides, ("share", "share_now"), strict=True)]
    return labels, sides[0], sides[1]


def _known(column: pl.Series) -> Floats:
    values = column.cast(pl.Float64).drop_nulls().to_numpy()
    return values[np.isfinite(values)]


def _steps(heights: Floats, base: int) -> str:
    """Path along the tops of bars of equal width; heights within [0, 1]."""
    width = WIDTH / heights.size
    tops = base - heights * (base - 4)
    return "M0 " + "".join(
        f"{'' if at == 0 else 'V'}{top:.1f}H{(at + 1) * width:.1f}" for at, top in enumerate(tops.tolist())
    )


def _short(name: str, length: int) -> str:
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"
