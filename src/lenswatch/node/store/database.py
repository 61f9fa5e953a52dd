"""The file `node.db`: how it is opened, and what its errors mean.

SQLite runs in WAL mode with synchronous=FULL: readers never wait, and committed data is on the disk.
Write transactions begin with BEGIN IMMEDIATE, because in WAL mode a transaction that reads first and
writes later fails when another process wrote in between.
"""

from __future__ import annotations

import functools
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from lenswatch.errors import DiskFull, StoreDamaged, StoreError
from lenswatch.node.store.migrations import MIGRATIONS
from lenswatch.node.store.reserve import free_bytes

__all__ = [
    "NotJsonError",
    "migrate",
    "named_errors",
    "open_engine",
    "stored_json",
]

NO_SPACE_BYTES = 256 * 1024  # on a disk with less, any failure is taken for a lack of space
_DAMAGED = "the file is damaged or is not a database"


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
    # In memory, since the temporary folder may be on the full disk from which rows are to be deleted.
    temporary = "temp_store=MEMORY"
    for pragma in ("foreign_keys=ON", synchronous, "journal_size_limit=16777216", temporary):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    begin = connection.get_execution_options().get("begin")
    if begin is not None:
        connection.exec_driver_sql(begin)


def migrate(
    reader: sa.Engine, writer: sa.Engine, busy_timeout: float, *, spare_ids: bool = False
) -> None:
    """Bring a new or older file to this version's schema.

    Args:
        reader: Engine of the file.
        writer: The engine for write transactions.
        busy_timeout: Seconds to wait for other processes.
        spare_ids: In a new file, let jobs have ids that no file before it had: the sender may still settle
            jobs of a file that was deleted.
    """
    with reader.connect() as connection:
        if _version(connection) == len(MIGRATIONS) and _journal_mode(connection) == "wal":
            return
        _set_wal(connection, time.monotonic() + busy_timeout)
    with writer.begin() as connection:
        version = _version(connection)
        for number in range(version, len(MIGRATIONS)):
            MIGRATIONS[number](connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {number + 1}")
        if spare_ids and version == 0:
            milliseconds = time.time_ns() // 10**6
            connection.exec_driver_sql(
                f"INSERT INTO sqlite_sequence VALUES ('outbox', {milliseconds})"
            )


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
    except NotJsonError as error:
        raise StoreDamaged(f"{path}: {error}; {_DAMAGED}") from error


class NotJsonError(ValueError):
    """A stored text that is not the JSON that was written."""


def stored_json(text: str) -> Any:
    """Return the value of JSON that this node wrote; inside `named_errors`, anything else is damage."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise NotJsonError(f"a stored text is no JSON: {error}") from None


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
