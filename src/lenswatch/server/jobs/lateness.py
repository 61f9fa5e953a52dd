"""Late jobs: which of a stream's jobs are older than one that it already had.

Nodes say so in `parameters.late`. For jobs of other clients the server compares times of capture, so that
the state of a stream is always that of the last job to arrive that is not late.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Connection, Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import drifts
from lenswatch.server.values import stamps

__all__ = ["late_after", "mark_late"]

Job = Mapping[Any, Any]
_last = drifts.alias("last")


def mark_late(connection: Connection, experiment: int, rows: Sequence[dict[str, Any]]) -> None:
    """Set `late` in rows that are about to be inserted in this order."""
    found = [(row, _claim(row), _taken(row)) for row in rows]
    asked = {row["stream"] for row, claim, taken in found if claim is None and taken is not None}
    newest = _newest(connection, experiment, asked)
    for row, claim, taken in found:
        row["late"] = _late(claim, taken, newest.get(row["stream"]))
        if not row["late"]:
            newest[row["stream"]] = taken


def late_after(connection: Connection, row: dict[str, Any], before: Job) -> bool:
    """Return whether `row`, which replaces the stored job `before`, is late.

    It is compared with the jobs that arrived before that one.
    """
    row = row | {"created_at": before["created_at"]}
    if _claim(row) is not None or _taken(row) is None:
        return _claim(row) is True
    query = _last_on_time().where(
        _last.c.experiment == before["experiment"],
        _last.c.stream == row["stream"],
        _last.c.created_at < before["created_at"],
    )
    found = connection.execute(query).first()
    newest = None if found is None else stamps.capture(found.captured_at, found.created_at)
    return _late(_claim(row), _taken(row), newest)


def _claim(row: Job) -> bool | None:
    """Return what the job itself says, or None."""
    late = row["parameters"].get("late")
    return late if isinstance(late, bool) else None


def _taken(row: Job) -> int | None:
    return stamps.capture(row["parameters"].get("captured_at"), row["created_at"])


def _late(claim: bool | None, taken: int | None, newest: int | None) -> bool:
    if claim is not None:
        return claim
    return taken is not None and newest is not None and taken < newest


def _last_on_time() -> Select[Any]:
    """Return the query for time and arrival of the last job on time, of whatever it is restricted to."""
    return (
        select(
            _last.c.created_at, _last.c.parameters["captured_at"].as_string().label("captured_at")
        )
        .where(_last.c.late.is_(False))
        .order_by(_last.c.created_at.desc(), _last.c.number.desc())
        .limit(1)
    )


def _newest(
    connection: Connection, experiment: int, streams: set[str | None]
) -> dict[str | None, int | None]:
    """Return the time of capture of each stream's last job on time, by one query for all named streams."""
    newest: dict[str | None, int | None] = dict.fromkeys(streams)
    here = _last.c.experiment == experiment
    if None in streams:
        found = connection.execute(_last_on_time().where(here, _last.c.stream.is_(None))).first()
        if found is not None:
            newest[None] = stamps.capture(found.captured_at, found.created_at)
    named = sorted(stream for stream in streams if stream is not None)
    if named:
        asked = {"experiment": experiment, "streams": json.dumps(named)}
        for row in _of_streams(connection, asked):
            newest[row.stream] = stamps.capture(row.captured_at, row.created_at)
    return newest


def _build_of_streams(dialect: str) -> Select[Any]:
    whole = drifts.c.parameters
    if dialect == "sqlite":
        listed = func.json_each(bindparam("streams", type_=JSON))
        captured: Any = func.json_extract(whole, "$.captured_at")
    else:
        listed = func.jsonb_array_elements_text(bindparam("streams", type_=JSONB))
        captured = whole["captured_at"].as_string()
    stream = listed.table_valued("value", name="listed").c.value
    number = (
        select(_last.c.number)
        .where(
            _last.c.experiment == bindparam("experiment"),
            _last.c.stream == stream,
            _last.c.late.is_(False),
        )
        .order_by(_last.c.created_at.desc(), _last.c.number.desc())
        .limit(1)
        .correlate(stream.table)
        .scalar_subquery()
    )
    return select(
        stream.label("stream"),
        drifts.c.created_at,
        captured.label("captured_at"),
    ).select_from(stream.table.join(drifts, drifts.c.number == number))


_of_streams = Prepared(_build_of_streams)
