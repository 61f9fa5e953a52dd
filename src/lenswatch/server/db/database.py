"""The database: one engine a process, and transactions that wait their turn.

SQLite runs in WAL mode with `synchronous = FULL`: what was acknowledged survives a power cut, since the node
forgets a job once it is acknowledged. A transaction that will write begins IMMEDIATE; a read that turned
into a write would fail at once in WAL instead of waiting.
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

from sqlalchemy import Connection, QueuePool, Table, text
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

from lenswatch.errors import ServerError
from lenswatch.server.db.engines import STATEMENT_SECONDS, make_engine
from lenswatch.server.query.sqlite_functions import regex_function, same_json

__all__ = ["Contended", "Database", "Outage", "QueryRefused", "insert_into", "one_line"]

_FAULTS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)  # ours
_CONTENDED = ("40001", "40P01")  # serialization failure, deadlock
# What reads ask of PostgreSQL, where a transaction sees each commit as it happens otherwise.
_ONE_STATE = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

# How SQLite, our function in it, and PostgreSQL (by SQLSTATE: its texts are translated) say that time is up.
_GIVEN_UP = ("interrupted", "user-defined function raised", "57014")
# Error texts that mean that a statement is too large.
_TOO_LARGE = ("parser stack overflow", "tree is too large", "too many SQL variables", "54001")
_STEPS = 20_000  # of SQLite's machine between two looks at the clock


class QueryRefused(Exception):  # noqa: N818
    """The database gave a query up: it took too long, or is too large."""


class Outage(ServerError):  # noqa: N818
    """The database is unreachable, busy, read-only or damaged; the request itself was fine."""


class Contended(Outage):
    """The database gave a transaction up for another one. Run again, it may well succeed."""


class Database:
    """A database by its SQLAlchemy URL. Connections open at first use; `close` when done."""

    def __init__(self, url: str) -> None:
        self._ended = threading.Event()
        self.engine = make_engine(url, self._ended)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.Lock()
        self._opening = threading.Lock()
        self._files: list[os.stat_result | None] = [None, None]  # what we have open: file and log

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state throughout.

        Raises:
            Outage: the database cannot answer now. So does `write`.
        """
        with self._transaction({} if self.sqlite else _ONE_STATE) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, committed at the end, rolled back on any exception."""
        turn = self._turn if self.sqlite else nullcontext()
        with turn, self._transaction({"lenswatch_write": True}) as connection:
            yield connection

    @contextmanager
    def _transaction(self, options: dict[str, Any]) -> Iterator[Connection]:
        try:
            with self._connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection
        except TimeoutError:
            raise Outage("No connection to the database was free.") from None
        except DBAPIError as error:
            if isinstance(error, _FAULTS) and not error.connection_invalidated:
                raise
            if self.sqlite and _is_of_the_file(error):
                self.engine.dispose()
            contended = getattr(error.orig, "sqlstate", None) in _CONTENDED
            raise (Contended if contended else Outage)(one_line(error.orig)) from error

    def _connect(self) -> Connection:
        if not self.sqlite:
            return self.engine.connect()
        with self._opening:
            self._follow_file()
            return self.engine.connect()

    def _follow_file(self) -> None:
        """See that our connections have open what the path leads to.

        SQLite knows the log beside a file by its name only, and would take the old file's log for the new
        one's: nothing is opened before the old log is gone, and the last connection with it.
        """
        path = str(self.engine.url.database)
        file, log = _stat(path), _stat(f"{path}-wal")
        if file is None:
            raise Outage(f"{path} is not there, or cannot be looked at")
        known, known_log = self._files
        if known and not os.path.samestat(file, known):
            if log and not (known_log and not os.path.samestat(log, known_log)):
                raise Outage(f"{path} was replaced, but {path}-wal is still that of the old file")
            if cast(QueuePool, self.engine.pool).checkedout():
                raise Outage(f"{path} was replaced; what is under way in the old file has to end")
            self.engine.dispose()
        self._files = [file, log]

    @contextmanager
    def limited(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Within: what is asked on `connection` is given up after `seconds`.

        Raises:
            QueryRefused: it was.
        """
        try:
            limit = self._sqlite_limit if self.sqlite else self._postgresql_limit
            with limit(connection, seconds):
                yield
        except DBAPIError as error:
            said = getattr(error.orig, "sqlstate", None) or str(error.orig)
            if any(sign in said for sign in _GIVEN_UP):
                raise QueryRefused("The query takes too long.") from None
            if any(sign in said for sign in _TOO_LARGE):
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
        driver.seconds = seconds
        try:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            yield
        finally:
            driver.seconds = STATEMENT_SECONDS

    def ping(self) -> None:
        """Raise an Outage unless the database answers from what is on the disk, and can be written to."""
        with self.read() as connection:
            connection.execute(text("SELECT 1 FROM users LIMIT 1"))
            if not self.sqlite and connection.execute(text(_READ_ONLY)).scalar_one():
                raise Outage("The database is read-only.")
        if self.sqlite:
            try:
                _look_anew(str(self.engine.url.database))
            except Outage:
                self.engine.dispose()
                raise

    def close(self) -> None:
        """Give every connection back. Whoever still waits for the database waits no longer."""
        self._ended.set()
        self.engine.dispose()


_READ_ONLY = (
    "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
)


def _look_anew(path: str) -> None:
    """Read from a SQLite file what no connection of ours has in its memory."""
    address = f"{Path(path).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0.1)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            _see_that_it_takes_writes(connection)
    except sqlite3.Error as error:
        raise Outage(f"{path}: {error}") from None


def _see_that_it_takes_writes(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")  # in a read-only file this begins to read
        connection.execute("UPDATE alembic_version SET version_num = version_num")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # busy: somebody else writes
            raise
    else:
        connection.rollback()


def _is_of_the_file(error: DBAPIError) -> bool:
    """Whether a SQLite file is damaged or was opened read-only: what is known of it counts for nothing."""
    if not isinstance(error, OperationalError):
        return True
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return None


def one_line(error: object) -> str:
    """What `error` says, in one line."""
    return " ".join(str(error).split())


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT as this database has it, which can say what to do ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)
