"""The file `node.db`: its tables, its migrations, and how it is opened.

SQLite runs in WAL mode with synchronous=FULL: readers never wait, and committed data is on the disk.
Write transactions begin with BEGIN IMMEDIATE, because in WAL mode a transaction that reads first and
writes later fails when another process wrote in between.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from lenswatch.errors import DiskFull, StoreDamaged, StoreError
from lenswatch.node.store.reserve import free_bytes

__all__ = [
    "answer_ages",
    "answers",
    "collected",
    "collections",
    "experiments",
    "gaps",
    "lease",
    "migrate",
    "named_errors",
    "open_engine",
    "originals",
    "outbox",
    "pictures",
    "repairs",
    "shedding",
    "stored_json",
    "windows",
]

NO_SPACE_BYTES = 256 * 1024  # on a disk with less, any failure is taken for a lack of space
_DAMAGED = "the file is damaged or is not a database"
STREAM_OF_JOB = "coalesce(json_extract(job, '$.parameters.stream'), '')"

metadata = sa.MetaData()

windows = sa.Table(
    "windows",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)
answers = sa.Table(
    "answers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("answered_at", sa.Float, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # of store.Kind
    sa.Column("body", sa.Text, nullable=False),
)
answer_ages = sa.Table(
    "answer_ages",
    metadata,
    sa.Column("answer_id", sa.Integer, primary_key=True),  # the newest at that time
    sa.Column("elapsed", sa.Float, nullable=False),  # seconds since the first of these rows
    sa.Column("boot", sa.Text, nullable=False),  # id of the machine's boot
    sa.Column("uptime", sa.Float, nullable=False),  # seconds since then
)
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("posted_at", sa.Float, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tried", sa.Boolean, nullable=False),  # the server may have stored it already
    sa.Column("drift_id", sa.Text),  # set once the server stored the job, but not yet its picture
    sa.Column("parked_because", sa.Text),
    sa.Column("parked_at", sa.Float),  # the last time; it stays when the row is sent again
    sa.Column("out_of_turn", sa.Boolean, nullable=False),  # newer jobs of its stream may go first
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("clean", sa.Boolean, nullable=False),  # the job may go when space is short
    sa.Column("thinned", sa.Integer, nullable=False),  # how often its neighbours went
    sa.Column("stream", sa.Text, sa.Computed(STREAM_OF_JOB, persisted=False)),
)
pictures = sa.Table(
    "pictures",
    metadata,
    sa.Column("outbox_id", sa.ForeignKey("outbox.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),  # on the machine's monotonic clock
)
experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
)
collections = sa.Table(
    "collections",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),  # JSON of collection.Collection
)
collected = sa.Table(
    "collected",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),  # the same content is kept once
    sa.Column("taken", sa.Float, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
)
repairs = sa.Table(
    "repairs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),  # ISO 8601 in UTC
    sa.Column("kept_as", sa.Text, nullable=False),  # name of the damaged file
    sa.Column("recovered", sa.Text, nullable=False),  # JSON of salvage.Recovered
)
originals = sa.Table(
    "originals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),  # in the order in which they were kept
    sa.Column("event", sa.Text, nullable=False),  # the event id as names have it
    sa.Column("file", sa.Text, nullable=False),  # below the storage folder, with slashes
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("upto", sa.Integer, nullable=False),  # bytes of this one and of all before it
)

gaps = sa.Table(  # drift jobs that were not kept since the last one of their stream that was
    "gaps",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)
shedding = sa.Table(  # one row
    "shedding",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("bytes", sa.Integer, nullable=False),  # of all jobs and pictures; triggers keep it
    sa.Column("pictures", sa.Integer, nullable=False),  # shed ever
    sa.Column("jobs", sa.Integer, nullable=False),  # shed ever
    sa.Column("unrecorded", sa.Integer, nullable=False),  # pictures judged while the disk was full
    sa.Column("since", sa.Float),  # when space became short; NULL while there is enough
    sa.Column("last", sa.Float),  # when something was shed last
)

_TABLES_1 = (
    """CREATE TABLE windows (
        stream TEXT NOT NULL, digest TEXT NOT NULL, images INTEGER NOT NULL,
        updated_at REAL NOT NULL, state BLOB NOT NULL, PRIMARY KEY (stream, digest))""",
    """CREATE TABLE answers (
        id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, answered_at REAL NOT NULL,
        status INTEGER NOT NULL, body TEXT NOT NULL)""",
    # AUTOINCREMENT never reuses an id, so that a late acknowledgement cannot delete another row.
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, posted_at REAL NOT NULL,
        due_at REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
        tried INTEGER NOT NULL DEFAULT 0, drift_id TEXT, parked_because TEXT, job TEXT NOT NULL)""",
    # One table holds three queues, and each row is in exactly one of them.
    "CREATE INDEX outbox_jobs ON outbox (id) WHERE parked_because IS NULL AND drift_id IS NULL",
    """CREATE INDEX outbox_pictures ON outbox (id)
        WHERE parked_because IS NULL AND drift_id IS NOT NULL""",
    "CREATE INDEX outbox_parked ON outbox (id) WHERE parked_because IS NOT NULL",
    """CREATE TABLE pictures (
        outbox_id INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
        data BLOB NOT NULL)""",
    "CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, expires_at REAL NOT NULL)",
    """CREATE TABLE experiments (
        url TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (url, name))""",
)


