"""Statements that are compiled once and then run as text, which takes a third of the time.

They are for what each single job needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql.elements import ClauseElement

from lenswatch.server.db.pipeline import Rows, Sent, keep_back, run

__all__ = ["Prepared", "ask"]


@dataclass(frozen=True)
class _Text:
    """A statement in the language of one database."""

    sql: str
    order: Sequence[str] | None  # names of the parameters by position; None if they are named
    fixed: Mapping[str, Any]  # values that are part of the statement

    def parameters(self, values: Mapping[str, Any]) -> Any:
        if self.fixed:
            values = {**self.fixed, **values}
        if self.order is None:
            return values
        return tuple([values[name] for name in self.order])


class Prepared:
    """A statement, compiled once for each database.

    Its values are plain numbers, texts or nulls, and what it returns is not converted: JSON and Booleans
    come as the database has them.

    Args:
        build: Returns the statement for a dialect ("sqlite" or "postgresql"), with a `bindparam` for each
            value.
    """

    def __init__(self, build: Callable[[str], ClauseElement]) -> None:
        self._build = build
        self._texts: dict[str, _Text] = {}

    def __call__(
        self, connection: Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]
    ) -> CursorResult[Any] | Rows:
        """Run the statement with its values, or once for each of several."""
        text = self._texts.get(connection.dialect.name) or self._compile(connection)
        if isinstance(values, Mapping):
            if connection.dialect.name == "postgresql":
                return run(connection, (text.sql, text.parameters(values)))[0]
            return connection.exec_driver_sql(text.sql, text.parameters(values))
        return connection.exec_driver_sql(text.sql, [text.parameters(one) for one in values])

    def later(self, connection: Connection, values: Mapping[str, Any]) -> None:
        """Run the statement, whose result nobody wants. On PostgreSQL it is sent with the next one."""
        if connection.dialect.name == "sqlite":
            self(connection, values)
            return
        keep_back(connection, *self.text(connection, values))

    def text(self, connection: Connection, values: Mapping[str, Any]) -> Sent:
        """Return the statement and its parameters as the database gets them."""
        text = self._texts.get(connection.dialect.name) or self._compile(connection)
        return text.sql, text.parameters(values)

    def _compile(self, connection: Connection) -> _Text:
        dialect = connection.dialect
        compiled: Any = self._build(dialect.name).compile(dialect=dialect)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        text = _Text(str(compiled), compiled.positiontup, fixed)
        self._texts[dialect.name] = text
        return text


def ask(
    connection: Connection, *statements: tuple[Prepared, Mapping[str, Any]]
) -> list[Rows | CursorResult[Any]]:
    """Run statements in this order, and return the rows of each. On PostgreSQL they share a round trip."""
    if connection.dialect.name == "sqlite":
        return [prepared(connection, values) for prepared, values in statements]
    return [*run(connection, *(p.text(connection, values) for p, values in statements))]
