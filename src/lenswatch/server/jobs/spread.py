"""Jobs at even distances in time, which an index finds however many there are."""

from __future__ import annotations

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

__all__ = ["spread"]


def spread(
    connection: Connection, where: ColumnElement[bool], begin: int, end: int, most: int
) -> list[int]:
    """Return the numbers of at most `most` jobs: the next one at each of as many even moments.

    Args:
        connection: A transaction that reads.
        where: The condition on the jobs.
        begin: The first moment, in microseconds since 1970.
        end: The moment after the last.
        most: The number of moments.
    """
    sqlite = connection.dialect.name == "sqlite"
    each = func.json_each if sqlite else func.jsonb_array_elements_text
    listed = each(bindparam("moments", type_=JSON if sqlite else JSONB))
    moments = listed.table_valued("value", name="moments")
    next_one = (
        select(drifts.c.number)
        .where(where, drifts.c.taken_at >= cast(moments.c.value, BigInteger))
        .order_by(drifts.c.taken_at, drifts.c.number)
        .limit(1)
        .correlate(moments)
        .scalar_subquery()
    )
    asked = {"moments": [begin + place * (end - begin) // most for place in range(most)]}
    found = connection.execute(select(next_one).select_from(moments), asked).scalars()
    return list(dict.fromkeys(number for number in found if number is not None))