def _create_tables(connection: sa.Connection) -> None:
    if connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one():
        raise StoreError(
            f"{_file(connection)}: another program's database; move it away or choose another "
            "storage.path"
        )
    for statement in _TABLES_1:
        connection.exec_driver_sql(statement)


def _name_answers(connection: sa.Connection) -> None:
    """Replace the HTTP status of an answer by its kind."""
    for statement in (
        """CREATE TABLE named (
            id INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, answered_at REAL NOT NULL,
            kind TEXT NOT NULL, body TEXT NOT NULL)""",
        """INSERT INTO named SELECT id, event_id, answered_at,
            CASE status WHEN 200 THEN 'judged' WHEN 413 THEN 'too large' ELSE 'refused' END, body
            FROM answers""",
        "DROP TABLE answers",
        "ALTER TABLE named RENAME TO answers",
    ):
        connection.exec_driver_sql(statement)


def _add_collections(connection: sa.Connection) -> None:
    """Add the tables of clean pictures that a running node collects."""
    for statement in (
        "CREATE TABLE collections (stream TEXT PRIMARY KEY, state TEXT NOT NULL)",
        """CREATE TABLE collected (
            stream TEXT NOT NULL, digest TEXT NOT NULL, taken REAL NOT NULL, file TEXT NOT NULL,
            PRIMARY KEY (stream, digest))""",
    ):
        connection.exec_driver_sql(statement)


