"""Which retrainings would have paid: every policy is a walk over one matrix of losses.

The matrix holds what the model trained before period i lost in each period from i on. Each training is made once; a
policy then only chooses, period by period, which one answers, from what was known by then. The best schedule in
hindsight is a shortest path.
Source: Mahadevan and Mathioudakis (2024), Cost-aware retraining for machine learning (CARA), Knowledge-Based Systems 293.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from platform_assets.errors import ConfigurationError, SchemaError
from platform_assets.science.bootstrap import Interval, Resampler

Floats = NDArray[np.float64]

FOLDS: Final = 2  # of the series: a schedule is chosen on one and charged on the other


@dataclass(frozen=True)
class Losses:
    """What each training would have lost in each period, by series.

    `loss`: (candidates, periods, series), summed over the rows of a period; candidate i is trained on what was known when
    period i began, so entries before its own period are NaN. `baseline`: (periods, series), of a model that is never
    trained. `seconds`: (candidates,), what each training took. The first `lead` periods are there to look back on, and
    charged to nobody.
    """

    periods: tuple[date, ...]
    loss: Floats
    baseline: Floats
    seconds: Floats
    lead: int = 0

    def __post_init__(self) -> None:
        count = len(self.periods)
        shapes = (self.loss.shape[:2], self.baseline.shape, self.seconds.shape)
        wanted = ((count, count), (count, self.loss.shape[-1]), (count,))
        if self.loss.ndim != 3 or shapes != wanted:
            raise SchemaError(f"losses: shapes {shapes} of loss, baseline and seconds, expected {wanted}")
        row, column = np.triu_indices(count)
        if not np.isfinite(self.loss[row, column]).all():
            at = next(n for n in range(row.size) if not np.isfinite(self.loss[row[n], column[n]]).all())
            raise SchemaError(
                f"losses: the training before {self.periods[row[at]]} has no loss for {self.periods[column[at]]}",
                hint="score every training in its own period and in all later ones",
            )

    def charged(self) -> "Losses":
        """Without the lead."""
        at = self.lead
        return Losses(self.periods[at:], self.loss[at:, at:], self.baseline[at:], self.seconds[at:])

    def of_lead(self) -> "Losses":
        """What is known before the first charged period."""
        at = self.lead
        return Losses(self.periods[:at], self.loss[:at, :at], self.baseline[:at], self.seconds[:at])

    def summed(self, series: NDArray[np.bool_] | None = None) -> Floats:
        """(candidates, periods), summed over all series or the chosen ones."""
        return self.loss.sum(axis=2) if series is None else self.loss[:, :, series].sum(axis=2)


@dataclass(frozen=True)
class Past:
    """What a policy sees before period `now`: the answering model's losses up to then, and a baseline's."""

    now: int
    trained_before: int  # period before which the answering model was trained
    loss: Floats  # (now,), of whichever model answered
    baseline: Floats  # (now,)

    @property
    def since_training(self) -> int:
        """Periods that the answering model has lived through."""
        return self.now - self.trained_before


Policy = Callable[[Past], bool]
# From what is known before a period: whether the new training replaces the answering one.
Gate = Callable[[int, int], bool]


def never(past: Past) -> bool:
    """The first model, for ever."""
    return False


def every(periods: int) -> Policy:
    """A fixed interval, in periods."""
    if periods < 1:
        raise ConfigurationError(f"backtest: an interval of {periods} periods", hint="at least 1")
    return lambda past: past.since_training >= periods


def worse_by(share: float, *, window: int = 4) -> Policy:
    """Retrains when the loss over a baseline's, in the last `window` periods, is above that of the first ones by `share`.

    The reference is the answering model's first `window` periods, so that it has to be as many periods old again.
    Source: the threshold policy that CARA is compared with, on a ratio: a hard week is hard for the baseline too.
    """

    def policy(past: Past) -> bool:
        if past.since_training < 2 * window:
            return False
        loss, baseline = past.loss[past.trained_before :], past.baseline[past.trained_before :]
        usual = loss[:window].sum() / baseline[:window].sum()
        return bool(loss[-window:].sum() / baseline[-window:].sum() > (1 + share) * usual)

    return policy


def walk(losses: Losses, policy: Policy, gate: Gate | None = None) -> tuple[NDArray[np.int64], list[int]]:
    """Which training answers in each period, and before which periods there was a training.

    The first model, candidate 0, is there at the beginning. A training that the gate refuses has been paid for and does
    not answer; the policy's clock starts again all the same.
    """
    total, other = losses.summed(), losses.baseline.sum(axis=1)
    answering, trained, last = 0, list[int](), 0
    answers, suffered = np.zeros(len(losses.periods), dtype=np.int64), np.zeros(len(losses.periods))
    for now in range(len(losses.periods)):
        if now and policy(Past(now, last, suffered[:now], other[:now])):
            trained.append(now)
            last = now
            if gate is None or gate(answering, now):
                answering = now
        answers[now], suffered[now] = answering, total[answering, now]
    return answers, trained


def best_schedule(total: Floats, price: float) -> tuple[float, list[int]]:
    """Least loss with `price` for each training, and before which periods to train: the best in hindsight.

    total: (candidates, periods). Candidate 0 is free. O(periods^2) time.
    Source: Mahadevan and Mathioudakis (2024), their Oracle, by dynamic programming from the last period back.
    """
    count = total.shape[0]
    ahead = np.zeros(count + 1)  # least cost from period i on, given a training before i, its price left out
    then = np.full(count + 1, count)
    for start in range(count - 1, -1, -1):
        until = np.cumsum(total[start, start:])  # lost from `start` to each period
        costs = until + ahead[start + 1 :] + np.where(np.arange(start + 1, count + 1) < count, price, 0.0)
        then[start] = start + 1 + int(np.argmin(costs))
        ahead[start] = costs.min()
    schedule, at = list[int](), int(then[0])
    while at < count:
        schedule.append(at)
        at = int(then[at])
    return float(ahead[0]), schedule


def scheduled(total: Floats, schedule: Sequence[int]) -> Floats:
    """Loss of each period under a schedule: (periods,), or (periods, series) of losses by series."""
    answers = np.zeros(total.shape[0], dtype=np.int64)
    for at in schedule:
        answers[at:] = at
    return total[answers, np.arange(total.shape[0])]


def cross_fitted(losses: Losses, price: float, *, seed: int = 0) -> tuple[Floats, float]:
    """By series what it lost under the schedule that was best on the other half of them, and the halves' mean trainings.

    Chosen and charged on the same series a schedule also fits their noise; what it then promises no policy can reach.
    """
    return charged_elsewhere(losses.loss, losses.loss, price, seed=seed)


def charged_elsewhere(own: Floats, others: Floats, price: float, *, seed: int = 0) -> tuple[Floats, float]:
    """By series what it lost under the schedule that was best on the other half of them among other losses; mean trainings.

    own, others: (candidates, periods, series), of the same series.
    """
    folds = np.random.default_rng(seed).permutation(own.shape[2]) % FOLDS
    lost, trainings = np.zeros(folds.size), 0.0
    for fold in range(FOLDS):
        held = folds == fold
        # As a share of the loss a training costs the same whichever half it is chosen on.
        _, schedule = best_schedule(others[:, :, ~held].sum(axis=2), price * float((~held).mean()))
        lost[held] = scheduled(own, schedule).sum(axis=0)[held]
        trainings += len(schedule) * float(held.mean())
    return lost, trainings


@dataclass(frozen=True)
class Outcome:
    """What a policy would have cost, a mean over training seeds. Shares are of what `never` would have lost.

    schedules: before which periods it trained, by seed; None where halves of the series have schedules of their own.
    `change`: mean change of the quantiles in a period, by another version's answering. `saved`: 1 - cost / never's, paired over
    series and seeds, positive is better; None for what has no walk of its own. `borne`: (series, seeds), loss and price.
    """

    name: str
    schedules: tuple[tuple[int, ...], ...] | None
    seconds: float | None
    loss: float | None
    cost: float  # loss and the trainings' price
    saved: Interval | None = None
    change: float | None = None
    borne: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def trainings(self) -> float | None:
        """How many there were."""
        return None if self.schedules is None else float(np.mean([len(one) for one in self.schedules]))


@dataclass(frozen=True)
class Walked:
    """What a policy suffered: (periods, series), before which periods it trained, the seconds that this took.

    `change`: scaled multi-quantile change where another version came to answer, summed over the periods.
    """

    lost: Floats
    trained: tuple[int, ...]
    seconds: float
    change: float = 0.0


def walked(losses: Losses, answers: NDArray[np.int64], trained: Sequence[int]) -> Walked:
    """What a walk over this very matrix suffered."""
    lost = losses.loss[answers, np.arange(answers.size)]
    return Walked(lost, tuple(trained), float(losses.seconds[list(trained)].sum()))


def outcomes(
    seeds: Sequence[Losses], walks: Mapping[str, Sequence[Walked]], price: float, *, seed: int = 0
) -> list[Outcome]:
    """Each walk's, `never` first, and after them the best schedule in hindsight, flattered and cross-fitted.

    seeds: one matrix for each training seed, without lead; walks: name to one for each. `price`: of a training, in units of
    loss; it is borne by all series alike.
    """
    series = seeds[0].loss.shape[2]
    resampler = over(series, seed)
    alone = np.column_stack([losses.loss[0].sum(axis=0) for losses in seeds])  # (series, seeds), of never
    static = [walked(losses, *walk(losses, never)) for losses in seeds]
    found = []
    for name, each in {"never": static, **walks}.items():
        lost = np.column_stack([one.lost.sum(axis=0) for one in each])
        borne = lost + price * np.array([len(one.trained) for one in each]) / series
        found.append(
            Outcome(
                name,
                tuple(one.trained for one in each),
                float(np.mean([one.seconds for one in each])),
                float(lost.sum(axis=0).mean()),
                float(borne.sum(axis=0).mean()),
                resampler.improvement_over_runs(borne, alone),
                float(np.mean([one.change / one.lost.shape[0] for one in each])),
                borne,
            )
        )
    best = [best_schedule(losses.summed(), price) for losses in seeds]
    cost, count = float(np.mean([one for one, _ in best])), float(np.mean([len(schedule) for _, schedule in best]))
    spent = float(np.mean([losses.seconds[schedule].sum() for losses, (_, schedule) in zip(seeds, best, strict=True)]))
    schedules = tuple(tuple(schedule) for _, schedule in best)
    found.append(Outcome("best in hindsight", schedules, spent, cost - price * count, cost))
    fitted = [cross_fitted(losses, price, seed=seed) for losses in seeds]
    honest = float(np.mean([lost.sum() + price * trainings for lost, trainings in fitted]))
    found.append(Outcome("best in hindsight, cross-fitted", None, None, None, honest))
    return found


@cache
def over(series: int, seed: int) -> Resampler:
    """Draws of so many series."""
    return Resampler(pl.Series([f"{at:06d}" for at in range(series)]), seed=seed)
