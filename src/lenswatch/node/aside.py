"""A thread beside the caller's for what needs no Python, so that one picture can use two cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from lenswatch.cores import usable_cores

__all__ = ["Aside", "Beside", "at_once"]

_T = TypeVar("_T")


class Beside(Protocol):
    """A way to do something while the caller goes on."""

    def __call__(self, work: Callable[[], _T], /) -> Future[_T]:
        """Begin `work`, and return its future result."""


class Aside:
    """One thread of this process, which begins with the first work; work is done in order.

    A process that was forked has a thread of its own. Where no thread can be had, or this process may use
    one core only, the caller does the work.
    """

    def __init__(self) -> None:
        self._useful = usable_cores() > 1
        self._process = 0
        self._begin()

    def __call__(self, work: Callable[[], _T], /) -> Future[_T]:
        """Begin `work`, and return its future result."""
        if not self._useful:
            return at_once(work)
        if self._process != os.getpid():
            self._begin()
        try:
            return self._threads.submit(work)
        except RuntimeError:  # the interpreter ends, or has as many threads as it may
            return at_once(work)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="lenswatch-aside")


def at_once(work: Callable[[], _T], /) -> Future[_T]:
    """Do `work`, and return its result as a future one.

    Raises:
        Exception: What `work` raises.
    """
    done: Future[_T] = Future()
    done.set_result(work())
    return done
