"""What is known when a retraining is decided on, and what each trigger of a policy says of it."""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from platform_assets.science.retraining_triggers import (
    All,
    Code,
    Drift,
    Error,
    NewData,
    Operations,
    Performance,
    Schedule,
    Staleness,
    Trigger,
    alarm_since,
)

DAY: Final = timedelta(days=1)
ALARMS: Final = frozenset({"error", "performance", "drift"})  # whose first training sees little of the new world
_SINCE: Final = re.compile(r"/(\d{4}-\d{2}-\d{2})[^/&]*(?=&|$)")  # the last part of an alarm's episode


@dataclass(frozen=True)
class Signal:
    """Latest verdict of one monitoring check, `drift` or `error`."""

    trigger: str
    champion_version: str  # the version that it judged
    since: str | None  # when its present alarm began, ISO; names the episode; None: there is none
    statistic: float | None = None
    threshold: float | None = None
    as_of: str | None = None  # the day that was known last, ISO


@dataclass(frozen=True)
class Measure:
    """One figure of one day: of the champion's forecasts, or of the running service."""

    of: Literal["performance", "operations"]
    metric: str
    at: str  # the day, or instant, that it was known last, ISO
    value: float
    segment: str = ""  # empty: overall
    baseline: float | None = None  # the same figure of the best baseline, on the same rows
    champion_version: str | None = None  # the version that it judged; None: whoever answered


@dataclass(frozen=True)
class Tick:
    """The newest instant of a cron schedule, at most now."""

    cron: str
    timezone: str
    at: datetime


@dataclass(frozen=True)
class Quarantined:
    """Periods of a segment that are at fault, and that sales or features do not leave out yet."""

    name: str  # segment and days
    reason: str
    lacks: str  # what has not been rebuilt since


@dataclass(frozen=True)
class RetrainingEvidence:
    """What is known now; the order within each tuple means nothing."""

    now: datetime
    champion_version: str | None
    trained_until: datetime | None = None  # the newest that the last training read
    trained_at: datetime | None = None  # when the last training ended
    rows_since_training: int | None = None
    periods_since_training: int | None = None
    signals: tuple[Signal, ...] = ()
    measures: tuple[Measure, ...] = ()
    ticks: tuple[Tick, ...] = ()
    code: str | None = None  # of the model and its features, as it stands
    trained_code: str | None = None  # the same, as it stood at the last training
    failed_data_checks: tuple[str, ...] = ()  # blocking checks of the data; any one is a veto
    quarantined: tuple[Quarantined, ...] = ()  # any one is a veto
    overdue_inputs: tuple[str, ...] = ()  # what the training set reads, stale by its freshness policy
    requests: tuple[str, ...] = ()  # identifiers of requests by hand
    is_running: bool = False  # a retraining of this model is under way


@dataclass(frozen=True)
class Judged:
    """A trigger on the evidence: `episode` where it holds, and the numbers compared either way."""

    episode: str | None
    told: str


def judge(trigger: Trigger, evidence: RetrainingEvidence) -> Judged:
    """Whether a trigger holds, under the champion that there is, and which episode this is."""
    match trigger:
        case All():
            parts = [judge(part, evidence) for part in trigger.of]
            told = " and ".join(part.told for part in parts)
            episodes = [part.episode for part in parts if part.episode is not None]
            return Judged("&".join(episodes) if len(episodes) == len(parts) else None, told)
        case Drift() | Error():
            return _checked(trigger.kind, evidence)
        case Performance() | Operations():
            return _measured(trigger, evidence)
        case NewData():
            return _new_data(trigger, evidence)
        case Schedule():
            return _scheduled(trigger, evidence)
        case Staleness():
            return _stale(trigger, evidence)
        case Code():
            return _code(evidence)
        case _:
            raise NotImplementedError(trigger.kind)


def _checked(kind: str, evidence: RetrainingEvidence) -> Judged:
    signals = sorted((signal for signal in evidence.signals if signal.trigger == kind), key=repr)
    current = [signal for signal in signals if signal.champion_version == evidence.champion_version]
    if not signals:
        return Judged(None, f"{kind} has not been judged yet")
    if not current:
        return Judged(
            None, f"{kind} judged version {signals[-1].champion_version}, the champion is {evidence.champion_version}"
        )
    signal = next((signal for signal in current if signal.since is not None), current[-1])
    if signal.since is None:
        return Judged(None, f"no alarm: {_described(signal)}")
    return Judged(f"{signal.champion_version}/{signal.since}", _described(signal))


def _described(signal: Signal) -> str:
    numbers = "" if signal.statistic is None else f" {signal.statistic:.4g}"
    limit = "" if signal.threshold is None else f", at most {signal.threshold:.4g} allowed"
    if signal.trigger == "drift" and signal.statistic is not None:
        numbers = f" in {signal.statistic:.4g} feature{'' if signal.statistic == 1 else 's'}"
    since = "" if signal.since is None else f", since {signal.since}"
    return f"{signal.trigger}{numbers}{limit}{since}, champion {signal.champion_version}"


