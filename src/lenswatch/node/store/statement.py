"""SQL statements of the way of every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

__all__ = ["Statement"]


class _Text(NamedTuple):
    sql: str
    fixed: dict[str, Any]  # values that are part of the statement
    returns_id: bool


class Statement:
    """A statement that is compiled once, since building SQL takes longer than running it."""

    def __init__(self, statement: sa.ClauseElement, columns: Sequence[str] | None = None) -> None:
        self._statement, self._columns = statement, columns
        self._texts: dict[str, _Text] = {}  # by the name of the dialect

    def __call__(self, connection: sa.Connection, row: Mapping[str, Any]) -> Any:
        """Run the statement on the driver's connection, inside its current transaction; return its cursor."""
        text = self._texts.get(connection.dialect.name) or self._compile(connection.dialect)
        driver: Any = connection.connection.driver_connection
        return driver.execute(text.sql, {**text.fixed, **row})

    def insert(self, connection: sa.Connection, row: Mapping[str, Any]) -> int:
        """Run an INSERT, and return the id of the new row."""
        cursor = self(connection, row)
        if self._texts[connection.dialect.name].returns_id:
            return int(cursor.fetchone()[0])
        return int(cursor.lastrowid)

    def _compile(self, dialect: sa.Dialect) -> _Text:
        kind: Any = type(dialect)
        named = dialect if dialect.paramstyle != "qmark" else kind(paramstyle="named")
        compiled: Any = self._statement.compile(dialect=named, column_keys=self._columns)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        text = _Text(str(compiled), fixed, " RETURNING " in str(compiled))
        self._texts[dialect.name] = text
        return text
