"""The database: one engine a process, transactions that wait their turn, migrations.

SQLite runs in WAL mode with `synchronous = FULL`: what was acknowledged survives a power cut, since the node
forgets a job once it is acknowledged. A transaction that will write begins IMMEDIATE; a read that turned
into a write would fail at once in WAL instead of waiting.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from lenswatch.errors import ServerError
from lenswatch.server.models import settings
from lenswatch.server.regex import compile_regex

__all__ = ["Database", "QueryRefused", "prepare", "shared_secret"]

BUSY_TIMEOUT_MS = 60_000
POOL_SIZE = 16
_INT64 = 2**63
_MIGRATION_LOCK = 0x1E95  # any number, the same in every process


# How SQLite, our function in it, and PostgreSQL (by SQLSTATE: its words are in its own language) say that
# time is up.
_GIVEN_UP = ("interrupted", "user-defined function raised", "57014")
# How they say that a statement is more than they can take.
_TOO_LARGE = ("parser stack overflow", "tree is too large", "too many SQL variables", "54001")
_STEPS = 20_000  # of SQLite's machine between two looks at the clock


class QueryRefused(Exception):  # noqa: N818
    """The database gave a query up: it took too long, or is too large."""


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
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state throughout."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def limited(self, connection: Connection, seconds: float) -> Iterator[None]:
        """Within: what is asked on `connection` is given up after `seconds`.

        Raises:
            QueryRefused: it was.
        """
        try:
            with self._sqlite_limit(connection, seconds) if self.sqlite else nullcontext():
                if not self.sqlite:
                    limit = f"SET LOCAL statement_timeout = {int(seconds * 1000)}"
                    connection.exec_driver_sql(limit)
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
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, committed at the end, rolled back on any exception."""
        with self._turn if self.sqlite else nullcontext(), self.engine.connect() as connection:
            connection = connection.execution_options(lenswatch_write=True)
            with connection.begin():
                yield connection

    def ping(self) -> None:
        """Raise a DBAPIError unless the database answers."""
        with self.read() as connection:
            connection.execute(text("SELECT 1 FROM users LIMIT 1"))

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


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
    try:
        database = Database(url)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ServerError(
            f"server.database = {_shown(url)}: no usable database URL: {error}"
        ) from None
    try:
        if database.sqlite:
            _make_folder(database.engine)
        with database.write() as connection:
            if not database.sqlite:
                _check_encoding(connection, _shown(url))
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            _upgrade(connection, _shown(url), migrate)
    except DBAPIError as error:
        raise ServerError(
            f"server.database = {_shown(url)}: cannot be used: {str(error.orig).strip()}"
        ) from None
    finally:
        database.close()


def _check_encoding(connection: Connection, shown: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise ServerError(
            f"{shown} has the encoding {encoding}; Lenswatch needs one made with UTF8, as by "
            "createdb --encoding UTF8 --template template0"
        )


def _make_folder(engine: Engine) -> None:
    if engine.url.database and engine.url.database != ":memory:":
        try:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServerError(f"server.database: cannot make its folder: {error}") from None


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
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
        raise ServerError(
            f"{shown} has schema {current}, this Lenswatch needs {head}; start once without --no-migrate"
        )
    command.upgrade(config, "head")


def _engine(url: str) -> Engine:
    sqlite = make_url(url).get_backend_name() == "sqlite"
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_pre_ping=not sqlite,
        enable_from_linting=False,  # JSON functions in FROM read the row beside them
        json_serializer=_dump,
        json_deserializer=_load,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
        if sqlite
        else {"connect_timeout": 10, "client_encoding": "utf8", "options": "-c jit=off"},
    )
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -8192",
        "mmap_size = 1073741824",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("lenswatch_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _load(data: str | bytes) -> Any:
    return json.loads(data, parse_int=_read_whole)


def _read_whole(digits: str) -> int | float:
    """Whole numbers beyond 64 bits were floats when they came: PostgreSQL writes 1e300 in full."""
    value = int(digits) if len(digits) < 400 else math.inf
    return value if -_INT64 <= value < _INT64 else float(digits)
