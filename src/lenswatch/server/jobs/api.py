"""Drift jobs: one record per inference call, Running, Completed or Failed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields, validate
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.tables import drifts
from lenswatch.server.experiments.api import require
from lenswatch.server.http.bodies import BatchBody, DriftBody, JsonObject, QueryBody, complaints
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.paging import page_schema, paged
from lenswatch.server.http.records import Count, Record
from lenswatch.server.jobs import search, store
from lenswatch.server.jobs.store import DriftRecord
from lenswatch.server.query.conditions import read_query
from lenswatch.server.values.refusals import invalid, not_found

__all__ = ["find_drift", "operations"]

operations = Operations()
_DRIFT = DriftBody()


class ResultRecord(Record):
    """Result of one job of a batch."""

    position = Count()
    status = fields.Integer(validate=validate.OneOf((200, 201, 422)))
    id = fields.UUID()
    event_id = fields.String(allow_none=True)
    errors = JsonObject()
    optional = ("id", "event_id", "errors")


class BatchRecord(Record):
    """Results of a batch, in the order of its jobs."""

    results = fields.List(fields.Nested(ResultRecord))


def find_drift(call: Call, experiment: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return the row of the drift in the path.

    Raises:
        Refusal: 404 if `experiment` has no such drift.
    """
    query = select(drifts).where(
        drifts.c.id == call.drift_id, drifts.c.experiment == experiment["number"]
    )
    row = call.connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Drift")
    return row


@operations.add(
    "POST /experiment/{experiment_id}/drift/search",
    who=Who.ANYBODY,
    body=QueryBody(),
    interpret=partial(read_query, fields=search.FIELDS),
    args=page_schema("created_at", "job_status", "model", "drift_detected", "schema_version"),
    returns=DriftRecord(many=True),
    refusals=(403, 404, 422),
)
def search_drifts(call: Call) -> Response:
    """Search an experiment's jobs."""
    experiment = require("Read", call)
    rows, total = search.page(call.connection, experiment["number"], call.body, call.args)
    return paged([store.record(row) for row in rows], total, call.args)


@operations.add(
    "POST /experiment/{experiment_id}/drift",
    who=Who.REGISTERED,
    body=_DRIFT,
    writes=True,
    success=201,
    returns=DriftRecord(),
    refusals=(401, 403, 404, 422),
)
def create_drift(call: Call) -> Response:
    """Store a job. A repeated `parameters.event_id` is answered by the job that is stored already."""
    experiment = require("Edit", call)
    [(row, _)] = store.store(call.connection, experiment["number"], [call.body])
    return reply(store.record(row), 201)


@operations.add(
    "POST /experiment/{experiment_id}/drift/batch",
    who=Who.REGISTERED,
    body=BatchBody(),
    writes=True,
    extension=True,
    returns=BatchRecord(),
    refusals=(401, 403, 404, 422),
)
def create_drifts(call: Call) -> Response:
    """Store up to 1,000 jobs. Each is checked separately and answered under its position."""
    experiment = require("Edit", call)
    results = [_check(position, body) for position, body in enumerate(call.body["drifts"])]
    good = [result for result in results if "job" in result]
    stored = store.store(call.connection, experiment["number"], [r["job"] for r in good])
    for result, (row, new) in zip(good, stored, strict=True):
        del result["job"]
        event_id = row["parameters"].get("event_id")
        result |= {"status": 201 if new else 200, "id": row["id"]}
        result["event_id"] = event_id if isinstance(event_id, str) else None
    return reply({"results": results})


def _check(position: int, body: Any) -> dict[str, Any]:
    try:
        return {"position": position, "job": _DRIFT.load(body)}
    except ValidationError as error:
        return {"position": position, "status": 422, "errors": {"json": complaints(error)}}


@operations.add(
    "GET /experiment/{experiment_id}/drift/{drift_id}",
    who=Who.ANYBODY,
    returns=DriftRecord(),
    refusals=(403, 404),
)
def read_drift(call: Call) -> Response:
    """Return one job."""
    return reply(store.record(find_drift(call, require("Read", call))))


@operations.add(
    "PUT /experiment/{experiment_id}/drift/{drift_id}",
    who=Who.REGISTERED,
    body=_DRIFT,
    writes=True,
    returns=DriftRecord(),
    refusals=(401, 403, 404, 422),
)
def replace_drift(call: Call) -> Response:
    """Replace a job's fields."""
    drift = find_drift(call, require("Edit", call))
    try:
        return reply(store.record(store.change(call.connection, drift, call.body)))
    except IntegrityError:
        taken = {"event_id": ["Another job of this experiment has this event id."]}
        raise invalid("json", {"parameters": taken}) from None


@operations.add(
    "DELETE /experiment/{experiment_id}/drift/{drift_id}",
    who=Who.REGISTERED,
    writes=True,
    success=204,
    refusals=(401, 403, 404),
)
def delete_drift(call: Call) -> Response:
    """Delete a job with its picture."""
    store.remove(call.connection, find_drift(call, require("Edit", call)))
    return Response(status_code=204)
