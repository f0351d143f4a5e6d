"""On what a model is trained: how far back, how densely the recent past, and from where it begins."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, get_args

from platform_assets.science.retraining_triggers import number, whole, wrong

Start = Literal["scratch", "champion"]
STARTS: Final[tuple[str, ...]] = get_args(Start)


@dataclass(frozen=True)
class TrainOn:
    """What a training learns from; counted back from the newest sales that it knows.

    `window_days`: forecasts issued in so many last days, None for all history. Those of the last `recent_days` are drawn
    `recent_density` times as often, within the same number of rows. `judged_days`: how many last days judge it, beside the
    champion; None for the newer half of what has come since the champion's last label. `start`: from nothing, or
    on from the champion's fits.
    """

    window_days: int | None = None
    recent_days: int = 56
    recent_density: float = 1.0
    judged_days: int | None = None
    start: Start = "scratch"

    def __post_init__(self) -> None:
        whole("window_days", self.window_days)
        if self.recent_days is None:
            raise wrong("recent_days", None, "a whole number of at least 1")
        whole("recent_days", self.recent_days)
        whole("judged_days", self.judged_days)
        number("recent_density", self.recent_density, "a number of at least 1", least=1.0)

        if self.start not in STARTS:
            raise wrong("start", self.start, f"one of {', '.join(STARTS)}")

    @property
    def is_even(self) -> bool:
        """Whether all history is drawn alike, so that a fit up to any cut sees what it would have been given then."""
        return self.window_days is None and self.recent_density == 1

    @property
    def told(self) -> str:
        """It in words."""
        parts = ["all history" if self.window_days is None else f"the last {self.window_days} days"]
        if self.recent_density > 1:
            parts.append(f"the last {self.recent_days} days of it sampled {self.recent_density:g} times as densely")
        if self.judged_days is not None:
            parts.append(f"judged by the last {self.judged_days} days")
        if self.start == "champion":
            parts.append("going on from the champion")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """As JSON and defs.yaml have it."""
        return asdict(self)

    def but(self, given: Mapping[str, Any]) -> Self:
        """The same, with what is given in its place. Raises: TypeError for a key that is none of its own."""
        return type(self)(**{**asdict(self), **given})


EVENLY: Final = TrainOn()
# An alarm says that the world is another than most of history; what is known of the new one lies in the last weeks. A
# longer window would open before the alarm, and what is judged there would have seen nothing of the new world.
DENSELY: Final[Mapping[str, Any]] = {"recent_days": 56, "recent_density": 7.0, "judged_days": 7}
DENSE: Final = EVENLY.but(DENSELY)
