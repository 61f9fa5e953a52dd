"""Statements on PostgreSQL that share a round trip.

A statement whose result nobody wants is kept back, and sent with the next one that is waited for, or with the
commit. So the order stays, and an error comes with that later statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

__all__ = ["Rows", "keep_back", "pipeline", "run"]

_KEPT = "kept back"  # in the info of a connection
Sent = tuple[str, Mapping[str, Any]]


class Rows:
    """Rows of a statement, all of them fetched."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Any:
        return iter(self._rows)

    def all(self) -> list[Any]:
        """Return all rows."""
        return self._rows

    def first(self) -> Any:
        """Return the first row, or None."""
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        """Return the first value of the first row, or None."""
        return self._rows[0][0] if self._rows else None

    def mappings(self) -> Iterable[Mapping[str, Any]]:
        """Return the rows as mappings."""
        return [row._asdict() for row in self._rows]


def pipeline(engine: Engine) -> None:
    """Let an engine send what is kept back in time."""
    event.listen(engine, "before_cursor_execute", _send_before)
    event.listen(engine, "commit", _send_and_commit)
    event.listen(engine, "rollback", _forget)


def keep_back(connection: Connection, sql: str, parameters: Mapping[str, Any]) -> None:
    """Send a statement with the next one."""
    _note(connection, sql, parameters)
    connection.info.setdefault(_KEPT, []).append((sql, parameters))


def run(connection: Connection, *statements: Sent) -> list[Rows]:
    """Run statements, and before them all that were kept back, and return the rows of each."""
    for sql, parameters in statements:
        _note(connection, sql, parameters)
    cursors = _send(connection, statements)
    return [Rows(cursor.fetchall() if cursor.description else []) for cursor in cursors]


def _send(connection: Connection, statements: Sequence[Sent]) -> list[psycopg.Cursor[Any]]:
    kept: list[Sent] = connection.info.pop(_KEPT, [])
    driver: Any = connection.connection.driver_connection
    cursors, sql = [], ""
    try:
        with driver.pipeline():
            for sql, parameters in (*kept, *statements):
                cursors.append(driver.cursor(row_factory=namedtuple_row))
                cursors[-1].execute(sql, parameters or None)
    except psycopg.Error as error:
        if driver.closed:
            connection.invalidate(error)
            connection.engine.dispose()  # the others are probably as dead
        raise DBAPIError.instance(
            sql,
            None,
            error,
            psycopg.Error,
            connection_invalidated=driver.closed,
            dialect=connection.dialect,
        ) from error
    return cursors[len(kept) :]


def _note(connection: Connection, sql: str, parameters: Mapping[str, Any]) -> None:
    """Tell those who listen to statements; without a cursor, since SQLAlchemy has none for it."""
    for listener in connection.engine.dispatch.before_cursor_execute:
        listener(connection, None, sql, parameters, None, False)


def _send_before(connection: Connection, cursor: Any, *_: Any) -> None:
    """Send what is kept back before a statement of SQLAlchemy."""
    if cursor is not None and connection.info.get(_KEPT):
        _send(connection, [])


def _send_and_commit(connection: Connection) -> None:
    """Send what is kept back together with the commit; SQLAlchemy's own finds nothing to do."""
    if connection.info.get(_KEPT):
        _send(connection, [("COMMIT", {})])


def _forget(connection: Connection) -> None:
    if not connection.invalidated:
        connection.info.pop(_KEPT, None)
