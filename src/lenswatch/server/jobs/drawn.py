"""Jobs as columns, with the values that a chart needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import JSON, ColumnElement, Connection, Select, Text, case, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.tables import drifts, pictures
from lenswatch.server.http.bodies import JsonObject
from lenswatch.server.http.records import Record
from lenswatch.server.jobs.buckets import Point
from lenswatch.server.jobs.verdicts import VERDICTS
from lenswatch.server.query.numbers import number_at
from lenswatch.server.values import stamps
from lenswatch.wire import JOB_STATUSES

__all__ = ["SeriesRecord", "as_row", "columns", "drawn"]

MAX_DRAWN = 1000  # characters of the values of one job
_DISTANCE = ("distance", "drift_distance", "warning_distance")
_SCORE = ("score", "drift_score", "warning_score")
_DRAWN = ("captured_at", "warning", "can_alarm", *_DISTANCE, *_SCORE, "shed", "picture_shed")


class ShedRecord(Record):
    """Jobs that a node gave up before one that is there."""

    jobs = fields.Integer()
    since = fields.String(allow_none=True)


class SeriesRecord(Record):
    """Jobs as columns of equal length: those that arrived last by arrival, those of a span by capture.

    `id`, `created_at` and most values are null for a job that retention deleted.
    """

    id = fields.List(fields.UUID(allow_none=True))
    created_at = fields.List(fields.DateTime(allow_none=True))
    captured_at = fields.List(fields.String(allow_none=True))
    taken_at = fields.List(fields.DateTime())
    drift = fields.List(fields.Boolean())
    status = fields.List(fields.String(validate=validate.OneOf(JOB_STATUSES)))
    verdict = fields.List(
        fields.String(validate=validate.OneOf([*VERDICTS.values()]), allow_none=True)
    )
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
    values = JsonObject(
        metadata={"description": "A column for each parameter that was asked for, by its path."}
    )
    model = fields.List(fields.String(allow_none=True))
    # `begin` and `end` are null if there is no job; they, method and total are there for a span only.
    method = fields.String(validate=validate.OneOf(("all", "extremes", "rollups", "spread")))
    total = fields.Integer()
    begin = fields.DateTime(allow_none=True)
    end = fields.DateTime(allow_none=True)
    optional = ("values", "model", "method", "total", "begin", "end")


def drawn(connection: Connection, paths: Sequence[str]) -> Select[Any]:
    """Return the query for the rows that `columns` takes.

    Args:
        connection: Where the query will run.
        paths: Parameters whose numbers are wanted too, as dotted paths.
    """
    wanted = (number_at(connection, drifts.c.parameters, tuple(p.split("."))) for p in paths)
    return (
        select(
            drifts.c.number,
            drifts.c.id,
            drifts.c.created_at,
            drifts.c.taken_at,
            drifts.c.drift_detected,
            drifts.c.job_status,
            drifts.c.verdict,
            drifts.c.stream,
            drifts.c.late,
            drifts.c.model,
            pictures.c.drift.label("picture"),
            _values(connection.dialect.name == "sqlite").label("drawn"),
            *(number.label(f"path {place}") for place, number in enumerate(wanted)),
        )
        .select_from(drifts)
        .outerjoin(pictures)
    )


def as_row(point: Point, stream: str, paths: Sequence[str]) -> dict[str, Any]:
    """Return a job of which only a point is left as a row that `columns` takes."""
    known: dict[str, Any] = point.values | {"captured_at": stamps.iso(point.at)}
    row = {
        "number": point.number,
        "id": None,
        "created_at": None,
        "taken_at": point.at,
        "drift_detected": point.verdict == "d",
        "job_status": "Failed" if point.verdict == "f" else "Completed",
        "verdict": point.verdict,
        "stream": stream or None,
        "late": False,
        "model": None,
        "picture": None,
        "drawn": [known.get(name) for name in _DRAWN],
    }
    return row | {f"path {place}": known.get(path) for place, path in enumerate(paths)}


def columns(
    rows: Sequence[Mapping[Any, Any]], paths: Sequence[str], *, models: bool = False
) -> dict[str, Any]:
    """Return rows as a SeriesRecord, with the `models` that judged if they are wanted."""
    nothing = [None] * len(_DRAWN)
    found = [dict(zip(_DRAWN, row["drawn"] or nothing, strict=True)) for row in rows]
    series: dict[str, Any] = {
        "id": [row["id"] for row in rows],
        "created_at": [_moment(row["created_at"]) for row in rows],
        "captured_at": [_text(values["captured_at"]) for values in found],
        "taken_at": [stamps.iso(row["taken_at"]) for row in rows],
        "drift": [row["drift_detected"] for row in rows],
        "status": [row["job_status"] for row in rows],
        "verdict": [VERDICTS.get(row["verdict"]) for row in rows],
        "stream": [row["stream"] for row in rows],
        "image": [row["picture"] is not None for row in rows],
        "late": [row["late"] for row in rows],
        "warning": [_boolean(values["warning"]) for values in found],
        "can_alarm": [_boolean(values["can_alarm"]) for values in found],
        "shed": [_shed(values["shed"]) for values in found],
        "picture_shed": [_boolean(values["picture_shed"]) for values in found],
    }
    if models:
        series["model"] = [row["model"] for row in rows]
    if paths:
        series["values"] = {
            f"parameters.{path}": [row[f"path {place}"] for row in rows]
            for place, path in enumerate(paths)
        }
    for name in _DISTANCE + _SCORE:
        series[name] = [_number(values[name]) for values in found]
    return series


def _values(sqlite: bool) -> ColumnElement[list[Any] | None]:
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


def _moment(stamp: int | None) -> str | None:
    return None if stamp is None else stamps.iso(stamp)


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
