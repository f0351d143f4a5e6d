"""Policies of the literature, to compare with: fitted on what was known before the first charged period."""

from typing import Final

import numpy as np

from platform_assets.science.backtest import Losses, Policy, walk, walked, worse_by

SHARES: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, float("inf"))  # that a threshold is chosen from; the last never trains


def tuned_threshold(lead: Losses, price: float, *, window: int = 2) -> Policy:
    """`worse_by` with the share that would have cost least in the lead; of equals the largest, which trains least.

    price: of a training, as a share of an average period's loss.
    Source: Mahadevan and Mathioudakis (2024), Cara-T: a threshold on staleness, chosen offline for the least total cost.
    """
    charge = price * float(lead.summed()[0].mean())

    def cost(share: float) -> float:
        found = walked(lead, *walk(lead, worse_by(share, window=window)))
        return float(found.lost.sum()) + charge * len(found.trained)

    return worse_by(min(sorted(SHARES, reverse=True), key=cost), window=window)


def forecast(lead: Losses, price: float, *, horizon: int = 13, caution: float = 1.0) -> Policy:
    """Retrains when what the answering model's age is forecast to cost in the next periods exceeds a training's price.

    How fast the loss over a baseline's grows with age (its logarithm, a straight line) is estimated from all trainings of
    the lead in all its periods; `caution` standard errors are taken off. `price`: as a share of an average period's loss.
    Source: after Regol et al. (2025), When to retrain a machine learning model, ICML: a forecast of performance with its
    uncertainty, and a decision by cost; theirs forecasts every pair of model and period by regression.
    """
    row, column = np.triu_indices(len(lead.periods))
    ratio = np.log(lead.summed()[row, column] / lead.baseline.sum(axis=1)[column])
    age = (column - row).astype(np.float64)
    apart = age - age.mean()
    slope = float((apart @ ratio) / (apart @ apart)) if apart.any() else 0.0
    rest = ratio - ratio.mean() - slope * apart
    # Entries of one period stand and fall together: no more is known than there are periods.
    error = float(np.sqrt(rest.var() / max(age.var(), 1e-12) / len(lead.periods)))
    growth = slope - caution * error
    ahead = np.arange(horizon)
    return lambda past: bool((np.exp(growth * (past.since_training + ahead)) - np.exp(growth * ahead)).sum() > price)
