"""Deletion of jobs and pictures that are older, or more, than their experiment keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, picture_index, pictures, storage
from lenswatch.server.jobs import store
from lenswatch.server.jobs.retention import Limits, limits_of_all
from lenswatch.server.jobs.storage import bytes_of, pictures_deleted
from lenswatch.server.upkeep.pace import in_batches
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal

__all__ = ["expire"]

DAY = 24 * 3600 * 10**6  # microseconds


def expire(defaults: RetentionConfig, database: Database, stopping: threading.Event) -> bool:
    """Delete what is over the limits of any experiment, and return whether there is more."""
    with database.read() as connection:
        limits = limits_of_all(connection, defaults)
    more = False
    for experiment, limit in limits.items():
        for rule in _rules():
            if in_batches(partial(_apply, rule, database, experiment, limit), stopping):
                more = True
    return more


class _Rule(NamedTuple):
    """Jobs or pictures over a limit, and their deletion."""

    find: Callable[[Connection, int, Limits, int], list[int]]
    delete: Callable[[Connection, int, list[int]], None]


def _rules() -> tuple[_Rule, ...]:
    return (
        _Rule(_old_jobs, store.expire),
        _Rule(_excess_jobs, store.expire),
        _Rule(_old_pictures, _delete_pictures),
        _Rule(_excess_pictures, _delete_pictures),
    )


def _apply(rule: _Rule, database: Database, experiment: int, limit: Limits, most: int) -> bool:
    """Delete up to `most` rows, and return whether there may be more."""
    with database.read() as connection:
        if not rule.find(connection, experiment, limit, 1):
            return False
    try:
        with database.write() as connection:
            store.lock(connection, experiment)
            found = rule.find(connection, experiment, limit, most)
            rule.delete(connection, experiment, found)
    except Refusal:  # the experiment was deleted meanwhile
        return False
    return len(found) == most


def _old_jobs(connection: Connection, experiment: int, limit: Limits, most: int) -> list[int]:
    """Return the numbers of jobs that are too old, the oldest first."""
    if not limit.jobs_days:
        return []
    old = drifts.c.created_at < stamps.now() - int(limit.jobs_days * DAY)
    return list(connection.execute(_oldest(experiment, most).where(old)).scalars())


def _excess_jobs(connection: Connection, experiment: int, limit: Limits, most: int) -> list[int]:
    """Return the numbers of the oldest jobs, as many as it takes to be within the limit again."""
    excess = _used(connection, experiment, "job_bytes") - limit.jobs_bytes
    if not limit.jobs_bytes or excess <= 0:
        return []
    columns = (drifts.c.number, drifts.c.model, drifts.c.tags, drifts.c.parameters)
    rows = connection.execute(_oldest(experiment, most).with_only_columns(*columns)).mappings()
    return _until(((row["number"], bytes_of(row)) for row in rows), excess)


def _oldest(experiment: int, most: int) -> Any:
    query = select(drifts.c.number).where(drifts.c.experiment == experiment)
    return query.order_by(drifts.c.created_at, drifts.c.number).limit(most)


def _old_pictures(connection: Connection, experiment: int, limit: Limits, most: int) -> list[int]:
    """Return the numbers of jobs whose pictures are too old."""
    found: list[int] = []
    for drift, days in ((False, limit.pictures_days), (True, limit.drift_pictures_days)):
        if days and len(found) < most:
            old = picture_index.c.created_at < stamps.now() - int(days * DAY)
            query = _oldest_pictures(experiment, drift, most - len(found)).where(old)
            found += [row["drift"] for row in connection.execute(query).mappings()]
    return found


def _excess_pictures(
    connection: Connection, experiment: int, limit: Limits, most: int
) -> list[int]:
    """Return the numbers of jobs whose pictures are too much, first those without drift."""
    excess = _used(connection, experiment, "picture_bytes") - limit.pictures_bytes
    if not limit.pictures_bytes or excess <= 0:
        return []
    rows: list[Mapping[Any, Any]] = []
    for drift in (False, True):
        query = _oldest_pictures(experiment, drift, most - len(rows))
        rows += connection.execute(query).mappings() if len(rows) < most else []
    return _until(((row["drift"], row["bytes"]) for row in rows), excess)


def _oldest_pictures(experiment: int, drift: bool, most: int) -> Any:
    here = (picture_index.c.experiment == experiment) & picture_index.c.drift_detected.is_(drift)
    query = select(picture_index.c.drift, picture_index.c.bytes).where(here)
    return query.order_by(picture_index.c.created_at, picture_index.c.drift).limit(most)


def _until(sizes: Iterable[tuple[int, int]], excess: int) -> list[int]:
    """Return the first numbers whose sizes together are at least `excess` bytes."""
    found = []
    for number, size in sizes:
        if excess <= 0:
            break
        found.append(number)
        excess -= size
    return found


def _used(connection: Connection, experiment: int, name: str) -> int:
    here = storage.c.experiment == experiment
    query = select(func.coalesce(func.sum(storage.c[name]), 0)).where(here)
    return int(connection.execute(query).scalar_one())


def _delete_pictures(connection: Connection, experiment: int, numbers: list[int]) -> None:
    if numbers:
        connection.execute(delete(pictures).where(pictures.c.drift.in_(numbers)))
        pictures_deleted(connection, experiment, numbers)
