"""Drift jobs: one record per inference call, Running, Completed or Failed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
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
from lenswatch.server.identity.identity import Caller
from lenswatch.server.jobs import search, store
from lenswatch.server.jobs.store import DriftRecord
from lenswatch.server.query.conditions import read_query
from lenswatch.server.values.refusals import Refusal, invalid, not_found

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


def _named(job: dict[str, Any]) -> dict[str, Any]:
    """Give a job its id, which it keeps when its transaction is run again."""
    job["id"] = str(uuid.uuid4())
    return job


def create_together(calls: Sequence[Call]) -> list[Response | Refusal]:
    """Store the jobs of calls on one experiment, each like `create_drift`."""
    found: dict[Caller | None, Mapping[Any, Any] | Refusal] = {}
    for call in calls:
        if call.caller not in found:
            found[call.caller] = _experiment_or_refusal(call)
    experiments = [one for one in found.values() if not isinstance(one, Refusal)]
    stored: Iterator[tuple[Mapping[Any, Any], bool]] = iter(())
    if experiments:  # they are all the same
        jobs = [call.body for call in calls if not isinstance(found[call.caller], Refusal)]
        stored = iter(store.store(calls[0].connection, experiments[0]["number"], jobs))
    answers: list[Response | Refusal] = []
    for call in calls:
        result = found[call.caller]
        answers.append(result.copy() if isinstance(result, Refusal) else _created(next(stored)[0]))
    return answers


def _experiment_or_refusal(call: Call) -> Mapping[Any, Any] | Refusal:
    try:
        return require("Edit", call)
    except Refusal as refusal:
        return refusal


def _created(row: Mapping[Any, Any]) -> Response:
    return reply(store.record(row), 201)


@operations.add(
    "POST /experiment/{experiment_id}/drift",
    who=Who.REGISTERED,
    body=_DRIFT,
    interpret=_named,
    writes=True,
    together=create_together,
    repeatable=True,
    success=201,
    returns=DriftRecord(),
    refusals=(401, 403, 404, 422),
)
def create_drift(call: Call) -> Response:
    """Store a job. A repeated `parameters.event_id` is answered by the job that is stored already."""
    experiment = require("Edit", call)
    [(row, _)] = store.store(call.connection, experiment["number"], [call.body])
    return _created(row)


def _check_each(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the result of each job of a batch as far as it is known before it is stored."""
    return [_check(position, job) for position, job in enumerate(body["drifts"])]


def _check(position: int, body: Any) -> dict[str, Any]:
    try:
        return {"position": position, "job": _named(_DRIFT.load(body))}
    except ValidationError as error:
        return {"position": position, "status": 422, "errors": {"json": complaints(error)}}


@operations.add(
    "POST /experiment/{experiment_id}/drift/batch",
    who=Who.REGISTERED,
    body=BatchBody(),
    interpret=_check_each,
    writes=True,
    repeatable=True,
    extension=True,
    returns=BatchRecord(),
    refusals=(401, 403, 404, 422),
)
def create_drifts(call: Call) -> Response:
    """Store up to 1,000 jobs. Each is checked separately and answered under its position."""
    experiment = require("Edit", call)
    good = [result["job"] for result in call.body if "job" in result]
    stored = iter(store.store(call.connection, experiment["number"], good))
    return reply({"results": [_result(result, stored) for result in call.body]})


def _result(
    checked: dict[str, Any], stored: Iterator[tuple[Mapping[Any, Any], bool]]
) -> dict[str, Any]:
    """Return the result of a job of a batch. The transaction may be run again, so `checked` stays."""
    if "job" not in checked:
        return checked
    row, new = next(stored)
    event_id = row["parameters"].get("event_id")
    return {
        "position": checked["position"],
        "status": 201 if new else 200,
        "id": row["id"],
        "event_id": event_id if isinstance(event_id, str) else None,
    }


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
