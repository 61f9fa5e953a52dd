"""The outbox as rows of `node.db`: due, put off, acknowledged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from lenswatch.node.store.database import stored_json
from lenswatch.node.store.dialects import flag_of, insert, with_flag
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import experiments, outbox, pictures, sending
from lenswatch.outbox.limits import DeliveryLimits

__all__ = ["Counts", "DeliveryResult", "OutboxRows", "PictureRow", "Row"]

FARTHEST_SECONDS = 3600.0  # a row that is due later was written before the clock was set back

_has_picture = sa.exists().where(pictures.c.outbox_id == outbox.c.id).label("has_picture")
_NOT_PARKED = outbox.c.parked_because.is_(None)
_JOBS = (_NOT_PARKED, outbox.c.drift_id.is_(None))
_PICTURES = (_NOT_PARKED, outbox.c.drift_id.is_not(None))
_PARKED = outbox.c.parked_because.is_not(None)
_IDS = outbox.c.id.in_(sa.bindparam("ids", expanding=True))
_OF_PICTURES = pictures.c.outbox_id.in_(sa.bindparam("ids", expanding=True))
_now = sa.bindparam("now", type_=sa.Float)
_IS_DUE = sa.or_(outbox.c.due_at <= _now, outbox.c.due_at > _now + FARTHEST_SECONDS)
# By the partial index of rows that were put off, which has this 0: there are few.
_PUT_OFF = (
    outbox.c.due_at > sa.literal_column("0"),
    outbox.c.due_at > _now,
    outbox.c.due_at <= _now + FARTHEST_SECONDS,
)
_HELD = (
    sa.select(outbox.c.stream)
    .where(*_JOBS, *_PUT_OFF, sa.not_(outbox.c.out_of_turn))
    .with_hint(outbox, "INDEXED BY outbox_put_off", "sqlite")
)
_IS_HELD = outbox.c.stream.in_(sa.bindparam("held", expanding=True))
_JOB = sa.select(
    outbox.c.id,
    outbox.c.attempts,
    outbox.c.tried,
    outbox.c.job,
    _has_picture,
    outbox.c.stream,
    outbox.c.out_of_turn,
)
_DUE_JOBS = _JOB.where(*_JOBS, _IS_DUE).order_by(outbox.c.id).limit(sa.bindparam("at_most"))
_DUE_JOBS_OF_OTHERS = _DUE_JOBS.where(sa.or_(outbox.c.out_of_turn, sa.not_(_IS_HELD)))
_FIRST_IDS = (
    sa.select(sa.func.min(outbox.c.id))
    .where(*_JOBS, sa.not_(outbox.c.out_of_turn), sa.not_(_IS_HELD))
    .group_by(outbox.c.stream)
)
_FIRST_JOBS = (
    _JOB.where(outbox.c.id.in_(_FIRST_IDS)).order_by(outbox.c.id).limit(sa.bindparam("at_most"))
)
_DUE_PICTURES = (
    sa.select(outbox.c.id, outbox.c.attempts, outbox.c.drift_id)
    .where(*_PICTURES, _IS_DUE)
    .order_by(outbox.c.id)
    .limit(sa.bindparam("at_most"))
)
# The jobs of a stream that wait while a newer one was accepted, by the index of each queue.
_OVERTAKEN = [
    sa.update(outbox)
    .where(*queue, outbox.c.drift_id.is_(None), outbox.c.stream == sa.bindparam("of_stream"))
    .where(outbox.c.id < sa.bindparam("newest"), sa.not_(flag_of(outbox.c.job, "late")))
    .values(job=with_flag(outbox.c.job, "late"))
    for queue in (_JOBS, (_PARKED,))
]
_PASSED = (
    sa.update(outbox)
    .where(*_JOBS, outbox.c.stream == sa.bindparam("of_stream"))
    .where(outbox.c.id < sa.bindparam("newer"), sa.not_(outbox.c.out_of_turn))
    .values(out_of_turn=True)
)
_CLAIM = (
    insert(sending)
    .from_select(["outbox_id"], sa.select(outbox.c.id).where(_IDS))
    .on_conflict_do_nothing()
)
_CLAIMED = sa.select(sending.c.outbox_id).where(
    sending.c.outbox_id.in_(sa.bindparam("ids", expanding=True))
)
_DONE = sa.delete(outbox).where(_IDS)
_of_row = sa.update(outbox).where(outbox.c.id == sa.bindparam("of_row"))
_ARRIVED = _of_row.values(drift_id=sa.bindparam("drift"), attempts=0, due_at=0.0)
_PARK = _of_row.values(
    parked_because=sa.bindparam("because"), parked_at=sa.bindparam("at"), out_of_turn=True
)
_DELAY = _of_row.values(attempts=outbox.c.attempts + 1, due_at=sa.bindparam("due"))
_OLDEST = sa.select(outbox.c.posted_at).order_by(outbox.c.id).limit(1)


@dataclass(frozen=True)
class Row:
    """A drift job that waits to be sent."""

    id: int
    job: dict[str, Any]
    attempts: int  # that failed while other jobs were accepted
    tried: bool  # the server may have stored it without our knowing
    has_picture: bool
    stream: str = ""
    out_of_turn: bool = False  # newer jobs of its stream may be sent before it

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
class Counts:
    """Fill level of the outbox."""

    pending: int  # jobs that wait to be sent
    pictures: int  # pictures that wait to be sent, those of waiting jobs too
    parked: int
    oldest: datetime | None  # UTC; time of the oldest row that is not parked


@dataclass
class DeliveryResult:
    """The result of sending some rows, by their ids.

    Attributes:
        limits: When a job that fails is sent again, and when it is parked.
        done: Rows to delete.
        arrived: Drift ids of stored jobs whose picture is still to be sent.
        parked: Reasons why rows are not sent again.
        given_up: Those parked rows that the server did not refuse.
        delayed: Seconds until rows are sent again, after one more failed attempt.
        failed: Why the last of these failed.
        newest: Newest accepted job of each stream that is not late.
        passed: For each stream the job that was accepted although earlier ones had failed.
        nearest: Clean pictures that accepted jobs name: reference and name.
    """

    limits: DeliveryLimits
    done: list[int] = field(default_factory=list)
    arrived: dict[int, str] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    delayed: dict[int, float] = field(default_factory=dict)
    failed: str = ""
    newest: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    nearest: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.done or self.arrived or self.parked or self.delayed)

    def accept(self, row: Row, drift_id: str) -> None:
        """Record that the server has stored the job."""
        if row.job["parameters"].get("late") is not True:
            self.newest[row.stream] = max(row.id, self.newest.get(row.stream, 0))
        match row.job["parameters"].get("nearest_clean"):
            case {"reference": str(reference), "name": str(name)}:
                self.nearest.append((reference, name))
        if row.has_picture:
            self.arrived[row.id] = drift_id
        else:
            self.done.append(row.id)

    def blame(self, row: Row | PictureRow, reason: str) -> None:
        """Record that the server failed on this job and not on others."""
        failures = row.attempts + 1
        if failures >= self.limits.attempts:
            failed = f"failed {failures} times while others were accepted"
            self.parked[row.id] = f"{failed}: {reason}"
            self.given_up.add(row.id)
        else:
            self.delayed[row.id] = self.limits.delay(row.attempts)
            self.failed = reason


class OutboxRows:
    """Reads and writes of the outbox. Each method is one transaction."""

    def __init__(self, store: NodeStore) -> None:
        self.store = store

    def due(self, at_most: int) -> list[Row]:
        """Return the oldest jobs that are due.

        A job that was put off holds back the later ones of its stream.
        """
        with self.store.read() as connection:
            now = self.store.clock()
            held = list(set(connection.execute(_HELD, {"now": now}).scalars()))
            if not held:
                return _rows(connection.execute(_DUE_JOBS, {"now": now, "at_most": at_most}))
            values = {"now": now, "at_most": at_most, "held": held}
            return _rows(connection.execute(_DUE_JOBS_OF_OTHERS, values))

    def first_of_streams(self, at_most: int) -> list[Row]:
        """Return the oldest job of each stream of which none was put off."""
        with self.store.read() as connection:
            held = list(set(connection.execute(_HELD, {"now": self.store.clock()}).scalars()))
            return _rows(connection.execute(_FIRST_JOBS, {"at_most": at_most, "held": held}))

    def due_pictures(self, at_most: int) -> list[PictureRow]:
        """Return the oldest pictures that are due."""
        with self.store.read() as connection:
            found = connection.execute(
                _DUE_PICTURES, {"now": self.store.clock(), "at_most": at_most}
            )
            return [PictureRow(*row) for row in found]

    def picture(self, row_id: int) -> bytes | None:
        """Return the picture of a row, or None."""
        return self.pictures([row_id]).get(row_id)

    def pictures(self, row_ids: Sequence[int]) -> dict[int, bytes]:
        """Return the pictures of rows, by their ids."""
        statement = sa.select(pictures.c.outbox_id, pictures.c.data).where(_OF_PICTURES)
        with self.store.read() as connection:
            found = connection.execute(statement, {"ids": list(row_ids)})
            return {row.outbox_id: row.data for row in found}

    def claim(self, rows: Sequence[Row]) -> list[Row]:
        """Keep jobs from being given up from now on, and return those that have not been.

        The server may have them from now on, whatever becomes of the request. After a power cut they may be
        given up again.
        """
        values = {"ids": [row.id for row in rows]}
        with self.store.read() as connection:
            claimed = set(connection.execute(_CLAIMED, values).scalars())
        if claimed.issuperset(values["ids"]):
            return list(rows)
        with self.store.begin(hasty=True) as transaction:
            transaction.connection.execute(_CLAIM, values)
            now = _JOB.where(_IDS).order_by(outbox.c.id)
            return _rows(transaction.connection.execute(now, values))

    def mark_tried(self, rows: Sequence[Row]) -> None:
        """Note, before sending, that a server without unique event ids may store these rows."""
        ids = [row.id for row in rows if not row.tried]
        if ids:
            with self.store.begin() as transaction:
                transaction.connection.execute(
                    sa.update(outbox).where(_IDS).values(tried=True), {"ids": ids}
                )

    def settle(self, result: DeliveryResult) -> None:
        """Record the result of sending rows.

        A power cut may undo that. The jobs are sent again then, and the server has them by their event ids.
        """
        with self.store.begin(hasty=True) as transaction:
            connection = transaction.connection
            if result.done:
                connection.execute(_DONE, {"ids": result.done})
            now = self.store.clock()
            arrived = [{"of_row": row, "drift": drift} for row, drift in result.arrived.items()]
            parked = [
                {"of_row": row, "because": why, "at": now} for row, why in result.parked.items()
            ]
            delayed = [{"of_row": row, "due": now + wait} for row, wait in result.delayed.items()]
            for change, rows in ((_ARRIVED, arrived), (_PARK, parked), (_DELAY, delayed)):
                if rows:
                    connection.execute(change, rows)
            for stream, newer in result.passed.items():
                connection.execute(_PASSED, {"of_stream": stream, "newer": newer})
            _mark_overtaken(connection, result.newest)

    def counts(self) -> Counts:
        """Return the fill level of the outbox."""
        rows, parked_ids = sa.func.count(), sa.select(outbox.c.id).where(_PARKED)
        with self.store.read() as connection:

            def count(statement: sa.Select[Any]) -> int:
                return int(connection.execute(statement).scalar_one())

            pending, parked = (
                count(sa.select(rows).select_from(outbox).where(*queue))
                for queue in (_JOBS, (_PARKED,))
            )
            kept = count(sa.select(rows).select_from(pictures))
            if parked:
                of_parked = pictures.c.outbox_id.in_(parked_ids)
                kept -= count(sa.select(rows).select_from(pictures).where(of_parked))
            oldest = [
                connection.execute(_OLDEST.where(*queue)).scalar() for queue in (_JOBS, _PICTURES)
            ]
        since = min((stamp for stamp in oldest if stamp is not None), default=None)
        when = None if since is None else datetime.fromtimestamp(since, UTC)
        return Counts(pending, kept, parked, when)

    def is_empty(self) -> bool:
        """Return True when no row waits to be sent; parked rows do not count."""
        with self.store.read() as connection:
            return all(
                connection.execute(_OLDEST.where(*queue)).first() is None
                for queue in (_JOBS, _PICTURES)
            )

    def experiment(self, url: str, name: str) -> str | None:
        """Return the id of an experiment when it was last used; it survives a renaming."""
        statement = sa.select(experiments.c.id).where(
            experiments.c.url == url, experiments.c.name == name
        )
        with self.store.read() as connection:
            return connection.execute(statement).scalar()

    def remember_experiment(self, url: str, name: str, experiment_id: str | None) -> None:
        """Keep an experiment's id for the next start; None deletes it."""
        with self.store.begin() as transaction:
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
        if self.store.is_shared:  # PostgreSQL's autovacuum lets new rows have the space
            return False
        with self.store.read() as connection:
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
    values = [{"of_stream": stream, "newest": row_id} for stream, row_id in newest.items()]
    if values:
        for statement in _OVERTAKEN:
            connection.execute(statement, values)


def _rows(found: sa.CursorResult[Any]) -> list[Row]:
    return [
        Row(
            row.id,
            stored_json(row.job),
            row.attempts,
            bool(row.tried),
            bool(row.has_picture),
            row.stream,
            bool(row.out_of_turn),
        )
        for row in found
    ]
