"""The list of files of watched folders that were judged, so that a restart judges none of them again.

An answer in `node.db` is kept for a week only, while files may lie in a folder for years.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

__all__ = ["Ledger", "Stamp"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_TABLE = """CREATE TABLE IF NOT EXISTS watched (
    stream TEXT NOT NULL, name BLOB NOT NULL, size INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
    PRIMARY KEY (stream, name)) WITHOUT ROWID"""  # names as the system has them, in any encoding


class Stamp(NamedTuple):
    """Size of a file in bytes, and the time of its last change in nanoseconds since 1970."""

    size: int
    changed_ns: int


class Ledger:
    """The judged files of all watched folders of one storage, in a SQLite file of their own.

    Nothing is lost with it but time: each picture has an event id, by which `node.db` knows it for a week.
    So a file that cannot be written is a warning, and one that is damaged is begun anew.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said = ""
        self._connection: sqlite3.Connection | None = None

    def stamps(self, stream: str) -> dict[str, Stamp]:
        """Return the stamp of each judged file of a stream, by its name in the stream's folder."""
        query = "SELECT name, size, changed_ns FROM watched WHERE stream = ?"
        rows = self._do(lambda connection: connection.execute(query, (stream,)).fetchall())
        return {os.fsdecode(name): Stamp(size, changed) for name, size, changed in rows or ()}

    def put(self, stream: str, name: str, stamp: Stamp) -> None:
        """Enter a judged file, or its new stamp."""
        query = "INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?)"
        self._do(lambda connection: connection.execute(query, (stream, os.fsencode(name), *stamp)))

    def forget(self, stream: str, names: Iterable[str]) -> None:
        """Delete the entries of files that are no longer there."""
        query = "DELETE FROM watched WHERE stream = ? AND name = ?"
        rows = [(stream, os.fsencode(name)) for name in names]

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN")
            connection.executemany(query, rows)
            connection.execute("COMMIT")

        self._do(delete)

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Do something with the file; None if that fails, which is told once."""
        for again in (True, False):
            try:
                done = work(self._opened())
            except (sqlite3.Error, OSError) as error:
                self.close()
                if again and _is_damaged(error):
                    self._put_aside()
                    continue
                self._say(error)
                return None
            self._said = ""
            return done
        return None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_TABLE)
        return self._connection

    def _put_aside(self) -> None:
        """Move a damaged file away; the next use begins a new one."""
        log.warning("%s is damaged: it is kept as %s.damaged and begun anew", self.path, self.path)
        for end in ("-wal", "-shm"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))

    def _say(self, error: Exception) -> None:
        if self._said != str(error):
            self._said = str(error)
            log.warning("%s: which files were judged cannot be noted: %s", self.path, error)


def _is_damaged(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
