"""`storage/node.db`: everything that the node must not lose.

A stream's window, the answer to an event and the queued drift job change in one transaction. Any number
of processes and threads may use one file.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from lenswatch.errors import DiskFull, StoreDamaged, StoreError
from lenswatch.forking import Uses
from lenswatch.node.store.database import named_errors
from lenswatch.node.store.opening import Opening
from lenswatch.node.store.pruning import Pruning
from lenswatch.node.store.reserve import Reserve
from lenswatch.node.store.shedding import Shedder
from lenswatch.node.store.tables import windows
from lenswatch.node.store.transaction import Answer, Transaction, answer_of, window_of

__all__ = ["NodeStore", "StreamSummary"]

log = logging.getLogger(__name__)

LARGE_WAL_BYTES = 1000 * 4096  # at which SQLite makes a checkpoint by itself

Result = TypeVar("Result")


@dataclass(frozen=True)
class StreamSummary:
    """Number and time of a stream's images under one reference."""

    stream: str
    digest: str
    images: int  # since the window was created
    updated_at: datetime  # UTC


class NodeStore:
    """The node's database. The folder, the file and its tables are created when they are missing.

    On a full disk that is done by the first read or write that finds space, and again by the one that finds
    the file deleted.

    Args:
        path: The database file.
        busy_timeout: Seconds to wait for another process's transaction.
        keep_outbox: Keep posted jobs; False when no tracking server is configured.
        max_bytes: Bytes of the jobs and pictures that wait, past which some are shed; None for as many as
            the disk takes.
        durable: Let each commit wait for the disk; False for a database that is deleted afterwards.
        pruning: Rule by which answers are kept for retries.
        clock: Seconds since 1970 in UTC.
        repairs: Repair the file when it is damaged.

    Raises:
        StoreDamaged: The file was damaged. It is repaired by now, and what was asked may be tried again; the
            windows of all streams start anew. Every method but the single reads raises it.
        StoreError: The file is another program's, of a newer version, or not writable; or it is damaged and
            cannot be repaired; or this process was forked while it was in use. Every method raises it too.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float = 30.0,
        keep_outbox: bool = True,
        max_bytes: int | None = None,
        durable: bool = True,
        pruning: Pruning | None = None,
        clock: Callable[[], float] = time.time,
        repairs: bool = True,
    ) -> None:
        self.path = Path(path)
        self.name = str(path)  # for people
        self.storage = self.path.parent  # the storage folder
        self.keep_outbox = keep_outbox
        self.reserve = Reserve(self.path.with_name(f"{self.path.name}-reserve"))
        self.shedder = Shedder(self.path.parent, max_bytes, self.reserve)
        self.posted = threading.Event()  # set after this process committed a job
        self.clock = clock
        self._pruning = pruning or Pruning()
        self._short = False  # a transaction found no space, and there is little still
        self._failed = False  # the last transaction found no space
        self._file = Opening(
            self.path, busy_timeout, self.reserve, durable=durable, repairs=repairs
        )
        self._uses = Uses(close=self._file.close, begin_anew=self._begin_anew)
        try:
            with self._uses.one():
                self.again(self._file.ensure)
        except DiskFull as error:
            said = str(error)
        else:
            return
        log.warning("nothing is recorded until node.db can be opened: %s", said)

    @property
    def is_shared(self) -> bool:
        """True if other machines may use the database, whose clock counts then."""
        return False

    @property
    def is_empty(self) -> bool:
        """True while there is no file, or one that could not be made on a full disk."""
        return not self.path.exists() or not self.path.stat().st_size

    @contextmanager
    def begin(
        self,
        *,
        leaving: int = 0,
        hasty: bool = False,
        stream: str | None = None,  # noqa: ARG002
    ) -> Iterator[Transaction]:
        """Open a write transaction: committed at the end, rolled back after an exception.

        Args:
            leaving: Pieces of the reserve that are not given back to a full disk for this transaction.
            hasty: Do not wait for the disk, so that a power cut may undo it.
            stream: The only stream that it concerns; SQLite has one writer at a time anyway.

        Raises:
            DiskFull: There is no space for it. Some was made, so that another try may succeed.
        """
        with self._uses.one():
            with self._changing(leaving, hasty=hasty) as transaction:
                yield transaction
            self._told(transaction)

    @contextmanager
    def _changing(self, leaving: int, *, hasty: bool) -> Iterator[Transaction]:
        self._file.ensure()
        with self._file.repaired(), self._file.alone():
            try:
                with named_errors(self.path), self._file.writing(hasty=hasty) as connection:
                    transaction = Transaction(connection, self, leaving)
                    yield transaction
                    self._pruning.after(connection, transaction.answers_put)
            except DiskFull:
                self._make_space(leaving)
                raise
        self._failed = False
        self._file.check_current()
        if self._short:  # SQLite does it by itself in a large WAL only
            self._checkpoint()
            self._short = self.shedder.is_tight()

    def _told(self, transaction: Transaction) -> None:
        """Tell what a transaction that is committed has done."""
        if transaction.posted:
            self.posted.set()
        for notice in transaction.notices:
            log.warning("%s: %s", self.name, notice)

    def _make_space(self, leaving: int) -> None:
        """Let the WAL be written from its beginning again.

        It gets some reserve where it is small, or where that alone did not help the last time.
        """
        wal = self.path.with_name(f"{self.path.name}-wal")
        if self._failed or not wal.exists() or wal.stat().st_size < LARGE_WAL_BYTES:
            self.reserve.release(leaving)
        self._short = self._failed = True
        if not self._checkpoint() and self.reserve.release(leaving):
            self._checkpoint()

    def _checkpoint(self) -> bool:
        """Write what is in the WAL into the file, and return False where there is no space for it."""
        try:
            with named_errors(self.path), self._file.connections.reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        except DiskFull:
            return False
        except StoreError:  # not for want of space
            return True
        return True

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for single reads outside any transaction; it never waits for a writer."""
        with self._uses.one():
            self._file.ensure()
            with self._reading() as connection:
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with (
            self._file.repaired(),
            named_errors(self.path),
            self._file.connections.reading() as connection,
        ):
            yield connection

    def again(self, work: Callable[[], Result]) -> Result:
        """Do something, and once more if the file was found to be damaged and was repaired.

        Args:
            work: What to do; nothing of it is committed when it raises StoreDamaged.

        Raises:
            StoreError: The file cannot be used, or was damaged twice.
        """
        with contextlib.suppress(StoreDamaged):
            return work()
        return work()

    def answer(self, event_id: str) -> Answer | None:
        """Return the first answer to `event_id`, None if there is none or it is no longer kept."""
        return self.again(lambda: self._read(answer_of, event_id))

    def window(self, stream: str, digest: str) -> bytes | None:
        """Return the stored state of `stream` under the reference `digest`, or None."""
        return self.again(lambda: self._read(window_of, stream, digest))

    def streams(self) -> list[StreamSummary]:
        """Return all streams, the one with the newest image first."""
        columns = (windows.c.stream, windows.c.digest, windows.c.images, windows.c.updated_at)
        with self.read() as connection:
            rows = connection.execute(sa.select(*columns).order_by(windows.c.updated_at.desc()))
            return [
                StreamSummary(stream, digest, images, datetime.fromtimestamp(updated_at, UTC))
                for stream, digest, images, updated_at in rows
            ]

    def sync(self) -> None:
        """Wait until all that was committed hastily is on the disk."""
        with self._uses.one():
            self._file.ensure()
            self._checkpoint()

    def close(self) -> None:
        """Close all connections. They are opened again when needed."""
        with self._uses.one():
            self._file.close()

    def _begin_anew(self) -> None:
        self.posted = threading.Event()
        self._file.begin_anew(closed=self._uses.closed)

    def _read(self, statement: Callable[..., Result], *given: str) -> Result:
        with self.read() as connection:
            return statement(connection, *given)
