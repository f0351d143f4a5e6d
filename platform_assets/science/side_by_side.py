"""Calls that spend their time outside Python, two at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE: Final = 2  # what any machine has cores for; what is called holds to its own number of threads besides


def side_by_side(call: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The result for each item, in order, as soon as it is there. `call` must not depend on what the other call does meanwhile.

    Raises: what `call` raised for the first item that failed; what was not begun by then is left.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
