"""What a backtest comes to, in one sentence; that no policy can be told from another is a valid one."""

from collections.abc import Sequence

import numpy as np

from platform_assets.science.backtest import FOLDS, Outcome, over
from platform_assets.science.bootstrap import Interval


def chosen_elsewhere(found: Sequence[Outcome], *, seed: int = 0) -> Interval | None:
    """What the cheapest policy saves where it did not choose itself: chosen on one half of the series, judged on the other."""
    never = next(outcome.borne for outcome in found if outcome.name == "never")
    rivals = [outcome.borne for outcome in found if outcome.borne is not None and outcome.trainings]
    if never is None or not rivals:
        return None
    halves = np.random.default_rng(seed).permutation(never.shape[0]) % FOLDS
    borne = np.empty_like(never)
    for half in range(FOLDS):
        cheapest = min(rivals, key=lambda one: float(one[halves != half].sum()))
        borne[halves == half] = cheapest[halves == half]
    return over(never.shape[0], seed).improvement_over_runs(borne, never)


def recommendation(found: Sequence[Outcome], *, seed: int = 0) -> str:
    """One sentence: which policy, or that none can be told from never; of several, by what they do where they were not chosen."""
    walked = [outcome for outcome in found if outcome.saved is not None and outcome.trainings]
    best = max(walked, key=lambda outcome: outcome.saved.estimate if outcome.saved else 0.0, default=None)
    honest = chosen_elsewhere(found, seed=seed)
    if best is None or best.saved is None or honest is None:
        return "No policy would have trained once."
    idle = [
        outcome for outcome in found if outcome.saved is not None and not outcome.trainings and outcome.name != "never"
    ]
    rest = f" {_listed(idle)} would not have trained once." if idle else ""
    if best.saved.high < 0:
        return f"`never` is the best on this history: {_listed(walked)} would have cost more.{rest}"
    told = f"{_told(best.saved)} of never's cost"
    if len(walked) > 1:
        told += f" ({_told(honest)} chosen on one half of the series, judged on the other)"
    if min(best.saved.low, honest.low) > 0:
        return f"`{best.name}` saves {told}, with {best.trainings:.3g} trainings.{rest}"
    worst = [o for o in walked if o.saved is not None and o.saved.high < 0]
    costly = f" {_listed(worst)} would have cost more than never." if worst else ""
    nearest = "the best" if best.saved.estimate > 0 else "none is cheaper, and of those that train the best"
    return f"No policy can be told from never on this history: {nearest}, `{best.name}`, saves {told}.{costly}{rest}"


def _listed(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(f"`{outcome.name}`" for outcome in outcomes)


def _told(saved: Interval) -> str:
    return f"{saved.estimate:+.1%} [{saved.low:+.1%}, {saved.high:+.1%}]"
