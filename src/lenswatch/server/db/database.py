"""The database: one engine for each process, and transactions that wait for each other.

SQLite runs in WAL mode with `synchronous = FULL`, so that acknowledged jobs survive a power cut: the node
deletes a job once it is acknowledged. A transaction that will write begins IMMEDIATE, because in WAL mode a
read that turned into a write would fail at once instead of waiting.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, QueuePool, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    TimeoutError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from lenswatch.errors import ServerError
from lenswatch.server.db.engines import MARGIN_SECONDS, SILENCE_SECONDS, Silence, make_engine
from lenswatch.server.query.sqlite_functions import regex_function, same_json

__all__ = [
    "Contended",
    "Cut",
    "Database",
    "Outage",
    "QueryRefused",
    "insert_into",
    "insert_of",
    "one_line",
]

# Mistakes of ours, not outages.
_FAULTS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)
_CONTENDED = ("40001", "40P01")  # serialization failure, deadlock
# For reads on PostgreSQL, whose default isolation level sees each commit as it happens.
_ONE_STATE = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

# Time is up: for SQLite, for our function in it, and for PostgreSQL (SQLSTATE: its messages are translated).
_TIME_IS_UP = ("interrupted", "user-defined function raised", "57014")
# The statement is too large.
_TOO_LARGE = ("parser stack overflow", "tree is too large", "too many SQL variables", "54001")
_STEPS = 20_000  # of SQLite's virtual machine between two checks of the time


class QueryRefused(Exception):  # noqa: N818
    """The database cancelled a query that took too long or is too large."""


class Outage(ServerError):  # noqa: N818
    """The database is unreachable, busy, read-only or damaged; the request itself was valid."""


class Contended(Outage):
    """The database cancelled a transaction in favour of another one. It may succeed when run again."""


class Cut(Outage):
    """The connection was lost in the middle of a transaction. It may succeed when run again.

    Args:
        reason: The database's message.
        in_doubt: The loss came during the commit, so that perhaps everything was stored.
    """

    def __init__(self, reason: str, *, in_doubt: bool) -> None:
        super().__init__(reason)
        self.in_doubt = in_doubt


class Database:
    """The database at a SQLAlchemy URL. Connections open at first use; `close` ends them."""

    def __init__(self, url: str, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self.silence_seconds = silence_seconds
        self._ended = threading.Event()
        self.engine = make_engine(url, self._ended, silence_seconds)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.Lock()
        self._opening = threading.RLock()
        self._opened = 0  # how often the database was opened anew
        event.listen(self.engine, "connect", self._mark)
        event.listen(self.engine, "checkin", self._close_if_older)
        self._files: list[os.stat_result | None] = [None, None]  # SQLite: the open file and log

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction that only reads, and sees one state of the database throughout.

        Raises:
            Outage: The database cannot answer now.
        """
        with self._transaction({} if self.sqlite else _ONE_STATE) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Begin a transaction that writes, committed at the end and rolled back on any exception.

        Raises:
            Outage: The database cannot answer now.
        """
        turn = self._turn if self.sqlite else nullcontext()
        with turn, self._transaction({"lenswatch_write": True}) as connection:
            yield connection

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        done = False  # all but the commit
        try:
            with self._connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection
                    done = True
        except TimeoutError:
            raise Outage("No connection to the database was free.") from None
        except DBAPIError as error:
            if isinstance(error, _FAULTS) and not error.connection_invalidated:
                raise
            if self.sqlite and _concerns_file(error):
                self._open_anew()
            reason = one_line(error.orig)
            if getattr(error.orig, "sqlstate", None) in _CONTENDED:
                raise Contended(reason) from error
            if error.connection_invalidated and not isinstance(error.orig, Silence):
                raise Cut(reason, in_doubt=done) from error
            raise Outage(reason) from error

    def _connect(self) -> Connection:
        if not self.sqlite:
            return self.engine.connect()
        with self._opening:
            self._follow_file()
            return self.engine.connect()

    def _follow_file(self) -> None:
        """Make sure that our connections have the file open that is at the path now.

        SQLite finds the log of a file by name only, and would take the log of a replaced file for that of the
        new one. So nothing is opened until the old log and the last connection to the old file are gone.
        """
        path = str(self.engine.url.database)
        file, log = _stat(path), _stat(f"{path}-wal")
        if file is None:
            raise Outage(f"{path} is missing or inaccessible")
        known, known_log = self._files
        if known and not os.path.samestat(file, known):
            if log and not (known_log and not os.path.samestat(log, known_log)):
                raise Outage(f"{path} was replaced, but {path}-wal still belongs to the old file")
            if cast(QueuePool, self.engine.pool).checkedout():
                raise Outage(f"{path} was replaced while transactions in the old file are running")
            self.engine.dispose()
        elif known and _rights(file) != _rights(
            known
        ):  # a connection keeps those it was opened with
            self.engine.dispose()
        self._files = [file, log]

    def _open_anew(self) -> None:
        """Close the connections that are free, and each other one once it is.

        Without the latter it stays open until its pool is collected as garbage. As long as one process has a
        SQLite file open, a new connection shares what that one may do, and closes no file descriptor.
        """
        with self._opening:
            self._opened += 1
            self.engine.dispose()

    def _mark(self, _connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["opened"] = self._opened

    def _close_if_older(self, connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is not None and record.info.get("opened") != self._opened:
            connection.close()

    @contextmanager
    def limited(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Cancel statements on `connection` that run longer than `seconds`.

        Raises:
            QueryRefused: A statement was cancelled, or is too large.
        """
        try:
            limit = self._sqlite_limit if self.sqlite else self._postgresql_limit
            with limit(connection, seconds):
                yield
        except DBAPIError as error:
            reason = getattr(error.orig, "sqlstate", None) or str(error.orig)
            if any(sign in reason for sign in _TIME_IS_UP):
                raise QueryRefused("The query takes too long.") from None
            if any(sign in reason for sign in _TOO_LARGE):
                raise QueryRefused("The query is too large.") from None
            raise

    @contextmanager
    def _sqlite_limit(self, connection: Connection, seconds: float) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        deadline = time.monotonic() + seconds
        driver.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
        driver.create_function("lenswatch_regex", 3, regex_function(deadline), deterministic=True)
        driver.create_function("lenswatch_same", 2, same_json, deterministic=True)
        try:
            yield
        finally:
            driver.set_progress_handler(None, 0)

    @contextmanager
    def _postgresql_limit(self, connection: Connection, seconds: float) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        driver.silence_seconds = seconds + MARGIN_SECONDS
        try:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            yield
        finally:
            driver.silence_seconds = self.silence_seconds

    def ping(self) -> None:
        """Raise an Outage unless the database can be read from disk, and written to."""
        with self.read() as connection:
            connection.execute(text("SELECT 1 FROM users LIMIT 1"))
            if not self.sqlite and connection.execute(text(_READ_ONLY)).scalar_one():
                raise Outage("The database is read-only.")
        if self.sqlite:
            try:
                _check_file(str(self.engine.url.database))
            except Outage:
                self._open_anew()
                raise

    def close(self) -> None:
        """Close all connections, and end all waiting for the database."""
        self._ended.set()
        self.engine.dispose()


_READ_ONLY = (
    "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
)


def _check_file(path: str) -> None:
    """Check a SQLite file by a new connection, which has nothing cached."""
    address = f"{Path(path).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0.1)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            _check_writable(connection)
    except sqlite3.Error as error:
        raise Outage(f"{path}: {error}") from None


def _check_writable(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")  # in a read-only file this begins a read
        connection.execute("UPDATE alembic_version SET version_num = version_num")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # another one writes
            raise
    else:
        connection.rollback()


def _concerns_file(error: DBAPIError) -> bool:
    """Return whether a SQLite file is damaged or was opened read-only, so that it has to be opened anew."""
    if not isinstance(error, OperationalError):
        return True
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return None


def _rights(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def one_line(error: object) -> str:
    """Return the message of `error` in one line."""
    return " ".join(str(error).split())


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT in the dialect of the database, which offers ON CONFLICT."""
    return insert_of(connection.dialect.name, table)


def insert_of(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT in a dialect, "sqlite" or "postgresql", which offers ON CONFLICT."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
