"""A lease: at most one holder at a time among all processes that use a `node.db`."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa

from lenswatch.errors import StoreError
from lenswatch.node.store.dialects import insert
from lenswatch.node.store.pruning import DATABASE_CLOCK
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import lease

__all__ = ["Lease"]

log = logging.getLogger(__name__)

LONGEST_SECONDS = 60.0  # of a lease


class Lease:
    """A row of `node.db` that names the holder until a time, and a thread that asks for it and renews it.

    A holder that dies stops renewing, and another one gets the lease after `seconds`. Times in the row are
    those of the machine's monotonic clock, which all its processes share, or of the clock of a database that
    several machines share. A time that is further ahead than the
    longest lease was written before the machine was restarted, and is ignored.

    Args:
        store: The database.
        name: Name of the lease.
        seconds: Length of the lease, at most 60. It is renewed after a third of it.
        on_gain: Called when the lease was obtained.
        look_every: Seconds between two looks at a lease that another process holds.
        clock: Seconds on a clock that all processes of the machine share.
    """

    def __init__(
        self,
        store: NodeStore,
        name: str,
        seconds: float = 10.0,
        on_gain: Callable[[], None] = lambda: None,
        *,
        look_every: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.holder = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._store = store
        self._name = name
        self._seconds = seconds
        self._look_every = min(look_every, seconds / 3)
        self._clock = clock
        self._until = 0.0
        self._on_gain = on_gain
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{name}", daemon=True)

    @property
    def held(self) -> bool:
        """True while the lease is this object's."""
        return self._clock() < self._until

    def start(self) -> None:
        """Start the thread that asks for the lease and renews it."""
        self._thread.start()

    def release(self) -> None:
        """Stop the thread and give the lease back at once."""
        self._ended.set()
        if self._thread.ident:
            self._thread.join()
        self._until = 0.0
        mine = (lease.c.name == self._name, lease.c.holder == self.holder)
        try:
            with self._store.begin() as transaction:
                transaction.connection.execute(sa.delete(lease).where(*mine))
        except StoreError as error:  # it expires then
            failed = error
        else:
            return
        log.warning(
            "the lease %r could not be released (it expires by itself): %s", self._name, failed
        )

    def _keep(self) -> None:
        while not self._ended.is_set():
            failed: StoreError | None = None
            try:
                self._ask()
            except StoreError as error:
                failed = error
            if failed is not None:  # here, since DEEPaaS' log repeats an exception that is handled
                log.warning(
                    "the lease %r could not be renewed (tried again): %s", self._name, failed
                )
            self._ended.wait(self._seconds / 3 if self.held else self._look_every)

    def _ask(self) -> None:
        had = self.held
        if not had and self._is_taken():
            return
        asked = self._clock()
        if self._take():
            self._until = asked + self._seconds
            if not had:
                self._on_gain()
        else:
            self._until = 0.0

    def _is_taken(self) -> bool:
        statement = sa.select(lease.c.holder, lease.c.expires_at).where(lease.c.name == self._name)
        with self._store.read() as connection:
            row = connection.execute(statement).first()
            now = self._now(connection)
        if row is None or row.holder == self.holder:
            return False
        return bool(now < row.expires_at <= now + LONGEST_SECONDS)

    def _now(self, connection: sa.Connection) -> float:
        """Return the time on the clock of the row."""
        if self._store.is_shared:
            return float(connection.execute(DATABASE_CLOCK).scalar_one())
        return self._clock()

    def _take(self, now: float | None = None) -> bool:
        with self._store.begin() as transaction:
            connection = transaction.connection
            return self._write(connection, self._now(connection) if now is None else now)

    def _write(self, connection: sa.Connection, now: float) -> bool:
        row = {"name": self._name, "holder": self.holder, "expires_at": now + self._seconds}
        statement = insert(lease).on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": row["holder"], "expires_at": row["expires_at"]},
            where=sa.or_(
                lease.c.holder == self.holder,
                lease.c.expires_at <= now,
                lease.c.expires_at > now + LONGEST_SECONDS,
            ),
        )
        return connection.execute(statement.returning(lease.c.name), row).first() is not None
