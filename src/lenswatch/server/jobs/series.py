"""Extension for the dashboard: the jobs of an experiment as columns for a chart."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import JSON, ColumnElement, Text, case, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.db.tables import drifts, pictures
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.values import stamps
from lenswatch.wire import JOB_STATUSES

__all__ = ["operations"]

MAX_DRAWN = 1000  # characters of the values of one job

operations = Operations()
_DISTANCE = ("distance", "drift_distance", "warning_distance")
_SCORE = ("score", "drift_score", "warning_score")
_DRAWN = ("captured_at", "warning", "can_alarm", *_DISTANCE, *_SCORE, "shed", "picture_shed")


def _is_moment(text: str) -> None:
    if stamps.microseconds(text) is None:
        raise ValidationError("Not a valid datetime.")


class SeriesArgs(Schema):
    """The query string of a series."""

    stream = bodies.Text()
    limit = fields.Integer(load_default=2000, validate=validate.Range(min=1, max=10_000))
    before = fields.String(validate=_is_moment)


class ShedRecord(Record):
    """Jobs that a node gave up before one that is there."""

    jobs = fields.Integer()
    since = fields.String(allow_none=True)


class SeriesRecord(Record):
    """Jobs as columns of equal length, in the order of their arrival."""

    id = fields.List(fields.UUID())
    created_at = fields.List(fields.DateTime())
    captured_at = fields.List(fields.String(allow_none=True))
    drift = fields.List(fields.Boolean())
    status = fields.List(fields.String(validate=validate.OneOf(JOB_STATUSES)))
    stream = fields.List(fields.String(allow_none=True))
    image = fields.List(fields.Boolean())
    late = fields.List(fields.Boolean())
    warning = fields.List(fields.Boolean(allow_none=True))
    can_alarm = fields.List(fields.Boolean(allow_none=True))
    distance = fields.List(fields.Float(allow_none=True))
    drift_distance = fields.List(fields.Float(allow_none=True))
    warning_distance = fields.List(fields.Float(allow_none=True))
    score = fields.List(fields.Float(allow_none=True))
    drift_score = fields.List(fields.Float(allow_none=True))
    warning_score = fields.List(fields.Float(allow_none=True))
    shed = fields.List(fields.Nested(ShedRecord, allow_none=True))
    picture_shed = fields.List(fields.Boolean(allow_none=True))


@operations.add(
    "GET /experiment/{experiment_id}/series",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=SeriesArgs(),
    returns=SeriesRecord(),
    refusals=(403, 404, 422),
)
def read_series(call: Call) -> Response:
    """Return the jobs that arrived last as columns, in that order, with the values that a chart needs."""
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
            drifts.c.late,
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
    """Return the array of the parameters that are drawn; NULL if it is too large."""
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
        "late": [row["late"] for row in rows],
        "warning": [_boolean(values["warning"]) for values in drawn],
        "can_alarm": [_boolean(values["can_alarm"]) for values in drawn],
        "shed": [_shed(values["shed"]) for values in drawn],
        "picture_shed": [_boolean(values["picture_shed"]) for values in drawn],
    }
    for name in _DISTANCE + _SCORE:
        series[name] = [_number(values[name]) for values in drawn]
    return series


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _shed(value: Any) -> dict[str, Any] | None:
    jobs = _number(value.get("jobs")) if isinstance(value, dict) else None
    if jobs is None or jobs != jobs // 1 or not 0 < jobs < 2**53:
        return None
    return {"jobs": int(jobs), "since": _text(value.get("since"))}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
