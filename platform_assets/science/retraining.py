"""Whether a model is to be retrained now, and why: a pure function of evidence, policy and what was done before.

A cause is a model, a trigger and an episode. The episode names one occurrence: drift that began on a day under one
champion, one further share of new rows, one elapsed age, one tick of a schedule, one request. A cause fires once,
whatever becomes of it; what the gate refuses is tried again by the next episode, not by the same one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from platform_assets.science.retraining_evidence import (
    ALARMS,
    DAY,
    Judged,
    RetrainingEvidence,
    alarm_began,
    instant,
    judge,
    known_until,
)
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import Trigger
from platform_assets.science.train_on import TrainOn

# In this order one of several causes is chosen: the most direct evidence first.
TRIGGERS: Final = (
    "manual", "error", "performance", "drift", "operations", "code", "new_data", "schedule", "follow_up", "staleness",
)  # fmt: skip


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
    `train_on` is what the training learns from; None where there is none.
    """

    retrain: bool
    trigger: str | None
    episode: str | None
    reason: str
    reasons_against: tuple[str, ...] = ()
    causes: tuple[str, ...] = field(default=())
    state: tuple[str, ...] = field(default=())
    train_on: TrainOn | None = None


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

    @property
    def kinds(self) -> list[str]:
        return self.trigger.split("+")

    @property
    def rank(self) -> tuple[int, str, str]:
        return min(TRIGGERS.index(kind) for kind in self.kinds), self.trigger, self.episode


@dataclass(frozen=True)
class _Hold:
    """What keeps causes from firing; `name` says so without numbers."""

    name: str
    told: str
    spares_requests: bool = True
    only: str | None = None  # the one trigger that it holds back
    cause: _Cause | None = None  # the one cause that it holds back

    def holds(self, cause: _Cause) -> bool:
        if self.cause is not None:
            return self.cause == cause
        if self.only is not None:
            return self.only in cause.kinds
        return not (self.spares_requests and cause.trigger == "manual")


def decide(
    evidence: RetrainingEvidence, policy: RetrainingPolicy, history: Sequence[PastRetraining] = ()
) -> RetrainingDecision:
    """What to do now: at most one cause fires, and none that has fired before.

    A failed blocking check of the data vetoes every cause, also a request by hand; so does a quarantined period that sales or
    features do not leave out yet, and a retraining under way.
    Cooldown, budget, quiet hours and too little new data hold back all but requests by hand. Staleness waits for inputs
    that are overdue: by its age alone nothing is known to be wrong with the model, and trained now it would miss what is
    about to come.
    """
    fired = {(past.trigger, past.episode): past.fired_at for past in sorted(history, key=lambda past: past.fired_at)}
    judged = [] if evidence.champion_version is None else [(one, judge(one, evidence)) for one in policy.when]
    seen = sorted({*_causes(evidence, policy, judged, history)}, key=lambda cause: cause.rank)
    causes = [cause for cause in seen if cause.key not in fired]
    holds = [
        hold
        for hold in [*_holds(evidence, policy, history), *_settling(evidence, policy, causes)]
        if any(hold.holds(cause) for cause in causes) or not hold.spares_requests
    ]
    against = [f"{_answered(cause)} at {instant(fired[cause.key])}" for cause in seen if cause.key in fired]
    against += [hold.told for hold in holds]
    state = (
        *sorted(f"{cause.name} {'answered' if cause.key in fired else 'open'}" for cause in seen),
        *(hold.name for hold in holds),
    )
    eligible = [cause for cause in causes if not any(hold.holds(cause) for hold in holds)]
    if eligible:
        chosen = eligible[0]
        names = (chosen.name, *(cause.name for cause in causes if cause is not chosen))
        state = (f"fires {chosen.name}", *state)
        train_on = policy.choice(chosen.trigger)
        return RetrainingDecision(True, *chosen.key, chosen.reason, tuple(against), names, state, train_on)
    compared = [cause.reason for cause in causes] or [found.told for _, found in judged]
    if evidence.champion_version is None:
        compared = compared or ["no champion to replace"]
    reason = "; ".join(compared) or "the policy has no trigger"
    judged_by = sorted(f"{signal.trigger} judged {signal.champion_version}" for signal in evidence.signals)
    state = (f"champion {evidence.champion_version}", *judged_by, *state)
    return RetrainingDecision(False, None, None, reason, tuple(against), tuple(cause.name for cause in causes), state)


