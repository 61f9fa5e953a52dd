"""The newest values of a camera, for the sparkline of its card: few columns, so that many cards are quick."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import drifts, experiments
from lenswatch.server.pages.job import STATISTICS, Statistic
from lenswatch.server.pages.words import is_number
from lenswatch.server.query.numbers import number_at

__all__ = ["Mark", "newest_marks"]

_DRAWN = 80  # points of a sparkline
_NAMES = [name for _, *names in STATISTICS for name in names]


@dataclass(frozen=True, slots=True)
class Mark:
    """The values of one job, and when its picture was taken, in microseconds."""

    taken: int
    distance: Statistic
    score: Statistic


def newest_marks(connection: Connection, experiment: str, stream: str) -> list[Mark]:
    """Return the newest jobs of a stream, in the order of their times of capture.

    Args:
        connection: A transaction that reads.
        experiment: Id of the experiment, which the caller may read.
        stream: Name of the stream, "" for jobs without one.
    """
    values = {"experiment": experiment} | ({"stream": stream} if stream else {})
    rows = _newest[bool(stream)](connection, values).all()
    return sorted((_mark(*row) for row in rows), key=lambda mark: mark.taken)


def _mark(taken: int, *values: Any) -> Mark:
    known = [value if value is not None and is_number(value) else None for value in values]
    (distance, *_), (score, *_) = STATISTICS
    return Mark(taken, Statistic(distance, *known[:3]), Statistic(score, *known[3:]))


def _build(dialect: str, *, named: bool) -> Select[Any]:
    number = select(experiments.c.number).where(experiments.c.id == bindparam("experiment"))
    stream = drifts.c.stream == bindparam("stream") if named else drifts.c.stream.is_(None)
    values = (number_at(dialect, drifts.c.parameters, (name,)) for name in _NAMES)
    query = select(drifts.c.taken_at, *values)
    query = query.where(drifts.c.experiment == number.scalar_subquery(), stream)
    return query.order_by(drifts.c.created_at.desc(), drifts.c.number.desc()).limit(_DRAWN)


_newest = {named: Prepared(partial(_build, named=named)) for named in (False, True)}
