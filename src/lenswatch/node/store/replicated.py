"""The node's database on PostgreSQL: everything that replicas of a node must not lose, and share."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from lenswatch.errors import StoreUnavailable
from lenswatch.forking import Uses
from lenswatch.node.store.postgres import PostgresConnections
from lenswatch.node.store.pruning import Pruning, SharedPruning
from lenswatch.node.store.reserve import NoReserve
from lenswatch.node.store.shedding import Shedder
from lenswatch.node.store.store import NodeStore, Result
from lenswatch.node.store.transaction import Transaction

__all__ = ["ReplicatedStore"]

log = logging.getLogger(__name__)


class ReplicatedStore(NodeStore):
    """The database of any number of replicas of a node, on any number of machines.

    The tables are made when they are missing. A database that cannot be reached is waited for: each use
    raises StoreUnavailable until it can.

    Args:
        url: A SQLAlchemy URL of PostgreSQL.
        storage: The storage folder, which all replicas share.
        keep_outbox: Keep posted jobs; False when no tracking server is configured.
        max_bytes: Bytes of the jobs and pictures that wait, past which some are shed; None for no limit. The
            disk of PostgreSQL is not looked at.
        pruning: Rule by which answers are kept for retries.
        clock: Seconds since 1970 in UTC.

    Raises:
        StoreError: The URL is none of PostgreSQL.
    """

    def __init__(
        self,
        url: str,
        storage: Path,
        *,
        keep_outbox: bool = True,
        max_bytes: int | None = None,
        pruning: Pruning | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self._connections = PostgresConnections(url)
        self.name = self._connections.name
        self.storage = storage
        with contextlib.suppress(OSError):  # whoever needs it says so
            storage.mkdir(parents=True, exist_ok=True)
        self.keep_outbox = keep_outbox
        self.reserve = NoReserve(storage)
        self.shedder = Shedder(storage, max_bytes, self.reserve, on_disk=False)
        self.posted = threading.Event()
        self.clock = clock
        self._pruning = pruning or SharedPruning()
        self._uses = Uses(close=self._connections.dispose, begin_anew=self._begin_anew)

    @property
    def is_shared(self) -> bool:
        """True, since other machines may use it."""
        return True

    @property
    def is_empty(self) -> bool:
        """False, since what an unreachable database holds is not known."""
        return False

    @contextmanager
    def begin(
        self, *, leaving: int = 0, hasty: bool = False, stream: str | None = None
    ) -> Iterator[Transaction]:
        """Open a write transaction: committed at the end, rolled back after an exception.

        Args:
            leaving: Nothing, since there is no reserve.
            hasty: Do not wait for the disk, so that a power cut may undo it.
            stream: The only stream that it concerns, so that others go on meanwhile; None for all.

        Raises:
            StoreUnavailable: The database cannot be reached, or has given up this transaction. Perhaps it was
                committed.
        """
        with self._uses.one():
            with self._connections.changing(stream, hasty=hasty) as connection:
                transaction = Transaction(connection, self, leaving)
                yield transaction
                self._pruning.after(connection, transaction.answers_put)
            self._told(transaction)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for single reads outside any transaction; it never waits for a writer."""
        with self._uses.one(), self._connections.reading() as connection:
            yield connection

    def again(self, work: Callable[[], Result]) -> Result:
        """Do something, and once more if the connection was cut or the transaction given up.

        Raises:
            StoreUnavailable: The database cannot be used now.
        """
        with contextlib.suppress(StoreUnavailable):
            return work()
        return work()

    def sync(self) -> None:
        """Wait until all that was committed hastily is on the disk."""
        with self.begin() as transaction:  # a commit that waits makes those before it durable, too
            transaction.connection.exec_driver_sql("SELECT pg_current_xact_id()")

    def close(self) -> None:
        """Close all connections. They are opened again when needed."""
        with self._uses.one():
            self._connections.dispose()

    def _begin_anew(self) -> None:
        self.posted = threading.Event()
        self._connections.abandon()
