"""The reasons why rows of the outbox wait, as the sender leaves them in `node.db` for others to read."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import sqlalchemy as sa

from lenswatch.errors import StoreError
from lenswatch.node.store.dialects import insert
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import outbox
from lenswatch.node.store.tables import waiting as table

__all__ = ["Queue", "Reason", "Waiting", "reasons_of"]

# All jobs, all pictures, or single rows that fail while others are accepted.
Queue: TypeAlias = Literal["jobs", "pictures", "failing"]

_NOT_PARKED = outbox.c.parked_because.is_(None)
_JOBS = (_NOT_PARKED, outbox.c.drift_id.is_(None))
_PICTURES = (_NOT_PARKED, outbox.c.drift_id.is_not(None))
_FAILED = outbox.c.attempts > 0
_PUT_OFF = outbox.c.due_at > sa.literal_column("0")  # as the index of these has it
_ROWS: dict[str, tuple[tuple[sa.ColumnElement[bool], ...], ...]] = {
    "jobs": (_JOBS,),
    "pictures": (_PICTURES,),
    "failing": ((*_JOBS, _PUT_OFF, _FAILED), (*_PICTURES, _FAILED)),
}


@dataclass(frozen=True)
class Reason:
    """The last error because of which a queue waits.

    Attributes:
        rows: Number of rows that wait.
        because: One line.
        since: Time of the first error in a row, UTC.
    """

    rows: int
    because: str
    since: datetime

    def to_json(self) -> dict[str, str]:
        """Return the reason for a health check."""
        return {
            "waiting_since": self.since.isoformat(timespec="seconds"),
            "waiting_because": self.because,
        }


def reasons_of(store: NodeStore) -> dict[str, Reason]:
    """Return the reason of each queue in which rows wait.

    Raises:
        StoreError: The database cannot be read.
    """
    with store.read() as connection:
        found = [
            (row.queue, Reason(_count(connection, row.queue), row.because, _moment(row.since)))
            for row in connection.execute(sa.select(table)).all()
        ]
    return {queue: reason for queue, reason in found if reason.rows}


def _count(connection: sa.Connection, queue: str) -> int:
    number = sa.select(sa.func.count()).select_from(outbox)
    return sum(connection.execute(number.where(*each)).scalar_one() for each in _ROWS[queue])


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Waiting:
    """Writes the reasons, each only when it changes. What cannot be written is written another time."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._known: dict[Queue, str] = {}  # empty text: the queue does not wait

    def forget(self) -> None:
        """Look into the table again, since another process may have written it."""
        self._known = {}

    def note(self, queue: Queue, because: str) -> None:
        """Write why a queue waits. The time of the first error stays until `end`."""
        if self._known.get(queue) == because:
            return
        row = {"queue": queue, "because": because, "since": self._store.clock()}
        statement = insert(table).on_conflict_do_update(
            index_elements=["queue"], set_={"because": because}
        )
        with contextlib.suppress(StoreError):
            with self._store.begin() as transaction:
                transaction.connection.execute(statement, row)
            self._known[queue] = because

    def end(self, queue: Queue) -> None:
        """Write that a queue does not wait any more."""
        if self._known.get(queue) == "":
            return
        mine = table.c.queue == queue
        with contextlib.suppress(StoreError):
            with self._store.read() as connection:
                waits = connection.execute(sa.select(table.c.queue).where(mine)).first()
            if waits is not None:
                with self._store.begin() as transaction:
                    transaction.connection.execute(sa.delete(table).where(mine))
            self._known[queue] = ""
