"""Whether a model is to be retrained now, and why: a pure function of evidence, policy and what was done before.

A cause is a model, a trigger and an episode. The episode names one occurrence: drift that began on a day under one
champion, one further share of new rows, one elapsed age, one request. A cause fires once, whatever becomes of it;
what the gate refuses is tried again by the next episode, not by the same one.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Final

from platform_assets.errors import ConfigurationError

# In this order one of several causes is chosen: the most direct evidence first.
TRIGGERS: Final = ("manual", "error", "drift", "new_data", "staleness")
DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class RetrainingPolicy:
    """When a model is retrained; the `retraining` mapping of its defs.yaml."""

    drift: bool = True  # when the check `feature_drift` fails
    error: bool = True  # when the check `error` fails
    new_rows: int | None = None  # when that many rows have come since the last training
    max_age_days: int | None = 28  # when the last training read nothing newer than that, and newer rows have come
    cooldown_days: float = 7.0  # nothing but a request by hand so soon after the last training

    def __post_init__(self) -> None:
        for name in ("drift", "error"):
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, getattr(self, name), "true or false")
        for name in ("new_rows", "max_age_days"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise _wrong(name, value, "a whole number of at least 1, or null for never")
        days = self.cooldown_days
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days < float("inf"):
            raise _wrong("cooldown_days", days, "a number of days of at least 0")

    def is_older(self, age: timedelta) -> bool:
        """Whether a training of this age is past `max_age_days`."""
        return self.max_age_days is not None and age / DAY >= self.max_age_days

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "RetrainingPolicy":
        """The policy that a model's defs.yaml describes; what it leaves out has its default.

        Raises: ConfigurationError naming the key that is unknown or whose value is wrong.
        """
        known = [entry.name for entry in fields(cls)]
        for key in mapping:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                meant = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
                raise ConfigurationError(f"retraining: unknown key `{key}`", hint=meant)
        return cls(**mapping)


@dataclass(frozen=True)
class Signal:
    """Latest verdict of one monitoring check, `drift` or `error`."""

    trigger: str
    champion_version: str  # the version that it judged
    since: str | None  # when its present run of failures began, ISO; names the episode; None: it passes
    statistic: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class RetrainingEvidence:
    """What is known now; the order within each tuple means nothing."""

    now: datetime
    champion_version: str | None
    trained_until: datetime | None = None  # the newest that the last training read
    rows_since_training: int | None = None
    signals: tuple[Signal, ...] = ()
    failed_data_checks: tuple[str, ...] = ()  # blocking checks of the data; any one is a veto
    overdue_inputs: tuple[str, ...] = ()  # what the training set reads, stale by its freshness policy
    requests: tuple[str, ...] = ()  # identifiers of requests by hand
    is_running: bool = False  # a retraining of this model is under way


@dataclass(frozen=True)
class PastRetraining:
    """A cause that has fired."""

    trigger: str
    episode: str
    fired_at: datetime


@dataclass(frozen=True)
class RetrainingDecision:
    """Retrain or not, with the numbers compared.

    `causes` are all that the policy sees and that have not fired, the chosen one first; `reasons_against` is what kept
    them from firing. `state` says the same without numbers, so that two ticks of one situation are told from a change.
    """

    retrain: bool
    trigger: str | None
    episode: str | None
    reason: str
    reasons_against: tuple[str, ...] = ()
    causes: tuple[str, ...] = field(default=())
    state: tuple[str, ...] = field(default=())


def _wrong(key: str, value: object, expected: str) -> ConfigurationError:
    return ConfigurationError(f"retraining: `{key}` is {value!r}, expected {expected}")


@dataclass(frozen=True)
class _Cause:
    trigger: str
    episode: str
    reason: str

    @property
    def key(self) -> tuple[str, str]:
        return self.trigger, self.episode

    @property
    def name(self) -> str:
        return f"{self.trigger} {self.episode}"


def decide(
    evidence: RetrainingEvidence, policy: RetrainingPolicy, history: Sequence[PastRetraining] = ()
) -> RetrainingDecision:
    """What to do now: at most one cause fires, and none that has fired before.

    A failed blocking check of the data vetoes every cause, also a request by hand; so does a retraining under way. The
    cooldown holds back all but requests by hand. Staleness waits for inputs that are overdue: by its age alone nothing
    is known to be wrong with the model, and trained now it would miss what is about to come.
    """
    fired = {(past.trigger, past.episode): past.fired_at for past in sorted(history, key=lambda past: past.fired_at)}
    seen = _causes(evidence, policy)
    causes = [cause for cause in seen if cause.key not in fired]
    against = [f"{_answered(cause)} at {_instant(fired[cause.key])}" for cause in seen if cause.key in fired]
    vetoes, cooling = _vetoes(evidence), _cooling(evidence, policy, history)
    waiting = _waiting(evidence, causes)
    eligible = [
        cause
        for cause in causes
        if not vetoes
        and (cooling is None or cause.trigger == "manual")
        and not (waiting and cause.trigger == "staleness")
    ]
    if cooling is not None and any(cause.trigger != "manual" for cause in causes):
        against.append(cooling)
    held = [*vetoes, *waiting]
    against += held
    state = (*sorted(f"{cause.name} {'answered' if cause.key in fired else 'open'}" for cause in seen), *held)
    if not eligible:
        compared = [cause.reason for cause in causes] or list(_comparisons(evidence, policy))
        reason = "; ".join(compared) or "the policy has no trigger switched on"
        names = tuple(cause.name for cause in causes)
        judged = tuple(sorted(f"{signal.trigger} judged {signal.champion_version}" for signal in evidence.signals))
        return RetrainingDecision(
            False, None, None, reason, tuple(against), names, (f"champion {evidence.champion_version}", *judged, *state)
        )
    chosen = eligible[0]
    names = (chosen.name, *(cause.name for cause in causes if cause is not chosen))
    return RetrainingDecision(
        True, chosen.trigger, chosen.episode, chosen.reason, tuple(against), names, (f"fires {chosen.name}", *state)
    )


def _vetoes(evidence: RetrainingEvidence) -> list[str]:
    vetoes = [f"blocking data check {name} has failed" for name in sorted(set(evidence.failed_data_checks))]
    return vetoes + (["a retraining is under way"] if evidence.is_running else [])


def _waiting(evidence: RetrainingEvidence, causes: Iterable[_Cause]) -> list[str]:
    if not evidence.overdue_inputs or not any(cause.trigger == "staleness" for cause in causes):
        return []
    return [f"staleness waits for overdue {', '.join(sorted(set(evidence.overdue_inputs)))}"]


def _cooling(evidence: RetrainingEvidence, policy: RetrainingPolicy, history: Iterable[PastRetraining]) -> str | None:
    last = max((past.fired_at for past in history), default=None)
    passed = float("inf") if last is None else (evidence.now - last) / DAY
    if passed >= policy.cooldown_days:
        return None
    return f"cooldown: {passed:.1f} of {policy.cooldown_days:g} days since the last retraining"


def _causes(evidence: RetrainingEvidence, policy: RetrainingPolicy) -> list[_Cause]:
    """Everything that the policy calls a cause, in the order of TRIGGERS."""
    found = [_Cause("manual", request, f"requested by hand: {request}") for request in sorted(set(evidence.requests))]
    if evidence.champion_version is not None:
        found += [
            _Cause(signal.trigger, f"{signal.champion_version}/{signal.since}", _described(signal))
            for signal in sorted(evidence.signals, key=repr)
            if signal.since is not None and getattr(policy, signal.trigger) and _is_current(signal, evidence)
        ]
        found += _new_data(evidence, policy)
        found += _staleness(evidence, policy)
    return sorted(found, key=lambda cause: (TRIGGERS.index(cause.trigger), cause.episode))


def _is_current(signal: Signal, evidence: RetrainingEvidence) -> bool:
    return signal.champion_version == evidence.champion_version


def _described(signal: Signal) -> str:
    numbers = "" if signal.statistic is None else f" {signal.statistic:.4g}"
    limit = "" if signal.threshold is None else f", at most {signal.threshold:.4g} allowed"
    if signal.trigger == "drift" and signal.statistic is not None:
        numbers = f" in {signal.statistic:.4g} feature{'' if signal.statistic == 1 else 's'}"
    since = "" if signal.since is None else f", since {signal.since}"
    return f"{signal.trigger}{numbers}{limit}{since}, champion {signal.champion_version}"


def _answered(cause: _Cause) -> str:
    """A cause that has fired, in words."""
    champion, _, since = cause.episode.partition("/")
    match cause.trigger:
        case "drift" | "error":
            return f"{cause.trigger} since {since} under champion {champion} has been answered by a retraining"
        case "manual":
            return f"the request {cause.episode} has been answered"
        case _:
            return f"{cause.reason}: has been answered by a retraining"


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _new_data(evidence: RetrainingEvidence, policy: RetrainingPolicy) -> list[_Cause]:
    rows = evidence.rows_since_training
    if policy.new_rows is None or rows is None or rows < policy.new_rows:
        return []
    times = rows // policy.new_rows
    return [
        _Cause("new_data", _since(evidence, times), f"{rows} rows since the last training, at least {policy.new_rows}")
    ]


def _staleness(evidence: RetrainingEvidence, policy: RetrainingPolicy) -> list[_Cause]:
    if policy.max_age_days is None or evidence.trained_until is None:
        return []
    days = (evidence.now - evidence.trained_until) / DAY
    if not policy.is_older(evidence.now - evidence.trained_until):
        return []
    if evidence.rows_since_training == 0:  # a source that has ended: nothing new could be learned
        return []
    times = int(days // policy.max_age_days)
    reason = _aged(days, policy)
    return [_Cause("staleness", _since(evidence, times), reason)]


def _since(evidence: RetrainingEvidence, times: int) -> str:
    """Episode of a quantity that grows from a training on: another one each time that it has grown by its limit."""
    start = "" if evidence.trained_until is None else f"/{evidence.trained_until:%Y-%m-%dT%H:%M}"
    return f"{evidence.champion_version}{start}/{times}"


def _comparisons(evidence: RetrainingEvidence, policy: RetrainingPolicy) -> Iterable[str]:
    """Each number beside its limit, for the record of a decision not to retrain."""
    if evidence.champion_version is None:
        yield "no champion to replace"
        return
    for signal in sorted(evidence.signals, key=repr):
        if not getattr(policy, signal.trigger):
            yield f"{signal.trigger} is switched off"
        elif not _is_current(signal, evidence):
            judged, champion = signal.champion_version, evidence.champion_version
            yield f"{signal.trigger} judged version {judged}, the champion is {champion}"
        elif signal.since is None:
            yield f"no alarm: {_described(signal)}"
        else:
            yield f"alarm: {_described(signal)}"
    seen = {signal.trigger for signal in evidence.signals}
    for trigger in ("drift", "error"):
        if getattr(policy, trigger) and trigger not in seen:
            yield f"{trigger} has not been judged yet"
    if policy.new_rows is not None:
        yield f"{evidence.rows_since_training} new rows of {policy.new_rows}"
    if policy.max_age_days is not None and evidence.trained_until is not None:
        age = (evidence.now - evidence.trained_until) / DAY
        yield _aged(age, policy)
        if age >= policy.max_age_days and evidence.rows_since_training == 0:
            yield "nothing new to learn from has come since"


def _aged(days: float, policy: RetrainingPolicy) -> str:
    return f"the newest label that the last training read was known {days:.1f} days ago, at most {policy.max_age_days} allowed"
