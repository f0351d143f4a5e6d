"""The weeks that a platform has lived through: what its champions' forecasts lost, and what the first one's would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from platform_assets.science.bootstrap import Interval
from platform_assets.science.report_plots import INK, OURS, THEIRS, WORSE, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAULT: Final = "#f3d9b1"


@dataclass(frozen=True)
class LivedWeek:
    """A week's forecasts: who gave them, their summed loss, the first champion's on the same rows, and the share saved."""

    number: int
    versions: tuple[str, ...]
    loss: float
    alone: float
    saved: Interval


def plot(
    lived: Sequence[LivedWeek], *, fault_weeks: Sequence[int], shock_week: int, trained_after: Sequence[int]
) -> str:
    """SVG: losses by week on the left, on the right what was saved beside the first champion, with its interval.

    The fault's weeks are shaded, a line stands where the shock's week begins, and one at the end of each week in
    `trained_after`.
    """
    numbers = [week.number for week in lived]

    def marked(axes: Axes) -> None:
        axes.axvspan(min(fault_weeks) - 0.5, max(fault_weeks) + 0.5, color=FAULT, alpha=0.6, lw=0, zorder=0)
        axes.axvline(shock_week - 0.5, color=WORSE, lw=1.2)
        for number in trained_after:
            axes.axvline(number + 0.5, color=OURS, lw=1.2, linestyle=":")
        axes.set_xticks(numbers)
        axes.set_xlim(min(numbers) - 0.6, max(numbers) + 0.6)
        axes.set_xlabel("week")

    def says(axes: Axes, at: float, text: str, colour: str, *, line: int = 0, before: bool = False) -> None:
        axes.annotate(
            text,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if before else 2, 4 + 11 * line),
            textcoords="offset points",
            ha="right" if before else "left",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )

    def draw(grid: Any) -> None:
        axes: Axes = grid[0][0]
        marked(axes)
        axes.plot(numbers, [week.alone for week in lived], color=THEIRS, lw=1.4, linestyle="--", label="@1 alone")
        axes.plot(numbers, [week.loss for week in lived], "o-", color=OURS, lw=1.8, ms=4, label="who answered")
        for week, before in zip(lived, [None, *lived], strict=False):
            if before is None or week.versions != before.versions:
                told = "/".join(f"@{version}" for version in week.versions)
                axes.annotate(
                    told, (week.number, week.loss), xytext=(0, 6), textcoords="offset points", color=OURS, fontsize=8
                )
        says(axes, max(fault_weeks) + 0.5, "one store's feed x 10", "#8a5a12", before=True)
        says(axes, shock_week - 0.5, "prices +30%", WORSE)
        for number in trained_after:
            says(axes, number + 0.5, "trained again", OURS, line=1)
        axes.set_ylim(bottom=0, top=1.12 * max(max(week.loss, week.alone) for week in lived))
        axes.set_ylabel("loss of the week's forecasts")
        axes.legend(frameon=False, fontsize=8, loc="lower left")
        axes = grid[0][1]
        marked(axes)
        axes.axhline(0, color=INK, lw=0.8)
        for week in lived:
            saved = week.saved
            colour = OURS if saved.low > 0 else WORSE if saved.high < 0 else THEIRS
            if saved.is_known:
                axes.plot([week.number] * 2, [100 * saved.low, 100 * saved.high], color=colour, lw=2.2)
            axes.plot([week.number], [100 * saved.estimate], "o", color=colour, ms=5)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -5), max(high, 5))  # where nothing was promoted nothing was saved
        axes.set_ylabel("saved beside @1 alone, %")

    return drawn(8.6, 3.1, draw, columns=2, label="loss by week, and what retraining saved beside the first champion")
