"""Connections to `node.db` that are kept between two uses.

For each use SQLAlchemy takes a connection from its pool, begins, resets and gives back, which takes longer
than a small transaction itself. Here transactions begin and end on the SQLite connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import sqlalchemy as sa

__all__ = ["Connections", "Synchronous"]

Synchronous = Literal["FULL", "NORMAL", "OFF"]

_ABANDONED: list[Any] = []  # kept, since what is collected is closed


class Connections:
    """The connections of one database, for any number of threads.

    Args:
        engine: An engine whose connections begin no transaction by themselves.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._idle: list[sa.Connection] = []
        self._age = 0  # how often all were closed

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for single reads outside any transaction."""
        age, connection = self._taken()
        try:
            yield connection
        finally:
            self._give_back(age, connection)

    @contextmanager
    def writing(self, synchronous: Synchronous) -> Iterator[sa.Connection]:
        """Open a write transaction: committed at the end, rolled back after an exception.

        Args:
            synchronous: SQLite's pragma: how far the commit waits for the disk.
        """
        with self.reading() as connection:
            driver = _driver(connection)
            if connection.info.get("synchronous") != synchronous:
                driver.execute(f"PRAGMA synchronous = {synchronous}")
                connection.info["synchronous"] = synchronous
            driver.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                driver.commit()
            except BaseException:
                driver.rollback()
                raise

    def dispose(self) -> None:
        """Close those that are not in use now, and each other one after its use."""
        self._age += 1
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()

    def abandon(self) -> None:
        """Forget all in a forked process, without closing: they are those of the process before it."""
        self._age += 1
        _ABANDONED.extend(self._idle)
        _ABANDONED.append(self._engine.pool)
        self._idle = []
        self._engine.dispose(close=False)

    def _taken(self) -> tuple[int, sa.Connection]:
        age = self._age
        try:
            return age, self._idle.pop()
        except IndexError:
            return age, self._engine.connect()

    def _give_back(self, age: int, connection: sa.Connection) -> None:
        """Keep a connection for the next use, unless it is broken or of a file that was closed."""
        if connection.in_transaction():  # as SQLAlchemy counts
            connection.rollback()
        if age == self._age and not connection.invalidated:
            self._idle.append(connection)
            return
        connection.detach()  # from the pool, which would keep it open
        connection.close()


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)
