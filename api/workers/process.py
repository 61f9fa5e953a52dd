"""One worker process as the event loop of its parent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from lenswatch.api.workers.serving import Message, serve

from lenswatch.errors import WorkerError

__all__ = ["Worker"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # of torch, and of NumPy
END_SECONDS = 2.0  # after which a killed process is given up, as one that waits for a dead disk
JOIN_SECONDS = 0.5  # for a process that has closed its files


class Worker:
    """A spawned process, and the pipe through which it gets one call at a time.

    The event loop watches pipe and process, so no thread and no lock can be left behind by a death.

    Args:
        warm: Called in the process before it takes a call.
        free: Called when the process is ready, and after each call.
        ended: Called once when the process has ended.

    Attributes:
        ready: The process has been ready for a call.
        busy_since: Time of the event loop at which its call began, None when it has none.
        timed: Its call has a time limit. The pool says so, and when it is slow.
        slow: Its call takes far longer than usual.
        ended: The process has ended.
        wanted: Its end was wanted, and is no fault.

    Raises:
        OSError: No process can be started.
    """

    def __init__(
        self,
        warm: Callable[[], object] | None,
        free: Callable[[Worker], None],
        ended: Callable[[Worker], None],
    ) -> None:
        self.ready = self.ended = self.wanted = self.timed = self.slow = False
        self.busy_since: float | None = None
        self._free, self._on_end = free, ended
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Any] | None = None
        self._begun = False  # the process has the call of that answer
        self._limit: asyncio.TimerHandle | None = None  # of the time to begin it
        self._reason = ""  # for which we killed it
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        try:
            self._process = context.Process(target=serve, args=(theirs, warm), name="lenswatch")
            with _one_thread(), _without_program():
                self._process.start()
        except OSError:
            self._pipe.close()
            raise
        finally:
            theirs.close()
        self._loop.add_reader(self._pipe.fileno(), self._read)
        self._loop.add_reader(self._process.sentinel, self._drain)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid or 0

    @property
    def reason(self) -> str:
        """The cause of its end, such as "was killed by SIGSEGV"."""
        if self._reason:
            return self._reason
        code = self._process.exitcode
        if code is None:
            return "was lost"
        if code == -signal.SIGKILL:
            return "was killed by SIGKILL (has memory run out?)"
        return f"was killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"

    def call(self, call: bytes, begin_seconds: float | None = None) -> asyncio.Future[Any] | None:
        """Send a pickled call, and return its future answer; None if the process has ended or is not ready.

        The future's exception is the call's own, or WorkerError when the process ends before the answer.
        It is cancelled when the process ends before it took the call, which another one can have then.

        Args:
            call: The call.
            begin_seconds: Time after which a process that has not taken the call is killed: it is stopped
                or hangs. None for any.
        """
        if self.ended or not self.ready:
            return None
        try:
            self._pipe.send_bytes(call)
        except OSError:
            self._drain()
            return None
        self.busy_since, self._begun = self._loop.time(), False
        self._answer = self._loop.create_future()
        self._answer.add_done_callback(_look_at)
        if begin_seconds is not None:
            reason = f"was ended because it did not take a call within {begin_seconds:g} s"
            self._limit = self._loop.call_later(begin_seconds, self.kill, reason)
        return self._answer

    def kill(self, reason: str, *, wanted: bool = False) -> None:
        """End the process at once.

        Args:
            reason: The cause, for log and caller, such as "was ended because ...".
            wanted: This is no fault of process or call.
        """
        if not self.ended and not self._reason:
            self._reason, self.wanted = reason, wanted
            self._process.kill()
            self._loop.call_later(END_SECONDS, self._end)

    def end(self) -> None:
        """End the process, and return when it has ended."""
        self.abandon()
        self._end()

    def abandon(self) -> None:
        """End the process when the event loop is closed."""
        self._process.kill()

    def _read(self) -> None:
        message = self._receive()
        if message is None:
            self._end()
        elif message[0] == "begun":
            self._begun = True
            self._stop_limit()
        else:
            self._take(message)

    def _receive(self) -> Message | None:
        """Return the next message, or None when there will be none any more."""
        try:
            message: Message = pickle.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            return None
        except Exception as error:  # an answer of a class that cannot be read again
            return "error", RuntimeError(f"the worker's answer cannot be read: {error}")
        return message

    def _take(self, message: Message) -> None:
        kind, value = message
        if kind == "ready":
            self.ready = True
        answer, self._answer, self.busy_since = self._answer, None, None
        self.timed, self.slow = False, False
        if answer is not None and not answer.done():
            if kind == "error":
                answer.set_exception(value)
            else:
                answer.set_result(value)
        if not self._reason:
            self._free(self)

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _drain(self) -> None:
        """Read the answers that the process sent before it ended."""
        while not self.ended and self._pipe.poll():
            self._read()
        self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self._stop_limit()
        self._loop.remove_reader(self._pipe.fileno())
        self._loop.remove_reader(self._process.sentinel)
        self._pipe.close()
        self._process.kill()  # it may live although its pipe is closed
        self._process.join(JOIN_SECONDS)
        answer, self._answer, self.busy_since = self._answer, None, None
        if answer is not None and not self._begun:
            answer.cancel()
        elif answer is not None:
            error = WorkerError(f"the worker process with this call {self.reason}")
            error.died = not self.wanted
            answer.set_exception(error)
        self._on_end(self)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let libraries use one thread in processes that are started here: more workers use more cores.

    They read these variables when they are loaded. What the user has set stays.
    """
    missing = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _without_program() -> Iterator[None]:
    """Keep processes that are started here from importing the program that runs this one.

    They need nothing of DEEPaaS, whose program would take 20 MB in each of them.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging an error that nobody waits for any more."""
    if not answer.cancelled():
        answer.exception()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
