"""Group commit: calls that wait for the same lock are executed together.

While one group is executed, the calls that arrive form the next one. So a call that comes alone waits for
nobody, and calls that come together share one transaction.

Clients that send their next call once the last one is answered would fall into two halves, which take turns.
So after a group that took long, the next one waits a little for those that were just answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar

__all__ = ["MOST", "MOST_BYTES", "Groups"]

MOST = 100  # calls of one group
MOST_BYTES = 4 * 2**20  # of their bodies, unless one alone has more
LONG_SECONDS = 0.006  # a group that took longer is worth some waiting
PATIENCE = 0.5  # of the time that the last group took
LONGEST_SECONDS = 0.01  # of waiting
STEP_SECONDS = 0.0005
_T = TypeVar("_T")
_R = TypeVar("_R")


_Queue: TypeAlias = "deque[tuple[_T, asyncio.Future[_R]]]"


class Groups(Generic[_T, _R]):
    """Calls by what they wait for, each executed in the order in which they came.

    Args:
        execute: Executes calls, and returns for each its result or the exception to raise.
        size: Returns the bytes of a call.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[_T]], Awaitable[Sequence[_R | Exception]]],
        size: Callable[[_T], int] = lambda _: 0,
    ) -> None:
        self._execute, self._size = execute, size
        self._queues: dict[Hashable, _Queue[_T, _R]] = {}
        self._running: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    def waiting(self, key: Hashable) -> int:
        """Return how many calls wait for the group that is executed; -1 if none is."""
        return len(self._queues[key]) if key in self._queues else -1

    async def run(self, key: Hashable, call: _T) -> _R:
        """Return the result of `call`, executed together with others of the same `key`.

        Raises:
            Exception: What `execute` returned for this call, or raised for all.
        """
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
            task = asyncio.create_task(self._drain(key, queue))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        future: asyncio.Future[_R] = asyncio.get_running_loop().create_future()
        queue.append((call, future))
        return await future

    async def _drain(self, key: Hashable, queue: _Queue[_T, _R]) -> None:
        """Execute what waits, until nothing does."""
        taken: list[tuple[_T, asyncio.Future[_R]]] = []
        try:
            while queue:
                taken = self._take(queue)
                started = time.monotonic()
                results = await self._results([call for call, _ in taken])
                for (_, future), result in zip(taken, results, strict=True):
                    if future.done():  # its request was cancelled
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
                took = time.monotonic() - started
                wanted = len(taken) + len(queue)
                if wanted > 1 and took > LONG_SECONDS:
                    await _gather(queue, wanted, min(PATIENCE * took, LONGEST_SECONDS))
        finally:
            del self._queues[key]
            for _, future in (*taken, *queue):  # the server ends
                future.cancel()

    def _take(self, queue: _Queue[_T, _R]) -> list[tuple[_T, asyncio.Future[_R]]]:
        """Take what makes the next group."""
        taken = [queue.popleft()]
        size = self._size(taken[0][0])
        while queue and len(taken) < MOST:
            size += self._size(queue[0][0])
            if size > MOST_BYTES:
                break
            taken.append(queue.popleft())
        return taken

    async def _results(self, calls: Sequence[_T]) -> Sequence[_R | Exception]:
        try:
            return await self._execute(calls)
        except Exception as error:
            return [error] * len(calls)


async def _gather(queue: _Queue[_T, _R], wanted: int, seconds: float) -> None:
    """Wait until so many calls are there, or the time is up."""
    end = time.monotonic() + seconds
    while len(queue) < wanted and time.monotonic() < end:
        await asyncio.sleep(STEP_SECONDS)
