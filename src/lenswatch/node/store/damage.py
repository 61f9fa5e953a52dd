"""Damage of `node.db`: noticed by whoever meets it, repaired once, and told."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from lenswatch.errors import DiskFull, StoreDamaged, StoreError
from lenswatch.node.store.guard import Guard, beside
from lenswatch.node.store.pages import read_log
from lenswatch.node.store.repair import repair_in_a_process
from lenswatch.node.store.reserve import free_bytes
from lenswatch.node.store.salvage import Recovered
from lenswatch.node.store.tables import repairs as table

__all__ = ["Damage", "Repair", "repairs_of"]

log = logging.getLogger(__name__)

REST_SECONDS = 10.0  # between two repairs: a file that is damaged again at once will be so again


class Repair(NamedTuple):
    """A repair of the database.

    Attributes:
        at: ISO 8601 in UTC.
        kept_as: Name of the damaged file.
        recovered: Numbers of rows.
    """

    at: str
    kept_as: str
    recovered: Recovered


def repairs_of(connection: sa.Connection) -> list[Repair]:
    """Return the repairs of a database, the oldest first."""
    rows = connection.execute(sa.select(table).order_by(table.c.id))
    return [Repair(row.at, row.kept_as, Recovered(**json.loads(row.recovered))) for row in rows]


class Damage:
    """The damage of one `node.db` as one process meets it.

    Args:
        path: The database.
        timeout: Seconds to wait for others that write.
        repairs: Repair it.
    """

    def __init__(self, path: Path, timeout: float, *, repairs: bool) -> None:
        self.guard = Guard(path, timeout)
        self._path = path
        self._timeout = timeout
        self._repairs = repairs
        self._one = threading.Lock()
        self._known = self.guard.last_repair()
        self._said = ""  # of a repair, to be logged
        self._rests_until = 0.0
        self._rests_because = ""

    @contextmanager
    def repaired(self, dispose: Callable[[], None]) -> Iterator[None]:
        """Repair the database when damage ends the block, and raise StoreDamaged for a new try.

        Args:
            dispose: Closes the connections then.

        Raises:
            StoreError: It cannot be repaired.
        """
        known = self._known
        try:
            yield
        except StoreDamaged as error:
            if not self._repairs:
                raise StoreError(f"{error}; a running node repairs it") from error
            self._repair(str(error), known, dispose)
            raise

    def check(self) -> None:
        """Look for damage of which SQLite says nothing, while nobody writes.

        It drops the log of an empty file, and what comes after a damaged part of a log. An empty file that
        was never whole is a new one: the disk was full when it was to be made.

        Raises:
            StoreDamaged: There is such damage.
        """
        try:
            empty = self._path.stat().st_size == 0
        except FileNotFoundError:
            self._begin_anew()
            return
        if empty:
            if self.guard.was_made() or _size(beside(self._path, "-wal")):
                raise StoreDamaged(f"{self._path}: the file is empty")
            return
        try:
            log = read_log(beside(self._path, "-wal").read_bytes())
        except FileNotFoundError:
            return
        if log.is_damaged:
            raise StoreDamaged(f"{self._path}: its log is damaged")

    def tell(self) -> None:
        """Log what was repaired. DEEPaaS' log repeats an error that is being handled, so not at once."""
        said, self._said = self._said, ""
        if said:
            log.warning("%s", said)

    def note_made(self) -> None:
        """Note that the file is whole."""
        self.guard.note_made()
        self._known = self.guard.last_repair()

    def close(self) -> None:
        """Close the file of the lock."""
        self.guard.close()

    def begin_anew(self) -> None:
        """Begin anew in a forked process."""
        self._one = threading.Lock()
        self.guard.begin_anew()

    def _repair(self, problem: str, known: str, dispose: Callable[[], None]) -> None:
        with self._one:
            if self._known != known:  # another thread has done it
                return
            self._check_space(problem)
            if time.monotonic() < self._rests_until:
                raise StoreError(f"{problem}; {self._rests_because}")
            empty = self._path.stat().st_size == 0
            try:
                said = repair_in_a_process(self._path, known, empty=empty, timeout=self._timeout)
            except StoreError as error:
                self._rest(f"it is tried again in {REST_SECONDS:g} s, since {error}")
                raise
            if said:
                self._said = said
                self._rest("it was repaired a moment ago, so disk or memory may be failing")
            dispose()
            self._known = self.guard.last_repair()

    def _begin_anew(self) -> None:
        """Delete what a file that was deleted has left: an index of its log would spoil the next one."""
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                beside(self._path, suffix).unlink(missing_ok=True)
        self.guard.note_gone()

    def _rest(self, because: str) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        self._rests_because = because

    def _check_space(self, problem: str) -> None:
        """Check that the damaged file can be kept beside a new one.

        Raises:
            DiskFull: It cannot.
        """
        needed = _size(self._path) + _size(beside(self._path, "-wal"))
        free = free_bytes(self._path.parent)
        if free < needed:
            raise DiskFull(
                f"{problem}; its repair needs {needed} bytes and the disk has {free}: free some space"
            )


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 without one."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
