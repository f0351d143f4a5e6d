"""The weeks that a platform has lived through: what its champions' forecasts lost, and what the first one's would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from platform_assets.science.bootstrap import Interval
from platform_assets.science.report_plots import INK, OURS, THEIRS, WORSE, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAULT: Final = "#f3d9b1"
FAULT_INK: Final = "#8a5a12"
WEEK_DAYS: Final = 7
LINE: Final = 0.19  # inches of a line of text
OVER: Final = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # behind a text, so that no line crosses it
LATE: Final = 5.6  # from this week on an event's text stands left of its line: right of it it would leave the page

ALARMED: Final = {  # by trigger
    "drift": "the check of its inputs alarms",
    "error": "the check of its errors alarms",
    "performance": "its performance is beyond a limit",
}


@dataclass(frozen=True)
class LivedWeek:
    """A week's forecasts: who gave them, their summed loss, the first champion's on the same rows, and the share saved."""

    number: int
    versions: tuple[str, ...]
    loss: float
    alone: float
    saved: Interval


@dataclass(frozen=True, order=True)
class Alarm:
    """The first day of an alarm that asked for a retraining, and the triggers that it was of."""

    on: date
    of: tuple[str, ...]

    @property
    def told(self) -> str:
        """It in words."""
        return " and ".join(ALARMED[trigger] for trigger in self.of)


@dataclass(frozen=True)
class Training:
    """A retraining: the day up to whose beginning it knew, and what the gate said of its version; None where it said nothing."""

    on: date
    version: str | None = None
    answer: str = ""
    is_promoted: bool = False

    @property
    def told(self) -> str:
        """It in two lines."""
        if self.version is None:
            return f"{_day(self.on)}: trained again"
        became = "promoted" if self.is_promoted else "not promoted"
        return f"{_day(self.on)}: trained again; the gate:\nversion {self.version} is {self.answer}, {became}"


@dataclass(frozen=True)
class _Event:
    at: float  # on the axis of weeks
    told: str
    colour: str
    style: str


def plot(
    lived: Sequence[LivedWeek],
    *,
    model: str,
    first_on: date,
    fault_weeks: Sequence[int],
    shock_week: int,
    alarms: Sequence[Alarm],
    trainings: Sequence[Training],
) -> str:
    """SVG: losses by week above, below what was saved beside the first champion, with its interval.

    `first_on`: first day of week 1. The fault's weeks are shaded; a line stands where the shock begins, one at the end of each
    day of `alarms`, and one at each training. What they are stands above, the earliest highest, so that no line crosses a text.
    """
    numbers = [week.number for week in lived]
    events = _events(first_on, fault_weeks, shock_week, alarms, trainings)
    has_bars = any(week.saved.is_known and week.saved.low < week.saved.high for week in lived)
    lines = sum(1 + event.told.count("\n") for event in events)

    def marked(axes: Axes) -> None:
        axes.set_xticks(numbers, [""] * len(numbers))
        axes.set_xlim(min(numbers) - 0.6, max(numbers) + 0.6)
        axes.axvspan(min(fault_weeks) - 0.5, max(fault_weeks) + 0.5, color=FAULT, alpha=0.6, lw=0, zorder=0)
        for event in events:
            axes.axvline(event.at, color=event.colour, lw=1.2, linestyle=event.style)

    def losses(axes: Axes) -> None:
        axes.plot(
            numbers,
            [week.alone for week in lived],
            color=THEIRS,
            lw=1.4,
            linestyle="--",
            label="the first version, left alone",
        )
        axes.plot(
            numbers, [week.loss for week in lived], "o-", color=OURS, lw=1.8, ms=4, label="the version that answered"
        )
        for week, before in zip(lived, [None, *lived], strict=False):
            if before is None or week.versions != before.versions:
                axes.annotate(
                    f"version{'s' if len(week.versions) > 1 else ''} {' and '.join(week.versions)}",
                    (week.number, week.loss),
                    xytext=(0, 7),
                    textcoords="offset points",
                    color=OURS,
                    fontsize=8.5,
                    ha="center",
                )
        axes.set_ylim(bottom=0, top=1.18 * max(max(week.loss, week.alone) for week in lived))
        axes.set_ylabel("error of the week's forecasts\n(pinball loss; less is better)")
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")

    def savings(axes: Axes) -> None:
        axes.axhline(0, color=INK, lw=0.8)
        for week in lived:
            saved = week.saved
            colour = OURS if saved.low > 0 else WORSE if saved.high < 0 else THEIRS
            if saved.is_known:
                axes.plot([week.number] * 2, [100 * saved.low, 100 * saved.high], color=colour, lw=2.2)
            axes.plot([week.number], [100 * saved.estimate], "o", color=colour, ms=5)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -5), max(high, 5))  # where nothing was promoted nothing was saved
        if len({week.versions for week in lived}) == 1:
            axes.annotate(
                "nothing saved and nothing lost: the first version answered throughout",
                (0.5, 0.92), xycoords="axes fraction", ha="center", va="top", fontsize=8.5, color=INK, bbox=OVER,
            )  # fmt: skip
        axes.set_ylabel("error saved beside the\nfirst version, %")
        axes.set_xticks(numbers, [f"{n}\n{_day(first_on + timedelta(days=WEEK_DAYS * (n - 1)))}" for n in numbers])
        axes.set_xlabel("week, with its first day" + ("; bars: 95% intervals over series" if has_bars else ""))

    def draw(grid: Any) -> None:
        said, above, below = (row[0] for row in grid)
        for axes in (above, below):
            marked(axes)
        said.set_xlim(above.get_xlim())
        said.get_subplotspec().get_gridspec().set_height_ratios([LINE * lines, 2.2, 1.6])
        _tell(said, events, lines)
        losses(above)
        savings(below)
        said.figure.suptitle(
            f"{len(lived)} weeks of the model {model} after its first training, from {_day(first_on)} {first_on.year} on: what "
            "its forecasts\nmissed by, and what training it again saved",
            x=0.01, ha="left", fontsize=10.5,
        )  # fmt: skip

    return drawn(
        8.6, 5.1 + LINE * lines, draw, rows=3, label="loss by week, and what retraining saved beside the first champion"
    )


def _events(
    first_on: date, fault_weeks: Sequence[int], shock_week: int, alarms: Sequence[Alarm], trainings: Sequence[Training]
) -> list[_Event]:
    """What happened, in the order of time."""

    def begins(week: int) -> date:
        return first_on + timedelta(days=WEEK_DAYS * (week - 1))

    def place(on: date) -> float:
        return (on - first_on).days / WEEK_DAYS + 0.5

    fault = f"{_day(begins(min(fault_weeks)))} to {_day(begins(max(fault_weeks) + 1) - timedelta(days=1))}"
    found = [
        _Event(
            place(begins(min(fault_weeks))),
            f"{fault}: one store's figures are ten times too large",
            FAULT_INK,
            "-",
        ),
        _Event(place(begins(shock_week)), f"{_day(begins(shock_week))}: all prices rise by 30%, for good", WORSE, "-"),
        *(
            _Event(place(alarm.on + timedelta(days=1)), f"{_day(alarm.on)}: {alarm.told}", WORSE, "--")
            for alarm in alarms
        ),
        *(_Event(place(training.on), training.told, OURS, ":") for training in trainings),
    ]
    return sorted(found, key=lambda event: event.at)


def _tell(axes: Axes, events: Sequence[_Event], lines: int) -> None:
    """Each event's text beside its line, which goes on below; the earliest stands highest."""
    axes.set_ylim(0, lines)
    axes.axis("off")
    bottom = 0
    for event in reversed(events):
        is_late, height = event.at > LATE, 1 + event.told.count("\n")
        top = bottom + height - 0.1
        axes.plot([event.at] * 2, [0, top], color=event.colour, lw=1.2, linestyle=event.style, clip_on=False)
        axes.annotate(
            event.told,
            (event.at, bottom),
            xytext=(-4 if is_late else 4, 2),
            textcoords="offset points",
            ha="right" if is_late else "left",
            va="bottom",
            fontsize=8.5,
            color=event.colour,
            bbox=OVER,
        )
        bottom += height


def _day(on: date) -> str:
    return f"{on.day} {on:%b}"
