"""Connections to the database, and how long they may block.

The network's time limits notice a PostgreSQL server that is gone, ours one that does not answer. A statement
may take `STATEMENT_SECONDS`, unless `Database.limited` says otherwise.
"""

from __future__ import annotations

import json
import math
import select
import threading
import time
from collections.abc import Generator
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, OperationalError

from lenswatch.server.db.pipeline import pipeline
from lenswatch.server.values.storable import INT64, written

__all__ = [
    "MARGIN_SECONDS",
    "POOL_SIZE",
    "SILENCE_SECONDS",
    "STATEMENT_SECONDS",
    "Silence",
    "make_engine",
]

BUSY_SECONDS = 60.0  # for a lock on SQLite
POOL_SIZE = 16
TRUST_SECONDS = 5.0  # for which a connection may rest before it is asked for a sign of life
POOL_SECONDS = 10  # for a free connection
STATEMENT_SECONDS = 30.0
LOCK_SECONDS = 20.0  # for a lock on PostgreSQL
MARGIN_SECONDS = 5.0  # in which PostgreSQL itself should report that time is up
SILENCE_SECONDS = STATEMENT_SECONDS + MARGIN_SECONDS  # until PostgreSQL counts as frozen
_ATTEMPT_MS = 500  # for one attempt at SQLite's lock, between checks whether the server stops


class Silence(psycopg.OperationalError):
    """The database has not answered in time, or our server stops."""


class PatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed when no answer comes in time, or when our server stops.

    The network's time limits do not notice a hanging database server, or a proxy in front of it, that still
    acknowledges every packet.
    """

    silence_seconds = SILENCE_SECONDS
    ended = threading.Event()

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for the server's answer, as psycopg does."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Any) -> Generator[Any, Any, Any]:
        """Return what psycopg's generator returns, or raise when the time is up; psycopg drives it."""
        deadline = time.monotonic() + self.silence_seconds
        try:
            ready = yield next(gen)
            while ready or not (self.ended.is_set() or time.monotonic() > deadline):
                ready = yield gen.send(ready)
        except StopIteration as end:
            return end.value
        self.pgconn.finish()
        raise Silence("the database has stopped answering")


def make_engine(url: str, ended: threading.Event, silence_seconds: float) -> Engine:
    """Return the engine for the database at `url`.

    Args:
        url: A SQLAlchemy URL of SQLite or PostgreSQL.
        ended: Ends all waiting for the database once it is set.
        silence_seconds: Time without an answer after which a PostgreSQL server counts as frozen.

    Raises:
        ArgumentError: The URL is neither.
    """
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    engine = create_engine(
        parsed,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,  # prefer few connections, whose caches are warm
        query_cache_size=100,
        enable_from_linting=False,  # JSON functions in FROM read the row beside them
        json_serializer=written,
        json_deserializer=_load,
        connect_args={"timeout": BUSY_SECONDS} if sqlite else _postgresql(),
    )
    if sqlite:
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", partial(_begin_sqlite, ended=ended))
    else:
        connect = partial(_connect_postgresql, ended=ended, silence_seconds=silence_seconds)
        event.listen(engine, "do_connect", connect)
        event.listen(engine, "checkin", _rest)
        event.listen(engine, "checkout", _look)
        pipeline(engine)
    return engine


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ValueError:
        raise ArgumentError("its port is not a number") from None
    if parsed.drivername == "sqlite" and not (parsed.database or ":memory:").startswith(
        (":memory:", "file:")
    ):
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ArgumentError(
        "it should be sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    )


def _postgresql() -> dict[str, Any]:
    limits = {
        "jit": "off",
        "statement_timeout": int(STATEMENT_SECONDS * 1000),
        "lock_timeout": int(LOCK_SECONDS * 1000),
        "idle_in_transaction_session_timeout": 60_000,  # frees the locks of a client that is gone
    }
    return {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "client_encoding": "utf8",
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
    }


def _connect_postgresql(
    _dialect: Any,
    _record: Any,
    args: Any,
    options: Any,
    *,
    ended: threading.Event,
    silence_seconds: float,
) -> PatientConnection:
    connection = PatientConnection.connect(*args, **options)
    connection.ended, connection.silence_seconds = ended, silence_seconds
    return connection


def _look(connection: Any, record: Any, _proxy: Any) -> None:
    """Replace a connection that has ended while it rested, and all others of that age."""
    rested = time.monotonic() - record.info.get("rests_since", math.inf)
    if rested < TRUST_SECONDS and not _has_news(connection):
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except psycopg.Error:
        raise InvalidatePoolError from None


def _has_news(connection: PatientConnection) -> bool:
    """Return whether the server has sent something that nobody asked for, such as the end."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _rest(connection: Any, record: Any) -> None:
    """Reset the mode of a read, in place of SQLAlchemy's READ WRITE, which overrides a read-only default."""
    if connection is not None and not connection.closed:
        connection.read_only = None
        record.info["rests_since"] = time.monotonic()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite issues BEGIN
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -2048",
        "mmap_size = 0",  # a file that is cut short while it is mapped ends the process
        "temp_store = MEMORY",
        f"busy_timeout = {_ATTEMPT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection, *, ended: threading.Event) -> None:
    if not connection.get_execution_options().get("lenswatch_write"):
        connection.exec_driver_sql("BEGIN")
        return
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            locked = "locked" in str(error.orig)
            if ended.is_set() or not locked or time.monotonic() > deadline:
                raise
        else:
            return


def _load(data: str | bytes) -> Any:
    return _DECODER.decode(data if isinstance(data, str) else data.decode())


def _read_whole(digits: str) -> int | float:
    """Parse integers beyond 64 bits as floats: PostgreSQL writes 1e300 with all its digits."""
    value = int(digits) if len(digits) < 400 else math.inf
    return value if -INT64 <= value < INT64 else float(digits)


_DECODER = json.JSONDecoder(parse_int=_read_whole)  # `json.loads` would make one for each value
