"""What can ask for a retraining: each trigger of a policy as data, checked, and told in words."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Final, Self

from platform_assets.errors import ConfigurationError
from platform_assets.science.timezones import known_timezone


@dataclass(frozen=True)
class Alarms:
    """So many of the newest so many verdicts must be alarms; written `2 of 3`."""

    least: int = 1
    of: int = 1

    def __str__(self) -> str:
        return "one alarm is enough" if self.of == 1 else f"{self.least} alarms of {self.of} verdicts"

    @classmethod
    def parse(cls, value: object, key: str) -> Self:
        """Raises: ConfigurationError unless the text is `N of M` with 1 <= N <= M."""
        found = re.fullmatch(r"\s*(\d+) of (\d+)\s*", str(value))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise wrong(key, value, "such as `2 of 3`, at least one and no more than all")
        return cls(int(found[1]), int(found[2]))


def alarm_since(verdicts: Iterable[tuple[str, bool]], alarms: Alarms) -> str | None:
    """When the present alarm began; None where there is none.

    verdicts: of one champion, newest first: the day that was known last, and whether the check failed; of several of one
    day the first counts. The alarm holds at a verdict if it and those before it hold enough failures. It began with the
    oldest failure of the first such verdict of its unbroken run. Reads no further than it must.
    """
    since = None
    for window in _windows(verdicts, alarms.of):
        failures = [day for day, failed in window if failed]
        if len(failures) < alarms.least:
            return since
        since = failures[-1]
    return since


def _windows(verdicts: Iterable[tuple[str, bool]], size: int) -> Iterator[list[tuple[str, bool]]]:
    """Each verdict with those before it, `size` in all; fewer for the oldest ones."""
    window: deque[tuple[str, bool]] = deque()
    for day, group in groupby(verdicts, key=lambda verdict: verdict[0]):
        window.append((day, next(group)[1]))
        if len(window) == size:
            yield list(window)
            window.popleft()
    while window:
        yield list(window)
        window.popleft()


@dataclass(frozen=True)
class Trigger:
    """One reason to retrain; `kind` is its name in defs.yaml."""

    kind: ClassVar[str]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Its own name, or those of its parts."""
        return (self.kind,)

    @property
    def parts(self) -> tuple["Trigger", ...]:
        """Itself, or what must hold at once."""
        return (self,)

    @property
    def told(self) -> str:
        """When it holds, in words."""
        raise NotImplementedError


@dataclass(frozen=True)
class Checked(Trigger):
    """A check of `MODEL/monitoring` fails."""

    alarms: Alarms = Alarms()


@dataclass(frozen=True)
class Drift(Checked):
    """The check `feature_drift` of the champion's inputs fails."""

    kind: ClassVar[str] = "drift"

    @property
    def told(self) -> str:
        return f"the check `feature_drift` fails: features of the coming forecasts are unlike those of the champion's training ({self.alarms})"


@dataclass(frozen=True)
class Error(Checked):
    """The check `error` fails: the champion's loss over a baseline's is above that of its backtest."""

    kind: ClassVar[str] = "error"

    @property
    def told(self) -> str:
        return f"the check `error` fails: the champion's forecasts turn out worse, or otherwise, than in its backtest ({self.alarms})"


