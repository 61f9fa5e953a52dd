"""What the dashboard asks beyond the contract: the streams of an experiment, and a series to draw."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import Connection, case, func, select
from starlette.responses import Response

from lenswatch.server import jobs, stamps
from lenswatch.server.experiments import require
from lenswatch.server.models import drifts, pictures, tallies
from lenswatch.server.operations import Call, Operations, Who, reply

__all__ = ["operations"]

operations = Operations()
_DISTANCE = ("distance", "drift_distance", "warning_distance")
_SCORE = ("score", "drift_score", "warning_score")


def _is_moment(text: str) -> None:
    if stamps.microseconds(text) is None:
        raise ValidationError("Not a valid datetime.")


class SeriesArgs(Schema):
    """The query string of a series."""

    stream = fields.String()
    limit = fields.Integer(load_default=2000, validate=validate.Range(min=1, max=10_000))
    before = fields.String(validate=_is_moment)


@operations.get(
    "/experiment/{experiment_id}/streams",
    who=Who.ANYBODY,
    own=True,
    returns="Stream[]",
    refusals=(403, 404),
)
def read_streams(call: Call) -> Response:
    """Each stream of an experiment: how many jobs, and the last one. `stream` is null for jobs without."""
    number = require("Read", call)["number"]
    failed = case((tallies.c.job_status == "Failed", tallies.c.jobs), else_=0)
    drifted = case((tallies.c.drift_detected.is_(True), tallies.c.jobs), else_=0)
    query = (
        select(
            tallies.c.stream,
            func.sum(tallies.c.jobs).label("total"),
            func.sum(drifted).label("drifted"),
            func.sum(failed).label("failed"),
        )
        .where(tallies.c.experiment == number)
        .group_by(tallies.c.stream)
        .having(func.sum(tallies.c.jobs) > 0)
        .order_by(tallies.c.stream)
    )
    return reply([_stream(call.connection, number, row) for row in call.connection.execute(query)])


def _stream(connection: Connection, number: int, row: Any) -> dict[str, Any]:
    stream = row.stream or None
    query = (
        select(drifts)
        .where(drifts.c.experiment == number, drifts.c.stream == stream)
        .order_by(drifts.c.created_at.desc(), drifts.c.number.desc())
        .limit(1)
    )
    last = connection.execute(query).mappings().first()
    return {
        "stream": stream,
        "total": int(row.total),
        "drifted": int(row.drifted),
        "failed": int(row.failed),
        "last": jobs.record(last) if last else None,
    }


@operations.get(
    "/experiment/{experiment_id}/series",
    who=Who.ANYBODY,
    own=True,
    args=SeriesArgs(),
    returns="Series",
    refusals=(403, 404, 422),
)
def read_series(call: Call) -> Response:
    """The newest jobs as columns, in time order: what a chart needs and no more."""
    number = require("Read", call)["number"]
    conditions = [drifts.c.experiment == number]
    if "stream" in call.args:
        conditions.append(drifts.c.stream == (call.args["stream"] or None))
    if "before" in call.args:
        conditions.append(drifts.c.created_at < stamps.microseconds(call.args["before"]))
    query = (
        select(drifts, pictures.c.drift.label("picture"))
        .outerjoin(pictures)
        .where(*conditions)
        .order_by(drifts.c.created_at.desc(), drifts.c.number.desc())
        .limit(call.args["limit"])
    )
    rows = list(call.connection.execute(query).mappings())[::-1]
    return reply(_columns(rows))


def _columns(rows: list[Any]) -> dict[str, list[Any]]:
    series: dict[str, list[Any]] = {
        "id": [row["id"] for row in rows],
        "created_at": [stamps.iso(row["created_at"]) for row in rows],
        "captured_at": [_text(row["parameters"].get("captured_at")) for row in rows],
        "drift": [row["drift_detected"] for row in rows],
        "status": [row["job_status"] for row in rows],
        "stream": [row["stream"] for row in rows],
        "image": [row["picture"] is not None for row in rows],
        "warning": [_boolean(row["parameters"].get("warning")) for row in rows],
    }
    for name in _DISTANCE + _SCORE:
        series[name] = [_number(row["parameters"].get(name)) for row in rows]
    return series


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
