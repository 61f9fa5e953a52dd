"""Server processes that are started, watched, started again when they end, and ended together."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests

from lenswatch.cli.survivors import RunFolder
from lenswatch.errors import ServerError
from lenswatch.progress import Progress, Step, no_progress

__all__ = [
    "Child",
    "Command",
    "RestartLimits",
    "await_healthy",
    "running",
    "stopping_on_signals",
    "watch",
]

POLL_SECONDS = 0.1
LOG_MAX_BYTES = 20_000_000  # of a log, and of the older part that is kept beside it
# A program that asks Linux for a signal at its parent's end (1 is PR_SET_PDEATHSIG), and becomes the server.
_ASK_AND_RUN = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("its parent has ended")
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Command:
    """A server to start.

    Attributes:
        name: Name for messages.
        arguments: Program and arguments.
        log: File that its output is appended to.
        environment: Variables in addition to those of this process.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RestartLimits:
    """The times between two starts of a server that ends, and the number of tries.

    Attributes:
        first_seconds: Time before the first restart; doubles with each that follows.
        longest_seconds: The longest of these times.
        stable_seconds: Time after which a server counts as one that works.
        tries: Restarts in a row of a server that never worked for so long.
    """

    first_seconds: float = 1.0
    longest_seconds: float = 30.0
    stable_seconds: float = 60.0
    tries: int = 5


@dataclass
class Child:
    """A server that was started.

    Attributes:
        command: How to start it.
        process: The process that was started last.
        started: Time of that, on the monotonic clock.
        failures: Number of times in a row that it ended early.
        due: Time at which it is started again, when it has ended.
    """

    command: Command
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    failures: int = 0
    due: float | None = None


class _Stop(BaseException):
    """SIGINT or SIGTERM arrived. It is no Exception, since libraries ignore those that come at an import."""


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[Callable[[], None]]:
    """Leave the block when SIGINT or SIGTERM arrives; further signals do not disturb its clean-up.

    Yields:
        A function to call from time to time. It leaves the block when a signal had no effect: Python prints
        and forgets what is raised while a finaliser runs.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop

    def check() -> None:
        if stopping:
            raise _Stop

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        with contextlib.suppress(_Stop):
            yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def running(
    commands: Sequence[Command], run: RunFolder, stop_seconds: float = 6.0
) -> Iterator[list[Child]]:
    """Start the commands, and end them with the block.

    Args:
        commands: Each gets a session of its own, so that its workers end with it. On Linux it also ends
            when this process is killed.
        run: Where the servers are written down, for a later process to find them.
        stop_seconds: Time for an orderly end, before they are killed.
    """
    children: list[Child] = []
    try:
        for command in commands:
            children.append(Child(command, _start(command, run)))
        yield children
    finally:
        _end([child.process for child in children], stop_seconds)


def _start(command: Command, run: RunFolder) -> subprocess.Popen[bytes]:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log, run.held_file(command.name) as held:
        process = subprocess.Popen(
            _with_our_end(command.arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **command.environment},
            pass_fds=[held],
            start_new_session=True,
        )
        run.write(command.name, process.pid)
    return process


def _with_our_end(arguments: Sequence[str]) -> list[str]:
    """Return a command that runs `arguments`, with SIGTERM when this process is killed, where that can be."""
    if sys.platform != "linux":
        return list(arguments)
    return [sys.executable, "-ISc", _ASK_AND_RUN, str(os.getpid()), *arguments]


def _end(processes: Sequence[subprocess.Popen[bytes]], stop_seconds: float) -> None:
    """Send SIGTERM to each server, which ends its workers, then SIGKILL to the rest of its group.

    Workers get no SIGTERM: DEEPaaS replaces a worker that ends, and then waits for it.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + stop_seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_healthy(
    children: Sequence[Child],
    urls: Sequence[str],
    progress: Progress = no_progress,
    timeout_seconds: float = 90.0,
) -> None:
    """Wait until every URL answers 200.

    Args:
        children: The servers.
        urls: A health check of each server.
        progress: Called after each round of requests.
        timeout_seconds: Time for all of them. Importing torch on a slow, busy machine takes long.

    Raises:
        ServerError: A server ended, or did not answer in time.
    """
    waiting = list(urls)
    deadline = time.monotonic() + timeout_seconds
    progress(Step("starting servers", 0, len(urls)))
    while waiting:
        _require_alive(children)
        if time.monotonic() > deadline:
            raise ServerError(
                f"{waiting[0]} did not answer within {timeout_seconds:.0f} s; "
                f"see {children[-1].command.log}"
            )
        waiting = [url for url in waiting if not _answers(url)]
        progress(Step("starting servers", len(urls) - len(waiting), len(urls)))
        time.sleep(POLL_SECONDS)  # no event tells when the port answers


def watch(
    children: Sequence[Child],
    run: RunFolder,
    tell: Callable[[str], None],
    limits: RestartLimits | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Start a server again whenever it ends; return never.

    Args:
        children: The servers.
        run: Where the servers are written down.
        tell: Called with a line for the user about each end and start.
        limits: Times and number of restarts.
        check: Called at least once a second, and raises an exception to end this.

    Raises:
        ServerError: A server ends again and again.
    """
    limits, logs_due = limits or RestartLimits(), 0.0
    while True:
        check()
        for child in children:
            if child.due is None and child.process.poll() is not None:
                _plan_restart(child, limits, tell)
            elif child.due is not None and time.monotonic() >= child.due:
                child.process = _start(child.command, run)
                child.started, child.due = time.monotonic(), None
                tell(f"{child.command.name} was started again (process {child.process.pid})")
        if time.monotonic() >= logs_due:
            logs_due = time.monotonic() + 60
            for child in children:
                _keep_small(child.command.log)
        time.sleep(POLL_SECONDS)  # no event tells when one of several processes ends


def _plan_restart(child: Child, limits: RestartLimits, tell: Callable[[str], None]) -> None:
    """Set the time of the next start.

    Raises:
        ServerError: There were too many.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, signal.SIGKILL)  # workers that it left
    if time.monotonic() - child.started >= limits.stable_seconds:
        child.failures = 0
    if child.failures >= limits.tries:
        raise ServerError(f"{_last_words(child)}; it was started {limits.tries + 1} times in a row")
    pause = min(limits.longest_seconds, limits.first_seconds * 2.0**child.failures)
    child.failures += 1
    child.due = time.monotonic() + pause
    tell(f"{_last_words(child)}; it is started again in {pause:g} s")


def _keep_small(log: Path) -> None:
    """Move the contents of a log that has grown beside it; its writer goes on at its beginning."""
    with contextlib.suppress(OSError):
        if log.stat().st_size <= LOG_MAX_BYTES:
            return
        older = log.with_name(f"{log.name}.1")
        try:
            shutil.copyfile(log, older)
        except OSError:  # the disk is full: better no log than no disk
            older.unlink(missing_ok=True)
        os.truncate(log, 0)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _require_alive(children: Sequence[Child]) -> None:
    for child in children:
        if child.process.poll() is not None:
            raise ServerError(_last_words(child))


def _last_words(child: Child) -> str:
    """Return how the server ended; the last line of its log says why, unless it was killed."""
    code, log = child.process.returncode, child.command.log
    if code < 0:
        return f"{child.command.name} was killed by {signal.Signals(-code).name} (see {log})"
    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
    said = f": {tail[0]}" if tail else ""
    return f"{child.command.name} ended with exit code {code}{said} (see {log})"
