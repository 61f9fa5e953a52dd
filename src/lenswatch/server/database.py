"""The database: one engine a process, transactions that wait their turn, migrations.

SQLite runs in WAL mode with `synchronous = FULL`: what was acknowledged survives a power cut, since the node
forgets a job once it is acknowledged. A transaction that will write begins IMMEDIATE; a read that turned
into a write would fail at once in WAL instead of waiting.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, QueuePool, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
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
from lenswatch.server.engines import STATEMENT_SECONDS, make_engine
from lenswatch.server.models import settings
from lenswatch.server.regex import compile_regex

__all__ = ["Contended", "Database", "Outage", "QueryRefused", "prepare", "shared_secret"]

MIGRATION_SECONDS = 24 * 3600.0
_MIGRATION_LOCK = 0x1E95  # any number, the same in every process
_FAULTS = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)  # ours
_CONTENDED = ("40001", "40P01")  # serialization failure, deadlock
# What reads ask of PostgreSQL, where a transaction sees each commit as it happens otherwise.
_ONE_STATE = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

# How SQLite, our function in it, and PostgreSQL (by SQLSTATE: its words are in its own language) say that
# time is up.
_GIVEN_UP = ("interrupted", "user-defined function raised", "57014")
# How they say that a statement is more than they can take.
_TOO_LARGE = ("parser stack overflow", "tree is too large", "too many SQL variables", "54001")
_STEPS = 20_000  # of SQLite's machine between two looks at the clock


class QueryRefused(Exception):  # noqa: N818
    """The database gave a query up: it took too long, or is too large."""


class Outage(ServerError):  # noqa: N818
    """The database is away, busy, read-only or damaged: it is not what was asked that is wrong."""


class Contended(Outage):
    """A transaction was sacrificed to another one: run again, it may well succeed."""


def _searcher(deadline: float) -> Any:
    last: tuple[Any, ...] = ()  # rows in a row often say the same
    found = False

    def search(regex: str, options: str, text: Any) -> bool | None:
        nonlocal last, found
        if not isinstance(text, str):
            return None
        if last != (text, regex, options):
            found = compile_regex(regex, options).search(text, deadline)
            last = (text, regex, options)
        return found

    return search


def _same_json(left: str, right: str) -> bool:
    return _same(json.loads(left), json.loads(right))


def _same(left: Any, right: Any) -> bool:
    """Equality in which true is not 1, but 1 is 1.0."""
    match left, right:
        case (list(), list()):
            return len(left) == len(right) and all(map(_same, left, right))
        case (dict(), dict()):
            return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


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
            if self.sqlite and not isinstance(error, OperationalError):
                self.engine.dispose()  # the file is damaged: what is known of it counts for nothing
            contended = getattr(error.orig, "sqlstate", None) in _CONTENDED
            raise (Contended if contended else Outage)(_one_line(error.orig)) from error

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
        driver.create_function("lenswatch_regex", 3, _searcher(deadline), deterministic=True)
        driver.create_function("lenswatch_same", 2, _same_json, deterministic=True)
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
            _look_anew(str(self.engine.url.database))

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
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise Outage(f"{path}: {error}") from None


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return None


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def shared_secret(database: Database) -> str:
    """A secret that all processes on this database share, made at first need."""
    fresh = {"name": "secret", "value": secrets.token_urlsafe(32)}
    dialect = sqlite if database.sqlite else postgresql
    with database.write() as connection:
        connection.execute(dialect.insert(settings).values(fresh).on_conflict_do_nothing())
        query = select(settings.c.value).where(settings.c.name == "secret")
        return str(connection.execute(query).scalar_one())


def prepare(url: str, *, migrate: bool = True) -> None:
    """Bring the database to this version's schema, or see that it is there.

    Raises:
        ServerError: it cannot be reached, is newer than this version, is older and `migrate` is off, or
            cannot hold every character.
    """
    shown = _shown(url)
    try:
        database = Database(url)
    except ArgumentError as error:
        raise ServerError(f"server.database = {shown}: no usable database URL: {error}") from None
    try:
        if database.sqlite:
            _make_file(database.engine)
        with database.write() as connection, database.limited(connection, MIGRATION_SECONDS):
            if not database.sqlite:
                _check_encoding(connection, shown)
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            _upgrade(connection, shown, migrate)
    except (Outage, DBAPIError) as error:
        said = _one_line(error.orig if isinstance(error, DBAPIError) else error)
        raise ServerError(f"server.database = {shown}: cannot be used: {said}") from None
    finally:
        database.close()


def _check_encoding(connection: Connection, shown: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise ServerError(
            f"{shown} has the encoding {encoding}; Lenswatch needs one made with UTF8, as by "
            "createdb --encoding UTF8 --template template0"
        )


def _make_file(engine: Engine) -> None:
    """An empty file where there is none: connections never make one."""
    path = Path(str(engine.url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ServerError(f"server.database: cannot make its file: {error}") from None


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "(unreadable)"


def _upgrade(connection: Connection, shown: str, migrate: bool) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    head = ScriptDirectory.from_config(config).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return
    try:
        ScriptDirectory.from_config(config).get_revision(current or "base")
    except CommandError:
        raise ServerError(
            f"{shown} was written by a newer Lenswatch (schema {current}, this one knows {head}); "
            "update Lenswatch"
        ) from None
    if not migrate:
        known = f"has schema {current}" if current else "is empty"
        raise ServerError(
            f"{shown} {known}, this Lenswatch needs schema {head}; start once without --no-migrate"
        )
    command.upgrade(config, "head")
