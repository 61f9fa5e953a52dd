"""The periodic runner: threads in each server process, of which those of one process do the work.

Who does is settled by a lease in the database. A holder that dies loses it after `LEASE_SECONDS`; one that
stops gives it back. Chores that may take seconds have a thread and a lease of their own, so that nothing
else waits for them. A chore must be safe to run twice, since a holder that was frozen may wake up late:
what may happen only once is decided within one transaction of the database.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Connection, or_, select, update

from lenswatch.server.db.database import Database, Outage, insert_into
from lenswatch.server.db.tables import leases
from lenswatch.server.values import stamps

__all__ = ["LEASE_SECONDS", "Chore", "Upkeep", "hold"]

LEASE_SECONDS = 20.0
_LONGEST_SECONDS = 5 * LEASE_SECONDS  # of a lease, with clocks that differ
_LOOK_SECONDS = 1.0  # between two looks at the lease and at the chores
_NAMES = {
    False: "upkeep",
    True: "slow upkeep",
}  # of threads and leases, by whether their chores are slow


def _nothing() -> None:
    """End at once."""


def _stay(_connection: Connection, _ended: int) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Chore:
    """Something that happens by itself.

    Attributes:
        name: For the log.
        every_seconds: Time between the end of one run and the beginning of the next.
        run: Does it, and returns True if it should go on soon. It should return within half of
            `LEASE_SECONDS`, and look at the event that says stop.
        end: Waits for what `run` has begun in other threads, when the process ends.
        slow: It may take seconds.
        after_absence: Is called with the moment at which the last process stopped to run chores, before
            this one begins.
    """

    name: str
    every_seconds: float
    run: Callable[[Database, threading.Event], bool | None]
    end: Callable[[], None] = _nothing
    slow: bool = False
    after_absence: Callable[[Connection, int], None] = _stay


class Upkeep:
    """The threads of one process that run the chores while it holds their leases."""

    def __init__(
        self,
        database: Database,
        chores: Sequence[Chore],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._stopping = threading.Event()
        self._runners = [
            _Runner(name, database, [c for c in chores if c.slow is slow], log, self._stopping)
            for slow, name in _NAMES.items()
        ]

    def start(self) -> None:
        """Begin."""
        for runner in self._runners:
            if runner.chores:
                runner.thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End after the chores that run, and give the leases back."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        for runner in self._runners:
            if runner.thread.is_alive():
                runner.thread.join(max(0.0, deadline - time.monotonic()))


class _Runner:
    """One thread with one lease."""

    def __init__(
        self,
        name: str,
        database: Database,
        chores: Sequence[Chore],
        log: structlog.typing.FilteringBoundLogger,
        stopping: threading.Event,
    ) -> None:
        self.name = name
        self.database = database
        self.chores = chores
        self.log = log
        self.holder = str(uuid.uuid4())
        self._due = dict.fromkeys((chore.name for chore in chores), 0.0)
        self._held_until = 0.0
        self._stopping = stopping
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)

    def _work(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                self._run_due()
            except Outage as outage:
                self.log.warning("upkeep", reason=str(outage))
            except Exception:
                self.log.exception("upkeep")
        for chore in self.chores:
            chore.end()
        with (
            contextlib.suppress(Exception),
            self.database.write() as connection,
        ):  # else it runs out
            mine = leases.c.holder == self.holder
            connection.execute(update(leases).where(mine).values(until=stamps.now()))

    def _run_due(self) -> None:
        for chore in self.chores:
            if self._stopping.is_set():
                return
            if time.monotonic() >= self._due[chore.name] and self._holds():
                more = self._run(chore)
                self._due[chore.name] = time.monotonic() + (0.0 if more else chore.every_seconds)

    def _holds(self) -> bool:
        """Return whether this process has the lease, which it extends when half of it is over."""
        if time.monotonic() < self._held_until - LEASE_SECONDS / 2:
            return True
        asked = time.monotonic()
        with self.database.read() as connection:
            if _is_taken(connection, self.name, self.holder):
                return False
        with self.database.write() as connection:
            ended = _ended(connection, self.name)
            held = hold(connection, self.name, self.holder)
            if held and ended is not None:
                self._after_absence(connection, ended)
        self._held_until = asked + LEASE_SECONDS if held else 0.0
        return held

    def _after_absence(self, connection: Connection, ended: int) -> None:
        for chore in self.chores:
            chore.after_absence(connection, ended)

    def _run(self, chore: Chore) -> bool:
        """Run a chore, and return whether it should go on soon."""
        try:
            return bool(chore.run(self.database, self._stopping))
        except Outage:
            raise
        except Exception:
            self.log.exception("chore failed", chore=chore.name)
            return False


def hold(connection: Connection, name: str, holder: str, seconds: float = LEASE_SECONDS) -> bool:
    """Take or extend a lease, and return whether `holder` has it now."""
    now = stamps.now()
    values = {"name": name, "holder": holder, "until": now + int(seconds * 1e6)}
    take = insert_into(connection, leases).values(values)
    free = or_(leases.c.holder == holder, ~_lasts(now))
    take = take.on_conflict_do_update(index_elements=["name"], set_=values, where=free)
    return connection.execute(take.returning(leases.c.name)).first() is not None


def _ended(connection: Connection, name: str) -> int | None:
    """Return when a lease ended that nobody has now, else None."""
    query = select(leases.c.until).where(leases.c.name == name, leases.c.until < stamps.now())
    return connection.execute(query).scalar()


def _is_taken(connection: Connection, name: str, holder: str) -> bool:
    """Return whether another one has the lease, without the lock that a write needs."""
    lasts = _lasts(stamps.now())
    query = select(leases.c.name).where(leases.c.name == name, leases.c.holder != holder, lasts)
    return connection.execute(query).first() is not None


def _lasts(now: int) -> ColumnElement[bool]:
    """Return the condition that a lease is held; one that ends too late is from a clock set back since."""
    return leases.c.until.between(now, now + int(_LONGEST_SECONDS * 1e6))
