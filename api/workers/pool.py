"""A pool of worker processes that notices deaths, and replaces the dead."""

from __future__ import annotations

import asyncio
import atexit
import logging
import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lenswatch.api.workers.pace import Pace
from lenswatch.api.workers.process import Worker
from lenswatch.api.workers.serving import ping

from lenswatch.errors import WorkerError

__all__ = ["WorkerPool", "WorkerState"]

log = logging.getLogger(__name__)

AT_ONCE = 2  # starts in a row that may fail before the next one waits
LONGEST_PAUSE_SECONDS = 8.0
FORGET_SECONDS = 60.0  # after a start that failed, it counts no more
START_SECONDS = (
    300.0  # within which a process has to be ready: importing torch is slow on a small board
)
BEGIN_SECONDS = 5.0  # for a process to take a call; it does nothing else then
HAND_ON_SECONDS = 30.0  # after which a call that no process has taken is given up
RETRY_SECONDS = 5.0  # in which a new process is usually ready
PING = pickle.dumps(ping)


@dataclass(frozen=True)
class WorkerState:
    """State of one place in the pool.

    Attributes:
        pid: The process; None while the next start waits.
        ready: The process has been ready for a call.
        busy: It has a call.
        busy_seconds: Seconds since that call began, else 0.
        timed: That call has a time limit, as a prediction has and a training has not.
        slow: That call has a time limit, and takes far longer than usual.
        restarts: Processes that were started in the place of one that ended.
        short_seconds: Seconds for which no process in this place has been ready.
    """

    pid: int | None
    ready: bool
    busy: bool
    busy_seconds: float
    timed: bool
    slow: bool
    restarts: int
    short_seconds: float = 0.0


@dataclass(eq=False)
class _Place:
    """A place in the pool, for one process after the other."""

    worker: Worker | None = None
    restarts: int = 0
    failed: int = 0  # starts in a row of which none was ready
    failed_at: float = 0.0  # time of the last of them, as the event loop has it
    short_since: float | None = 0.0  # time since which no process was ready; None while one is
    next_start: float = 0.0  # in the event loop's time, while there is no process
    pinged: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)


