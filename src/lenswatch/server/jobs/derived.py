"""Everything that is kept from jobs, so that no page reads a million of them.

Each part is updated in the transaction that changes the jobs, under the lock of the experiment's cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from lenswatch.server.jobs.rollups import keep_rollups
from lenswatch.server.jobs.state import keep_streams
from lenswatch.server.jobs.storage import keep_storage
from lenswatch.server.jobs.tallies import keep_tallies

__all__ = ["keep"]

Job = Mapping[Any, Any]
Part = Callable[[Connection, int, Sequence[Job], Sequence[Job]], None]
# A part is a function of the connection, the experiment, the jobs added and those removed.
# These tell what is stored now: a job that expires is removed.
_OF_STORED: tuple[Part, ...] = (keep_tallies, keep_storage)
# These outlive the jobs that expire, and are not told of them.
_LASTING: tuple[Part, ...] = (keep_streams,)


def keep(
    connection: Connection,
    experiment: int,
    added: Sequence[Job] = (),
    removed: Sequence[Job] = (),
    expired: Sequence[Job] = (),
) -> None:
    """Bring all that is kept from an experiment's jobs up to date.

    Args:
        connection: The transaction that changes the jobs and has moved the experiment's cursor.
        experiment: Number of the experiment.
        added: Rows of jobs that were stored, in the order of their arrival.
        removed: Rows of jobs that people deleted. A job that was changed is both, as it was and as it is.
        expired: Rows of jobs that retention deleted. What charts and pages tell of them stays.
    """
    for part in _OF_STORED:
        part(connection, experiment, added, [*removed, *expired])
    if added or removed:
        for part in _LASTING:
            part(connection, experiment, added, removed)
    keep_rollups(connection, experiment, added, removed, expired)
