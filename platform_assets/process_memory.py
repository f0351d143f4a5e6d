"""What a process that runs all steps itself holds in memory, and gives back."""

import ctypes
import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
ARENAS: Final = 2  # each thread would keep what it has freed to itself, and trainings have many
# Polars' own allocator keeps pages that it has freed until the system is short of memory, and they count as used until
# then. So soon after it frees them they are the system's again; at once would take a tenth more of processor time.
POLARS_ALLOCATOR: Final = ("_RJEM_MALLOC_CONF", "dirty_decay_ms:200,muzzy_decay_ms:0")


def keep_little() -> None:
    """To be called before polars is loaded: what it frees soon goes back to the system, here and in child processes."""
    os.environ.setdefault(*POLARS_ALLOCATOR)


def give_memory_back() -> None:
    """What steps have freed goes back to the system: in one process that runs them all, the C library keeps it.

    From the first call on, blocks of a megabyte or more go back as soon as they are freed.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than GNU's
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(M_MMAP_THRESHOLD, 1 << 20)
        library.mallopt(M_ARENA_MAX, ARENAS)
        library.malloc_trim(0)


@contextmanager
def peak_memory(interval_seconds: float = 0.2) -> Iterator[Callable[[], int]]:
    """Largest resident bytes of this process and its children while inside, sampled."""
    import psutil

    me, stop, seen = psutil.Process(), threading.Event(), [0]

    def sample() -> None:
        while not stop.is_set():
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            seen[0] = max(seen[0], total)
            stop.wait(interval_seconds)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: seen[0]
    finally:
        stop.set()
        thread.join()
