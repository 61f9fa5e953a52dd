"""What the dashboard asks beyond the contract: an experiment's streams, and a series of its jobs to draw."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import JSON, ColumnElement, RowMapping, ScalarSelect, Text, case, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.db.models import drifts, pictures, tallies
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.jobs import store as jobs
from lenswatch.server.values import stamps

__all__ = ["operations"]

MAX_STREAMS = 1000  # of one answer
MAX_DRAWN = 1000  # characters of one job's values for the chart

operations = Operations()
_newest = drifts.alias("newest")
_DISTANCE = ("distance", "drift_distance", "warning_distance")
_SCORE = ("score", "drift_score", "warning_score")
_DRAWN = ("captured_at", "warning", *_DISTANCE, *_SCORE)


def _is_moment(text: str) -> None:
    if stamps.microseconds(text) is None:
        raise ValidationError("Not a valid datetime.")


class SeriesArgs(Schema):
    """The query string of a series."""

    stream = bodies.Text()
    limit = fields.Integer(load_default=2000, validate=validate.Range(min=1, max=10_000))
    before = fields.String(validate=_is_moment)


@operations.get(
    "/experiment/{experiment_id}/streams",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    returns="Stream[]",
    refusals=(403, 404, 422),
)
def read_streams(call: Call) -> Response:
    """The first 1,000 streams of an experiment by name: how many jobs each has, and its last one.

    `stream` is null for jobs without.
    """
    number = require("Read", call)["number"]
    failed = case((tallies.c.job_status == "Failed", tallies.c.jobs), else_=0)
    drifted = case((tallies.c.drift_detected.is_(True), tallies.c.jobs), else_=0)
    streams = (
        select(
            tallies.c.stream.label("name"),
            func.sum(tallies.c.jobs).label("total"),
            func.sum(drifted).label("drifted"),
            func.sum(failed).label("failed"),
        )
        .where(tallies.c.experiment == number)
        .group_by(tallies.c.stream)
        .having(func.sum(tallies.c.jobs) > 0)
        .order_by(tallies.c.stream)
        .limit(MAX_STREAMS)
        .subquery("streams")
    )
    last = case(
        (streams.c.name == "", _last(number, _newest.c.stream.is_(None))),
        else_=_last(number, _newest.c.stream == streams.c.name).correlate(streams),
    )
    query = select(streams, drifts).select_from(streams.outerjoin(drifts, drifts.c.number == last))
    rows = call.connection.execute(query.order_by(streams.c.name)).mappings()
    return reply([_stream(row) for row in rows])


def _last(number: int, of_stream: ColumnElement[bool]) -> ScalarSelect[int]:
    """The number of the newest job with that stream, from its index."""
    query = select(_newest.c.number).where(_newest.c.experiment == number, of_stream)
    order = (_newest.c.created_at.desc(), _newest.c.number.desc())
    return query.order_by(*order).limit(1).scalar_subquery()


def _stream(row: RowMapping) -> dict[str, Any]:
    return {
        "stream": row["name"] or None,
        "total": int(row["total"]),
        "drifted": int(row["drifted"]),
        "failed": int(row["failed"]),
        "last": jobs.record(row) if row["id"] else None,
    }


@operations.get(
    "/experiment/{experiment_id}/series",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
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
        select(
            drifts.c.id,
            drifts.c.created_at,
            drifts.c.drift_detected,
            drifts.c.job_status,
            drifts.c.stream,
            pictures.c.drift.label("picture"),
            _drawn(call.services.database.sqlite).label("drawn"),
        )
        .select_from(drifts)
        .outerjoin(pictures)
        .where(*conditions)
        .order_by(drifts.c.created_at.desc(), drifts.c.number.desc())
        .limit(call.args["limit"])
    )
    rows = list(call.connection.execute(query).mappings())[::-1]
    return reply(_columns(rows))


def _drawn(sqlite: bool) -> ColumnElement[list[Any] | None]:
    """Of the parameters, which may be large, those that are drawn: an array; NULL if even that is large."""
    whole = drifts.c.parameters
    if sqlite:
        paths = [f"$.{name}" for name in _DRAWN]
        values = func.json_extract(whole, *paths, type_=JSON)
        size = func.length(func.json_extract(whole, *paths, type_=Text))
    else:
        values = func.jsonb_build_array(*(whole[name] for name in _DRAWN), type_=JSONB)
        size = func.length(cast(values, Text))
    return case((size <= MAX_DRAWN, values))


def _columns(rows: list[Any]) -> dict[str, list[Any]]:
    nothing = [None] * len(_DRAWN)
    drawn = [dict(zip(_DRAWN, row["drawn"] or nothing, strict=True)) for row in rows]
    series: dict[str, list[Any]] = {
        "id": [row["id"] for row in rows],
        "created_at": [stamps.iso(row["created_at"]) for row in rows],
        "captured_at": [_text(values["captured_at"]) for values in drawn],
        "drift": [row["drift_detected"] for row in rows],
        "status": [row["job_status"] for row in rows],
        "stream": [row["stream"] for row in rows],
        "image": [row["picture"] is not None for row in rows],
        "warning": [_boolean(values["warning"]) for values in drawn],
    }
    for name in _DISTANCE + _SCORE:
        series[name] = [_number(values[name]) for values in drawn]
    return series


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
