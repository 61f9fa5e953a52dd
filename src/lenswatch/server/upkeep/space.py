"""Free pages of a SQLite file, which go back to the file system in small steps.

PostgreSQL's autovacuum makes space free for new rows by itself, and cuts off the free end of a file.
"""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Connection

from lenswatch.server.db.compacting import INCREMENTAL
from lenswatch.server.db.database import Database
from lenswatch.server.upkeep.pace import in_batches

__all__ = ["free_space"]

_KEPT_PAGES = 256  # stay in the file for new rows, at least
_KEPT_SHARE = 0.02  # of all pages
_PAGES_PER_ROW = 2  # in a step


def free_space(database: Database, stopping: threading.Event) -> bool:
    """Make a SQLite file smaller where much of it is free, and return whether there is more to free.

    A file that was made by an older version stays as it is until `lenswatch server compact`.
    """
    if not database.sqlite:
        return False
    with database.read() as connection:
        if _number(connection, "auto_vacuum") != INCREMENTAL or _superfluous(connection) <= 0:
            return False

    def step(most: int) -> bool:
        with database.write() as connection:
            driver: Any = connection.connection.driver_connection
            for _ in range(min(most * _PAGES_PER_ROW, _superfluous(connection))):
                # Whatever the number, Python's sqlite3 frees one page for each call.
                driver.execute("PRAGMA incremental_vacuum(1)").close()
            return _superfluous(connection) > 0

    return in_batches(step, stopping)


def _superfluous(connection: Connection) -> int:
    """Return how many pages are free beyond those that new rows will need soon."""
    kept = max(_KEPT_PAGES, int(_number(connection, "page_count") * _KEPT_SHARE))
    return _number(connection, "freelist_count") - kept


def _number(connection: Connection, pragma: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())
