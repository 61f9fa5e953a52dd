"""`storage/node.db`: everything that the node must not lose.

A stream's window, the answer to an event and the queued drift job change in one transaction. Any number
of processes and threads may use one file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert

from lenswatch.errors import StoreError
from lenswatch.node.store.database import (
    answers,
    migrate,
    named_errors,
    open_engine,
    outbox,
    pictures,
    windows,
)
from lenswatch.wire import DriftJob, to_json

__all__ = ["Answer", "Kind", "NodeStore", "Statement", "StreamSummary", "Transaction"]

WEEK_SECONDS = 7 * 24 * 3600.0
PRUNE_AT_MOST = 200  # answers at once

Kind = Literal["judged", "refused", "too large"]


class Statement:
    """A statement that is compiled once, since building SQL takes longer than running it."""

    def __init__(self, statement: sa.ClauseElement, columns: Sequence[str] | None = None) -> None:
        compiled = statement.compile(
            dialect=sqlite.dialect(paramstyle="named"), column_keys=columns
        )
        self._sql = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def __call__(self, connection: sa.Connection, row: Mapping[str, Any]) -> sqlite3.Cursor:
        """Run the statement on the SQLite connection itself, inside its current transaction."""
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        return driver.execute(self._sql, {**self._fixed, **row})


_ANSWER = Statement(
    sa.select(answers.c.kind, answers.c.body).where(answers.c.event_id == sa.bindparam("event_id"))
)
_WINDOW = Statement(
    sa.select(windows.c.state).where(
        windows.c.stream == sa.bindparam("stream"), windows.c.digest == sa.bindparam("digest")
    )
)
_NEWEST = Statement(
    sa.select(windows.c.digest, windows.c.state)
    .where(windows.c.stream == sa.bindparam("stream"))
    .order_by(windows.c.updated_at.desc())
    .limit(1)
)
_new_window = insert(windows).values(images=1)
_PUT_WINDOW = Statement(
    _new_window.on_conflict_do_update(
        index_elements=["stream", "digest"],
        set_={
            "images": windows.c.images + 1,
            "updated_at": _new_window.excluded.updated_at,
            "state": _new_window.excluded.state,
        },
    ),
    ("stream", "digest", "state", "updated_at"),
)
_DELETE_WINDOWS = sa.delete(windows).where(windows.c.stream == sa.bindparam("of_stream"))
_DELETE_OTHERS = Statement(
    sa.delete(windows).where(
        windows.c.stream == sa.bindparam("of_stream"), windows.c.digest != sa.bindparam("but")
    )
)
_PUT_ANSWER = Statement(insert(answers), ("event_id", "answered_at", "kind", "body"))
_PRUNE = sa.delete(answers).where(
    answers.c.id.in_(sa.select(answers.c.id).order_by(answers.c.id).limit(PRUNE_AT_MOST)),
    answers.c.answered_at < sa.bindparam("before"),
)
_new_job = insert(outbox).values(due_at=0.0, attempts=0, tried=False, out_of_turn=False)
_POST = Statement(_new_job, ("posted_at", "job"))
_PUT_PICTURE = Statement(insert(pictures), ("outbox_id", "data"))


@dataclass(frozen=True)
class Answer:
    """The first answer to an event id: a JSON object, and whether it is a verdict or a refusal."""

    kind: Kind
    body: dict[str, Any]


@dataclass(frozen=True)
class StreamSummary:
    """Number and time of a stream's images under one reference."""

    stream: str
    digest: str
    images: int  # since the window was created
    updated_at: datetime  # UTC