class WorkerPool:
    """Worker processes that carry out calls, each one at a time.

    A call whose process ends gets a WorkerError at once, and a new process takes the place; a call that
    waits is given to another. All methods belong to the event loop in which the pool was made.

    Args:
        n: Number of processes.
        warm: Called in each process before it takes a call.
    """

    def __init__(self, n: int, warm: Callable[[], object] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._warm = warm
        self._places = [_Place(short_since=self._loop.time()) for _ in range(n)]
        self._idle: list[_Place] = []  # the last one is used first, so that few stay in the caches
        self._waiting: deque[asyncio.Future[_Place]] = deque()
        self._pace = Pace()
        self._closed = False
        atexit.register(self._kill)  # before that of multiprocessing, which waits for the processes
        for place in self._places:
            self._start(place)

    async def apply(self, fn: Callable[[], Any], seconds: float | None = None) -> Any:
        """Call `fn` in a worker process and return its result.

        A cancelled call ends its process. A process that does not even take the call is killed, and another
        one gets it, for a time.

        Args:
            fn: A function that can be pickled, without arguments.
            seconds: Time after which the call's process is killed; None for any.

        Raises:
            WorkerError: The process ended before the answer, there is none and there will be none soon, or
                none takes the call.
        """
        call, given_up = pickle.dumps(fn), self._loop.time() + HAND_ON_SECONDS
        while True:
            worker, answer = await self._begin(call)
            try:
                if seconds is None:
                    await asyncio.wait([answer])
                else:
                    await self._wait(worker, answer, seconds)
            except asyncio.CancelledError:
                if not answer.done():  # else the process may have the next call already
                    worker.kill("was ended because its call was cancelled", wanted=True)
                raise
            if not answer.cancelled():
                return answer.result()
            if self._loop.time() > given_up:
                raise WorkerError(
                    f"no worker process took the call, and the last one {worker.reason}"
                )

    async def _wait(self, worker: Worker, answer: asyncio.Future[Any], seconds: float) -> None:
        """Wait for the answer, tell when that takes far longer than usual, and end the process at last."""
        worker.timed, began = True, self._loop.time()
        slow = self._pace.slow_seconds
        if slow < seconds:
            await asyncio.wait([answer], timeout=slow)
            if not answer.done():
                worker.slow = True
                log.warning(
                    "worker process %d has had one call for %.0f s, far longer than usual; "
                    "it is ended after %g s",
                    worker.pid,
                    slow,
                    seconds,
                )
        await asyncio.wait([answer], timeout=began + seconds - self._loop.time())
        if not answer.done():
            worker.kill(f"was ended because its call took more than {seconds:g} s")
            await asyncio.wait([answer])
        elif not answer.cancelled() and not isinstance(answer.exception(), WorkerError):
            self._pace.add(self._loop.time() - began)

    async def ping(self, seconds: float = 5.0) -> bool:
        """Return True when an idle worker answers in time, or all workers are busy.

        The idle ones take turns. One that does not answer is killed and replaced; a busy one is never
        disturbed.
        """
        while self._idle:
            place = min(self._idle, key=lambda each: each.pinged)
            self._idle.remove(place)
            place.pinged = self._loop.time()
            worker = place.worker
            answer = None if worker is None else worker.call(PING)
            if worker is None or answer is None:
                continue
            await asyncio.wait([answer], timeout=seconds)
            if not answer.done():
                worker.kill(f"was ended because it did not answer within {seconds:g} s")
                return False
            if not answer.cancelled():
                return answer.exception() is None
        return any(state.ready for state in self.states())

    def states(self) -> list[WorkerState]:
        """Return the state of each place."""
        return [self._state(place) for place in self._places]

    async def finish(self, seconds: float) -> None:
        """Wait until no worker has a call, at most some seconds, and shut down."""
        end = self._loop.time() + seconds
        while (self._waiting or self._is_busy()) and self._loop.time() < end:
            await asyncio.sleep(0.02)
        self.shutdown()

    def shutdown(self) -> None:
        """End all processes. Running and waiting calls get a WorkerError."""
        self._closed = True
        self._fail_waiting()
        for place in self._places:
            if place.timer is not None:
                place.timer.cancel()
            if place.worker is not None:
                place.worker.kill("was ended because the server ends", wanted=True)
        for place in self._places:
            if place.worker is not None:
                place.worker.end()
        atexit.unregister(self._kill)

    async def _begin(self, call: bytes) -> tuple[Worker, asyncio.Future[Any]]:
        """Give the call to a worker; one that has ended since it was free is passed over.

        In its place there may be another one that is not ready yet. A worker that hangs without having taken
        the call is killed, and the answer cancelled.
        """
        again = False
        while True:
            worker = (await self._free_place(first=again)).worker
            answer = None if worker is None else worker.call(call, BEGIN_SECONDS)
            if worker is not None and answer is not None:
                return worker, answer
            again = True

    async def _free_place(self, *, first: bool) -> _Place:
        """Wait for a place whose worker is free, as the first or the last one of those who wait."""
        if self._idle:
            return self._idle.pop()
        if self._closed or self._is_down():
            raise self._unavailable()
        turn: asyncio.Future[_Place] = self._loop.create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._hand_on(turn.result())
            raise

    def _hand_on(self, place: _Place) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(place)
                return
        self._idle.append(place)

    def _start(self, place: _Place) -> None:
        place.timer = None
        try:
            place.worker = Worker(
                self._warm, lambda _: self._freed(place), lambda worker: self._ended(place, worker)
            )
        except OSError as error:
            log.exception("no worker process can be started")
            self._start_again(place, str(error))
            return
        place.timer = self._loop.call_later(START_SECONDS, self._give_up, place, place.worker)

    def _give_up(self, place: _Place, worker: Worker) -> None:
        place.timer = None
        if not worker.ready:
            worker.kill(f"was ended because it was not ready within {START_SECONDS:g} s")

    def _freed(self, place: _Place) -> None:
        place.failed, place.short_since = 0, None
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
        self._hand_on(place)

    def _ended(self, place: _Place, worker: Worker) -> None:
        if place.timer is not None:
            place.timer.cancel()
        if place in self._idle:
            self._idle.remove(place)
        place.worker = None
        if place.short_since is None:
            place.short_since = self._loop.time()
        if self._closed:
            return
        level = logging.INFO if worker.wanted else logging.ERROR
        log.log(level, "worker process %d %s; a new one starts", worker.pid, worker.reason)
        place.restarts += 1
        if worker.ready:
            self._start(place)
        else:
            self._start_again(place, worker.reason)

    def _start_again(self, place: _Place, reason: str) -> None:
        """Start a process after one that never was ready, the later the more there were."""
        if self._loop.time() - place.failed_at > FORGET_SECONDS:
            place.failed = 0
        place.failed += 1
        place.failed_at = self._loop.time()
        if place.failed < AT_ONCE:
            self._start(place)
            return
        pause = min(2.0 ** (place.failed - AT_ONCE), LONGEST_PAUSE_SECONDS)
        log.error(
            "%d worker processes in a row ended before they were ready (the last one: %s); next try in %g s",
            place.failed,
            reason,
            pause,
        )
        place.worker = None
        place.next_start = self._loop.time() + pause
        place.timer = self._loop.call_later(pause, self._start, place)
        if self._is_down():
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(self._unavailable())

    def _unavailable(self) -> WorkerError:
        if self._closed:
            return WorkerError("the server is ending")
        soonest = min(place.next_start for place in self._places)
        pause = max(0.0, soonest - self._loop.time())
        error = WorkerError(
            f"no worker process runs, and the next one starts in {pause:.0f} s; "
            "the server's log says why the last ones did not"
        )
        error.retry_after = pause + RETRY_SECONDS
        return error

    def _is_down(self) -> bool:
        """Return True when no process runs or starts: all places wait for their next start."""
        return all(place.worker is None for place in self._places)

    def _is_busy(self) -> bool:
        return any(state.busy for state in self.states())

    def _state(self, place: _Place) -> WorkerState:
        worker = place.worker
        short = 0.0 if place.short_since is None else self._loop.time() - place.short_since
        if worker is None:
            return WorkerState(None, False, False, 0.0, False, False, place.restarts, short)
        since = worker.busy_since
        return WorkerState(
            worker.pid,
            worker.ready,
            since is not None,
            0.0 if since is None else self._loop.time() - since,
            worker.timed,
            worker.slow,
            place.restarts,
            short,
        )

    def _kill(self) -> None:
        for place in self._places:
            if place.worker is not None:
                place.worker.abandon()
