"""Drift jobs: one record per inference call, Running, Completed or Failed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.models import drifts
from lenswatch.server.experiments.api import require
from lenswatch.server.http.bodies import BatchBody, DriftBody, QueryBody, complaints
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.paging import page_schema, paged
from lenswatch.server.jobs import search
from lenswatch.server.jobs import store as jobs
from lenswatch.server.query.conditions import read_query
from lenswatch.server.values.refusals import invalid, not_found

__all__ = ["find_drift", "operations"]

operations = Operations()
_DRIFT = DriftBody()


def find_drift(call: Call, experiment: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The row of the drift in the path, or 404."""
    query = select(drifts).where(
        drifts.c.id == call.drift_id, drifts.c.experiment == experiment["number"]
    )
    row = call.connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Drift")
    return row


@operations.post(
    "/experiment/{experiment_id}/drift/search",
    who=Who.ANYBODY,
    body=QueryBody(),
    interpret=partial(read_query, fields=search.FIELDS),
    args=page_schema("created_at", "job_status", "model", "drift_detected", "schema_version"),
    returns="Drift[]",
    refusals=(403, 404, 422),
)
def search_drifts(call: Call) -> Response:
    """Search an experiment's jobs."""
    experiment = require("Read", call)
    rows, total = search.page(call.connection, experiment["number"], call.body, call.args)
    return paged([jobs.record(row) for row in rows], total, call.args)


@operations.post(
    "/experiment/{experiment_id}/drift",
    who=Who.REGISTERED,
    body=_DRIFT,
    writes=True,
    success=201,
    returns="Drift",
    refusals=(401, 403, 404, 422),
)
def create_drift(call: Call) -> Response:
    """Record a job. A repeated `parameters.event_id` is answered by the job that is stored."""
    experiment = require("Edit", call)
    [(row, _)] = jobs.store(call.connection, experiment["number"], [call.body])
    return reply(jobs.record(row), 201)


@operations.post(
    "/experiment/{experiment_id}/drift/batch",
    who=Who.REGISTERED,
    body=BatchBody(),
    writes=True,
    extension=True,
    returns="Batch",
    refusals=(401, 403, 404, 422),
)
def create_drifts(call: Call) -> Response:
    """Record up to 1,000 jobs. Each is judged by itself, and answered by its position."""
    experiment = require("Edit", call)
    results = [_judge(position, body) for position, body in enumerate(call.body["drifts"])]
    good = [result for result in results if "job" in result]
    stored = jobs.store(call.connection, experiment["number"], [r["job"] for r in good])
    for result, (row, new) in zip(good, stored, strict=True):
        del result["job"]
        event_id = row["parameters"].get("event_id")
        result |= {"status": 201 if new else 200, "id": row["id"]}
        result["event_id"] = event_id if isinstance(event_id, str) else None
    return reply({"results": results})


def _judge(position: int, body: Any) -> dict[str, Any]:
    try:
        return {"position": position, "job": _DRIFT.load(body)}
    except ValidationError as error:
        return {"position": position, "status": 422, "errors": {"json": complaints(error)}}


@operations.get(
    "/experiment/{experiment_id}/drift/{drift_id}",
    who=Who.ANYBODY,
    returns="Drift",
    refusals=(403, 404),
)
def read_drift(call: Call) -> Response:
    """One job."""
    return reply(jobs.record(find_drift(call, require("Read", call))))


@operations.put(
    "/experiment/{experiment_id}/drift/{drift_id}",
    who=Who.REGISTERED,
    body=_DRIFT,
    writes=True,
    returns="Drift",
    refusals=(401, 403, 404, 422),
)
def replace_drift(call: Call) -> Response:
    """Replace a job's fields."""
    drift = find_drift(call, require("Edit", call))
    try:
        return reply(jobs.record(jobs.change(call.connection, drift, call.body)))
    except IntegrityError:
        taken = {"event_id": ["Another job of this experiment has this event id."]}
        raise invalid("json", {"parameters": taken}) from None


@operations.delete(
    "/experiment/{experiment_id}/drift/{drift_id}",
    who=Who.REGISTERED,
    writes=True,
    success=204,
    refusals=(401, 403, 404),
)
def delete_drift(call: Call) -> Response:
    """Delete a job with its picture."""
    jobs.remove(call.connection, find_drift(call, require("Edit", call)))
    return Response(status_code=204)
