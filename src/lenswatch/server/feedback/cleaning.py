"""Effect of what an annotation says was done: the last judged jobs before it, and the first ones after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import Schema, fields, validate
from sqlalchemy import JSON, ColumnElement, Connection, func, select
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.db.tables import drifts, pictures, tallies
from lenswatch.server.experiments.api import require
from lenswatch.server.feedback.annotations import annotation_id, find
from lenswatch.server.feedback.helped import COMPARED, verdict
from lenswatch.server.feedback.intervals import median
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.values import stamps

__all__ = ["MAX_STREAMS", "effect", "operations"]

MAX_STREAMS = 100  # of one answer
_LOOKED_AT = 200  # completed jobs on each side, among which the judged ones are found
_VALUES = (("score", "drift_score"), ("distance", "drift_distance"))
_DRAWN = ("score", "drift_score", "distance", "drift_distance", "warning")

Row = Mapping[Any, Any]
operations = Operations()


class EffectArgs(Schema):
    """The query string of an effect."""

    stream = bodies.Text(
        metadata={"description": "For an annotation of the whole experiment: only this stream."}
    )
    after = bodies.Text(
        metadata={"description": "Only streams that come after this one, to read on."}
    )


class ComparedRecord(Record):
    """One judged picture."""

    id = fields.UUID()
    taken_at = fields.DateTime()
    value = fields.Float()
    threshold = fields.Float()
    ratio = fields.Float()
    drift = fields.Boolean()
    warning = fields.Boolean()
    image = fields.Boolean()


class EffectRecord(Record):
    """Pictures of one stream before and after what was done."""

    stream = fields.String()
    verdict = fields.String(
        allow_none=True, validate=validate.OneOf(("helped", "did not help", "too early"))
    )
    statistic = fields.String(allow_none=True, validate=validate.OneOf(("score", "distance")))
    wanted = Count()
    ratio_before = fields.Float(allow_none=True)
    ratio_after = fields.Float(allow_none=True)
    before = fields.List(fields.Nested(ComparedRecord))
    after = fields.List(fields.Nested(ComparedRecord))


class EffectsRecord(Record):
    """Effect of an annotation on each stream that it concerns."""

    annotation = fields.UUID()
    streams = fields.List(fields.Nested(EffectRecord))


def effect(connection: Connection, annotation: Row, stream: str) -> dict[str, Any]:
    """Return the record of the effect that what an annotation tells of had on a stream.

    Args:
        connection: A transaction.
        annotation: Row of the annotation.
        stream: Name of the stream; "" for jobs without one.
    """
    begun, ended = annotation["begins_at"], annotation["ends_at"]
    of = (drifts.c.experiment == annotation["experiment"], drifts.c.stream == (stream or None))
    back = (drifts.c.taken_at.desc(), drifts.c.number.desc())
    on = (drifts.c.taken_at, drifts.c.number)
    done = begun if ended is None else ended
    before = _jobs(connection, (*of, drifts.c.taken_at < begun), back)
    after = _jobs(connection, (*of, drifts.c.taken_at >= done), on)
    found = {names[0]: (_judged(before, *names)[::-1], _judged(after, *names)) for names in _VALUES}
    statistic = max(found, key=lambda name: sum(map(bool, found[name])))  # the first of the best
    return _record(stream, statistic if any(found[statistic]) else None, *found[statistic])


def _jobs(
    connection: Connection,
    wanted: Sequence[ColumnElement[bool]],
    order: Sequence[ColumnElement[Any]],
) -> list[Row]:
    """Return the first completed jobs that are not late, in an order."""
    whole = drifts.c.parameters
    if connection.dialect.name == "sqlite":
        values = func.json_extract(whole, *(f"$.{name}" for name in _DRAWN), type_=JSON)
    else:
        values = func.jsonb_build_array(*(whole[name] for name in _DRAWN), type_=JSONB)
    query = (
        select(
            drifts.c.id,
            drifts.c.taken_at,
            drifts.c.drift_detected,
            pictures.c.drift.label("picture"),
            values.label("values"),
        )
        .select_from(drifts.outerjoin(pictures))
        .where(*wanted, drifts.c.job_status == "Completed", drifts.c.late.is_(False))
        .order_by(*order)
        .limit(_LOOKED_AT)
    )
    return list(connection.execute(query).mappings())


def _judged(jobs: Sequence[Row], name: str, threshold: str) -> list[dict[str, Any]]:
    """Return the first jobs that have a value and a threshold above 0, as records."""
    found = []
    for job in jobs:
        values = dict(zip(_DRAWN, job["values"], strict=True))
        value, limit = values[name], values[threshold]
        if _is_number(value) and _is_number(limit) and limit > 0:
            found.append(_compared(job, value, limit, values["warning"] is True))
        if len(found) == COMPARED:
            break
    return found


def _compared(job: Row, value: float, threshold: float, warning: bool) -> dict[str, Any]:
    return {
        "id": job["id"],
        "taken_at": stamps.iso(job["taken_at"]),
        "value": value,
        "threshold": threshold,
        "ratio": value / threshold,
        "drift": job["drift_detected"],
        "warning": warning,
        "image": job["picture"] is not None,
    }


def _record(
    stream: str,
    statistic: str | None,
    before: Sequence[dict[str, Any]],
    after: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    ratios = [[job["ratio"] for job in side] for side in (before, after)]
    return {
        "stream": stream,
        "verdict": verdict(*ratios),
        "statistic": statistic,
        "wanted": COMPARED,
        "ratio_before": median(sorted(ratios[0])),
        "ratio_after": median(sorted(ratios[1])),
        "before": before,
        "after": after,
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _streams(connection: Connection, annotation: Row, args: Mapping[str, Any]) -> list[str]:
    """Return the streams that an annotation concerns, in the order of their names."""
    if annotation["stream"] is not None:
        return [annotation["stream"]]
    if "stream" in args:
        return [args["stream"]]
    query = (
        select(tallies.c.stream)
        .where(tallies.c.experiment == annotation["experiment"])
        .where(tallies.c.job_status == "Completed", tallies.c.jobs > 0)
    )
    if "after" in args:
        query = query.where(tallies.c.stream > args["after"])
    query = query.distinct().order_by(tallies.c.stream).limit(MAX_STREAMS)
    return list(connection.execute(query).scalars())


@operations.add(
    "GET /experiment/{experiment_id}/annotation/{annotation_id}/effect",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=EffectArgs(),
    returns=EffectsRecord(),
    refusals=(403, 404, 422),
)
def read_effect(call: Call) -> Response:
    """Return whether it helped: the judged pictures before and after, for up to 100 streams."""
    experiment = require("Read", call)["number"]
    annotation = find(call.connection, experiment, annotation_id(call))
    streams = _streams(call.connection, annotation, call.args)
    found = [effect(call.connection, annotation, stream) for stream in streams]
    return reply({"annotation": annotation["id"], "streams": found})
