"""What policies cost and what they gain, as one plot: the fewer trainings and the less loss, the better."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from platform_assets.science.report_plots import INK, OURS, THEIRS, WORSE, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from platform_assets.science.backtest import Outcome

Key = TypeVar("Key", bound=Hashable)

WIDE, TALL = 400.0, 190.0  # of the axes, about, in points
LETTER: Final = 4.6  # of a label's text, about, in points
LINE: Final = 11.0


def pareto_front(found: Sequence[Outcome]) -> list[Outcome]:
    """Those that no other beats in trainings without losing more, fewest trainings first.

    An outcome without a schedule of its own is left out.
    """
    front: list[Outcome] = []
    least = float("inf")
    for _, loss, outcome in sorted(_walked(found), key=lambda point: point[:2]):
        if loss < least:
            front.append(outcome)
            least = loss
    return front


def _walked(found: Sequence[Outcome]) -> list[tuple[float, float, Outcome]]:
    """Trainings and loss of those that have a schedule."""
    return [(o.trainings, o.loss, o) for o in found if o.trainings is not None and o.loss is not None]


def placed(labels: Mapping[Key, tuple[float, float, str]]) -> dict[Key, tuple[float, float]]:
    """Where each label begins, in points: right above its point, or as much higher or lower as none covers another's."""
    found: dict[Key, tuple[float, float]] = {}
    taken: list[tuple[float, float, float]] = []  # begin, end, height
    for key, (x, y, text) in sorted(labels.items(), key=lambda item: item[1][:2]):
        begin, end = x + 5, x + 5 + LETTER * len(text)
        steps = (number * sign * LINE / 2 for number in range(2 * len(labels) + 2) for sign in (1, -1))
        heights = [y + 4 + step for step in steps if 0 <= y + 4 + step <= TALL] or [y + 4]
        height = next(
            (
                height
                for height in heights
                if not any(begin < other[1] and other[0] < end and abs(height - other[2]) < LINE for other in taken)
            ),
            heights[0],
        )
        taken.append((begin, end, height))
        found[key] = (begin, height)
    return found


def plot(found: Sequence[Outcome], price: float) -> str:
    """SVG: trainings against loss in percent of never's, with the Pareto front and a line along which cost is that of never.

    found: `never` first, as `outcomes` gives them. `price`: of a training, in units of loss.
    """
    points, front = _walked(found), _walked(pareto_front(found))
    most, (_, alone, never) = max(count for count, _, _ in points), points[0]

    def draw(axes: Sequence[Sequence[Axes]]) -> None:
        ax = axes[0][0]
        ax.plot([0, most], [100, 100 - 100 * price * most / alone], color=THEIRS, linewidth=0.8, linestyle="--")
        ax.plot([n for n, _, _ in front], [100 * loss / alone for _, loss, _ in front], color=OURS, linewidth=1.2)
        names: dict[tuple[float, float], list[str]] = {}  # several policies may have trained alike
        for count, loss, outcome in points:
            at = (count, 100 * loss / alone)
            names.setdefault(at, []).append(outcome.name)
            ax.plot(*at, "o", color=WORSE if outcome.cost > never.cost else OURS, markersize=5)
        ax.set_xlabel("trainings")
        ax.set_ylabel("loss, % of never's")
        ax.margins(x=0.12, y=0.15)
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        labels = {at: ", ".join(alike) for at, alike in names.items()}
        places = {at: ((at[0] - left) / (right - left) * WIDE, (at[1] - low) / (high - low) * TALL) for at in labels}
        for at, (x, y) in placed({at: (*places[at], text) for at, text in labels.items()}).items():
            offset = (x - places[at][0], y - places[at][1])
            line = {"arrowstyle": "-", "color": THEIRS, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            is_far = abs(offset[1]) > LINE
            ax.annotate(
                labels[at],
                at,
                xytext=offset,
                textcoords="offset points",
                color=INK,
                fontsize=8.5,
                arrowprops=line if is_far else None,
            )

    about = "trainings and loss of each policy; the Pareto front, and dashed where cost equals never's"
    return drawn(6.6, 3.6, draw, label=about)
