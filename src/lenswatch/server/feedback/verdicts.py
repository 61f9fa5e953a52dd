"""Verdicts of people and programs: was an alarm true, and what does a picture really show?

A verdict on an event is a person's word about an alarm. A verdict on a job is ground truth about one picture:
"true drift" if it shows drift, whether or not there was an alarm, and "false alarm" if it is clean.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import drift_feedback, drifts, event_feedback
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.identity.authors import author_of, shown_author
from lenswatch.server.identity.identity import Caller
from lenswatch.server.jobs.events import find_event
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found
from lenswatch.wire import EVENT_ID, VERDICTS

__all__ = [
    "MAX_TEXT",
    "FeedbackBody",
    "find_job",
    "forget",
    "give",
    "given",
    "operations",
    "record",
]

MAX_TEXT = 2000  # characters

Row = Mapping[Any, Any]
operations = Operations()
_ON_EVENT = "/experiment/{experiment_id}/event/{event_id}/feedback"
_ON_JOB = "/experiment/{experiment_id}/drift/{drift}/feedback"


class FeedbackBody(bodies.Body):
    """Fields of a verdict that a client may set."""

    verdict = fields.String(required=True, validate=validate.OneOf(VERDICTS))
    text = bodies.Text(load_default="", validate=validate.Length(max=MAX_TEXT))


class FeedbackRecord(Record):
    """A verdict. Authors are shown to registered callers only."""

    verdict = fields.String(validate=validate.OneOf(VERDICTS))
    text = fields.String()
    author = fields.String(allow_none=True)
    created_at = fields.DateTime()


def find_job(connection: Connection, experiment: int, name: str) -> Row:
    """Return number and experiment of the job with an id, or else of the one with this event id.

    Raises:
        Refusal: 404 if the experiment has none.
    """
    keys = [drifts.c.id == str(uuid.UUID(name))] if _is_uuid(name) else []
    keys += [drifts.c.event_id == name] if EVENT_ID.match(name) else []
    for key in keys:
        query = select(drifts.c.number, drifts.c.experiment)
        row = connection.execute(query.where(drifts.c.experiment == experiment, key)).mappings()
        if found := row.first():
            return found
    raise not_found("Drift")


def given(connection: Connection, table: Table, number: int) -> Row | None:
    """Return the verdict on an event or a job, or None.

    Args:
        connection: A transaction.
        table: `event_feedback` or `drift_feedback`.
        number: Number of the event or of the job.
    """
    key = next(iter(table.primary_key))
    return connection.execute(select(table).where(key == number)).mappings().first()


def give(
    connection: Connection, table: Table, of: Row, caller: Caller, body: Mapping[str, Any]
) -> Row:
    """Store a verdict on an event or a job in place of the one before, and return its row.

    Args:
        connection: A transaction that writes.
        table: `event_feedback` or `drift_feedback`.
        of: Row of the event or of the job.
        caller: The author.
        body: What `FeedbackBody` loads.

    Raises:
        Refusal: 404 if the event or the job was deleted meanwhile.
    """
    key = next(iter(table.primary_key))
    values = {key.name: of["number"], "verdict": body["verdict"], "text": body["text"]}
    values |= {"author": author_of(connection, caller), "created_at": stamps.now()}
    if "experiment" in table.c:
        values["experiment"] = of["experiment"]
    query = insert_into(connection, table).values(values)
    query = query.on_conflict_do_update(index_elements=[key.name], set_=values)
    try:
        return connection.execute(query.returning(table)).mappings().one()
    except IntegrityError:
        raise not_found("Event" if table is event_feedback else "Drift") from None


def forget(connection: Connection, table: Table, number: int) -> None:
    """Delete the verdict on an event or a job.

    Raises:
        Refusal: 404 if there is none.
    """
    key = next(iter(table.primary_key))
    gone = connection.execute(delete(table).where(key == number).returning(key)).first()
    if gone is None:
        raise not_found("Feedback")


def record(row: Row, caller: Caller | None) -> dict[str, Any]:
    """Return a verdict as `caller` may see it."""
    return {
        "verdict": row["verdict"],
        "text": row["text"],
        "author": shown_author(row["author"], caller),
        "created_at": stamps.iso(row["created_at"]),
    }


def _is_uuid(name: str) -> bool:
    try:
        return len(name) == 36 and bool(uuid.UUID(name))
    except ValueError:
        return False


def _event(level: str, call: Call) -> Row:
    experiment = require(level, call)["number"]
    return find_event(call.connection, experiment, str(call.request.path_params["event_id"]))


def _job(level: str, call: Call) -> Row:
    experiment = require(level, call)["number"]
    return find_job(call.connection, experiment, str(call.request.path_params["drift"]))


def _read(call: Call, table: Table, of: Row) -> Response:
    row = given(call.connection, table, of["number"])
    if row is None:
        raise not_found("Feedback")
    return reply(record(row, call.caller))


def _put(call: Call, table: Table, of: Row) -> Response:
    assert call.caller
    return reply(record(give(call.connection, table, of, call.caller, call.body), call.caller))


def _delete(call: Call, table: Table, of: Row) -> Response:
    forget(call.connection, table, of["number"])
    return Response(status_code=204)


_READING: dict[str, Any] = {
    "who": Who.ANYBODY,
    "extension": True,
    "returns": FeedbackRecord(),
    "refusals": (403, 404),
}
_PUTTING: dict[str, Any] = {
    "who": Who.REGISTERED,
    "body": FeedbackBody(),
    "writes": True,
    "extension": True,
    "returns": FeedbackRecord(),
    "refusals": (401, 403, 404, 422),
}
_DELETING: dict[str, Any] = {
    "who": Who.REGISTERED,
    "writes": True,
    "extension": True,
    "success": 204,
    "refusals": (401, 403, 404),
}


@operations.add(f"GET {_ON_EVENT}", **_READING)
def read_event_feedback(call: Call) -> Response:
    """Return the verdict on an event."""
    return _read(call, event_feedback, _event("Read", call))


@operations.add(f"PUT {_ON_EVENT}", **_PUTTING)
def put_event_feedback(call: Call) -> Response:
    """Say whether an alarm was true, in place of what was said before."""
    return _put(call, event_feedback, _event("Edit", call))


@operations.add(f"DELETE {_ON_EVENT}", **_DELETING)
def delete_event_feedback(call: Call) -> Response:
    """Delete the verdict on an event."""
    return _delete(call, event_feedback, _event("Edit", call))


@operations.add(f"GET {_ON_JOB}", **_READING)
def read_drift_feedback(call: Call) -> Response:
    """Return the verdict on a job, which is named by its id or its event id."""
    return _read(call, drift_feedback, _job("Read", call))


@operations.add(f"PUT {_ON_JOB}", **_PUTTING)
def put_drift_feedback(call: Call) -> Response:
    """Say what a picture really shows. The job is named by its id or its event id."""
    return _put(call, drift_feedback, _job("Edit", call))


@operations.add(f"DELETE {_ON_JOB}", **_DELETING)
def delete_drift_feedback(call: Call) -> Response:
    """Delete the verdict on a job, which is named by its id or its event id."""
    return _delete(call, drift_feedback, _job("Edit", call))
