"""Deletion of what deleted experiments have left."""

from __future__ import annotations

import threading
from functools import partial

from lenswatch.server.db.database import Database
from lenswatch.server.experiments.erasing import being_deleted, erase
from lenswatch.server.upkeep.pace import in_batches

__all__ = ["erase_deleted"]


def erase_deleted(database: Database, stopping: threading.Event) -> bool:
    """Delete rows of deleted experiments, and return whether there are more."""
    with database.read() as connection:
        found = being_deleted(connection)
    more = [in_batches(partial(_erase_some, database, number), stopping) for number in found]
    return any(more)


def _erase_some(database: Database, number: int, most: int) -> bool:
    with database.write() as connection:
        return not erase(connection, number, most)
