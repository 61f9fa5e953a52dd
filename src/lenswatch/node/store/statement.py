"""SQL statements of the way of every picture."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

__all__ = ["Statement"]


class Statement:
    """A statement that is compiled once, since building SQL takes longer than running it."""

    def __init__(self, statement: sa.ClauseElement, columns: Sequence[str] | None = None) -> None:
        compiled = statement.compile(
            dialect=sqlite.dialect(paramstyle="named"), column_keys=columns
        )
        self._sql = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def __call__(self, connection: sa.Connection, row: Mapping[str, Any]) -> sqlite3.Cursor:
        """Run the statement on the SQLite connection itself, inside its current transaction."""
        driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        return driver.execute(self._sql, {**self._fixed, **row})
