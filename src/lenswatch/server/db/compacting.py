"""SQLite files that can become smaller: a mode of the file, which is chosen before its first table.

A file without it, made by an older version, is written anew once (VACUUM). That needs as much free space
again and lets nobody write meanwhile, so a large one waits for `lenswatch server compact`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

from lenswatch.errors import ServerError

__all__ = ["INCREMENTAL", "choose_mode", "compact", "compact_small"]

_SMALL_BYTES = 64 * 2**20
_BUSY_SECONDS = 30.0  # that `compact` waits for a running server's transactions
_CHOOSE = "PRAGMA auto_vacuum = INCREMENTAL"
INCREMENTAL = 2  # as PRAGMA auto_vacuum answers


def choose_mode(path: Path) -> None:
    """Let an empty file be one that can become smaller."""
    with contextlib.suppress(sqlite3.Error), closing(_open(path, 0.0)) as connection:
        connection.execute(_CHOOSE)
        connection.execute("PRAGMA journal_mode = WAL")  # writes the first page


def compact_small(path: Path) -> None:
    """Write a small file of an older version anew, unless somebody else uses it."""
    with contextlib.suppress(sqlite3.Error, OSError), closing(_open(path, 0.0)) as connection:
        if path.stat().st_size <= _SMALL_BYTES and not _is_chosen(connection):
            _vacuum(connection)


def compact(path: Path) -> tuple[int, int]:
    """Write a file anew without free space, in the mode in which it can become smaller.

    Returns:
        Its size before and after, in bytes.

    Raises:
        ServerError: There is no such database, too little space on the disk, or others do not let it alone.
    """
    if not path.is_file():
        raise ServerError(f"{path}: no such file; server.database names another one")
    before = path.stat().st_size
    try:
        with closing(_open(path, _BUSY_SECONDS)) as connection:
            _vacuum(connection)
    except sqlite3.Error as error:
        raise ServerError(
            f"{path} cannot be compacted: {error}; it needs as much free space as it has bytes, and "
            "no transaction of others meanwhile"
        ) from None
    return before, path.stat().st_size


def _open(path: Path, seconds: float) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=seconds, isolation_level=None)


def _is_chosen(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA auto_vacuum").fetchone() == (INCREMENTAL,))


def _vacuum(connection: sqlite3.Connection) -> None:
    connection.execute(_CHOOSE)
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
