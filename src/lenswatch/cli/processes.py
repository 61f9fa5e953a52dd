"""Server processes that are started, watched and ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests

from lenswatch.errors import ServerError
from lenswatch.progress import Progress, Step, no_progress

__all__ = [
    "Child",
    "Command",
    "await_healthy",
    "require_free",
    "running",
    "stopping_on_signals",
    "watch",
]

POLL_SECONDS = 0.1


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
class Child:
    """A server that was started."""

    command: Command
    process: subprocess.Popen[bytes]


class _Stop(Exception):  # noqa: N818 - a request to end, no error
    """SIGINT or SIGTERM arrived."""


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Leave the block when SIGINT or SIGTERM arrives; further signals do not disturb its clean-up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stop

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        with contextlib.suppress(_Stop):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def require_free(host: str, port: int) -> None:
    """Raise ServerError if something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"port {port} on {host} cannot be used ({error.strerror}); stop what listens there, or "
                "choose others with --port and --server-port"
            ) from None


@contextlib.contextmanager
def running(commands: Sequence[Command], stop_seconds: float = 6.0) -> Iterator[list[Child]]:
    """Start the commands, and end them with the block.

    Args:
        commands: Each gets a session of its own, so that its workers end with it.
        stop_seconds: Time for an orderly end, before they are killed.
    """
    children: list[Child] = []
    try:
        for command in commands:
            command.log.parent.mkdir(parents=True, exist_ok=True)
            with command.log.open("ab") as log:
                process = subprocess.Popen(
                    command.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **command.environment},
                    start_new_session=True,
                )
            children.append(Child(command, process))
        yield children
    finally:
        _end([child.process for child in children], stop_seconds)


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


def watch(children: Sequence[Child]) -> None:
    """Wait until a server ends, which is an error."""
    while True:
        _require_alive(children)
        time.sleep(POLL_SECONDS)  # no event tells when one of several processes ends


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _require_alive(children: Sequence[Child]) -> None:
    for child in children:
        code, log = child.process.poll(), child.command.log
        if code is not None:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise ServerError(
                f"{child.command.name} ended with exit code {code}: {' '.join(tail)} (see {log})"
            )
