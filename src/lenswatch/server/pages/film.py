"""Pictures and gaps among the jobs of a range that a chart does not draw."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, case, func, select

from lenswatch.server.db.tables import drifts, experiments, pictures, storage
from lenswatch.server.pages.lanes import SLOTS, Lanes, Slot
from lenswatch.server.pages.points import Point
from lenswatch.server.pages.rows import row_of
from lenswatch.server.query.dialects import dialect_of
from lenswatch.server.query.numbers import number_at

__all__ = ["COUNTED", "missing_in", "with_pictures"]

COUNTED = 10_000  # newest jobs of a range of which it is told what is missing
_MOST_SHED = 2.0**53
_LOOKED_AT = 500  # newest jobs of a part of the range


def with_pictures(connection: Connection, experiment: str, stream: str, lanes: Lanes) -> Lanes:
    """Return the lanes with a picture in each part of the range that has one.

    Args:
        connection: A transaction that reads.
        experiment: Id of the experiment, which the caller may read.
        stream: Name of the stream, "" for jobs without one.
        lanes: The lanes of some of its jobs.
    """
    query = select(experiments.c.number, storage.c.pictures).join(storage)
    found = connection.execute(query.where(experiments.c.id == experiment)).first()
    if found is None or not found.pictures:
        return lanes
    length = lanes.end - lanes.start
    edges = [lanes.start + place * length // SLOTS for place in range(SLOTS + 1)]
    film = [
        slot
        if slot.point
        else _slot(connection, experiment, found.number, stream, lanes, begin, end) or slot
        for slot, begin, end in zip(lanes.film, edges, edges[1:], strict=False)
    ]
    return replace(lanes, film=film)


def _slot(
    connection: Connection,
    experiment: str,
    number: int,
    stream: str,
    lanes: Lanes,
    begin: int,
    end: int,
) -> Slot | None:
    """Return the newest picture of a part of the range, of its newest jobs."""
    jobs = select(drifts.c.number, drifts.c.id, drifts.c.taken_at).where(
        drifts.c.experiment == number,
        drifts.c.stream == stream if stream else drifts.c.stream.is_(None),
        drifts.c.taken_at >= begin,
        drifts.c.taken_at < end,
    )
    order = (drifts.c.taken_at.desc(), drifts.c.number.desc())
    newest = jobs.order_by(*order).limit(_LOOKED_AT).subquery("newest")
    kept = select(newest.c.id).join(pictures, pictures.c.drift == newest.c.number)
    kept = kept.order_by(newest.c.taken_at.desc(), newest.c.number.desc()).limit(1)
    job = connection.execute(kept).scalar()
    row = row_of(connection, experiment, job) if job else None
    if row is None:
        return None
    left = 100 * (row.taken - lanes.start) / (lanes.end - lanes.start)
    return Slot(Point(row.job, True, 0, False), 1, left)


def missing_in(
    connection: Connection, experiment: str, stream: str, begin: int, end: int
) -> tuple[int, int]:
    """Return how many jobs and pictures the node gave up, by the newest jobs of a range.

    Args:
        connection: A transaction that reads.
        experiment: Id of the experiment, which the caller may read.
        stream: Name of the stream, "" for jobs without one.
        begin: Time of capture of the first job, in microseconds.
        end: The moment after the last one.
    """
    dialect = dialect_of(connection)
    shed = dialect.child(dialect.root(drifts.c.parameters, True), "picture_shed")
    assert shed is not None
    jobs = number_at(connection, drifts.c.parameters, ("shed", "jobs"))
    number = select(experiments.c.number).where(experiments.c.id == experiment)
    newest = select(
        jobs.label("jobs"), case((dialect.boolean(shed, True), 1), else_=0).label("one")
    )
    newest = newest.where(
        drifts.c.experiment == number.scalar_subquery(),
        drifts.c.stream == stream if stream else drifts.c.stream.is_(None),
        drifts.c.taken_at >= begin,
        drifts.c.taken_at < end,
    )
    newest = newest.order_by(drifts.c.taken_at.desc(), drifts.c.number.desc()).limit(COUNTED)
    some = newest.subquery("newest")
    given_up = case((some.c.jobs.between(1, _MOST_SHED), some.c.jobs), else_=0)
    found = connection.execute(select(func.sum(given_up), func.sum(some.c.one))).one()
    return int(found[0] or 0), int(found[1] or 0)
