"""Connections to a node's database on PostgreSQL, which several replicas of the node share.

Transactions that name their stream wait only for those of the same stream. Any other one waits for all, as on
SQLite. Both are advisory locks, which end with the transaction, or with the process that held them.
"""

from __future__ import annotations

import hashlib
import select
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from lenswatch.errors import DiskFull, StoreError, StoreUnavailable
from lenswatch.node.store.connections import Connections
from lenswatch.node.store.database import NotJsonError
from lenswatch.node.store.postgres_schema import prepare

__all__ = ["PostgresConnections", "named_errors", "shown"]

EVERYTHING = 0x6C656E73_00000000  # of the advisory lock of all streams
CONNECT_SECONDS = 3
REST_SECONDS = 2.0  # after a connection was refused, for which no other one is tried
TRUST_SECONDS = 5.0  # for which a connection may rest before it is asked for a sign of life
SILENCE_SECONDS = 35.0  # for one statement, longer than the limits of the database itself
LIMITS = {
    "jit": "off",
    "statement_timeout": 30_000,
    "lock_timeout": 25_000,
    "idle_in_transaction_session_timeout": 15_000,  # frees the locks of a replica that hangs
}


class _Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed when no answer comes in time: the database, or a proxy, may hang."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Any) -> Generator[Any, Any, Any]:
        deadline = time.monotonic() + SILENCE_SECONDS
        try:
            ready = yield next(gen)
            while ready or time.monotonic() < deadline:
                ready = yield gen.send(ready)
        except StopIteration as end:
            return end.value
        self.pgconn.finish()
        raise psycopg.OperationalError(f"no answer for {SILENCE_SECONDS:g} s")


def _connect(_dialect: Any, _record: Any, args: Any, options: Any) -> _Bounded:
    return _Bounded.connect(*args, **options)


class PostgresConnections(Connections):
    """The connections of one database, for any number of threads.

    Args:
        url: A SQLAlchemy URL of PostgreSQL.

    Raises:
        StoreError: The URL is none.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.name = shown(url)
        self._resting: list[float] = []  # when each idle connection was given back
        self._down_until, self._down_because = 0.0, ""
        self._prepared = False
        self._preparing = threading.Lock()
        limits = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
        own = parsed.query.get("options", "")  # perhaps a schema
        engine = sa.create_engine(
            parsed.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
            poolclass=sa.QueuePool,
            max_overflow=-1,
            isolation_level="AUTOCOMMIT",  # transactions are begun by us
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "keepalives_idle": 10,
                "keepalives_interval": 3,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                "client_encoding": "utf8",
                "options": f"{limits} {own if isinstance(own, str) else ' '.join(own)}",
            },
        )
        sa.event.listen(engine, "do_connect", _connect)
        super().__init__(engine)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for single reads outside any transaction."""
        with named_errors(self.name):
            self._ensure()
            with super().reading() as connection:
                yield connection

    @contextmanager
    def changing(self, stream: str | None, *, hasty: bool) -> Iterator[sa.Connection]:
        """Open a write transaction: committed at the end, rolled back after an exception.

        Args:
            stream: The only stream that it concerns; None for all.
            hasty: Do not wait for the disk of the database, so that its power cut may undo it.
        """
        begin = "BEGIN"
        if hasty:
            begin += "; SET LOCAL synchronous_commit = off"
        if stream is None:
            begin += f"; SELECT pg_advisory_xact_lock({EVERYTHING})"
        else:
            begin += f"; SELECT pg_advisory_xact_lock_shared({EVERYTHING})"
            begin += f"; SELECT pg_advisory_xact_lock({_key(stream)})"
        with self.reading() as connection, _transaction(connection, begin):
            yield connection

    def _ensure(self) -> None:
        """Make the tables before the first use."""
        if self._prepared:
            return
        with self._preparing:
            if not self._prepared:
                with super().reading() as connection, _transaction(connection, "BEGIN"):
                    prepare(connection, self.name)
                self._prepared = True

    def abandon(self) -> None:
        """Forget all in a forked process, without closing: they are those of the process before it."""
        self._preparing = threading.Lock()
        super().abandon()

    def _taken(self) -> tuple[int, sa.Connection]:
        if time.monotonic() < self._down_until:
            raise StoreUnavailable(self._down_because)
        while True:
            age = self._age
            try:
                connection = self._idle.pop()
            except IndexError:
                return age, self._connected()
            rested = time.monotonic() - connection.info.get("given_back", 0.0)
            if (rested < TRUST_SECONDS and not _has_news(connection)) or _is_alive(connection):
                return age, connection
            _close(connection)

    def _connected(self) -> sa.Connection:
        try:
            return self._engine.connect()
        except sa.exc.DBAPIError as error:
            self._down_because = str(_named(self.name, error.orig))
            self._down_until = time.monotonic() + REST_SECONDS
            raise

    def _give_back(self, age: int, connection: sa.Connection) -> None:
        driver: Any = None if connection.invalidated else _driver(connection)
        if driver is None or driver.closed or driver.broken:
            self.dispose()  # the others are as old
            _close(connection)
            return
        connection.info["given_back"] = time.monotonic()
        super()._give_back(age, connection)


@contextmanager
def _transaction(connection: sa.Connection, begin: str) -> Iterator[None]:
    driver = _driver(connection)
    driver.execute(begin)
    try:
        yield
        driver.commit()
    except BaseException:
        if not driver.closed:
            driver.rollback()
        raise


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def _has_news(connection: sa.Connection) -> bool:
    """Return True if the server has sent something that nobody asked for, such as the end."""
    waiting = select.poll()
    waiting.register(_driver(connection).fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _is_alive(connection: sa.Connection) -> bool:
    try:
        _driver(connection).execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def _close(connection: sa.Connection) -> None:
    """Close a connection that is broken, or may be."""
    if not connection.invalidated:
        connection.invalidate()
    connection.close()


def _key(stream: str) -> int:
    """Return the number of a stream's advisory lock."""
    digest = hashlib.blake2b(stream.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (ValueError, sa.exc.ArgumentError):
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise StoreError(
            "storage.database: must be empty or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        )
    return parsed


def shown(url: str) -> str:
    """Return the URL of a database without its password."""
    return _parsed(url).set(query={}).render_as_string(hide_password=True)


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Raise errors of the database as a StoreError that names it.

    Other exceptions pass: they come from the caller's code inside the transaction.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _named(name, error.orig) from error
    except psycopg.Error as error:  # from the statements that go straight to the driver
        raise _named(name, error) from error
    except NotJsonError as error:
        raise StoreError(f"{name}: {error}; somebody else has changed it") from error


_AWAY = ("08", "57P", "53300", "25006", "25P03", "40001", "40P01")  # beginnings of SQLSTATE


def _named(name: str, error: BaseException | None) -> StoreError:
    state = getattr(error, "sqlstate", None)
    said = " ".join(str(error).split())
    if state == "53100":
        return DiskFull(f"{name}: {said}; free some space on the disk of PostgreSQL")
    if state == "55P03":
        return StoreError(f"{name}: {said}; another replica has kept it locked for too long")
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and state is None
    if lost or (state or "").startswith(_AWAY):
        return StoreUnavailable(f"{name}: {said}; it must run, and be reachable from here")
    return StoreError(f"{name}: {said}; the log of PostgreSQL says more")