def _causes(
    evidence: RetrainingEvidence,
    policy: RetrainingPolicy,
    judged: Iterable[tuple[Trigger, Judged]],
    history: Sequence[PastRetraining],
) -> Iterable[_Cause]:
    """Everything that the policy calls a cause."""
    for request in evidence.requests:
        yield _Cause("manual", request, f"requested by hand: {request}")
    for trigger, found in judged:
        if found.episode is not None:
            kinds = sorted(set(trigger.kinds), key=TRIGGERS.index)
            yield _Cause("+".join(kinds), found.episode, found.told)
    if evidence.champion_version is not None:
        yield from _follow_up(evidence, policy, history)


def _follow_up(
    evidence: RetrainingEvidence, policy: RetrainingPolicy, history: Sequence[PastRetraining]
) -> Iterable[_Cause]:
    """The last one due of those that follow the newest alarm's retraining; a newer alarm begins them anew."""
    alarms = [past for past in history if ALARMS & set(past.trigger.split("+"))]
    if not alarms:
        return
    first = max(alarms, key=lambda past: (past.fired_at, past.trigger, past.episode))
    due = [weeks for weeks in policy.follow_up_weeks if evidence.now - first.fired_at >= 7 * weeks * DAY]
    if due:
        about = f"{due[-1]} weeks after the retraining for {first.trigger} {first.episode}, to learn from what has come since"
        yield _Cause("follow_up", f"{first.trigger}/{first.episode}/{due[-1]}w", about)


def _holds(
    evidence: RetrainingEvidence, policy: RetrainingPolicy, history: Sequence[PastRetraining]
) -> Iterable[_Hold]:
    last = max((past.fired_at for past in history), default=None)
    passed = float("inf") if last is None else (evidence.now - last) / DAY
    if passed < policy.cooldown_days:
        yield _Hold("cooldown", f"cooldown: {passed:.1f} of {policy.cooldown_days:g} days since the last retraining")
    if (budget := policy.budget) is not None:
        spent = sum((evidence.now - past.fired_at) / DAY < budget.days for past in history)
        if spent >= budget.trainings:
            yield _Hold(
                "budget", f"budget: {spent} of {budget.trainings} retrainings within {budget.days:g} days are spent"
            )
    if policy.quiet_hours is not None and policy.quiet_hours.hold(evidence.now):
        quiet = policy.quiet_hours
        yield _Hold("quiet hours", f"quiet hours from {quiet.start} to {quiet.end} ({quiet.timezone})")
    rows = evidence.rows_since_training or 0
    if policy.min_new_rows is not None and rows < policy.min_new_rows:
        yield _Hold("new rows", f"{rows} rows since the last training, {policy.min_new_rows} are wanted")
    if evidence.overdue_inputs:
        overdue = ", ".join(sorted(set(evidence.overdue_inputs)))
        yield _Hold(f"overdue {overdue}", f"staleness waits for overdue {overdue}", only="staleness")
    for name in sorted(set(evidence.failed_data_checks)):
        yield _Hold(f"failed {name}", f"blocking data check {name} has failed", spares_requests=False)
    for one in sorted(set(evidence.quarantined), key=lambda one: (one.name, one.reason)):
        told = f"{one.name} is under quarantine: {one.reason}; waits until {one.lacks} have been rebuilt"
        yield _Hold(f"quarantine {one.name}", told, spares_requests=False)
    if evidence.is_running:
        yield _Hold("running", "a retraining is under way", spares_requests=False)


def _settling(evidence: RetrainingEvidence, policy: RetrainingPolicy, causes: Sequence[_Cause]) -> Iterable[_Hold]:
    """Alarms that are too young: what is trained on their first day knows nothing of the new world, nor is judged on it.

    Their age is counted in days that are known: a day that has not come tells nothing.
    """
    newest = known_until(evidence)
    for cause in causes:
        since = None if cause.trigger == "follow_up" else alarm_began(*cause.key)
        if since is None:
            continue
        age = 0 if newest is None else max((newest - since).days, 0)
        if age < policy.settle_days:
            told = (
                f"{cause.trigger} since {since} is answered if it holds on day {policy.settle_days:g} after its first: "
                f"{age} {'is' if age == 1 else 'are'} known"
            )
            yield _Hold(f"settling {cause.name}", told, cause=cause)


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
