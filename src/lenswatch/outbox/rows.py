"""The outbox as rows of node.db: due, parked, acknowledged."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from lenswatch.node.store.database import experiments, outbox, pictures
from lenswatch.node.store.store import NodeStore

__all__ = ["Counts", "OutboxRows", "Parked", "Row"]

FARTHEST = 3600.0  # seconds; a row due later than this was dated by a clock that has been put back

_has_picture = sa.exists().where(pictures.c.outbox_id == outbox.c.id).label("has_picture")
_NOT_PARKED = outbox.c.parked_because.is_(None)
_JOBS = (_NOT_PARKED, outbox.c.drift_id.is_(None))
_PICTURES = (_NOT_PARKED, outbox.c.drift_id.is_not(None))
_PARKED = outbox.c.parked_because.is_not(None)
_IDS = outbox.c.id.in_(sa.bindparam("ids", expanding=True))
_IS_DUE = sa.or_(
    outbox.c.due_at <= sa.bindparam("now"), outbox.c.due_at > sa.bindparam("now") + FARTHEST
)
_DUE_JOBS = (
    sa.select(outbox.c.id, outbox.c.attempts, outbox.c.tried, outbox.c.job, _has_picture)
    .where(*_JOBS, _IS_DUE)
    .order_by(outbox.c.id)
    .limit(sa.bindparam("at_most"))
)
_DUE_PICTURES = (
    sa.select(outbox.c.id, outbox.c.attempts, outbox.c.drift_id)
    .where(*_PICTURES, _IS_DUE)
    .order_by(outbox.c.id)
    .limit(sa.bindparam("at_most"))
)
_OLDEST = sa.select(outbox.c.posted_at).order_by(outbox.c.id).limit(1)


@dataclass(frozen=True)
class Row:
    """A drift job on its way."""

    id: int
    job: dict[str, Any]
    attempts: int  # that failed while other jobs got through
    tried: bool  # it may have arrived without our hearing of it
    has_picture: bool

    @property
    def event_id(self) -> str:
        """What makes a second arrival recognisable."""
        return str(self.job["parameters"].get("event_id", ""))


@dataclass(frozen=True)
class PictureRow:
    """A picture whose drift job has arrived."""

    id: int
    attempts: int
    drift_id: str


@dataclass(frozen=True)
class Parked:
    """A drift job that the server refused, and why."""

    id: int
    event_id: str
    stream: str
    posted_at: datetime  # UTC
    reason: str


@dataclass(frozen=True)
class Counts:
    """How full the outbox is."""

    pending: int  # jobs on their way
    pictures: int  # pictures on their way whose jobs have arrived
    parked: int
    oldest: datetime | None  # UTC; when the oldest that is not parked was posted


class OutboxRows:
    """What the sender and the command line do with the outbox. Each method is one transaction."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def due(self, at_most: int) -> list[Row]:
        """The oldest jobs that are due."""
        with self._store.read() as connection:
            found = connection.execute(_DUE_JOBS, {"now": time.time(), "at_most": at_most})
            return [
                Row(row.id, json.loads(row.job), row.attempts, bool(row.tried), row.has_picture)
                for row in found
            ]

    def due_pictures(self, at_most: int) -> list[PictureRow]:
        """The oldest pictures that are due."""
        with self._store.read() as connection:
            found = connection.execute(_DUE_PICTURES, {"now": time.time(), "at_most": at_most})
            return [PictureRow(*row) for row in found]

    def picture(self, row_id: int) -> bytes | None:
        """The picture that belongs to a row."""
        statement = sa.select(pictures.c.data).where(pictures.c.outbox_id == row_id)
        with self._store.read() as connection:
            return connection.execute(statement).scalar()

    def mark_tried(self, rows: Sequence[Row]) -> None:
        """Remember, before it happens, that these are sent to a server without unique event ids."""
        ids = [row.id for row in rows if not row.tried]
        if ids:
            with self._store.begin() as transaction:
                transaction.connection.execute(
                    sa.update(outbox).where(_IDS).values(tried=True), {"ids": ids}
                )

    def settle(
        self,
        done: Sequence[int] = (),
        arrived: Mapping[int, str] | None = None,
        parked: Mapping[int, str] | None = None,
        delayed: Mapping[int, float] | None = None,
        blamed: bool = True,
    ) -> None:
        """Write down what became of rows, in one transaction.

        `done` rows go; `arrived` rows (drift ids by row id) wait for their picture to be sent;
        `parked` ones carry the reason; `delayed` ones are due in so many seconds, which counts as a
        failure of theirs when they are `blamed`.
        """
        with self._store.begin() as transaction:
            connection = transaction.connection
            if done:
                connection.execute(sa.delete(outbox).where(_IDS), {"ids": list(done)})
            for row_id, drift_id in (arrived or {}).items():
                connection.execute(_of(row_id).values(drift_id=drift_id, attempts=0, due_at=0.0))
            for row_id, reason in (parked or {}).items():
                connection.execute(_of(row_id).values(parked_because=reason))
            for row_id, delay in (delayed or {}).items():
                later = {"attempts": outbox.c.attempts + blamed, "due_at": time.time() + delay}
                connection.execute(_of(row_id).values(later))

    def parked(self, at_most: int = 100) -> list[Parked]:
        """The oldest parked jobs."""
        columns = (outbox.c.id, outbox.c.job, outbox.c.posted_at, outbox.c.parked_because)
        statement = sa.select(*columns).where(_PARKED).order_by(outbox.c.id).limit(at_most)
        with self._store.read() as connection:
            return [_parked(*row) for row in connection.execute(statement)]

    def requeue(self, ids: Sequence[int] | None = None) -> int:
        """Make parked jobs (all of them, or these) due again; how many there were."""
        statement = sa.update(outbox).where(_PARKED)
        values = {"parked_because": None, "attempts": 0, "due_at": 0.0}
        with self._store.begin() as transaction:
            if ids is not None:
                statement = statement.where(outbox.c.id.in_(list(ids)))
            requeued = int(transaction.connection.execute(statement.values(values)).rowcount)
        if requeued:
            self._store.posted.set()
        return requeued

    def counts(self) -> Counts:
        """How many rows wait, and since when."""
        with self._store.read() as connection:
            pending, waiting, parked = (
                int(
                    connection.execute(
                        sa.select(sa.func.count()).select_from(outbox).where(*queue)
                    ).scalar_one()
                )
                for queue in (_JOBS, _PICTURES, (_PARKED,))
            )
            oldest = [
                connection.execute(_OLDEST.where(*queue)).scalar() for queue in (_JOBS, _PICTURES)
            ]
        since = min((stamp for stamp in oldest if stamp is not None), default=None)
        when = None if since is None else datetime.fromtimestamp(since, UTC)
        return Counts(pending, waiting, parked, when)

    def is_empty(self) -> bool:
        """Whether nothing waits but parked jobs."""
        with self._store.read() as connection:
            return all(
                connection.execute(_OLDEST.where(*queue)).first() is None
                for queue in (_JOBS, _PICTURES)
            )

    def experiment(self, url: str, name: str) -> str | None:
        """The id that an experiment had when it was last used; it stays through a renaming."""
        statement = sa.select(experiments.c.id).where(
            experiments.c.url == url, experiments.c.name == name
        )
        with self._store.read() as connection:
            return connection.execute(statement).scalar()

    def remember_experiment(self, url: str, name: str, experiment_id: str | None) -> None:
        """Keep an experiment's id for the next start; None forgets it."""
        with self._store.begin() as transaction:
            connection = transaction.connection
            if experiment_id is None:
                where = (experiments.c.url == url, experiments.c.name == name)
                connection.execute(sa.delete(experiments).where(*where))
                return
            row = {"url": url, "name": name, "id": experiment_id}
            statement = insert(experiments).on_conflict_do_update(
                index_elements=["url", "name"], set_={"id": experiment_id}
            )
            connection.execute(statement, row)

    def shrink(self, pages: int = 1000) -> bool:
        """Give some space of deleted rows back to the file system; whether there may be more.

        What a node in use needs again before long (`pages`) is left to it.
        """
        with self._store.read() as connection:
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
            if free <= pages:
                return False
            # As a script: the driver would run this pragma for one page only.
            driver = cast(sqlite3.Connection, connection.connection.driver_connection)
            try:
                driver.executescript(f"PRAGMA incremental_vacuum({pages})")
            except sqlite3.Error:  # somebody else is writing for long: there is no hurry
                return False
            return True


def _of(row_id: int) -> sa.Update:
    return sa.update(outbox).where(outbox.c.id == row_id)


def _parked(row_id: int, job: str, posted_at: float, reason: str) -> Parked:
    parameters = json.loads(job)["parameters"]
    return Parked(
        row_id,
        str(parameters.get("event_id", "")),
        str(parameters.get("stream", "")),
        datetime.fromtimestamp(posted_at, UTC),
        reason,
    )
