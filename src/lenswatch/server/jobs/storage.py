"""Storage used by each experiment: exact, kept by the transactions that change jobs and pictures.

A job counts with its model, tags and parameters as JSON in UTF-8, a picture with its file. What the database
adds (indexes, free space in pages) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from starlette.responses import Response

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import picture_index, storage, streams
from lenswatch.server.experiments.api import require
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.values.storable import written

__all__ = [
    "bytes_of",
    "keep_storage",
    "operations",
    "pictures_deleted",
    "pictures_stored",
    "storage_used",
]

operations = Operations()
Job = Mapping[Any, Any]
_COUNTS = ("jobs", "job_bytes", "pictures", "picture_bytes")


class StorageRecord(Record):
    """Storage that an experiment uses."""

    jobs = Count()
    job_bytes = Count()
    pictures = Count()
    picture_bytes = Count()


def bytes_of(job: Job) -> int:
    """Return the bytes that a job counts with; the same before and after it was stored."""
    texts = (job["model"], written(job["tags"]), written(job["parameters"]))
    return sum(len(text.encode()) for text in texts)


def keep_storage(
    connection: Connection, experiment: int, added: Sequence[Job], removed: Sequence[Job]
) -> None:
    """Count jobs that were added to an experiment, and those that were removed with their pictures."""
    jobs = len(added) - len(removed)
    size = sum(map(bytes_of, added)) - sum(map(bytes_of, removed))
    after = {job["number"]: job["drift_detected"] for job in added}
    gone = [job["number"] for job in removed if job["number"] not in after]
    sizes = _forget_pictures(connection, gone) if gone else []
    _add(connection, experiment, jobs, size, -len(sizes), -sum(sizes))
    for job in removed:
        if after.get(job["number"], job["drift_detected"]) != job["drift_detected"]:
            here = picture_index.c.drift == job["number"]
            verdict = {"drift_detected": after[job["number"]]}
            connection.execute(update(picture_index).where(here).values(verdict))


def pictures_stored(connection: Connection, stored: Sequence[tuple[Job, int]]) -> None:
    """Count the pictures of different jobs of one experiment, each of which replaces an earlier one.

    The transaction has locked the experiment's cursor.

    Args:
        connection: The transaction.
        stored: At least one job, each with the bytes of its picture.
    """
    here = picture_index.c.drift.in_([job["number"] for job, _ in stored])
    before = list(connection.execute(select(picture_index.c.bytes).where(here)).scalars())
    rows = [
        {
            "drift": job["number"],
            "experiment": job["experiment"],
            "drift_detected": job["drift_detected"],
            "created_at": job["created_at"],
            "bytes": size,
        }
        for job, size in stored
    ]
    _index(connection, rows)
    more = len(stored) - len(before), sum(size for _, size in stored) - sum(before)
    _add(connection, stored[0][0]["experiment"], 0, 0, *more)


def pictures_deleted(connection: Connection, experiment: int, drifts: Sequence[int]) -> None:
    """Count that the pictures of these jobs were deleted, while the jobs stay."""
    shown = (streams.c.experiment == experiment) & streams.c.last_pictured.in_(drifts)
    connection.execute(update(streams).where(shown).values(last_pictured=None))
    sizes = _forget_pictures(connection, drifts)
    _add(connection, experiment, 0, 0, -len(sizes), -sum(sizes))


def storage_used(
    connection: Connection, experiments: Iterable[int] | None = None
) -> dict[int, dict[str, int]]:
    """Return what experiments use, by their numbers; those without any job or picture may be left out."""
    query = select(storage)
    if experiments is not None:
        query = query.where(storage.c.experiment.in_(list(experiments)))
    rows = connection.execute(query).mappings()
    return {row["experiment"]: {name: int(row[name]) for name in _COUNTS} for row in rows}


@operations.add(
    "GET /experiment/{experiment_id}/storage",
    who=Who.ANYBODY,
    extension=True,
    returns=StorageRecord(),
    refusals=(403, 404),
)
def read_storage(call: Call) -> Response:
    """Return how many jobs and pictures are stored, and their bytes."""
    number = require("Read", call)["number"]
    nothing = dict.fromkeys(_COUNTS, 0)
    return reply(storage_used(call.connection, [number]).get(number, nothing))


def _forget_pictures(connection: Connection, drifts: Sequence[int]) -> list[int]:
    """Forget pictures that were deleted, and return their sizes."""
    query = delete(picture_index).where(picture_index.c.drift.in_(drifts))
    return list(connection.execute(query.returning(picture_index.c.bytes)).scalars())


def _add(connection: Connection, experiment: int, *steps: int) -> None:
    if not any(steps):
        return
    values = dict(zip(_COUNTS, steps, strict=True))
    _add_up.later(connection, {"experiment": experiment, **values})


def _build_add_up(dialect: str) -> Any:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    query = insert(storage).values({name: bindparam(name) for name in ("experiment", *_COUNTS)})
    total = {name: storage.c[name] + query.excluded[name] for name in _COUNTS}
    return query.on_conflict_do_update(index_elements=["experiment"], set_=total)


def _build_index(dialect: str) -> Any:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    names = ("drift", "experiment", "drift_detected", "created_at", "bytes")
    query = insert(picture_index).values({name: bindparam(name) for name in names})
    replaced = {name: query.excluded[name] for name in names if name != "drift"}
    return query.on_conflict_do_update(index_elements=["drift"], set_=replaced)


_add_up = Prepared(_build_add_up)
_index = Prepared(_build_index)
