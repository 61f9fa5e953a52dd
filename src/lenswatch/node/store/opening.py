"""The file `node.db` as one process has it open: opened late on a full disk, and anew when it was deleted."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from lenswatch.errors import DiskFull, StoreDamaged, StoreError
from lenswatch.node.store.connections import Connections, Synchronous
from lenswatch.node.store.damage import Damage
from lenswatch.node.store.database import migrate, named_errors, open_engine
from lenswatch.node.store.reserve import Reserve

__all__ = ["Opening"]

log = logging.getLogger(__name__)

_crossed: set[tuple[int, int] | None] = set()  # files that were open when this process was forked


class Opening:
    """A database that is open, or that is opened as soon as there is space for it.

    SQLite does not notice when its file is deleted or replaced: it goes on with one that nobody can find.

    Args:
        path: The database file. It, its folder and its tables are created when they are missing.
        busy_timeout: Seconds to wait for others that write.
        reserve: Space that is given back when there is too little to open the file.
        durable: Let each commit wait for the disk.
        repairs: Repair the file when it is damaged.

    Attributes:
        connections: Connections of the file.
    """

    def __init__(
        self, path: Path, busy_timeout: float, reserve: Reserve, *, durable: bool, repairs: bool
    ) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._reserve = reserve
        self._damage = Damage(path, busy_timeout, repairs=repairs)
        self._begin()
        with named_errors(path):
            self._engine = open_engine(path, busy_timeout, durable=durable)
        self.connections = Connections(self._engine)
        self._durable = durable

    def _begin(self) -> None:
        self._opening = threading.Lock()
        self._writing = threading.Lock()  # wakes the next thread at once, where SQLite only polls
        self._file: tuple[int, int] | None = None  # the one that is open

    @property
    def is_current(self) -> bool:
        """True while the open file is the one that its path names."""
        return self._file is not None and self._file == _file_at(self._path)

    def ensure(self) -> None:
        """Open the file if it is not open, or is no longer the one that its path names.

        Raises:
            DiskFull: There is no space to make or open it. It may be tried again.
            StoreDamaged: It was damaged, and is repaired by now.
            StoreError: It cannot be used.
        """
        self._damage.tell()
        if self.is_current:
            return
        with self._opening:
            if self.is_current:
                return
            gone = self._file is not None
            if gone:
                log.warning(
                    "%s was deleted or replaced while it was in use, so it is opened anew: windows and what "
                    "waits to be sent are those of the file that is there now, and start anew without one",
                    self._path,
                )
                self._close()
            try:
                self._open(again=gone)
            except DiskFull:
                if not self._reserve.release():
                    raise
                self._open(again=gone)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other thread writes and no process repairs the file."""
        writing = self._writing
        if not writing.acquire(timeout=self._busy_timeout):
            raise StoreError(
                f"{self._path}: another thread kept it locked for more than "
                f"{self._busy_timeout:g} s; try again"
            )
        try:
            with self._damage.guard.shared():
                yield
        finally:
            writing.release()

    @contextmanager
    def repaired(self) -> Iterator[None]:
        """Repair the file when damage ends the block, and raise StoreDamaged for a new try.

        Raises:
            StoreError: It cannot be repaired.
        """
        with self._damage.repaired(self.connections.dispose):
            yield

    @contextmanager
    def writing(self, *, hasty: bool) -> Iterator[sa.Connection]:
        """Open a write transaction; a power cut may undo one that is hasty."""
        synchronous: Synchronous = "OFF"
        if self._durable:
            synchronous = "NORMAL" if hasty else "FULL"
        with self.connections.writing(synchronous) as connection:
            yield connection

    def check_current(self) -> None:
        """Raise StoreDamaged when the file was deleted or replaced while something was committed."""
        if not self.is_current:
            raise StoreDamaged(f"{self._path}: was deleted or replaced during a transaction")

    def close(self) -> None:
        """Close all connections. They are opened again when needed."""
        with self._opening:
            self._close()

    def begin_anew(self, *, closed: bool) -> None:
        """Begin anew in a forked process: with locks and connections of its own.

        Args:
            closed: It was closed before the fork. Otherwise this process can never use the file: SQLite takes
                locks of the process before it for its own, and may wait for that one's threads for ever.
        """
        inherited = self._file or _file_at(self._path)
        if not closed and inherited:
            _crossed.add(inherited)
        self.connections.abandon()
        self._damage.begin_anew()
        self._begin()

    def _close(self) -> None:
        self.connections.dispose()
        with self._writing:
            self._damage.close()
        self._file = None

    def _open(self, *, again: bool) -> None:
        if _file_at(self._path) in _crossed:
            raise StoreError(
                f"{self._path}: was in use when this process was forked, so that it cannot be used here: "
                "fork while no call runs, or start a new process instead"
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
            raise kind(f"{self._path}: cannot make its folder: {error.strerror}") from error
        with self.repaired(), self._writing, self._damage.guard.alone():
            self._damage.check()
        with self.repaired(), self.alone(), named_errors(self._path):
            writer = self._engine.execution_options(begin="BEGIN IMMEDIATE")
            migrate(self._engine, writer, self._busy_timeout, spare_ids=again)
            self._damage.note_made()
        self._file = _file_at(self._path)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return what identifies the file at a path; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
