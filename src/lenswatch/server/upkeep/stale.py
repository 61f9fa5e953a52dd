"""Jobs that began and never ended: they are closed as Failed."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from sqlalchemy import Select, select

from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, tallies
from lenswatch.server.jobs import store
from lenswatch.server.upkeep.pace import in_batches
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal

__all__ = ["close_running"]

HOUR = 3600 * 10**6  # microseconds
_MOST = 50  # jobs, each of which is changed separately


def close_running(settings: RetentionConfig, database: Database, stopping: threading.Event) -> bool:
    """Close jobs that have been Running for longer than the settings allow.

    Returns:
        Whether there is more to do.
    """
    if not settings.running_hours:
        return False
    with database.read() as connection:
        query = select(tallies.c.experiment).distinct()
        query = query.where(tallies.c.job_status == "Running", tallies.c.jobs > 0)
        found = list(connection.execute(query).scalars())
    more = False
    for experiment in found:
        step = partial(_close_some, database, experiment, settings.running_hours)
        more = in_batches(step, stopping) or more
    return more


def _close_some(database: Database, experiment: int, hours: float, most: int) -> bool:
    query = _stale(experiment, hours).limit(min(most, _MOST))
    with database.read() as connection:
        if connection.execute(query.limit(1)).first() is None:
            return False
    try:
        with database.write() as connection:
            store.lock(connection, experiment)
            rows = connection.execute(query).mappings().all()
            for row in rows:
                store.change(connection, row, _closed(row, hours))
    except Refusal:  # the experiment was deleted meanwhile
        return False
    return len(rows) == min(most, _MOST)


def _stale(experiment: int, hours: float) -> Select[Any]:
    old = drifts.c.created_at < stamps.now() - int(hours * HOUR)
    query = select(drifts).where(drifts.c.experiment == experiment, old)
    query = query.where(drifts.c.job_status == "Running")
    return query.order_by(drifts.c.created_at, drifts.c.number)


def _closed(row: store.Job, hours: float) -> dict[str, Any]:
    reason = f"{store.CLOSED} it was still Running after {hours:g} h"
    return {
        "job_status": "Failed",
        "model": row["model"],
        "drift_detected": row["drift_detected"],
        "tags": row["tags"],
        "parameters": row["parameters"] | {"error": reason},
    }
