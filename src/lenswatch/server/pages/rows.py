"""The jobs of a camera's page, by the time at which their pictures were taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)

from lenswatch.server.db.tables import drift_tags, drifts, experiments, pictures, streams
from lenswatch.server.jobs import store
from lenswatch.server.jobs.state_shown import shown_name, trouble
from lenswatch.server.pages.job import Job, job_of
from lenswatch.server.pages.ranges import Range

__all__ = [
    "Camera",
    "Filters",
    "Row",
    "beside",
    "cameras_of",
    "filters_of",
    "newest_ends",
    "newest_row",
    "read_rows",
    "row_of",
]

PAGE = 25

_STATUSES = ("Completed", "Failed", "Running")


@dataclass(frozen=True)
class Filters:
    """Filters of the table, besides the range."""

    status: str = ""
    drift: str = ""  # "yes", "no" or ""
    tags: tuple[str, ...] = ()
    before: tuple[int, int] | None = None  # time and number of the job above the page

    @property
    def any(self) -> bool:
        """True if anything is left out."""
        return bool(self.status or self.drift or self.tags)


@dataclass(frozen=True)
class Row:
    """One job of the table."""

    job: Job
    number: int
    taken: int
    image: int | None  # number of its picture, None without one

    @property
    def mark(self) -> str:
        """The job's place in the order, for an address."""
        return f"{self.taken}.{self.number}"


class Camera(NamedTuple):
    """A stream by its name, "" for jobs without one, the name that is shown, and whether it is in trouble."""

    stream: str
    name: str
    trouble: bool


def filters_of(query: Mapping[str, str]) -> Filters:
    """Return the filters of an address."""
    status, drift = query.get("status", ""), query.get("drift", "")
    taken, _, number = query.get("before", "").partition(".")
    before = None
    if taken.isdecimal() and number.isdecimal() and len(taken) < 18 and len(number) < 18:
        before = int(taken), int(number)
    return Filters(
        status if status in _STATUSES else "",
        drift if drift in ("yes", "no") else "",
        tuple(tag for tag in (part.strip() for part in query.get("tag", "").split(",")) if tag),
        before,
    )


def read_rows(
    connection: Connection, experiment: str, stream: str | None, span: Range, filters: Filters
) -> tuple[list[Row], bool]:
    """Return one page of jobs, the newest picture first, and whether there are older ones.

    Args:
        connection: A transaction.
        experiment: Id of the experiment, which the caller may read.
        stream: Only this stream, "" for jobs without one; None for all.
        span: The range.
        filters: What else the jobs must be.
    """
    query = _of(experiment, stream).where(*_within(span), *_like(filters))
    if filters.before is not None:
        query = query.where(_older(*filters.before))
    order = (drifts.c.taken_at.desc(), drifts.c.number.desc())
    found = connection.execute(query.order_by(*order).limit(PAGE + 1)).mappings().all()
    return [_row(row) for row in found[:PAGE]], len(found) > PAGE


def row_of(connection: Connection, experiment: str, job: str) -> Row | None:
    """Return one job by its id."""
    found = connection.execute(_of(experiment, None).where(drifts.c.id == job)).mappings().first()
    return _row(found) if found else None


def newest_row(connection: Connection, experiment: str, stream: str) -> Row | None:
    """Return the job that makes the state of a stream; None if it is late, deleted, or there is none."""
    last = (
        select(streams.c.last_job)
        .join(experiments, experiments.c.number == streams.c.experiment)
        .where(experiments.c.id == experiment, streams.c.stream == stream)
    )
    query = _of(experiment, None).where(drifts.c.number == last.scalar_subquery())
    found = connection.execute(query).mappings().first()
    return _row(found) if found else None


def cameras_of(connection: Connection, experiment: str, now: int) -> list[Camera]:
    """Return all cameras of an experiment, which the caller may read, in the order of their names."""
    query = select(streams.c.stream, shown_name(), case((trouble(now), 1), else_=0))
    query = query.where(streams.c.experiment == _number(experiment))
    found = connection.execute(query.order_by(func.lower(shown_name()), streams.c.stream))
    return [Camera(stream, name, bool(bad)) for stream, name, bad in found]


def newest_ends(
    connection: Connection, experiment: str, stream: str, most: int, newest: int
) -> tuple[int, int] | None:
    """Return the span of the `newest` jobs of a stream; None if it has at most `most` jobs."""
    here = drifts.c.stream == stream if stream else drifts.c.stream.is_(None)
    query = select(drifts.c.taken_at).where(drifts.c.experiment == _number(experiment), here)
    query = query.order_by(drifts.c.taken_at.desc(), drifts.c.number.desc()).limit(newest)
    times = connection.execute(query).scalars().all()
    return (times[-1], times[0] + 1) if len(times) > most else None


def beside(connection: Connection, experiment: str, row: Row) -> tuple[str | None, str | None]:
    """Return the ids of the jobs before and after one in its stream, by time of capture."""
    base = _of(experiment, row.job.stream)
    earlier = base.where(_older(row.taken, row.number))
    earlier = earlier.order_by(drifts.c.taken_at.desc(), drifts.c.number.desc())
    later = base.where(_newer(row.taken, row.number))
    later = later.order_by(drifts.c.taken_at, drifts.c.number)
    found = (connection.execute(q.limit(1)).mappings().first() for q in (earlier, later))
    before, after = (other["id"] if other else None for other in found)
    return before, after


def _of(experiment: str, stream: str | None) -> Select[Any]:
    # With a join of `experiments` PostgreSQL would sort all jobs, since it does not know that it is one.
    query = (
        select(drifts, pictures.c.drift.label("picture"))
        .outerjoin(pictures, pictures.c.drift == drifts.c.number)
        .where(drifts.c.experiment == _number(experiment))
    )
    return query if stream is None else query.where(drifts.c.stream == (stream or None))


def _number(experiment: str) -> ScalarSelect[int]:
    return select(experiments.c.number).where(experiments.c.id == experiment).scalar_subquery()


def _within(span: Range) -> list[ColumnElement[bool]]:
    found = []
    if span.start is not None:
        found.append(drifts.c.taken_at >= span.start)
    if span.end is not None:
        found.append(drifts.c.taken_at < span.end)
    return found


def _like(filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.status:
        found.append(drifts.c.job_status == filters.status)
    if filters.drift:
        found.append(drifts.c.drift_detected.is_(filters.drift == "yes"))
    for tag in filters.tags:
        own = select(literal(1)).where(
            drift_tags.c.experiment == drifts.c.experiment,
            drift_tags.c.tag == tag,
            drift_tags.c.created_at == drifts.c.created_at,
            drift_tags.c.drift == drifts.c.number,
        )
        found.append(exists(own.correlate(drifts)))
    return found


# The first condition alone is one that an index finds.


def _older(taken: int, number: int) -> ColumnElement[bool]:
    return and_(
        drifts.c.taken_at <= taken, or_(drifts.c.taken_at < taken, drifts.c.number < number)
    )


def _newer(taken: int, number: int) -> ColumnElement[bool]:
    return and_(
        drifts.c.taken_at >= taken, or_(drifts.c.taken_at > taken, drifts.c.number > number)
    )


def _row(row: Mapping[Any, Any]) -> Row:
    return Row(
        job_of(store.record(row), late=row["late"]), row["number"], row["taken_at"], row["picture"]
    )
