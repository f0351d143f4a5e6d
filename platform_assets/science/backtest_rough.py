"""A first answer from a few trainings: those of every few periods, over periods as long."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np

from platform_assets.science import backtest
from platform_assets.science.backtest import Floats, Losses

ROUGH_WEEKS: Final = 4  # between the trainings of a first answer
SELDOM: Final = 3  # of them in a quarter
LEAST: Final = 3  # trainings of which a first answer says anything


def first_of(count: int, lead: int) -> list[int]:
    """The trainings of `count` that a first answer needs."""
    return list(range(lead, count, ROUGH_WEEKS))


def coarse(periods: Sequence[date], loss: Floats, baseline: Floats, seconds: Floats, lead: int) -> Losses:
    """The periods after the lead by ROUGH_WEEKS, the last perhaps shorter; of the trainings only those of `first_of` count.

    loss: (trainings, periods, series); baseline: (periods, series); seconds: (trainings,).
    """
    chosen = first_of(len(periods), lead)
    ends = [*chosen[1:], len(periods)]

    def summed(per_period: Floats) -> Floats:
        return np.stack([per_period[begin:end].sum(axis=0) for begin, end in zip(chosen, ends, strict=True)])

    found = np.stack([summed(loss[number]) for number in chosen])
    return Losses(tuple(periods[at] for at in chosen), found, summed(baseline), seconds[chosen])


def rough_answer(losses: Losses, charge: float, *, seed: int = 0) -> str:
    """What training every so often would have cost, in one line. `charge`: of a training; there is no gate and no alarm."""
    walks = {
        f"every {ROUGH_WEEKS * step} weeks": [backtest.walked(losses, *backtest.walk(losses, backtest.every(step)))]
        for step in (1, SELDOM)
    }
    outcomes = backtest.outcomes([losses], walks, charge, seed=seed)
    never = outcomes[0].cost
    told = []
    for outcome in outcomes[1:]:
        saved = f" [{outcome.saved.low:+.1%}, {outcome.saved.high:+.1%}]" if outcome.saved else ""
        told.append(f"{outcome.name} {1 - outcome.cost / never:+.1%}{saved}")
    return (
        f"first answer, of every {ROUGH_WEEKS}th week's training, without gate or alarms; saved, of never's cost: "
        f"{', '.join(told)}"
    )
