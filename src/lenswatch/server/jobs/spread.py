"""Jobs at even distances, which an index finds however many there are."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.tables import drifts
from lenswatch.server.jobs.buckets import Content, ends_of, jobs_in

__all__ = ["even_moments", "moments_of_jobs", "spread"]


def even_moments(begin: int, end: int, most: int) -> list[int]:
    """Return moments at even distances of a span, in microseconds since 1970."""
    return [begin + place * (end - begin) // most for place in range(most)]


def moments_of_jobs(pieces: Sequence[tuple[int, Content]], most: int) -> list[int]:
    """Return moments between which about the same number of jobs is, by the contents of a span."""
    counts = [jobs_in(content) for _, content in pieces]
    total = sum(counts)
    ranks = [place * total // most for place in range(most if counts else 0)]
    found: list[int] = []
    before = 0
    for (_, content), jobs in zip(pieces, counts, strict=True):
        first, last = ends_of(content)
        while len(found) < len(ranks) and ranks[len(found)] < before + jobs:
            found.append(first + (ranks[len(found)] - before) * (last - first) // jobs)
        before += jobs
    return found


def spread(connection: Connection, where: ColumnElement[bool], moments: Sequence[int]) -> list[int]:
    """Return the numbers of jobs: the next one at each of some moments, each once.

    Args:
        connection: A transaction that reads.
        where: The condition on the jobs, without a first moment: the index begins at one of the moments.
        moments: The moments, in microseconds since 1970.
    """
    sqlite = connection.dialect.name == "sqlite"
    each = func.json_each if sqlite else func.jsonb_array_elements_text
    listed = each(bindparam("moments", type_=JSON if sqlite else JSONB))
    each_one = listed.table_valued("value", name="moments")
    next_one = (
        select(drifts.c.number)
        .where(where, drifts.c.taken_at >= cast(each_one.c.value, BigInteger))
        .order_by(drifts.c.taken_at, drifts.c.number)
        .limit(1)
        .correlate(each_one)
        .scalar_subquery()
    )
    asked = {"moments": list(moments)}
    found = connection.execute(select(next_one).select_from(each_one), asked).scalars()
    return list(dict.fromkeys(number for number in found if number is not None))