def _add_shedding(connection: sa.Connection) -> None:
    """Let the outbox know its size, and which of its jobs may go when space is short."""
    for statement in (
        "ALTER TABLE outbox ADD COLUMN clean INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE outbox ADD COLUMN thinned INTEGER NOT NULL DEFAULT 0",
        # A job of before is clean when neither it nor the one before it in its stream has a verdict.
        """UPDATE outbox SET clean = 1 WHERE id IN (
            SELECT id FROM (
                SELECT id, plain, lag(plain, 1, plain) OVER (PARTITION BY stream ORDER BY id) AS before
                FROM (
                    SELECT id, json_extract(job, '$.parameters.stream') AS stream,
                        json_extract(job, '$.job_status') = 'Completed'
                        AND NOT coalesce(json_extract(job, '$.drift_detected'), 0)
                        AND NOT coalesce(json_extract(job, '$.parameters.warning'), 0)
                        AND NOT coalesce(json_extract(job, '$.parameters.alarm'), 0) AS plain
                    FROM outbox))
            WHERE plain AND before)""",
        """CREATE INDEX outbox_clean ON outbox (thinned, id)
            WHERE clean AND parked_because IS NULL AND drift_id IS NULL""",
        "CREATE TABLE gaps (stream TEXT PRIMARY KEY, jobs INTEGER NOT NULL, since REAL NOT NULL)",
        """CREATE TABLE shedding (
            id INTEGER PRIMARY KEY CHECK (id = 1), bytes INTEGER NOT NULL, pictures INTEGER NOT NULL,
            jobs INTEGER NOT NULL, unrecorded INTEGER NOT NULL, since REAL, last REAL)""",
        """INSERT INTO shedding (id, pictures, jobs, unrecorded, bytes) SELECT 1, 0, 0, 0,
            (SELECT coalesce(sum(length(job)), 0) FROM outbox)
            + (SELECT coalesce(sum(length(data)), 0) FROM pictures)""",
        """CREATE TRIGGER outbox_posted AFTER INSERT ON outbox BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.job); END""",
        """CREATE TRIGGER outbox_deleted AFTER DELETE ON outbox BEGIN
            UPDATE shedding SET bytes = bytes - length(OLD.job); END""",
        """CREATE TRIGGER outbox_changed AFTER UPDATE OF job ON outbox BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.job) - length(OLD.job); END""",
        """CREATE TRIGGER picture_posted AFTER INSERT ON pictures BEGIN
            UPDATE shedding SET bytes = bytes + length(NEW.data); END""",
        """CREATE TRIGGER picture_deleted AFTER DELETE ON pictures BEGIN
            UPDATE shedding SET bytes = bytes - length(OLD.data); END""",
    ):
        connection.exec_driver_sql(statement)


def _keep_order(connection: sa.Connection) -> None:
    """Add what keeps the order of each stream, and the time of parking."""
    job = "parked_because IS NULL AND drift_id IS NULL"
    for statement in (
        "ALTER TABLE outbox ADD COLUMN parked_at REAL",
        "ALTER TABLE outbox ADD COLUMN out_of_turn INTEGER NOT NULL DEFAULT 0",
        f"ALTER TABLE outbox ADD COLUMN stream TEXT GENERATED ALWAYS AS ({STREAM_OF_JOB}) VIRTUAL",
        "UPDATE outbox SET parked_at = posted_at, out_of_turn = 1 WHERE parked_because IS NOT NULL",
        "DROP INDEX outbox_jobs",
        "DROP INDEX outbox_parked",
        # With all that tells whether a job is due, so that those held back are passed over quickly.
        f"CREATE INDEX outbox_jobs ON outbox (id, stream, due_at, out_of_turn) WHERE {job}",
        f"CREATE INDEX outbox_streams ON outbox (stream, id) WHERE {job}",
        f"CREATE INDEX outbox_put_off ON outbox (due_at) WHERE {job} AND due_at > 0",
        "CREATE INDEX outbox_parked ON outbox (stream, id) WHERE parked_because IS NOT NULL",
        # For counting; the table itself is as large as the pictures.
        "CREATE INDEX pictures_of ON pictures (outbox_id)",
    ):
        connection.exec_driver_sql(statement)


def _add_answer_ages(connection: sa.Connection) -> None:
    """Add the table by which answers age, however the clock jumps."""
    connection.exec_driver_sql(
        """CREATE TABLE answer_ages (
            answer_id INTEGER PRIMARY KEY, elapsed REAL NOT NULL, boot TEXT NOT NULL,
            uptime REAL NOT NULL)"""
    )


def _add_repairs(connection: sa.Connection) -> None:
    """Add the table of damaged files that this file has replaced."""
    connection.exec_driver_sql(
        """CREATE TABLE repairs (
            id INTEGER PRIMARY KEY, at TEXT NOT NULL, kept_as TEXT NOT NULL, recovered TEXT NOT NULL)"""
    )


