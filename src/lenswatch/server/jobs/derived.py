"""Everything that is kept from jobs, so that no page reads a million of them.

Each part is updated in the transaction that changes the jobs, under the lock of the experiment's cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from lenswatch.server.jobs.state import keep_streams
from lenswatch.server.jobs.tallies import keep_tallies

__all__ = ["keep"]

Job = Mapping[Any, Any]
_PARTS = (keep_tallies, keep_streams)


def keep(
    connection: Connection,
    experiment: int,
    added: Sequence[Job] = (),
    removed: Sequence[Job] = (),
) -> None:
    """Bring all that is kept from an experiment's jobs up to date.

    Args:
        connection: The transaction that changes the jobs and has moved the experiment's cursor.
        experiment: Number of the experiment.
        added: Rows of jobs that were stored, in the order of their arrival.
        removed: Rows of jobs that were deleted. A job that was changed is both, as it was and as it is.
    """
    for part in _PARTS:
        part(connection, experiment, added, removed)