def _measured(trigger: Performance | Operations, evidence: RetrainingEvidence) -> Judged:
    """A measure against its limit, newest first; of one instant the same figure told twice counts once."""
    is_performance = isinstance(trigger, Performance)
    segment = trigger.segment if is_performance else ""
    against = trigger.against if is_performance else None
    found = sorted(
        {
            (measure.at, measure.value, measure.baseline)
            for measure in evidence.measures
            if (measure.of, measure.metric, measure.segment) == (trigger.kind, trigger.metric, segment)
            and (not is_performance or measure.champion_version == evidence.champion_version)
            and (against is None or measure.baseline)
        },
        key=repr,
        reverse=True,
    )
    what = f"{trigger.metric}{f' in {segment}' if segment else ''}{f' over the {against}' if against else ''}"
    if not found:
        return Judged(None, f"{what} has not been measured yet")
    values = [(at, value / (baseline or 1.0) if against else value) for at, value, baseline in found]
    limit = f"{'at most' if trigger.above is not None else 'at least'} {trigger.above if trigger.above is not None else trigger.below:g}"
    since = alarm_since(((at, trigger.is_beyond(value)) for at, value in values), trigger.alarms)
    told = f"{what} {values[0][1]:.4g} at {values[0][0]}, {limit} allowed"
    if since is None:
        return Judged(None, f"no alarm: {told}")
    return Judged(f"{evidence.champion_version}/{what}/{since}", f"{told}, since {since}")


def _new_data(trigger: NewData, evidence: RetrainingEvidence) -> Judged:
    limit, unit = (trigger.rows, "rows") if trigger.rows is not None else (trigger.periods, "periods")
    have = evidence.rows_since_training if trigger.rows is not None else evidence.periods_since_training
    if have is None or limit is None or have < limit:
        return Judged(None, f"{'unknown' if have is None else have} new {unit} of {limit}")
    return Judged(_since(evidence, have // limit), f"{have} {unit} since the last training, at least {limit}")


def _scheduled(trigger: Schedule, evidence: RetrainingEvidence) -> Judged:
    ticks = [t.at for t in evidence.ticks if (t.cron, t.timezone) == (trigger.cron, trigger.timezone)]
    newest = max((at for at in ticks if at <= evidence.now), default=None)
    if newest is None or evidence.trained_at is None or newest <= evidence.trained_at:
        return Judged(None, f"the schedule `{trigger.cron}` has not come round since the last training")
    return Judged(
        instant(newest), f"the schedule `{trigger.cron}` ({trigger.timezone}) came round at {instant(newest)}"
    )


def _stale(trigger: Staleness, evidence: RetrainingEvidence) -> Judged:
    if evidence.trained_until is None:
        return Judged(None, "it is not known what the last training read")
    days = (evidence.now - evidence.trained_until) / DAY
    told = f"the newest label that the last training read was known {days:.1f} days ago, at most {trigger.days} allowed"
    if days < trigger.days:
        return Judged(None, told)
    if evidence.rows_since_training == 0:  # a source that has ended: nothing new could be learned
        return Judged(None, f"{told}; nothing new to learn from has come since")
    return Judged(_since(evidence, int(days // trigger.days)), told)


def _code(evidence: RetrainingEvidence) -> Judged:
    if evidence.code is None or evidence.trained_code is None or evidence.code == evidence.trained_code:
        return Judged(None, "code and features are those of the last training")
    return Judged(
        evidence.code, f"code or features {evidence.code} are not those of the last training, {evidence.trained_code}"
    )


def _since(evidence: RetrainingEvidence, times: int) -> str:
    """Episode of a quantity that grows from a training on: another one each time that it has grown by its limit."""
    start = "" if evidence.trained_until is None else f"/{evidence.trained_until:%Y-%m-%dT%H:%M}"
    return f"{evidence.champion_version}{start}/{times}"


def known_until(evidence: RetrainingEvidence) -> date | None:
    """The newest day that the champion has been judged on."""
    champion = evidence.champion_version
    days = [one.as_of for one in evidence.signals if one.champion_version == champion and one.as_of is not None]
    days += [one.at for one in evidence.measures if one.of == "performance" and one.champion_version == champion]
    return max((date.fromisoformat(day[:10]) for day in days), default=None)


def alarm_kinds(trigger: str, episode: str) -> tuple[str, ...]:
    """Which alarms a cause, or what it follows, is of; none for other causes."""
    if trigger == "follow_up":
        trigger = episode.partition("/")[0]
    return tuple(sorted(ALARMS & {*trigger.split("+")}))


def alarm_began(trigger: str, episode: str) -> date | None:
    """The day that was known last when the alarm of a cause, or of what it follows, began; None for other causes."""
    if not alarm_kinds(trigger, episode):
        return None
    if trigger == "follow_up":
        episode = episode.rpartition("/")[0]
    return max((date.fromisoformat(day) for day in _SINCE.findall(episode)), default=None)


def instant(at: datetime) -> str:
    """ISO, to the second."""
    return at.isoformat(timespec="seconds")
