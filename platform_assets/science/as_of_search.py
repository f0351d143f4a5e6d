"""One backward search that honours two times.

Sort a key's rows by (event, known, position) and let a row be available from max(event, known) on. A row is worth
keeping only if no later row of that order is available as early: what is left rises in both times, so that one backward
search on `available` finds the greatest row known at t. Keys come as dense codes; code and time share one int64, the
code in the high bits.

An append log is in order of availability already: there a radix sort by key and a running maximum do the same.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

PACK_LIMIT: Final = 2**62  # beyond it times are replaced by their ranks

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Needles:
    """Codes and times to search for, sorted by both; `packed` holds the two in one where they fit."""

    code: Longs  # (rows,)
    t: Longs  # (rows,), microseconds
    packed: Longs | None  # (rows,), code << bits | t - first
    first: int
    bits: int


def sharpen(code: Longs, t: Longs) -> tuple[Longs | None, Needles]:
    """The positions that sort the rows by (code, time), None if they are sorted already, and the sorted rows.

    Rows that are alike may come in any order.
    """
    first = int(t.min()) if len(t) else 0
    bits = (int(t.max()) - first + 1).bit_length() if len(t) else 1  # one more than asked for: times that are too late
    highest = int(code.max(initial=0))
    if (highest + 1) << bits > PACK_LIMIT:
        order = np.argsort(t, kind="stable")
        order = order[sort_by_code(code[order])]
        return order, Needles(code[order], t[order], None, first, bits)
    packed = (code << bits) + (t - first)
    if _rises(packed):
        return None, Needles(code, t, packed, first, bits)
    order = _sort(packed, bits + highest.bit_length())
    return order, Needles(code[order], t[order], packed[order], first, bits)


def _sort(packed: Longs, bits: int) -> Longs:
    """Positions sorted by a number of so many bits: the positions ride along in the low bits where that is enough."""
    low = len(packed).bit_length()
    order = (pl.Series((packed >> max(0, bits + low - 62) << low) | np.arange(len(packed))).sort()).to_numpy()
    order = order & ((1 << low) - 1)
    if bits + low <= 62 or _rises(packed[order]):
        return order
    return pl.Series(packed).arg_sort().to_numpy()


def search(
    code: Longs,  # (view rows,)
    event: Longs,  # (view rows,), microseconds, as the next two
    known: Longs,
    available: Longs,
    needles: Needles,
    *,
    ttl: int | None = None,
) -> tuple[Longs, NDArray[np.bool_]]:
    """(rows, found): for each needle the greatest view row by (event, known, position) among those available at t.

    Not found is what is older than `ttl` microseconds at t, too; the row is then any.
    """
    if not len(code) or not len(needles.code):
        return np.zeros(len(needles.code), dtype=np.int64), np.zeros(len(needles.code), dtype=np.bool_)
    codes = max(int(code.max()), int(needles.code[-1])) + 1
    low = int(event.min())
    event_bits = (int(event.max()) - low).bit_length()
    question, first, bits = needles.packed, needles.first, needles.bits
    oldest = None if ttl is None else needles.t - ttl
    is_one_time = available is event
    if question is None or codes << max(event_bits, bits) > PACK_LIMIT:
        instants = np.unique(event if is_one_time else np.concatenate([event, available]))
        low, first = 0, 0
        event_bits = bits = (len(instants) + 1).bit_length()
        question = (needles.code << bits) + np.searchsorted(instants, needles.t, side="right")
        oldest = None if oldest is None else np.searchsorted(instants, oldest) + 1
        event = np.searchsorted(instants, event) + 1
        available = event if is_one_time else np.searchsorted(instants, available) + 1
    by_event = code << event_bits
    by_event += event
    by_event -= low

    is_log = _rises(available) and (known is available or _rises(known))
    order = _by_code(code) if is_log else _by_event(code, event, by_event, known)
    if order is not None:
        by_event = by_event[order]
    if not is_log or is_one_time:
        step = _steps(by_event, available if order is None else available[order], event_bits, first, bits)
    keep = by_event >= np.maximum.accumulate(by_event) if is_log else _survivors(step)
    ...
