"""storage/node.db: what the node must not lose.

A stream's window, the answer to an event and the drift job on its way to the tracking server change
together, in one transaction, or not at all. Any number of processes and threads may use one file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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

__all__ = ["Answer", "NodeStore", "StreamState", "Transaction"]

KEEP_ANSWERS = 7 * 24 * 3600.0  # seconds
PRUNE_EVERY = 100  # answers
PRUNE_AT_MOST = 200  # answers at once


class _Statement:
    """A statement compiled once: the hot path spends no time on building SQL."""

    def __init__(self, statement: sa.ClauseElement, columns: Sequence[str] | None = None) -> None:
        compiled = statement.compile(
            dialect=sqlite.dialect(paramstyle="named"), column_keys=columns
        )
        self._sql = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def __call__(self, connection: sa.Connection, row: Mapping[str, Any]) -> sqlite3.Cursor:
        """Run it on the connection's own SQLite connection, in the transaction it is in."""
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        return driver.execute(self._sql, {**self._fixed, **row})


_ANSWER = _Statement(
    sa.select(answers.c.status, answers.c.body).where(
        answers.c.event_id == sa.bindparam("event_id")
    )
)
_WINDOW = _Statement(
    sa.select(windows.c.state).where(
        windows.c.stream == sa.bindparam("stream"), windows.c.digest == sa.bindparam("digest")
    )
)
_new_window = insert(windows).values(images=1)
_PUT_WINDOW = _Statement(
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
_PUT_ANSWER = _Statement(insert(answers), ("event_id", "answered_at", "status", "body"))
_PRUNE = sa.delete(answers).where(
    answers.c.id.in_(sa.select(answers.c.id).order_by(answers.c.id).limit(PRUNE_AT_MOST)),
    answers.c.answered_at < sa.bindparam("before"),
)
_POST = _Statement(insert(outbox).values(due_at=0.0, attempts=0, tried=False), ("posted_at", "job"))
_PUT_PICTURE = _Statement(insert(pictures), ("outbox_id", "data"))


@dataclass(frozen=True)
class Answer:
    """The first answer to an event id: an HTTP status and a JSON object."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class StreamState:
    """What the store knows of a stream under one reference."""

    stream: str
    digest: str
    images: int  # observed since the window was new
    updated_at: datetime  # UTC


class NodeStore:
    """The node's database. Creates the folder, the file and its tables when they are missing.

    With `keep_outbox=False` (no tracking server is configured) posted jobs are not kept. With
    `durable=False` no commit waits for the disk: for a database that is thrown away anyway.

    Raises:
        StoreError: the file is damaged, no database of ours, of a newer version, or not writable;
            so does every method.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float = 30.0,
        keep_outbox: bool = True,
        durable: bool = True,
    ) -> None:
        self.path = Path(path)
        self.keep_outbox = keep_outbox
        self.posted = threading.Event()  # set whenever a job of this process was committed
        self._busy_timeout = busy_timeout
        self._writing = threading.Lock()  # threads take turns at once; SQLite only polls
        self._unpruned = PRUNE_EVERY - 1  # answers put since the last look for old ones
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
        """A write transaction: committed at the end, rolled back if an exception passes."""
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise StoreError(f"{self.path}: another thread kept it locked for too long")
        try:
            with named_errors(self.path), self._writer.begin() as connection:
                transaction = Transaction(connection, self.keep_outbox)
                yield transaction
                self._prune_sometimes(transaction)
        finally:
            self._writing.release()
        if transaction.posted:
            self.posted.set()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for single reads, outside any transaction; never waits for a writer."""
        with named_errors(self.path), self._reader.connect() as connection:
            yield connection

    def answer(self, event_id: str) -> Answer | None:
        """The first answer to `event_id`, if there was one in the last 7 days."""
        with self.read() as connection:
            return _answer(connection, event_id)

    def window(self, stream: str, digest: str) -> bytes | None:
        """The window of `stream` under the reference `digest`."""
        with self.read() as connection:
            return _window(connection, stream, digest)

    def streams(self) -> list[StreamState]:
        """All streams, the one with the newest image first."""
        columns = (windows.c.stream, windows.c.digest, windows.c.images, windows.c.updated_at)
        with self.read() as connection:
            rows = connection.execute(sa.select(*columns).order_by(windows.c.updated_at.desc()))
            return [
                StreamState(stream, digest, images, datetime.fromtimestamp(updated_at, UTC))
                for stream, digest, images, updated_at in rows
            ]

    def close(self) -> None:
        """Close all connections. The store may be used again afterwards."""
        self._reader.dispose()

    def _prune_sometimes(self, transaction: Transaction) -> None:
        self._unpruned += transaction.answers_put
        if self._unpruned >= PRUNE_EVERY:
            transaction.connection.execute(_PRUNE, {"before": time.time() - KEEP_ANSWERS})
            self._unpruned = 0


class Transaction:
    """What may be done between BEGIN IMMEDIATE and COMMIT. Made by `NodeStore.begin`."""

    def __init__(self, connection: sa.Connection, keep_outbox: bool) -> None:
        self.connection = connection
        self.posted = 0
        self.answers_put = 0
        self._keep_outbox = keep_outbox

    def answer(self, event_id: str) -> Answer | None:
        """The first answer to `event_id`."""
        return _answer(self.connection, event_id)

    def window(self, stream: str, digest: str) -> bytes | None:
        """The window of `stream` under the reference `digest`."""
        return _window(self.connection, stream, digest)

    def put_window(self, stream: str, digest: str, state: bytes) -> None:
        """Replace the window, and count one more image observed."""
        now = time.time()
        row = {"stream": stream, "digest": digest, "state": state, "updated_at": now}
        _PUT_WINDOW(self.connection, row)

    def delete_windows(self, stream: str) -> int:
        """Forget the stream's windows under all references; how many there were."""
        return int(self.connection.execute(_DELETE_WINDOWS, {"of_stream": stream}).rowcount)

    def put_answer(self, event_id: str, answer: Answer) -> None:
        """Keep the first answer to `event_id` for its retries.

        Raises:
            StoreError: there is an answer already; look with `answer` first.
        """
        row = {
            "event_id": event_id,
            "answered_at": time.time(),
            "status": answer.status,
            "body": to_json(answer.body),
        }
        _PUT_ANSWER(self.connection, row)
        self.answers_put += 1

    def post(self, job: DriftJob, picture: bytes | None = None) -> None:
        """Put a drift job, and the JPEG that belongs to it, into the outbox: due now."""
        if not self._keep_outbox:
            return
        row = {"posted_at": time.time(), "job": to_json(job.to_json())}
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
