"""Experiments, which hold drift jobs and the permissions on them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from marshmallow import fields
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from lenswatch.server.db.tables import cursors, experiments, permissions
from lenswatch.server.experiments.erasing import erase, hide
from lenswatch.server.http.bodies import ExperimentBody, Permission, QueryBody
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.paging import page_schema, paged, slice_of
from lenswatch.server.http.records import Record
from lenswatch.server.identity.permissions import may, may_create, readable, with_manager
from lenswatch.server.query.conditions import Fields, compile_query, read_query
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import conflict, forbidden, not_found
from lenswatch.server.values.storable import digest

__all__ = ["create", "find", "operations", "record", "require"]

ERASED_AT_ONCE = 500  # rows of an experiment that is deleted

operations = Operations()
_FIELDS = Fields(
    texts={
        "_id": experiments.c.id,
        "name": experiments.c.name,
        "description": experiments.c.description,
    },
    stamps={"created_at": experiments.c.created_at},
    booleans={"public": experiments.c.public},
    documents={"permissions": experiments.c.permissions},
)


class ExperimentRecord(Record):
    """An experiment."""

    id = fields.UUID()
    created_at = fields.DateTime()
    name = fields.String()
    description = fields.String()
    public = fields.Boolean()
    permissions = fields.List(fields.Nested(Permission))
    optional = ("description",)


def find(call: Call) -> Mapping[Any, Any]:
    """Return the row of the experiment in the path.

    Raises:
        Refusal: 404 if there is none.
    """
    query = select(experiments).where(experiments.c.id == call.experiment_id)
    row = call.connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Experiment")
    return row


def require(wanted: str, call: Call) -> Mapping[Any, Any]:
    """Return the row of the experiment in the path, on which the caller has the level `wanted`.

    Raises:
        Refusal: 404 if there is none, 403 if the caller's level is lower.
    """
    experiment = find(call)
    if not may(wanted, experiment, call.caller):
        raise forbidden("Insufficient permissions." if call.caller else "Resource is not public.")
    return experiment


@operations.add(
    "POST /experiment/search",
    who=Who.ANYBODY,
    body=QueryBody(),
    interpret=partial(read_query, fields=_FIELDS),
    args=page_schema("created_at", "name", "public"),
    returns=ExperimentRecord(many=True),
    refusals=(422,),
)
def search_experiments(call: Call) -> Response:
    """Search the experiments that the caller may read."""
    condition = compile_query(call.body, _FIELDS, call.connection)
    condition = readable(call.caller) & condition
    count = select(func.count()).select_from(experiments).where(condition)
    total = call.connection.execute(count).scalar_one()
    sort = [experiments.c[call.args["sort_by"]], experiments.c.number]
    rows = call.connection.execute(slice_of(select(experiments).where(condition), call.args, sort))
    return paged([record(row) for row in rows], total, call.args)


@operations.add(
    "POST /experiment",
    who=Who.REGISTERED,
    body=ExperimentBody(),
    writes=True,
    success=201,
    returns=ExperimentRecord(),
    refusals=(401, 403, 409, 422),
)
def create_experiment(call: Call) -> Response:
    """Create an experiment. The caller manages it."""
    assert call.caller
    if not may_create(call.caller):
        raise forbidden()
    new = {
        "id": str(uuid.uuid4()),
        "created_at": stamps.now(),
        **call.body,
        "permissions": with_manager(call.body["permissions"], call.caller),
    }
    return reply(record(create(call.connection, new)), 201)


def create(connection: Connection, new: Mapping[str, Any]) -> Mapping[Any, Any]:
    """Store a new experiment, and return its row.

    Raises:
        Refusal: 409 if there is one of that name or id.
    """
    query = insert(experiments).values({**new, "name_digest": digest(new["name"])})
    try:
        row = connection.execute(query.returning(experiments)).mappings().one()
    except IntegrityError:
        raise conflict() from None
    number = row["number"]
    connection.execute(insert(cursors).values(experiment=number, seq=0, irregular=False))
    _store_permissions(connection, number, row["permissions"])
    return row


@operations.add(
    "GET /experiment/{experiment_id}", who=Who.ANYBODY, returns=ExperimentRecord(), refusals=(404,)
)
def read_experiment(call: Call) -> Response:
    """Return one experiment."""
    experiment = find(call)
    if not may("Read", experiment, call.caller):
        raise not_found("Experiment")
    return reply(record(experiment))


@operations.add(
    "PUT /experiment/{experiment_id}",
    who=Who.REGISTERED,
    body=ExperimentBody(),
    writes=True,
    returns=ExperimentRecord(),
    refusals=(401, 403, 404, 409, 422),
)
def replace_experiment(call: Call) -> Response:
    """Replace an experiment's fields. A description is kept if none is given."""
    assert call.caller
    experiment = require("Manage", call)
    entries = call.body["permissions"]
    if not call.caller.admin:
        entries = with_manager(entries, call.caller)
    change = call.body | {"name_digest": digest(call.body["name"]), "permissions": entries}
    here = experiments.c.number == experiment["number"]
    try:
        row = call.connection.execute(
            update(experiments).where(here).values(change).returning(experiments)
        ).first()
    except IntegrityError:
        raise conflict() from None
    if row is None:  # deleted meanwhile
        raise not_found("Experiment")
    _store_permissions(call.connection, row.number, entries)
    return reply(record(row))


@operations.add(
    "DELETE /experiment/{experiment_id}",
    who=Who.REGISTERED,
    writes=True,
    success=204,
    refusals=(401, 403, 404),
)
def delete_experiment(call: Call) -> Response:
    """Delete an experiment with its jobs and pictures, of which many are deleted soon afterwards."""
    number = require("Manage", call)["number"]
    hide(call.connection, number)
    erase(call.connection, number, ERASED_AT_ONCE)
    return Response(status_code=204)


def _store_permissions(connection: Connection, number: int, entries: list[dict[str, str]]) -> None:
    connection.execute(delete(permissions).where(permissions.c.experiment == number))
    rows = [
        {
            "experiment": number,
            "position": position,
            "entity_digest": digest(entry["entity"]),
            "level": entry["level"],
        }
        for position, entry in enumerate(entries)
    ]
    if rows:
        connection.execute(insert(permissions), rows)


def record(row: Row[Any] | Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as a record of the contract."""
    stored = row if isinstance(row, Mapping) else row._mapping
    record = {
        "id": stored["id"],
        "created_at": stamps.iso(stored["created_at"]),
        "name": stored["name"],
        "public": stored["public"],
        "permissions": stored["permissions"],
    }
    if stored["description"] is not None:
        record["description"] = stored["description"]
    return record
