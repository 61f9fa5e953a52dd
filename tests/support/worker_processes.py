"""The worker processes of a deepaas-run, and a picture that keeps one of them at work."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil

from lenswatch.reference.paths import node_database
from support.waiting import until

__all__ = ["Idle", "family_of", "locked", "uploads_in", "workers_of"]

WAITS = (
    5  # of a process that has begun a call, and tries to lock the database; an idle one waits once
)
COMPUTED_SECONDS = 0.1
SETTLED = 25  # looks in a row: a process that starts does not sleep so long


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the pool's processes without multiprocessing's resource tracker."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def family_of(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, also through others."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def uploads_in(folder: Path) -> list[str]:
    """Return the names of the uploads that are left in a temporary folder."""
    return [path.name for path in folder.rglob("tmp*") if path.is_file()]


@contextlib.contextmanager
def locked(storage: Path) -> Iterator[sqlite3.Connection]:
    """Lock node.db for writing, so that a picture is judged up to its transaction, and stays there."""
    with contextlib.closing(sqlite3.connect(node_database(storage), timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


class Idle:
    """The worker processes of a parent, all of them idle, to find the one that begins a call.

    Args:
        pid: The parent.
        n: Their number.
    """

    def __init__(self, pid: int, n: int) -> None:
        self._pid, self._n = pid, n
        self._before: dict[psutil.Process, int] = {}
        self._settled = 0  # looks in a row in which none of them did anything
        until(self._look, 120)

    def computing(self) -> psutil.Process:
        """Wait for one that computes, and return it."""
        before = {process: process.cpu_times().user for process in self._before}

        def computing() -> psutil.Process | None:
            for process, seconds in before.items():
                if process.cpu_times().user > seconds + COMPUTED_SECONDS:
                    return process
            return None

        found = until(computing)
        assert found is not None
        return found

    def busy(self) -> psutil.Process:
        """Wait for one that tries to lock the database, and return it."""

        def working() -> psutil.Process | None:
            for process, waits in self._before.items():
                if (_waits(process) or 0) >= waits + WAITS:
                    return process
            return None

        found = until(working)
        assert found is not None
        return found

    def _look(self) -> bool:
        now = {process: _waits(process) for process in workers_of(self._pid)}
        if len(now) != self._n or None in now.values() or now != self._before:
            self._settled = 0
        self._before = {process: waits or 0 for process, waits in now.items()}
        self._settled += 1
        return self._settled > SETTLED


def _waits(process: psutil.Process) -> int | None:
    """Return how often a process has waited so far; None while it does not wait."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.status() == psutil.STATUS_SLEEPING:
            return int(process.num_ctx_switches().voluntary)
    return None
