"""One backward search that honours two times.

Sort a key's rows by (event, known, position) and let a row be available from max(event, known) on. A row is worth
keeping only if no later row of that order is available as early: what is left rises in both times, so that one backward
search on `available` finds the greatest row known at t. Keys come as dense codes; code and time share one int64, the
code in the high bits.

An append log is in order of availability already: there a radix sort by key and a running maximum do the same.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

PACK_LIMIT: Final = 2**62  # beyond it times are replaced by their ranks
ROWS_AT_ONCE: Final = 2**21  # of a view: more are searched a range of codes at a time
_BLOCK: Final = 2**16  # needles that are looked at together: their numbers stay in the processor's cache

Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Needles:
    """Codes and times to search for, sorted by both; `packed` holds the two in one where they fit."""

    code: Longs  # (rows,)
    t: Longs  # (rows,), microseconds
    packed: Longs | None  # (rows,), code << bits | t - first
    first: int
    bits: int

    def part(self, start: int, end: int) -> "Needles":
        """Those from `start` to `end`."""
        packed = None if self.packed is None else self.packed[start:end]
        return Needles(self.code[start:end], self.t[start:end], packed, self.first, self.bits)


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
    packed = packed[order]
    t = packed & (1 << bits) - 1
    t += first
    return order, Needles(packed >> bits, t, packed, first, bits)


def _sort(packed: Longs, bits: int) -> Longs:
    """Positions sorted by a number of so many bits: the positions ride along in the low bits where that is enough."""
    low = len(packed).bit_length()
    coarse = packed >> max(0, bits + low - 62)
    coarse <<= low
    coarse |= np.arange(len(packed))
    order = pl.Series(coarse).sort().to_numpy() & (1 << low) - 1
    if bits + low <= 62:
        return order
    nearly = packed[order]  # numbers that differ only in what was cut off may still be the wrong way round
    return order if _rises(nearly) else order[np.argsort(nearly, kind="stable")]


def search(
    code: Longs,  # (view rows,)
    event: Longs,  # (view rows,), microseconds, as the next two
    known: Longs,
    available: Longs,
    needles: Needles,
    *,
    ttl: int | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(rows, found): for each needle the greatest view row by (event, known, position) among those available at t.

    What is older than `ttl` microseconds at t counts as not found, too; rows that are not found are any.
    """
    if not len(code) or not len(needles.code):
        return np.zeros(len(needles.code), dtype=np.int64), np.zeros(len(needles.code), dtype=np.bool_)
    if len(code) <= ROWS_AT_ONCE:
        return _search(code, event, known, available, needles, ttl)
    # So many rows are searched a range of codes at a time, in arrays that the caches hold.
    codes = max(int(code.max()), int(needles.code[-1])) + 1
    shift = max(0, codes.bit_length() - min(len(code) // ROWS_AT_ONCE, 127).bit_length())
    part = np.empty(len(code), dtype=np.uint8)
    np.right_shift(code, shift, out=part, casting="unsafe")
    edges = np.searchsorted(needles.code, np.arange((codes - 1 >> shift) + 2) << shift)
    rows = np.zeros(len(needles.code), dtype=np.uint32 if len(code) < 2**32 else np.uint64)
    found = np.zeros(len(rows), dtype=np.bool_)
    for number, (start, end) in enumerate(pairwise(edges.tolist())):
        mine = np.flatnonzero(part == number) if end > start else part[:0]
        if len(mine):
            e = event[mine]
            a = e if available is event else available[mine]
            k = a if known is available else known[mine]
            here, found[start:end] = _search(code[mine], e, k, a, needles.part(start, end), ttl)
            rows[start:end] = mine[here]
    return rows, found


def _search(
    code: Longs,
    event: Longs,
    known: Longs,
    available: Longs,
    needles: Needles,
    ttl: int | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    low = int(event.min())
    event_bits = (int(event.max()) - low).bit_length()
    question, first, bits = needles.packed, needles.first, needles.bits
    oldest = None if ttl is None else needles.t - ttl
    if question is None or max(int(code.max()), int(needles.code[-1])) + 1 << max(event_bits, bits) > PACK_LIMIT:
        is_one_time = available is event
        instants = np.unique(event if is_one_time else np.concatenate([event, available]))
        if oldest is not None:
            oldest = np.searchsorted(instants, oldest) + 1
        low, first = 0, 0
        event_bits = bits = (len(instants) + 1).bit_length()
        question = (needles.code << bits) + np.searchsorted(instants, needles.t, side="right")
        event = np.searchsorted(instants, event) + 1
        available = event if is_one_time else np.searchsorted(instants, available) + 1
    by_event = np.empty(len(code), dtype=np.int64)
    for start in range(0, len(code), _BLOCK):
        block = slice(start, start + _BLOCK)
        by_event[block] = (code[block] << event_bits) + (event[block] - low)

    def steps(by_event: Longs, available: Longs) -> Longs:
        np.subtract(available, first, out=available)
        np.clip(available, 0, (1 << bits) - 1, out=available)
        for start in range(0, len(available), _BLOCK):
            block = slice(start, start + _BLOCK)
            available[block] += by_event[block] >> event_bits << bits
        return available

    if _rises(available) and (known is available or _rises(known)):
        order = None if _rises(code) else sort_by_code(code)
        by_event = _picked(by_event, order)
        keep = by_event == np.maximum.accumulate(by_event)
        order, by_event = _kept(order, keep), by_event[keep]
        step = steps(by_event, available[order])
    else:
        order = _order(code, event, by_event, known)
        by_event = _picked(by_event, order)
        step = steps(by_event, available.copy() if order is None else available[order])
        later = np.minimum.accumulate(step[::-1])[::-1]
        keep = np.append(step[:-1] < later[1:], True)
        order, by_event, step = _kept(order, keep), by_event[keep], step[keep]
    last = _last(step, question)
    at = last.fill_null(0).to_numpy()
    rows = np.empty(len(at), dtype=at.dtype)
    found = np.empty(len(at), dtype=np.bool_)
    for start in range(0, len(at), _BLOCK):
        block = slice(start, start + _BLOCK)
        bound = needles.code[block] << event_bits
        if oldest is not None:
            bound += np.maximum(oldest[block] - low, 0)
        found[block] = by_event[at[block]] >= bound
        rows[block] = order[at[block]]
    found[: last.null_count()] = False  # questions ascend: those before the first step come first
    return rows, found


def _last(step: Longs, question: Longs) -> pl.Series:
    """Where the last step <= each question stands, null for none; both ascend, so one pass finds them."""
    positions = np.arange(len(step), dtype=np.uint32 if len(step) < 2**32 else np.uint64)
    steps = pl.DataFrame({"step": step, "position": positions}).with_columns(pl.col("step").set_sorted())
    questions = pl.DataFrame({"question": question}).with_columns(pl.col("question").set_sorted())
    return questions.join_asof(steps, left_on="question", right_on="step")["position"]


def _order(code: Longs, event: Longs, by_event: Longs, known: Longs) -> Longs | None:
    """Positions sorted by (code, event, known, position); None if they are already, but for `known`."""
    order = None
    if not _rises(by_event):
        order = None if _rises(event) else np.argsort(event, kind="stable")
        by_code = sort_by_code(_picked(code, order))
        order = by_code if order is None else order[by_code]
    ordered = _picked(by_event, order)
    tied = np.flatnonzero(ordered[1:] == ordered[:-1])
    first, second = (tied, tied + 1) if order is None else (order[tied], order[tied + 1])
    return np.lexsort((known, by_event)) if (known[first] > known[second]).any() else order


def _picked(values: Longs, order: Longs | None) -> Longs:
    return values if order is None else values[order]


def _kept(order: Longs | None, keep: NDArray[np.bool_]) -> Longs:
    return np.flatnonzero(keep) if order is None else order[keep]


def sort_by_code(code: Longs) -> Longs:
    """Positions sorted by (code, position), by sixteen bits at a time: numpy's stable sort of those is a radix sort."""
    highest, shift = int(code.max(initial=0)), 16
    if highest >> shift:
        lowest = int(code.min())
        code, highest = code - lowest, highest - lowest
    order = np.argsort(code.astype(np.uint16), kind="stable")
    while highest >> shift:
        narrow = np.uint8 if highest >> shift < 2**8 else np.uint16
        order = order[np.argsort((code >> shift).astype(narrow)[order], kind="stable")]
        shift += 16
    return order


def _rises(values: Longs) -> bool:
    return bool((values[1:] >= values[:-1]).all())
