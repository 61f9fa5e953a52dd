"""The outbox as rows of `node.db`: due, parked, acknowledged."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from lenswatch.node.store.database import experiments, outbox, pictures, stored_json
from lenswatch.node.store.store import NodeStore

__all__ = ["Counts", "DeliveryResult", "OutboxRows", "Parked", "PictureRow", "Row"]

FARTHEST_SECONDS = 3600.0  # a row that is due later was written before the clock was set back

_has_picture = sa.exists().where(pictures.c.outbox_id == outbox.c.id).label("has_picture")
_NOT_PARKED = outbox.c.parked_because.is_(None)
_JOBS = (_NOT_PARKED, outbox.c.drift_id.is_(None))
_PICTURES = (_NOT_PARKED, outbox.c.drift_id.is_not(None))
_PARKED = outbox.c.parked_because.is_not(None)
_IDS = outbox.c.id.in_(sa.bindparam("ids", expanding=True))
_IS_DUE = sa.or_(
    outbox.c.due_at <= sa.bindparam("now"), outbox.c.due_at > sa.bindparam("now") + FARTHEST_SECONDS
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
# The jobs that wait while a newer one of their stream was accepted, by the index of each queue. The ids of
# those newer ones are a JSON object by stream.
_late = sa.func.json_extract(outbox.c.job, "$.parameters.late")
_stream = sa.func.json_extract(outbox.c.job, "$.parameters.stream", type_=sa.Text)
_accepted = sa.func.json_extract(
    sa.bindparam("newest", type_=sa.Text), sa.literal('$."') + _stream + sa.literal('"')
)
_OVERTAKEN = {
    queue: sa.update(outbox)
    .where(*queue, outbox.c.drift_id.is_(None), sa.func.coalesce(_late, 0) == 0)
    .where(outbox.c.id < _accepted)
    .values(job=sa.func.json_set(outbox.c.job, "$.parameters.late", sa.func.json("true")))
    for queue in (_JOBS, (_PARKED,))
}
_OLDEST = sa.select(outbox.c.posted_at).order_by(outbox.c.id).limit(1)


@dataclass(frozen=True)
class Row:
    """A drift job that waits to be sent."""

    id: int
    job: dict[str, Any]
    attempts: int  # that failed while other jobs were accepted
    tried: bool  # the server may have stored it without our knowing
    has_picture: bool

    @property
    def event_id(self) -> str:
        """The id by which the server recognises the job when it arrives twice."""
        return str(self.job["parameters"].get("event_id", ""))


@dataclass(frozen=True)
class PictureRow:
    """A picture that waits to be sent, after its drift job was stored."""

    id: int
    attempts: int
    drift_id: str


@dataclass(frozen=True)
class Parked:
    """A drift job that the server refused, with the reason."""

    id: int
    event_id: str
    stream: str
    posted_at: datetime  # UTC
    reason: str


@dataclass(frozen=True)
class Counts:
    """Fill level of the outbox."""

    pending: int  # jobs that wait to be sent
    pictures: int  # pictures that wait to be sent, after their jobs were stored
    parked: int
    oldest: datetime | None  # UTC; time of the oldest row that is not parked


@dataclass
class DeliveryResult:
    """The result of sending some rows, by their ids.

    Attributes:
        attempts: Failures, while others were accepted, after which a job is parked.
        done: Rows to delete.
        arrived: Drift ids of stored jobs whose picture is still to be sent.
        parked: Reasons why rows are not sent again.
        delayed: Seconds until rows are sent again.
        blamed: Count the delay as a failed attempt of the row.
        newest: Newest accepted job of each stream that is not late.
    """

    attempts: int
    done: list[int] = field(default_factory=list)
    arrived: dict[int, str] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    delayed: dict[int, float] = field(default_factory=dict)
    blamed: bool = True
    newest: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.done or self.arrived or self.parked or self.delayed)

    def accept(self, row: Row, drift_id: str) -> None:
        """Record that the server has stored the job."""
        parameters = row.job["parameters"]
        stream = parameters.get("stream")
        if isinstance(stream, str) and parameters.get("late") is not True:
            self.newest[stream] = max(row.id, self.newest.get(stream, 0))
        if row.has_picture:
            self.arrived[row.id] = drift_id
        else:
            self.done.append(row.id)

    def blame(self, row: Row | PictureRow, reason: str) -> None:
        """Record that the server failed on this job and not on others."""
        if row.attempts + 1 >= self.attempts:
            failed = f"failed {self.attempts} times while others were accepted"
            self.parked[row.id] = f"{failed}: {reason}"
        else:
            self.delayed[row.id] = 2.0 * 4**row.attempts


class OutboxRows:
    """Reads and writes of the outbox. Each method is one transaction."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def due(self, at_most: int) -> list[Row]:
        """Return the oldest jobs that are due."""
        with self._store.read() as connection:
            found = connection.execute(_DUE_JOBS, {"now": self._store.clock(), "at_most": at_most})
            return [
                Row(row.id, stored_json(row.job), row.attempts, bool(row.tried), row.has_picture)
                for row in found
            ]

    def due_pictures(self, at_most: int) -> list[PictureRow]:
        """Return the oldest pictures that are due."""
        with self._store.read() as connection:
            found = connection.execute(
                _DUE_PICTURES, {"now": self._store.clock(), "at_most": at_most}
            )
            return [PictureRow(*row) for row in found]

    def picture(self, row_id: int) -> bytes | None:
        """Return the picture of a row, or None."""
        statement = sa.select(pictures.c.data).where(pictures.c.outbox_id == row_id)
        with self._store.read() as connection:
            return connection.execute(statement).scalar()

    def mark_tried(self, rows: Sequence[Row]) -> None:
        """Note, before sending, that a server without unique event ids may store these rows."""
        ids = [row.id for row in rows if not row.tried]
        if ids:
            with self._store.begin() as transaction:
                transaction.connection.execute(
                    sa.update(outbox).where(_IDS).values(tried=True), {"ids": ids}
                )

    def settle(self, result: DeliveryResult) -> None:
        """Record the result of sending rows."""
        with self._store.begin() as transaction:
            connection = transaction.connection
            if result.done:
                connection.execute(sa.delete(outbox).where(_IDS), {"ids": result.done})
            for row_id, drift_id in result.arrived.items():
                connection.execute(_of(row_id).values(drift_id=drift_id, attempts=0, due_at=0.0))
            for row_id, reason in result.parked.items():
                connection.execute(_of(row_id).values(parked_because=reason))
            for row_id, delay in result.delayed.items():
                due_at, attempts = self._store.clock() + delay, outbox.c.attempts + result.blamed
                connection.execute(_of(row_id).values(attempts=attempts, due_at=due_at))
            _mark_overtaken(connection, result.newest)

    def parked(self, at_most: int = 100) -> list[Parked]:
        """Return the oldest parked jobs."""
        columns = (outbox.c.id, outbox.c.job, outbox.c.posted_at, outbox.c.parked_because)
        statement = sa.select(*columns).where(_PARKED).order_by(outbox.c.id).limit(at_most)
        with self._store.read() as connection:
            return [_parked(*row) for row in connection.execute(statement)]

    def requeue(self, ids: Sequence[int] | None = None) -> int:
        """Make parked jobs due again, all of them or the given ones, and return their number."""
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
        """Return the fill level of the outbox."""
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
        """Return True when no row waits to be sent; parked rows do not count."""
        with self._store.read() as connection:
            return all(
                connection.execute(_OLDEST.where(*queue)).first() is None
                for queue in (_JOBS, _PICTURES)
            )

    def experiment(self, url: str, name: str) -> str | None:
        """Return the id of an experiment when it was last used; it survives a renaming."""
        statement = sa.select(experiments.c.id).where(
            experiments.c.url == url, experiments.c.name == name
        )
        with self._store.read() as connection:
            return connection.execute(statement).scalar()

    def remember_experiment(self, url: str, name: str, experiment_id: str | None) -> None:
        """Keep an experiment's id for the next start; None deletes it."""
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
        """Give space of deleted rows back to the file system, and return True if there may be more.

        Args:
            pages: Free pages to leave in the file, since new rows soon need them again, and the most to
                give back at once.
        """
        with self._store.read() as connection:
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
            if free <= pages:
                return False
            # As a script, because `execute` would run this pragma for one page only.
            driver = cast(sqlite3.Connection, connection.connection.driver_connection)
            for some in (pages, pages // 20):  # a full disk has room for fewer
                with contextlib.suppress(sqlite3.Error):  # or another process is writing
                    driver.executescript(f"PRAGMA incremental_vacuum({some})")
                    return True
            return False  # a later call will do


def _mark_overtaken(connection: sa.Connection, newest: Mapping[str, int]) -> None:
    """Mark jobs as late that arrive after a newer one of their stream.

    The server takes the last job to arrive that is not late for the state of the stream.
    """
    if not newest:
        return
    for queue, statement in _OVERTAKEN.items():
        first = connection.execute(sa.select(sa.func.min(outbox.c.id)).where(*queue)).scalar()
        if first is not None and first < max(newest.values()):
            connection.execute(statement, {"newest": json.dumps(newest)})


def _of(row_id: int) -> sa.Update:
    return sa.update(outbox).where(outbox.c.id == row_id)


def _parked(row_id: int, job: str, posted_at: float, reason: str) -> Parked:
    parameters = stored_json(job)["parameters"]
    return Parked(
        row_id,
        str(parameters.get("event_id", "")),
        str(parameters.get("stream", "")),
        datetime.fromtimestamp(posted_at, UTC),
        reason,
    )
