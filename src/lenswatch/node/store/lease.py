"""One holder at a time among all processes that use a node.db."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from lenswatch.errors import StoreError
from lenswatch.node.store.database import lease
from lenswatch.node.store.store import NodeStore

__all__ = ["Lease"]

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds between two looks at somebody else's lease
FARTHEST = 60.0  # seconds; no lease is longer


class Lease:
    """A row of node.db that names its holder until a time, and a thread that keeps it ours.

    A holder that dies stops renewing, and the lease passes on after `seconds`. Times are those of
    the machine's monotonic clock, which all its processes share; a time further ahead than a lease
    can be is from before the machine was restarted.
    """

    def __init__(
        self,
        store: NodeStore,
        name: str,
        seconds: float = 10.0,
        on_gain: Callable[[], None] = lambda: None,
    ) -> None:
        self.holder = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._store = store
        self._name = name
        self._seconds = seconds
        self._until = 0.0
        self._on_gain = on_gain
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{name}", daemon=True)

    @property
    def held(self) -> bool:
        """Whether the lease is ours now."""
        return time.monotonic() < self._until

    def start(self) -> None:
        """Begin to ask for the lease, and to renew it."""
        self._thread.start()

    def release(self) -> None:
        """Give the lease back at once."""
        self._ended.set()
        if self._thread.ident:
            self._thread.join()
        self._until = 0.0
        mine = (lease.c.name == self._name, lease.c.holder == self.holder)
        try:
            with self._store.begin() as transaction:
                transaction.connection.execute(sa.delete(lease).where(*mine))
        except StoreError as error:  # it then ends by itself
            logger.warning("the lease cannot be given back: %s", error)

    def _keep(self) -> None:
        while not self._ended.is_set():
            try:
                self._ask()
            except StoreError as error:
                logger.warning("the lease cannot be renewed: %s", error)
            self._ended.wait(self._seconds / 3 if self.held else min(LOOK_EVERY, self._seconds / 3))

    def _ask(self) -> None:
        had = self.held
        if not had and self._somebody_has_it():
            return
        now = time.monotonic()
        if self._take(now):
            self._until = now + self._seconds
            if not had:
                self._on_gain()
        else:
            self._until = 0.0

    def _somebody_has_it(self) -> bool:
        statement = sa.select(lease.c.holder, lease.c.expires_at).where(lease.c.name == self._name)
        with self._store.read() as connection:
            row = connection.execute(statement).first()
        now = time.monotonic()
        return (
            row is not None and row.holder != self.holder and now < row.expires_at <= now + FARTHEST
        )

    def _take(self, now: float) -> bool:
        row = {"name": self._name, "holder": self.holder, "expires_at": now + self._seconds}
        statement = insert(lease).on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": row["holder"], "expires_at": row["expires_at"]},
            where=sa.or_(
                lease.c.holder == self.holder,
                lease.c.expires_at <= now,
                lease.c.expires_at > now + FARTHEST,
            ),
        )
        with self._store.begin() as transaction:
            return int(transaction.connection.execute(statement, row).rowcount) == 1
