"""Requests of people to the node of a stream: "this is clean", "the lens was cleaned", "undo that".

The server cannot reach a node. A request waits here until the node of its stream asks for those that wait,
does what it says, and answers it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import ColumnElement, Connection, select, update
from starlette.responses import Response

from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import REQUEST_STATES
from lenswatch.server.db.tables import baseline_requests as table
from lenswatch.server.experiments.api import require
from lenswatch.server.feedback.annotations import Stream
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.identity.authors import author_of, shown_author
from lenswatch.server.identity.identity import Caller
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import conflict, not_found
from lenswatch.wire import BASELINE_REQUESTS

__all__ = [
    "MAX_LISTED",
    "BaselineRequestBody",
    "answer",
    "ask",
    "find",
    "listed",
    "operations",
    "record",
    "withdraw",
]

MAX_LISTED = 1000  # requests of one answer
_MAX_TEXT = 2000  # characters
_MAX_NUMBER = 2**63 - 1
_PATH = "/experiment/{experiment_id}/baseline-request"
_ONE = f"{_PATH}/{{request_id}}"

Row = Mapping[Any, Any]
operations = Operations()


class BaselineRequestBody(bodies.Body):
    """Fields of a new request."""

    id = fields.UUID(
        metadata={"description": "Chosen by a client that may send the request again."}
    )
    stream = Stream(required=True, validate=validate.Length(min=1))
    kind = fields.String(required=True, validate=validate.OneOf(BASELINE_REQUESTS))
    baseline = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, _MAX_NUMBER),
        metadata={"description": "Undo this one only, by the number in the answer to its request."},
    )

    @validates_schema
    def _names_what_to_undo(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["baseline"] is not None and data["kind"] != "undo":
            raise ValidationError("Only what is undone has a number.", "baseline")


class AnswerBody(bodies.Body):
    """The outcome of a request."""

    state = fields.String(required=True, validate=validate.OneOf(("done", "rejected")))
    answer = bodies.Text(load_default="", validate=validate.Length(max=_MAX_TEXT))
    baseline = fields.Integer(
        strict=True, load_default=None, allow_none=True, validate=validate.Range(1, _MAX_NUMBER)
    )


class RequestArgs(Schema):
    """The query string of a list of requests."""

    stream = bodies.Text()
    state = fields.String(validate=validate.OneOf(REQUEST_STATES))
    limit = fields.Integer(load_default=MAX_LISTED, validate=validate.Range(min=1, max=MAX_LISTED))


class BaselineRequestRecord(Record):
    """A request. Authors are shown to registered callers only."""

    id = fields.UUID()
    stream = fields.String()
    kind = fields.String(validate=validate.OneOf(BASELINE_REQUESTS))
    baseline = fields.Integer(allow_none=True)
    author = fields.String(allow_none=True)
    asked_at = fields.DateTime()
    age_seconds = fields.Float()
    state = fields.String(validate=validate.OneOf(REQUEST_STATES))
    answer = fields.String()
    answered_at = fields.DateTime(allow_none=True)


def listed(
    connection: Connection,
    experiment: int,
    *,
    stream: str | None = None,
    state: str | None = None,
    limit: int = MAX_LISTED,
) -> Sequence[Row]:
    """Return requests, the newest first.

    Args:
        connection: A transaction.
        experiment: Number of the experiment.
        stream: Only those of this stream.
        state: Only those in this state.
        limit: Most rows.
    """
    wanted: list[ColumnElement[bool]] = [table.c.experiment == experiment]
    if stream is not None:
        wanted.append(table.c.stream == stream)
    if state is not None:
        wanted.append(table.c.state == state)
    query = select(table).where(*wanted).order_by(table.c.number.desc()).limit(limit)
    return connection.execute(query).mappings().all()


def find(connection: Connection, experiment: int, request: str) -> Row:
    """Return the row of the request with an id.

    Raises:
        Refusal: 404 if the experiment has none.
    """
    row = connection.execute(select(table).where(_is(experiment, request))).mappings().first()
    if row is None:
        raise not_found("Baseline request")
    return row


def ask(connection: Connection, experiment: int, caller: Caller, given: Mapping[str, Any]) -> Row:
    """Store a request, and return its row. If the experiment has its id already, that one stays.

    Args:
        connection: A transaction that writes.
        experiment: Number of the experiment.
        caller: The author.
        given: What `BaselineRequestBody` loads.

    Raises:
        Refusal: 409 if another request of the stream waits.
    """
    chosen = str(given.get("id") or uuid.uuid4())
    values = {name: given[name] for name in ("stream", "kind", "baseline")}
    values |= {"id": chosen, "experiment": experiment, "state": "waiting", "answer": ""}
    values |= {"author": author_of(connection, caller), "asked_at": stamps.now()}
    new = insert_into(connection, table).values(values).on_conflict_do_nothing()
    connection.execute(new)
    row = connection.execute(select(table).where(_is(experiment, chosen))).mappings().first()
    if row is None:
        raise conflict("Another request of this stream waits for its node; withdraw that first.")
    return row


def answer(connection: Connection, asked: Row, given: Mapping[str, Any]) -> Row:
    """Store what the node did, and return the row. The first answer stays.

    A request that was withdrawn after the node had taken it is answered too, since it was done.

    Args:
        connection: A transaction that writes.
        asked: Row of the request.
        given: What `AnswerBody` loads.
    """
    values = {"state": given["state"], "answer": given["answer"], "answered_at": stamps.now()}
    if given["baseline"] is not None:
        values["baseline"] = given["baseline"]
    is_open = table.c.state.in_(("waiting", "withdrawn"))
    connection.execute(update(table).where(_same(asked), is_open).values(values))
    return find(connection, asked["experiment"], asked["id"])


def withdraw(connection: Connection, asked: Row) -> None:
    """Take a request back.

    Raises:
        Refusal: 409 if the node has answered it.
    """
    change = update(table).where(_same(asked), table.c.state == "waiting")
    connection.execute(change.values(state="withdrawn"))
    if find(connection, asked["experiment"], asked["id"])["state"] != "withdrawn":
        raise conflict("The node has answered this request already; ask it to undo that.")


def record(row: Row, caller: Caller | None) -> dict[str, Any]:
    """Return a row as `caller` may see it."""
    answered = row["answered_at"]
    return {
        "id": row["id"],
        "stream": row["stream"],
        "kind": row["kind"],
        "baseline": row["baseline"],
        "author": shown_author(row["author"], caller),
        "asked_at": stamps.iso(row["asked_at"]),
        "age_seconds": max(0.0, (stamps.now() - row["asked_at"]) / 1e6),
        "state": row["state"],
        "answer": row["answer"],
        "answered_at": None if answered is None else stamps.iso(answered),
    }


def _is(experiment: int, request: str) -> ColumnElement[bool]:
    return (table.c.experiment == experiment) & (table.c.id == request)


def _same(asked: Row) -> ColumnElement[bool]:
    return _is(asked["experiment"], asked["id"])


def _asked(call: Call) -> Row:
    experiment = require("Edit", call)["number"]
    return find(call.connection, experiment, str(call.request.path_params["request_id"]))


@operations.add(
    f"GET {_PATH}",
    who=Who.ANYBODY,
    extension=True,
    args=RequestArgs(),
    returns=BaselineRequestRecord(many=True),
    refusals=(403, 404, 422),
)
def list_requests(call: Call) -> Response:
    """Return the requests to the nodes of an experiment, the newest first."""
    experiment = require("Read", call)["number"]
    wanted = {name: call.args[name] for name in ("stream", "state") if name in call.args}
    rows = listed(call.connection, experiment, limit=call.args["limit"], **wanted)
    return reply([record(row, call.caller) for row in rows])


@operations.add(
    f"POST {_PATH}",
    who=Who.REGISTERED,
    body=BaselineRequestBody(),
    writes=True,
    extension=True,
    success=201,
    returns=BaselineRequestRecord(),
    refusals=(401, 403, 404, 409, 422),
)
def create_request(call: Call) -> Response:
    """Ask the node of a stream to accept its pictures, to go back to its calibration, or to undo that."""
    assert call.caller
    experiment = require("Edit", call)["number"]
    row = ask(call.connection, experiment, call.caller, call.body)
    return reply(record(row, call.caller), 201)


@operations.add(
    f"DELETE {_ONE}",
    who=Who.REGISTERED,
    writes=True,
    extension=True,
    success=204,
    refusals=(401, 403, 404, 409),
)
def delete_request(call: Call) -> Response:
    """Withdraw a request that waits."""
    withdraw(call.connection, _asked(call))
    return Response(status_code=204)


@operations.add(
    f"PUT {_ONE}/answer",
    who=Who.REGISTERED,
    body=AnswerBody(),
    writes=True,
    extension=True,
    returns=BaselineRequestRecord(),
    refusals=(401, 403, 404, 422),
)
def answer_request(call: Call) -> Response:
    """Say what became of a request. Nodes do this; the first answer stays."""
    return reply(record(answer(call.connection, _asked(call), call.body), call.caller))
