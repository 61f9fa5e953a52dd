"""Drift jobs that arrived some days ago, with or without pictures, put into the database directly."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import insert, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, experiments, pictures
from lenswatch.server.jobs import store
from lenswatch.server.jobs.storage import pictures_stored
from lenswatch.server.values import stamps
from support.samples import JOB

DAY = 24 * 3600 * 10**6  # microseconds
FULL = JOB | {"tags": [], "parameters": {}}


def number_of(database: Database, experiment: dict[str, Any]) -> int:
    """The number of an experiment."""
    query = select(experiments.c.number).where(experiments.c.id == experiment["id"])
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def put(
    database: Database, experiment: dict[str, Any], ages: list[float], picture: int = 0, **job: Any
) -> list[str]:
    """Store a job for each age in days, the oldest first, with a picture of so many bytes; their ids."""
    number, now = number_of(database, experiment), stamps.now()
    jobs = [FULL | job | {"created_at": now - int(age * DAY)} for age in sorted(ages, reverse=True)]
    with database.write() as connection:
        rows = [row for row, _ in store.store(connection, number, jobs)]
        for row in rows if picture else []:
            values = {"media_type": "image/jpeg", "etag": "e", "width": 1, "height": 1}
            values |= {"drift": row["number"], "data": os.urandom(picture)}
            connection.execute(insert(pictures).values(values))
            pictures_stored(connection, [(row, picture)])
    return [row["id"] for row in rows]


def left(database: Database) -> tuple[list[str], list[str]]:
    """The ids of jobs and of those with pictures, the oldest first."""
    order = (drifts.c.created_at, drifts.c.number)
    with database.read() as connection:
        jobs = connection.execute(select(drifts.c.id).order_by(*order)).scalars().all()
        pictured = select(drifts.c.id).join(pictures).order_by(*order)
        return list(jobs), list(connection.execute(pictured).scalars())
