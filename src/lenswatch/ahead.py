"""Work that is done ahead in threads, with its results in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, at_most: int
) -> Iterator[Result]:
    """Yield the results of a function for items in their order, computed ahead in threads.

    An exception of the function is raised in its turn, and ends the work.

    Args:
        function: Called in other threads.
        items: Its arguments; they are taken in the caller's thread.
        threads: Number of threads.
        at_most: Results that are computed ahead of the one that is wanted.

    >>> list(ahead(str, [3, 1, 2], threads=2, at_most=2))
    ['3', '1', '2']
    """
    waiting, left = deque[Future[Result]](), iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in itertools.islice(left, at_most):
                waiting.append(pool.submit(function, item))
            while waiting:
                found = waiting.popleft().result()
                for item in itertools.islice(left, 1):
                    waiting.append(pool.submit(function, item))
                yield found
        finally:
            for each in waiting:
                each.cancel()