class NodeStore:
    """The node's database. The folder, the file and its tables are created when they are missing.

    Args:
        path: The database file.
        busy_timeout: Seconds to wait for another process's transaction.
        keep_outbox: Keep posted jobs; False when no tracking server is configured.
        durable: Let each commit wait for the disk; False for a database that is deleted afterwards.
        keep_answers: Seconds for which an answer is kept for retries.
        prune_every: Number of answers after which old ones are deleted.
        clock: Seconds since 1970 in UTC.

    Raises:
        StoreError: The file is damaged, another program's, of a newer version, or not writable. Every
            method raises it too.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float = 30.0,
        keep_outbox: bool = True,
        durable: bool = True,
        keep_answers: float = WEEK_SECONDS,
        prune_every: int = 100,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.keep_outbox = keep_outbox
        self.posted = threading.Event()  # set after this process committed a job
        self.clock = clock
        self._busy_timeout = busy_timeout
        self._writing = threading.Lock()  # wakes the next thread at once, where SQLite only polls
        self._keep_answers, self._prune_every = keep_answers, prune_every
        self._unpruned = prune_every - 1  # answers written since old ones were last deleted
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot make its folder: {error.strerror}") from error
        with named_errors(self.path):
            self._reader = open_engine(self.path, busy_timeout, durable=durable)
            self._writer = self._reader.execution_options(begin="BEGIN IMMEDIATE")
            migrate(self._reader, self._writer, busy_timeout)

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Open a write transaction: committed at the end, rolled back after an exception."""
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise StoreError(
                f"{self.path}: another thread kept it locked for more than "
                f"{self._busy_timeout:g} s; try again"
            )
        try:
            with named_errors(self.path), self._writer.begin() as connection:
                transaction = Transaction(connection, self.keep_outbox, self.clock)
                yield transaction
                self._prune_sometimes(transaction)
        finally:
            self._writing.release()
        if transaction.posted:
            self.posted.set()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a connection for single reads outside any transaction; it never waits for a writer."""
        with named_errors(self.path), self._reader.connect() as connection:
            yield connection

    def answer(self, event_id: str) -> Answer | None:
        """Return the first answer to `event_id`, None if there is none or it is no longer kept."""
        with self.read() as connection:
            return _answer(connection, event_id)

    def window(self, stream: str, digest: str) -> bytes | None:
        """Return the stored state of `stream` under the reference `digest`, or None."""
        with self.read() as connection:
            return _window(connection, stream, digest)

    def streams(self) -> list[StreamSummary]:
        """Return all streams, the one with the newest image first."""
        columns = (windows.c.stream, windows.c.digest, windows.c.images, windows.c.updated_at)
        with self.read() as connection:
            rows = connection.execute(sa.select(*columns).order_by(windows.c.updated_at.desc()))
            return [
                StreamSummary(stream, digest, images, datetime.fromtimestamp(updated_at, UTC))
                for stream, digest, images, updated_at in rows
            ]

    def close(self) -> None:
        """Close all connections. They are opened again when needed."""
        self._reader.dispose()

    def _prune_sometimes(self, transaction: Transaction) -> None:
        self._unpruned += transaction.answers_put
        if self._unpruned >= self._prune_every:
            before = self.clock() - self._keep_answers
            transaction.connection.execute(_PRUNE, {"before": before})
            self._unpruned = 0


class Transaction:
    """The reads and writes of one transaction, which `NodeStore.begin` opens."""

    def __init__(
        self, connection: sa.Connection, keep_outbox: bool, clock: Callable[[], float]
    ) -> None:
        self.connection = connection
        self.posted = 0
        self.answers_put = 0
        self._keep_outbox = keep_outbox
        self._clock = clock

    def answer(self, event_id: str) -> Answer | None:
        """Return the first answer to `event_id`, or None."""
        return _answer(self.connection, event_id)

    def window(self, stream: str, digest: str) -> bytes | None:
        """Return the stored state of `stream` under the reference `digest`, or None."""
        return _window(self.connection, stream, digest)

    def newest_window(self, stream: str) -> tuple[str, bytes] | None:
        """Return the stream's state that was written last, with the digest of its reference, or None."""
        row = _NEWEST(self.connection, {"stream": stream}).fetchone()
        return None if row is None else (row[0], bytes(row[1]))

    def put_window(self, stream: str, digest: str, state: bytes) -> None:
        """Replace a stream's state, and count one more image."""
        now = self._clock()
        row = {"stream": stream, "digest": digest, "state": state, "updated_at": now}
        _PUT_WINDOW(self.connection, row)

    def delete_other_windows(self, stream: str, digest: str) -> None:
        """Delete the stream's states under all references but `digest`."""
        _DELETE_OTHERS(self.connection, {"of_stream": stream, "but": digest})

    def delete_windows(self, stream: str) -> int:
        """Delete the stream's states under all references, and return their number."""
        return int(self.connection.execute(_DELETE_WINDOWS, {"of_stream": stream}).rowcount)

    def put_answer(self, event_id: str, answer: Answer) -> None:
        """Keep the first answer to `event_id` for its retries.

        Raises:
            StoreError: There is an answer already; look with `answer` first.
        """
        row = {
            "event_id": event_id,
            "answered_at": self._clock(),
            "kind": answer.kind,
            "body": to_json(answer.body),
        }
        _PUT_ANSWER(self.connection, row)
        self.answers_put += 1

    def post(self, job: DriftJob, picture: bytes | None = None) -> None:
        """Queue a drift job, and the JPEG that belongs to it, for sending at once."""
        if not self._keep_outbox:
            return
        row = {"posted_at": self._clock(), "job": to_json(job.to_json())}
        posted = _POST(self.connection, row)
        if picture is not None:
            outbox_id = posted.lastrowid
            _PUT_PICTURE(self.connection, {"outbox_id": outbox_id, "data": picture})
        self.posted += 1


def _answer(connection: sa.Connection, event_id: str) -> Answer | None:
    row = _ANSWER(connection, {"event_id": event_id}).fetchone()
    return None if row is None else Answer(row[0], json.loads(row[1]))


def _window(connection: sa.Connection, stream: str, digest: str) -> bytes | None:
    row = _WINDOW(connection, {"stream": stream, "digest": digest}).fetchone()
    return None if row is None else bytes(row[0])
