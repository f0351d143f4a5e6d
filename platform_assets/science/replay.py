"""A model's own retraining policy on its history: period by period it sees what was known, and decides as in production.

The policy is the one of defs.yaml, asked by the same `decide`; alarms are those of the same checks, on the losses of a matrix
in which every training was made for real. The gate compares as in production: what a training made before the judged
periods lost in them, against what answered or stands, paired over series. A training learns from what its cause has the
policy choose; those of another choice than the matrix's are asked for where a walk comes to need them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError
from platform_assets.science import calibration, streams
from platform_assets.science.backtest import Floats, Losses, Walked, over
from platform_assets.science.gate import GatePolicy
from platform_assets.science.replayable import check_replayable
from platform_assets.science.retraining import PastRetraining, decide
from platform_assets.science.retraining_evidence import Measure, RetrainingEvidence, Signal, Tick, alarm_began
from platform_assets.science.retraining_policy import RetrainingPolicy
from platform_assets.science.retraining_triggers import Drift, Error, Performance, alarm_since
from platform_assets.science.streams import LEAST_ROWS
from platform_assets.science.tasks import QUANTILES, Task
from platform_assets.science.train_on import EVENLY, TrainOn

WINDOW_DAYS: Final = 28  # of a performance figure
DAY: Final = timedelta(days=1)
LEAST_JUDGED: Final = 2  # periods that a champion must have lived through for a challenger to be judged on them


class Training(NamedTuple):
    """A training before a period, and what it learned from."""

    before: int
    on: TrainOn


@dataclass(frozen=True)
class History:
    """What a policy may see of the past.

    `losses`: of trainings on `usually`, with so many periods of lead that the gate and the first references have their
    backtests. `known_at`: when each period begins; `rows`: of sales, known by then. `metric`: name of the loss.
    `has_drifted`: whether the check `feature_drift` fails at the beginning of a period under a champion; None where it
    cannot be told. `make`: what a training on another choice lost in each period, (periods, series), and its seconds.
    `results`: what became of a training's forecasts from its own period on, as `streams.daily_sums`; where left out the
    check `error` hears of the losses alone.
    """

    losses: Losses
    known_at: tuple[datetime, ...]
    rows: tuple[int, ...]
    metric: str
    period_days: int = 1  # of the source's periods; those of the replay are longer or as long
    has_drifted: Callable[[Training, int], bool] | None = None
    ticks: Callable[[RetrainingPolicy, datetime], Iterable[Tick]] = lambda policy, now: ()
    usually: TrainOn = EVENLY
    make: Callable[[Training], tuple[Floats, float]] | None = None
    results: Callable[[Training], pl.DataFrame] | None = None
    task: Task = QUANTILES
    made: dict[Training, tuple[Floats, float]] = field(default_factory=dict)  # once each
    verdicts: dict[tuple[Training, int, str], bool] = field(
        default_factory=dict
    )  # of champion, period, check, once each
    heard: dict[Training, pl.DataFrame] = field(
        default_factory=dict
    )  # a champion's signals, those of its backtest first, once each

    @property
    def lead(self) -> int:
        """Periods before the first that is charged."""
        return self.losses.lead

    def lost(self, training: Training) -> Floats:
        """(periods, series): what a training loses in each period from its own on."""
        return self._of(training)[0]

    def seconds(self, training: Training) -> float:
        """What a training took."""
        return self._of(training)[1]

    def _of(self, training: Training) -> tuple[Floats, float]:
        if training.on == self.usually:
            return self.losses.loss[training.before], float(self.losses.seconds[training.before])
        if training not in self.made:
            if self.make is None:
                raise ConfigurationError(f"this history holds no training on {training.on.told}")
            self.made[training] = self.make(training)
        return self.made[training]


@dataclass(frozen=True)
class Replayed:
    """Which training answers in each period, before which there was one, on what and why, and which the gate let through.

    `walked`: what was suffered in the periods that are charged, which are numbered from 0 there.
    """

    answers: NDArray[np.int64]
    trained: tuple[int, ...]
    trained_on: tuple[TrainOn, ...]
    reasons: tuple[str, ...]
    promoted: tuple[int, ...]
    walked: Walked


def replay(history: History, policy: RetrainingPolicy, gate: GatePolicy, *, seed: int = 0) -> Replayed:
    """The walk of a policy from the first charged period on; the training made before it is the first champion.

    Raises: ConfigurationError if the policy reads what a history does not hold.
    """
    check_replayable(policy, history)
    count, lead = len(history.losses.periods), history.lead
    answers, suffered = np.zeros(count, dtype=np.int64), np.zeros(history.losses.baseline.shape)
    answering, last = Training(lead, history.usually), lead
    trained, reasons, promoted, past = list[Training](), list[str](), list[int](), list[PastRetraining]()
    for now in range(lead, count):
        if now > lead:
            decision = decide(_evidence(history, policy, answering, last, now), policy, past)
            if decision.trigger is not None and decision.episode is not None:
                past.append(PastRetraining(decision.trigger, decision.episode, history.known_at[now]))
                trained.append(Training(now, decision.train_on or policy.train_on))
                reasons.append(decision.reason)
                last = now
                alarm_on = alarm_began(decision.trigger, decision.episode)
                if passes(history, gate, answering, trained[-1], alarm_on=alarm_on, seed=seed):
                    promoted.append(now)
                    answering = trained[-1]
        answers[now], suffered[now] = answering.before, history.lost(answering)[now]
    before, on = tuple(one.before for one in trained), tuple(one.on for one in trained)
    spent = sum(history.seconds(one) for one in trained)
    charged = Walked(suffered[lead:], tuple(at - lead for at in before), spent)
    return Replayed(answers, before, on, tuple(reasons), tuple(promoted), charged)


def passes(
    history: History,
    policy: GatePolicy,
    champion: Training,
    candidate: Training,
    *,
    alarm_on: date | None = None,
    seed: int = 0,
) -> bool:
    """Whether the gate lets the candidate replace the champion; `alarm_on`: first day of the alarm that asked for it.

    Judged on the newer half of what the champion has lived through, by a training made before that half on what the
    candidate learned from, or on so many last days as that says; where that is too short, on the periods of the lead before
    the champion, by the trainings that stood at their beginning.
    After an alarm the judged periods do not begin before it, and a training that knows nothing of it decides nothing.
    """
    now, born, lead = candidate.before, champion.before, history.lead
    start, least = max(now - lead, born + (now - born) // 2), LEAST_JUDGED
    if (days := candidate.on.judged_days) is not None and now - (last := -(-days // _days(history.losses))) >= born:
        start, least = now - last, 1
    elif alarm_on is not None and history.losses.periods[start] <= alarm_on:
        start = next((at for at in range(start, now) if history.losses.periods[at] > alarm_on), now)
        least = 1
    ours, theirs = Training(start, candidate.on), champion
    if now - start < least or ours == theirs:
        ours = Training(max(now - lead, 0), candidate.on)
        theirs = Training(max(born - lead, 0), champion.on)
        start = max(ours.before, theirs.before)
    if alarm_on is not None and history.losses.periods[ours.before] <= alarm_on:
        return False
    if ours == theirs or now - start < least:
        return policy.undecided == "promote"
    mine, other = (history.lost(one)[start:now].sum(axis=0) for one in (ours, theirs))
    found = over(mine.size, seed).improvement(mine, other)
    if mine.size < policy.min_series or not found.is_known:
        return policy.undecided == "promote"
    if found.low > policy.min_improvement:
        return True
    if found.high < policy.min_improvement:
        return False
    if policy.undecided == "by_estimate":
        return found.estimate > policy.min_improvement
    return policy.undecided == "promote"


def _evidence(
    history: History,
    policy: RetrainingPolicy,
    answering: Training,
    last: int,
    now: int,
) -> RetrainingEvidence:
    losses, at, born = history.losses, history.known_at, answering.before
    version, judged = str(born), range(now, born, -1)  # periods that began under it, newest first
    signals = []
    for kind in (Drift, Error):
        if any(isinstance(part, kind) for part in policy.parts):
            verdicts = (
                (_known_on(losses, period), _has_failed(history, kind.kind, answering, period)) for period in judged
            )
            since = alarm_since(verdicts, policy.alarms_of(kind.kind))
            signals.append(Signal(kind.kind, version, since, as_of=_known_on(losses, now)))
    measures = ()
    if any(isinstance(part, Performance) for part in policy.parts):
        spans = [(_known_on(losses, period), slice(max(born, period - _window(losses)), period)) for period in judged]
        measures = tuple(
            Measure(
                "performance",
                history.metric,
                day,
                float(history.lost(answering)[span].sum()),
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


def _known_on(losses: Losses, period: int) -> str:
    """The last day that is known when a period begins."""
    return (losses.periods[period] - DAY).isoformat()


def _has_failed(history: History, kind: str, champion: Training, period: int) -> bool:
    key = (champion, period, kind)
    if key not in history.verdicts:
        if kind == Drift.kind:
            assert history.has_drifted is not None
            history.verdicts[key] = history.has_drifted(champion, period)
        else:
            history.verdicts[key] = _error(history, champion, period)
    return history.verdicts[key]


def _error(history: History, champion: Training, now: int) -> bool:
    """The check `error` at the beginning of a period: the champion's results since against its own backtest."""
    periods, born = history.losses.periods, champion.before
    start = max(born - history.lead, 0)
    if born == start:
        return False
    reference_until = periods[born] - DAY
    if champion not in history.heard:
        tested, end = Training(start, champion.on), len(periods) - 1
        results = pl.concat([_results(history, tested, start, born), _results(history, champion, born, end)])
        first = results["day"].min()
        reference = (first, reference_until) if isinstance(first, date) and first <= reference_until else None
        history.heard[champion] = streams.signals(results, history.task, reference=reference)
    found = history.heard[champion].filter(pl.col("day") < periods[now])
    names = calibration.default_signals(history.task)
    return any(one.has_alarmed for one in calibration.standings(found, names, reference_until=reference_until))


def _results(history: History, training: Training, begin: int, end: int) -> pl.DataFrame:
    """What became of a training's forecasts in these periods."""
    losses = history.losses
    if history.results is not None:
        is_within = pl.col("day").is_between(losses.periods[begin], losses.periods[end], closed="left")
        return history.results(training).filter(is_within)
    return pl.DataFrame(
        {
            "day": losses.periods[begin:end],
            "rows": [LEAST_ROWS] * (end - begin),  # how many a sum stands on the matrix does not say
            "loss": history.lost(training)[begin:end].sum(axis=1),
            "baseline_loss": losses.baseline[begin:end].sum(axis=1),
        }
    )


def _window(losses: Losses) -> int:
    """Periods of a performance figure."""
    return max(1, WINDOW_DAYS // _days(losses))


def _days(losses: Losses) -> int:
    """Of a period."""
    return (losses.periods[1] - losses.periods[0]).days
