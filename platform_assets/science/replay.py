"""A model's own retraining policy on its history: period by period it sees what was known, and decides as in production.

The policy is the one of defs.yaml, asked by the same `decide`; alarms are those of the same checks, on the losses of a matrix
in which every training was made for real. The gate compares as in production: what a training made before the judged
periods lost in them, against what answered or stands, paired over series.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError
from platform_assets.science.backtest import Losses
from platform_assets.science.bootstrap import Resampler
from platform_assets.science.drift import error_drift
from platform_assets.science.gate import GatePolicy
from platform_assets.science.retraining import PastRetraining, decide
from platform_assets.science.retraining_evidence import Measure, RetrainingEvidence, Signal, Tick
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import Code, Drift, Error, Operations, Performance, alarm_since

WINDOW_DAYS: Final = 28  # of the check `error`, and of a performance figure
LEAST_JUDGED: Final = 2  # periods that a champion must have lived through for a challenger to be judged on them


@dataclass(frozen=True)
class History:
    """What a policy may see of the past.

    `losses`: with so many periods of lead that the gate and the first references have their backtests. `known_at`: when
    each period begins; `rows`: of sales, known by then. `metric`: name of the loss. `has_drifted`: whether the check
    `feature_drift` fails at the beginning of a period under a champion; None where it cannot be told.
    """

    losses: Losses
    known_at: tuple[datetime, ...]
    rows: tuple[int, ...]
    metric: str
    period_days: int = 1  # of the source's periods; those of the replay are longer or as long
    has_drifted: Callable[[int, int], bool] | None = None
    ticks: Callable[[RetrainingPolicy, datetime], Iterable[Tick]] = lambda policy, now: ()
    verdicts: dict[tuple[int, int, str], bool] = field(default_factory=dict)  # of (champion, period, check), once each

    @property
    def lead(self) -> int:
        """Periods before the first that is charged."""
        return self.losses.lead


@dataclass(frozen=True)
class Replayed:
    """Which training answers in each period, before which there was one, why, and which of them the gate let through."""

    answers: NDArray[np.int64]
    trained: tuple[int, ...]
    reasons: tuple[str, ...]
    promoted: tuple[int, ...]


def replay(history: History, policy: RetrainingPolicy, gate: GatePolicy, *, seed: int = 0) -> Replayed:
    """The walk of a policy from the first charged period on; the training made before it is the first champion.

    Raises: ConfigurationError if the policy reads what a history does not hold.
    """
    check_replayable(policy, history)
    count = len(history.losses.periods)
    answers = np.zeros(count, dtype=np.int64)
    answering = last = history.lead
    trained, reasons, promoted, past = list[int](), list[str](), list[int](), list[PastRetraining]()
    for now in range(history.lead, count):
        if now > history.lead:
            decision = decide(_evidence(history, policy, answering, last, now), policy, past)
            if decision.trigger is not None and decision.episode is not None:
                past.append(PastRetraining(decision.trigger, decision.episode, history.known_at[now]))
                trained.append(now)
                reasons.append(decision.reason)
                last = now
                if passes(history.losses, gate, answering, now, seed=seed):
                    promoted.append(now)
                    answering = now
        answers[now] = answering
    return Replayed(answers, tuple(trained), tuple(reasons), tuple(promoted))


def check_replayable(policy: RetrainingPolicy, history: History) -> None:
    """Raises: ConfigurationError naming a trigger whose evidence a history does not hold."""
    for part in policy.parts:
        if isinstance(part, Operations | Code):
            raise ConfigurationError(f"`{part.kind}` cannot be replayed: history holds no record of it")
        if isinstance(part, Performance) and (part.metric, part.segment, part.against) != (
            history.metric,
            "",
            "baseline",
        ):
            raise ConfigurationError(
                f"`performance` of {part.metric}{f' in {part.segment}' if part.segment else ''} cannot be replayed",
                hint=f"only `metric: {history.metric}` with `against: baseline`, overall",
            )
        if isinstance(part, Drift) and history.has_drifted is None:
            raise ConfigurationError("`drift` cannot be replayed: this history holds no features")


def passes(losses: Losses, policy: GatePolicy, champion: int, candidate: int, *, seed: int = 0) -> bool:
    """Whether the gate lets the training made before period `candidate` replace the one made before `champion`.

    Judged on the newer half of what the champion has lived through, by a training made before that half; where that is
    too short, on the periods of the lead before the champion, by the trainings that stood at their beginning.
    """
    newer = candidate - champion
    start = max(candidate - losses.lead, champion + newer // 2)
    ours, theirs = start, champion
    if candidate - start < LEAST_JUDGED or start == champion:
        start = max(champion - losses.lead, 0)
        ours, theirs = max(candidate - losses.lead, 0), start
        start = max(ours, theirs)
    if ours == theirs or candidate - start < LEAST_JUDGED:
        return policy.undecided == "promote"
    mine, other = (losses.loss[at, start:candidate].sum(axis=0) for at in (ours, theirs))
    found = Resampler(pl.Series([f"{at:06d}" for at in range(mine.size)]), seed=seed).improvement(mine, other)
    if found.low > policy.min_improvement:
        return True
    return not found.high < policy.min_improvement and policy.undecided == "promote"


def _evidence(
    history: History,
    policy: RetrainingPolicy,
    answering: int,
    last: int,
    now: int,
) -> RetrainingEvidence:
    losses, at = history.losses, history.known_at
    version, judged = str(answering), range(now, answering, -1)  # periods that began under it, newest first
    signals = []
    for kind in (Drift, Error):
        if any(isinstance(part, kind) for part in policy.parts):
            verdicts = (
                (losses.periods[period - 1].isoformat(), _has_failed(history, kind.kind, answering, period))
                for period in judged
            )
            signals.append(Signal(kind.kind, version, alarm_since(verdicts, policy.alarms_of(kind.kind))))
    measures = ()
    if any(isinstance(part, Performance) for part in policy.parts):
        spans = [
            (losses.periods[period - 1].isoformat(), slice(max(answering, period - _window(losses)), period))
            for period in judged
        ]
        measures = tuple(
            Measure(
                "performance",
                history.metric,
                day,
                float(losses.loss[answering, span].sum()),
                baseline=float(losses.baseline[span].sum()),
                champion_version=version,
            )
            for day, span in spans
        )
    return RetrainingEvidence(
        now=at[now],
        champion_version=version,
        trained_until=at[last],
        trained_at=at[last],
        rows_since_training=history.rows[now] - history.rows[last],
        periods_since_training=(losses.periods[now] - losses.periods[last]).days // history.period_days,
        signals=tuple(signals),
        measures=measures,
        ticks=tuple(history.ticks(policy, at[now])),
    )


def _has_failed(history: History, kind: str, champion: int, period: int) -> bool:
    key = (champion, period, kind)
    if key not in history.verdicts:
        if kind == Drift.kind:
            assert history.has_drifted is not None
            history.verdicts[key] = history.has_drifted(champion, period)
        else:
            history.verdicts[key] = _error(history.losses, champion, period)
    return history.verdicts[key]


def _error(losses: Losses, champion: int, now: int) -> bool:
    """The check `error` at the beginning of a period: the champion's losses since against its own backtest."""
    start = max(champion - losses.lead, 0)
    tested, since = losses.loss[start, start:champion], losses.loss[champion, champion:now]
    frame = pl.DataFrame(
        {
            "day": losses.periods[start:now],
            "loss": np.concatenate([tested, since]).sum(axis=1),
            "baseline_loss": losses.baseline[start:now].sum(axis=1),
        }
    )
    if champion == start:
        return False
    found = error_drift(frame, reference_until=losses.periods[champion - 1], window_days=WINDOW_DAYS)
    return found.has_drifted


def _window(losses: Losses) -> int:
    """Periods of a performance figure."""
    days = (losses.periods[1] - losses.periods[0]).days
    return max(1, WINDOW_DAYS // days)
