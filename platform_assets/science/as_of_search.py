"""One backward search that honours two times.

Sort a key's rows by (event, known, position) and let a row be available from max(event, known) on. A row is worth
keeping only if no later row of that order is available as early: what is left rises in both times, so that one backward
search on `available` finds the greatest row known at t. Keys come as dense codes, and code and time share one int64.

An append log is in order of availability already: there a radix sort by key and a running maximum do the same.
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
    asked: NDArray[np.int64],  # (entity rows,), codes; sorted by (asked, t)
    t: NDArray[np.int64],  # (entity rows,)
) -> NDArray[np.int64]:
    """For each entity row the greatest view row by (event, known, position) among those available at t, or -1."""
    if not len(code) or not len(asked):
        return np.full(len(asked), -1, dtype=np.int64)
    first, last = int(event.min()), int(available.max())
    span = last - first + 2
    codes = int(max(code.max(), asked[-1])) + 1
    if codes * span < PACK_LIMIT:
        question = asked * span + (np.clip(t, first - 1, last) - (first - 1))
        event_step, available_step = event - (first - 1), available - (first - 1)
    else:
        instants = np.unique(np.concatenate([event, available]))
        span = len(instants) + 1
        question = asked * span + np.searchsorted(instants, t, side="right")
        event_step, available_step = np.searchsorted(instants, event) + 1, np.searchsorted(instants, available) + 1
    if _rises(available) and (known is available or _rises(known)):
        row, step = _running_greatest(code, event_step, available_step, span)
    else:
        row, step = _survivors(code * span + event_step, code * span + available_step, known)
    found = np.searchsorted(step, question, side="right") - 1
    row = row[np.maximum(found, 0)]
    return np.where((found >= 0) & (code[row] == asked), row, -1)


def _running_greatest(
    code: NDArray[np.int64], event_step: NDArray[np.int64], available_step: NDArray[np.int64], span: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, steps): the greatest row up to each step, of rows that were written in order of `available`."""
    order = None if _rises(code) else sort_by_code(code)
    base = (code if order is None else code[order]) * span
    event_step = base + (event_step if order is None else event_step[order])
    greatest = np.maximum.accumulate(event_step)
    best = np.maximum.accumulate(np.where(greatest == event_step, np.arange(len(code)), 0))
    step = base + (available_step if order is None else available_step[order])
    return (best if order is None else order[best]), step


def _survivors(
    by_event: NDArray[np.int64], by_available: NDArray[np.int64], known: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, steps): the rows that no later one hides, of rows in any order."""
    order = _order(by_event, known)
    step = by_available[order]
    if len(step) > 1:
        later = np.minimum.accumulate(step[::-1])[::-1]
        keep = np.append(step[:-1] < later[1:], True)
        order, step = order[keep], step[keep]
    return order, step


def _order(packed: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions sorted by (packed, known, position)."""
    order = np.arange(len(packed)) if _rises(packed) else np.argsort(packed, kind="stable")
    tied = np.flatnonzero(packed[order[1:]] == packed[order[:-1]])
    if (known[order[tied]] > known[order[tied + 1]]).any():
        return np.lexsort((known, packed))
    return order


def sort_by_code(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions sorted by (code, position), by sixteen bits at a time: numpy's stable sort of those is a radix sort."""
    order = np.argsort(code.astype(np.uint16), kind="stable")
    highest, shift = int(code.max(initial=0)), 16
    while highest >> shift:
        order = order[np.argsort((code[order] >> shift).astype(np.uint16), kind="stable")]
        shift += 16
    return order


def _rises(values: NDArray[np.int64]) -> bool:
    return bool((values[1:] >= values[:-1]).all())
