"""The newest jobs of a stream as they are read to make its state anew."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.tables import drifts
from lenswatch.server.jobs.state_job import READ, Seen, read_job

__all__ = ["Newest", "of_stream", "read_newest"]

_LONGEST = 10_000  # characters of a job's parameters that are read


@dataclass(frozen=True)
class Newest:
    """The newest jobs of a stream that are not late, the oldest first.

    Attributes:
        jobs: The jobs.
        whole: Whether there are no others.
        first_at: Arrival of the stream's first job, also a late one; None without any.
        late: Whether a late job makes the stream, if no other one does.
    """

    jobs: list[Seen]
    whole: bool
    first_at: int | None
    late: bool

    @property
    def begin(self) -> int | None:
        """Time of capture of the first one with a verdict."""
        return next((seen.taken for seen in self.jobs if seen.letter), None)


def read_newest(connection: Connection, experiment: int, name: str, most: int) -> Newest:
    """Return at most the `most` newest jobs of a stream."""
    values: dict[str, Any] = {"experiment": experiment, "most": most + 1}
    values |= {"name": name} if name else {}
    query = _newest(connection.dialect.name, bool(name))
    rows = connection.execute(query, values).mappings().all()
    whole = len(rows) <= most
    here = (drifts.c.experiment == experiment) & of_stream(name)
    first = select(func.min(drifts.c.created_at)).where(here)
    late = select(drifts.c.number).where(
        here, drifts.c.late.is_(True), drifts.c.job_status != "Failed"
    )
    return Newest(
        [_job(row) for row in rows[:most]][::-1],
        whole,
        connection.execute(first).scalar(),
        whole and connection.execute(late.limit(1)).first() is not None,
    )


def of_stream(name: str) -> ColumnElement[bool]:
    """Return the condition on jobs of a stream, "" for those without one."""
    return drifts.c.stream == name if name else drifts.c.stream.is_(None)


def _job(row: Any) -> Seen:
    drawn = row["drawn"] or [None] * len(READ)
    return read_job({**row, "parameters": dict(zip(READ, drawn, strict=True))})


@functools.cache
def _newest(dialect: str, named: bool) -> Select[Any]:
    stream = drifts.c.stream == bindparam("name") if named else drifts.c.stream.is_(None)
    return (
        select(
            drifts.c.number,
            drifts.c.created_at,
            drifts.c.job_status,
            drifts.c.drift_detected,
            drifts.c.late,
            drifts.c.model,
            _drawn(dialect).label("drawn"),
        )
        .where(drifts.c.experiment == bindparam("experiment"), stream, drifts.c.late.is_(False))
        .order_by(drifts.c.created_at.desc(), drifts.c.number.desc())
        .limit(bindparam("most"))
    )


def _drawn(dialect: str) -> ColumnElement[Any]:
    """Return the array of the parameters that are looked at; NULL if it is too large."""
    whole = drifts.c.parameters
    if dialect == "sqlite":
        paths = [f"$.{name}" for name in READ]
        values = func.json_extract(whole, *paths, type_=JSON)
        size = func.length(func.json_extract(whole, *paths, type_=Text))
    else:
        values = func.jsonb_build_array(*(whole[name] for name in READ), type_=JSONB)
        size = func.length(cast(values, Text))
    return case((size <= _LONGEST, values))
