"""One backward search that honours two times.

Sort a key's rows by (event, known, position) and let a row be available from max(event, known) on. A row is worth
keeping only if no later row of that order is available as early: what is left rises in both times, so that one backward
search on `available` finds the greatest row known at t. Keys come as dense codes, and code and time share one int64.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

PACK_LIMIT: Final = 2**62  # beyond it times are replaced by their ranks


def search(
    code: NDArray[np.int64],  # (view rows,)
    event: NDArray[np.int64],  # (view rows,), microseconds, as the next two
    known: NDArray[np.int64],
    available: NDArray[np.int64],
    asked: NDArray[np.int64],  # (entity rows,), codes
    t: NDArray[np.int64],  # (entity rows,)
) -> NDArray[np.int64]:
    """For each entity row the greatest view row by (event, known, position) among those available at t, or -1."""
    if not len(code) or not len(asked):
        return np.full(len(asked), -1, dtype=np.int64)
    first, last = int(event.min()), int(available.max())
    span = last - first + 2
    codes = int(max(code.max(), asked.max())) + 1
    if codes * span < PACK_LIMIT:
        t_step = np.clip(t, first - 1, last) - (first - 1)
        event_step, available_step = event - (first - 1), available - (first - 1)
    else:
        instants = np.unique(np.concatenate([event, available]))
        span = len(instants) + 1
        t_step = np.searchsorted(instants, t, side="right")
        event_step, available_step = np.searchsorted(instants, event) + 1, np.searchsorted(instants, available) + 1
    order = _order(code * span + event_step, known)
    step = code[order] * span + available_step[order]
    if len(step) > 1:
        later = np.minimum.accumulate(step[::-1])[::-1]
        keep = np.append(step[:-1] < later[1:], True)
        order, step = order[keep], step[keep]
    question = asked * span + t_step
    found = _backward(step, question)
    row = order[np.maximum(found, 0)]
    return np.where((found >= 0) & (code[row] == asked), row, -1)


def _order(packed: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions sorted by (packed, known, position)."""
    order = np.arange(len(packed)) if (packed[1:] >= packed[:-1]).all() else np.argsort(packed, kind="stable")
    tied = np.flatnonzero(packed[order[1:]] == packed[order[:-1]])
    if (known[order[tied]] > known[order[tied + 1]]).any():
        return np.lexsort((known, packed))
    return order


def _backward(step: NDArray[np.int64], question: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of the last step <= question, -1 where there is none. Sorted questions walk the steps in cache order."""
    if (question[1:] >= question[:-1]).all():
        return np.searchsorted(step, question, side="right") - 1
    order = np.argsort(question)
    found = np.empty(len(question), dtype=np.int64)
    found[order] = np.searchsorted(step, question[order], side="right") - 1
    return found
