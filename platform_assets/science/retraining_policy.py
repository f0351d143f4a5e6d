"""When a model is retrained, and on what: the `retraining` mapping of its defs.yaml as data, checked key by key, and told in words.

A policy is a list of triggers, any of which is enough; `all:` joins several that must hold at once. Limits hold back what
has been triggered: cooldown, budget, quiet hours, new rows to learn from. A request by hand is always heard. What a training
learns from is one choice for all causes and another for alarms, which tell of a world that most of history does not know.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from platform_assets.errors import ConfigurationError
from platform_assets.science.retraining_evidence import ALARMS
from platform_assets.science.retraining_triggers import (
    KINDS,
    SHORT,
    Alarms,
    All,
    Checked,
    Error,
    Staleness,
    Trigger,
    number,
    whole,
    wrong,
    zone,
)
from platform_assets.science.train_on import DENSE, DENSELY, EVENLY, TrainOn


@dataclass(frozen=True)
class Budget:
    """At most so many trainings, by hand or not, within so many days."""

    trainings: int
    days: float = 7.0

    def __post_init__(self) -> None:
        whole("budget.trainings", self.trainings)
        number("budget.days", self.days, "a number of days above 0", least=0.0, is_open=True)


@dataclass(frozen=True)
class QuietHours:
    """Local hours of the day in which nothing is launched: from `start` up to `end`, over midnight where it is less."""

    start: int
    end: int
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 24:
                raise wrong(f"quiet_hours.{name}", value, "an hour from 0 to 24")
        if self.start == self.end:
            raise wrong("quiet_hours", f"{self.start} to {self.end}", "two different hours")
        zone("quiet_hours.timezone", self.timezone)

    def hold(self, now: datetime) -> bool:
        """Whether this instant is within them."""
        hour = now.astimezone(ZoneInfo(self.timezone)).hour
        if self.start < self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


@dataclass(frozen=True)
class RetrainingPolicy:
    """When a model is retrained and on what; the `retraining` mapping of its defs.yaml."""

    # The defaults were chosen, and judged elsewhere, by benchmarks/policy_grid.py.
    when: tuple[Trigger, ...] = (Error(), Staleness(90))
    cooldown_days: float = 7.0  # nothing but a request by hand so soon after the last training
    settle_days: float = 14.0  # an alarm that has held so long after its first day is answered
    follow_up_weeks: tuple[int, ...] = (3, 7)  # after an alarm's training, which saw little of the new world
    budget: Budget | None = None
    quiet_hours: QuietHours | None = None
    min_new_rows: int | None = None  # nothing but a request by hand before so many rows have come
    train_on: TrainOn = EVENLY
    after_alarm: TrainOn = DENSE  # of trainings for an alarm, and of those that follow them

    def __post_init__(self) -> None:
        number("cooldown_days", self.cooldown_days, "a number of days of at least 0", least=0.0)
        number("settle_days", self.settle_days, "a number of days of at least 0", least=0.0)
        whole("min_new_rows", self.min_new_rows)
        for week in self.follow_up_weeks:
            whole("follow_up_weeks", week)
        if list(self.follow_up_weeks) != sorted(set(self.follow_up_weeks)):
            raise wrong("follow_up_weeks", list(self.follow_up_weeks), "weeks in ascending order, each once")
        for kind in ("drift", "error"):
            asked = {part.alarms for part in self.parts if isinstance(part, Checked) and part.kind == kind}
            if len(asked) > 1:
                raise ConfigurationError(
                    f"retraining: `{kind}` is asked for with different `alarms`", hint="choose one"
                )

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """Every trigger that is named, those inside `all` too."""
        return tuple(part for trigger in self.when for part in trigger.parts)

    def alarms_of(self, kind: str) -> Alarms:
        """How many alarms the policy wants of the checks `drift` or `error`; one where it asks for none."""
        return next((p.alarms for p in self.parts if isinstance(p, Checked) and p.kind == kind), Alarms())

    def choice(self, trigger: str) -> TrainOn:
        """What a training for this trigger, or for several joined by `+`, learns from."""
        return self.after_alarm if {*ALARMS, "follow_up"} & {*trigger.split("+")} else self.train_on

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """The policy that a model's defs.yaml describes; what it leaves out has its default.

        Raises: ConfigurationError naming the key that is unknown or whose value is wrong.
        """
        _known(mapping, cls, "")
        given = dict(mapping)
        if "when" in given:
            given["when"] = tuple(_trigger(entry) for entry in _list("when", given["when"]))
        if "follow_up_weeks" in given:
            given["follow_up_weeks"] = tuple(_list("follow_up_weeks", given["follow_up_weeks"]))
        for key, kind in (("budget", Budget), ("quiet_hours", QuietHours)):
            if given.get(key) is not None:
                given[key] = _built(kind, given[key], key)
        train_on = train_on_of(given.get("train_on", {}), "train_on")
        given |= {
            "train_on": train_on,
            "after_alarm": train_on_of(given.get("after_alarm", DENSELY), "after_alarm", train_on),
        }
        return cls(**given)

    def told(self) -> list[str]:
        """What the policy will do, a sentence a line."""
        lines = ["It is retrained when a person asks for it" + (", or when" if self.when else ", and never by itself.")]
        lines += [f"  - {trigger.told}{'; or' if trigger is not self.when[-1] else '.'}" for trigger in self.when]
        lines.append(f"It learns from {self.train_on.told}.")
        if alarms := sorted(ALARMS & {part.kind for part in self.parts}):
            lines += self._told_of_alarms(_joined(alarms, "or"))
        if self.cooldown_days:
            lines.append(
                f"Within {self.cooldown_days:g} days of the last retraining nothing but a request by hand is heard."
            )
        if self.budget is not None:
            lines.append(
                f"At most {self.budget.trainings} retrainings within {self.budget.days:g} days; a request by hand is heard all the same."
            )
        if self.quiet_hours is not None:
            quiet = self.quiet_hours
            lines.append(
                f"From {quiet.start} to {quiet.end} o'clock ({quiet.timezone}) nothing but a request by hand is launched; the rest waits."
            )
        if self.min_new_rows is not None:
            lines.append(
                f"Nothing but a request by hand is heard before {self.min_new_rows:,} rows have come since the last training."
            )
        lines.append(
            "While a blocking check of its data fails, sales and features do not leave out what is under quarantine yet, "
            "or a retraining runs, nothing is launched: a request by hand waits too."
        )
        lines.append("Each cause is answered by one training, whether or not the gate promotes what comes of it.")
        return lines

    def _told_of_alarms(self, alarms: str) -> list[str]:
        lines = list[str]()
        if self.after_alarm != self.train_on:
            lines.append(f"After an alarm ({alarms}) it learns from {self.after_alarm.told}.")
        if self.settle_days:
            days = "1 more day is" if self.settle_days == 1 else f"{self.settle_days:g} more days are"
            lines.append(
                f"An alarm that still holds once {days} known is answered: sooner there is little of the new world to learn from, "
                "and nothing to be judged on."
            )
        if self.follow_up_weeks:
            weeks = _joined([str(week) for week in self.follow_up_weeks], "and")
            weeks += " week" if weeks == "1" else " weeks"
            others = "others" if len(self.follow_up_weeks) > 1 else "another"
            lines.append(
                f"A training that answers an alarm is followed by {others} {weeks} after it, with more of the new world to learn from."
            )
        return lines


def _trigger(entry: object) -> Trigger:
    """A name, or a mapping of one name to its settings."""
    if isinstance(entry, str):
        name, settings = entry, None
    elif isinstance(entry, Mapping) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
    else:
        raise wrong(
            "when", entry, f"a trigger's name, or one name with its settings; known: {', '.join([*KINDS, 'all'])}"
        )
    if name == "all":
        return All(tuple(_trigger(inner) for inner in _list("all", settings)))
    if name == "manual":
        raise ConfigurationError("retraining: `manual` needs no mention: a request by hand is always heard")
    if name not in KINDS:
        raise _unknown(f"trigger `{name}`", str(name), [*KINDS, "all"])
    if name in SHORT and settings is not None and not isinstance(settings, Mapping):
        settings = {SHORT[name]: settings}
    return _built(KINDS[name], settings or {}, name)


def _joined(words: Sequence[str], last: str) -> str:
    """`a, b and c`, where `last` is `and`."""
    *early, end = words
    return f"{', '.join(early)} {last} {end}" if early else end


def train_on_of(settings: object, key: str, base: TrainOn = EVENLY) -> TrainOn:
    """What a mapping says to train on; what it leaves out is as in `base`.

    Raises: ConfigurationError naming the key that is unknown or whose value is wrong.
    """
    if not isinstance(settings, Mapping):
        raise wrong(key, settings, f"a mapping of {', '.join(entry.name for entry in fields(TrainOn))}")
    _known(settings, TrainOn, f"{key}.")
    return base.but(settings)


def _built(kind: type[Any], settings: object, key: str) -> Any:
    if not isinstance(settings, Mapping):
        raise wrong(key, settings, f"a mapping of {', '.join(entry.name for entry in fields(kind))}")
    _known(settings, kind, f"{key}.")
    given = dict(settings)
    if "alarms" in given:
        given["alarms"] = Alarms.parse(given["alarms"], f"{key}.alarms")
    try:
        return kind(**given)
    except TypeError as error:  # a setting without default is missing
        raise ConfigurationError(f"retraining: `{key}` lacks a setting: {error}") from error


def _list(key: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise wrong(key, value, "a list")
    return list(value)


def _known(mapping: Mapping[str, Any], kind: type[Any], prefix: str) -> None:
    known = [entry.name for entry in fields(kind)]
    for key in mapping:
        if key not in known:
            raise _unknown(f"key `{prefix}{key}`", str(key), known)


def _unknown(what: str, word: str, known: list[str]) -> ConfigurationError:
    near = difflib.get_close_matches(word, known, n=1)
    meant = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
    return ConfigurationError(f"retraining: unknown {what}", hint=meant)