@dataclass(frozen=True)
class Limited(Trigger):
    """A measure is beyond a limit, which is one of `above` and `below`."""

    metric: str
    above: float | None = None
    below: float | None = None
    alarms: Alarms = Alarms()

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise ConfigurationError(f"retraining: `{self.kind}` needs one of `above` and `below`")
        name, value = ("above", self.above) if self.above is not None else ("below", self.below)
        number(f"{self.kind}.{name}", value, "a number", least=float("-inf"), is_open=True)

    def is_beyond(self, value: float) -> bool:
        """Whether a measure is past the limit."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    @property
    def limit(self) -> str:
        """What is past it, in words."""
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


@dataclass(frozen=True)
class Performance(Limited):
    """A figure of the forecasts whose labels have come is beyond a limit; against `baseline` it is their ratio."""

    kind: ClassVar[str] = "performance"
    segment: str = ""
    against: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.against not in (None, "baseline"):
            raise wrong(f"{self.kind}.against", self.against, "`baseline`, or nothing for the figure itself")

    @property
    def told(self) -> str:
        of = f"{self.metric} over the {self.against}'s" if self.against else self.metric
        where = f" in {self.segment}" if self.segment else ""
        return f"{of}{where} is {self.limit} ({self.alarms})"


@dataclass(frozen=True)
class Operations(Limited):
    """A measure of the running service, such as latency, cost or errors, is beyond a limit."""

    kind: ClassVar[str] = "operations"

    @property
    def told(self) -> str:
        return f"the service's {self.metric} is {self.limit} ({self.alarms})"


@dataclass(frozen=True)
class NewData(Trigger):
    """So many rows of sales, or periods with sales, have come since the last training."""

    kind: ClassVar[str] = "new_data"
    rows: int | None = None
    periods: int | None = None

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.periods is None):
            raise ConfigurationError("retraining: `new_data` needs one of `rows` and `periods`")
        whole(f"{self.kind}.rows", self.rows)
        whole(f"{self.kind}.periods", self.periods)

    @property
    def told(self) -> str:
        counted = f"{self.rows:,} rows" if self.rows is not None else f"{self.periods} periods"
        return f"{counted} of sales have come since the last training"


@dataclass(frozen=True)
class Schedule(Trigger):
    """An instant of a cron schedule has passed since the last training."""

    kind: ClassVar[str] = "schedule"
    cron: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.cron, str) or len(self.cron.split()) != 5:
            raise wrong(f"{self.kind}.cron", self.cron, "five fields, such as `0 3 * * 1` for Mondays at three")
        zone(f"{self.kind}.timezone", self.timezone)

    @property
    def told(self) -> str:
        return f"the schedule `{self.cron}` ({self.timezone}) has come round"


@dataclass(frozen=True)
class Staleness(Trigger):
    """The newest label that the last training read was known so many days ago, and newer ones have come."""

    kind: ClassVar[str] = "staleness"
    days: int

    def __post_init__(self) -> None:
        whole(f"{self.kind}.days", self.days)

    @property
    def told(self) -> str:
        return (
            f"the newest sales that the last training learned from are {self.days} days old, and newer ones have come"
        )


@dataclass(frozen=True)
class Code(Trigger):
    """The model's code, or the definition of a feature that it reads, is another than at the last training."""

    kind: ClassVar[str] = "code"

    @property
    def told(self) -> str:
        return "the model's code or the definition of one of its features has changed since the last training"


@dataclass(frozen=True)
class All(Trigger):
    """Several triggers that must hold at once."""

    kind: ClassVar[str] = "all"
    of: tuple[Trigger, ...]

    def __post_init__(self) -> None:
        if len(self.of) < 2:
            raise ConfigurationError("retraining: `all` joins at least two triggers")

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(kind for part in self.of for kind in part.kinds)

    @property
    def parts(self) -> tuple[Trigger, ...]:
        return tuple(inner for part in self.of for inner in part.parts)

    @property
    def told(self) -> str:
        return " AND ".join(part.told for part in self.of)


KINDS: Final[Mapping[str, type[Trigger]]] = {
    one.kind: one for one in (Error, Performance, Drift, Operations, Code, NewData, Schedule, Staleness)
}
SHORT: Final = {"staleness": "days", "schedule": "cron"}  # what a bare value after the name means


def wrong(key: str, value: object, expected: str) -> ConfigurationError:
    """The error for a setting of a policy, in one form."""
    return ConfigurationError(f"retraining: `{key}` is {value!r}, expected {expected}")


def whole(key: str, value: object) -> None:
    """Raises: ConfigurationError unless it is a whole number of at least 1, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise wrong(key, value, "a whole number of at least 1")


def number(key: str, value: object, expected: str, *, least: float, is_open: bool = False) -> None:
    """Raises: ConfigurationError unless it is a finite number of at least `least`; above it where `is_open`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise wrong(key, value, expected)
    if is_open and value == least:
        raise wrong(key, value, expected)


def zone(key: str, value: object) -> None:
    """Raises: ConfigurationError unless it names a time zone."""
    try:
        known_timezone(str(value))
    except ValueError as error:
        raise wrong(key, value, "a time zone such as Europe/London") from error