def _add_originals(connection: sa.Connection) -> None:
    """Add the table of kept originals."""
    for statement in (
        """CREATE TABLE originals (
            id INTEGER PRIMARY KEY, event TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
            upto INTEGER NOT NULL)""",
        "CREATE INDEX originals_event ON originals (event)",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (
    _create_tables,
    _name_answers,
    _add_collections,
    _add_shedding,
    _add_answer_ages,
    _add_repairs,
    _keep_order,
    _add_originals,
)


def open_engine(path: Path, busy_timeout: float, *, durable: bool = True) -> sa.Engine:
    """Return an engine whose transactions begin with its execution option `begin`, if it has one.

    Args:
        path: The database file.
        busy_timeout: Seconds to wait for another process's transaction.
        durable: Let each commit wait for the disk. Without it a power failure may destroy the file.
    """
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        max_overflow=-1,
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", functools.partial(_prepare, durable))
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(durable: bool, connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by us, not by the driver
    synchronous = "synchronous=FULL" if durable else "synchronous=OFF"
    for pragma in ("foreign_keys=ON", synchronous, "journal_size_limit=16777216"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get("begin")
    if statement:
        connection.exec_driver_sql(statement)


def migrate(reader: sa.Engine, writer: sa.Engine, busy_timeout: float) -> None:
    """Bring a new or older file to this version's schema."""
    with reader.connect() as connection:
        if _version(connection) == len(MIGRATIONS) and _journal_mode(connection) == "wal":
            return
        _set_wal(connection, time.monotonic() + busy_timeout)
    with writer.begin() as connection:
        for number in range(_version(connection), len(MIGRATIONS)):
            MIGRATIONS[number](connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {number + 1}")


def _version(connection: sa.Connection) -> int:
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{_file(connection)}: written by a newer Lenswatch (schema {version}, this one knows "
            f"{len(MIGRATIONS)}); update Lenswatch, or choose another storage.path"
        )
    return version


def _file(connection: sa.Connection) -> str:
    return str(connection.engine.url.database)


def _journal_mode(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def _set_wal(connection: sa.Connection, deadline: float) -> None:
    """Switch to WAL mode, waiting for other processes, which SQLite does not do here."""
    connection.exec_driver_sql(
        "PRAGMA auto_vacuum = INCREMENTAL"
    )  # takes effect in an empty file only
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except sa.exc.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def is_busy(error: sa.exc.DBAPIError) -> bool:
    """Return True when the only fault is that another connection holds a lock."""
    return getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Raise database errors as a StoreError that names the file, or as StoreDamaged.

    Other exceptions pass: they come from the caller's code inside the transaction.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _named(path, error.orig) from error
    except sqlite3.Error as error:  # from the statements that go straight to the driver
        raise _named(path, error) from error
    except _NotJsonError as error:
        raise StoreDamaged(f"{path}: {error}; {_DAMAGED}") from error


class _NotJsonError(ValueError):
    """A stored text that is not the JSON that was written."""


def stored_json(text: str) -> Any:
    """Return the value of JSON that this node wrote; inside `named_errors`, anything else is damage."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise _NotJsonError(f"a stored text is no JSON: {error}") from None


def _named(path: Path, error: BaseException | None) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    # The driver itself decodes text, and its error has no name.
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or any(
        each in str(error) for each in ("decode to UTF-8", "malformed JSON")
    ):
        return StoreDamaged(f"{path}: {error}; {_DAMAGED}")
    kind = DiskFull if _is_full(path, name) else StoreError
    return kind(f"{path}: {error}; {_advice(name)}")


def _is_full(path: Path, name: str) -> bool:
    """Return True for a lack of space.

    SQLite names it so only where `write` fails with ENOSPC. With a quota that is used up, `write` fails with
    another error, and the disk has free space.
    """
    if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
        return True
    other = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN"))
    return other and free_bytes(path.parent) < NO_SPACE_BYTES


def _advice(name: str) -> str:
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another process kept it locked for too long: find out which one has it open"
    if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
        return "free some disk space, or raise the quota"
    return "the file and its folder must be writable"
