"""Deletion of experiments, which may have a million jobs.

An experiment that is deleted disappears at once. Its rows are deleted in batches, the rest of them later by
`lenswatch.server.upkeep`, so that no other writer waits for long.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Table, delete, select, tuple_, update

from lenswatch.server.db.tables import cursors, experiments, metadata
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found
from lenswatch.server.values.storable import digest

__all__ = ["being_deleted", "erase", "hide"]

# Who watches streams or shows numbers must not meet those of a deleted experiment.
_SHOWN = (
    *("streams", "tallies", "tag_tallies", "storage", "permissions", "key_experiments"),
    *("rules", "deliveries", "channels"),  # and nobody may be told of it
)
_CHILDREN = [t for t in reversed(metadata.sorted_tables) if "experiment" in t.c]


def hide(connection: Connection, number: int) -> None:
    """Take an experiment away from everybody: its id and name are free, and nothing can be stored in it.

    Raises:
        Refusal: 404 if it was deleted meanwhile.
    """
    cursor = select(cursors.c.seq).where(cursors.c.experiment == number).with_for_update()
    if connection.execute(cursor).first() is None:
        raise not_found("Experiment")
    connection.execute(delete(cursors).where(cursors.c.experiment == number))
    for name in _SHOWN:
        table = metadata.tables[name]
        connection.execute(delete(table).where(table.c.experiment == number))
    nobody = str(uuid.uuid4())
    values: dict[str, Any] = {"id": nobody, "name": nobody, "name_digest": digest(nobody)}
    values |= {"description": None, "public": False, "permissions": []}
    values["deleted_at"] = stamps.now()
    connection.execute(update(experiments).where(experiments.c.number == number).values(values))


def being_deleted(connection: Connection) -> list[int]:
    """Return the numbers of the hidden experiments that still have rows, the oldest deletion first."""
    query = select(experiments.c.number).where(experiments.c.deleted_at.is_not(None))
    return list(connection.execute(query.order_by(experiments.c.deleted_at)).scalars())


def erase(connection: Connection, number: int, most: int) -> bool:
    """Delete up to `most` rows of a hidden experiment, and return whether it is gone with all of them."""
    for table in _CHILDREN:
        most -= _delete_some(connection, table, number, most)
        if most <= 0:
            return False
    connection.execute(delete(experiments).where(experiments.c.number == number))
    return True


def _delete_some(connection: Connection, table: Table, experiment: int, most: int) -> int:
    key = (
        tuple_(*table.primary_key) if len(table.primary_key) > 1 else next(iter(table.primary_key))
    )
    some = select(*table.primary_key).where(table.c.experiment == experiment).limit(most)
    return connection.execute(delete(table).where(key.in_(some))).rowcount
