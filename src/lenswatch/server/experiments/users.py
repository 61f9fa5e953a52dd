"""Users and entitlements."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

from marshmallow import fields
from sqlalchemy import Connection, Row, func, select, update
from starlette.responses import Response

from lenswatch.server.db.database import insert_into
from lenswatch.server.db.tables import users
from lenswatch.server.http.bodies import QueryBody
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.paging import page_schema, paged, slice_of
from lenswatch.server.http.records import Record
from lenswatch.server.identity.identity import Identity
from lenswatch.server.query.conditions import Fields, compile_query, read_query
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import conflict, forbidden

__all__ = ["ensure_user", "operations"]

operations = Operations()
_FIELDS = Fields(
    texts={
        "_id": users.c.id,
        "subject": users.c.subject,
        "issuer": users.c.issuer,
        "email": users.c.email,
    },
    stamps={"created_at": users.c.created_at},
)


class UserRecord(Record):
    """A registered user."""

    id = fields.UUID()
    created_at = fields.DateTime()
    subject = fields.String()
    issuer = fields.String()
    email = fields.String()


class EntitlementsRecord(Record):
    """The entitlements of the caller."""

    items = fields.List(fields.String(), metadata={"uniqueItems": True})


@operations.add(
    "POST /user",
    who=Who.KNOWN,
    writes=True,
    success=201,
    returns=UserRecord(),
    refusals=(401, 403, 409),
)
def register(call: Call) -> Response:
    """Register the sender of the token."""
    assert call.identity
    if not call.identity.user:
        raise forbidden()
    if not ensure_user(call.connection, call.identity):
        raise conflict("User already exists.")
    return reply(_record(_of(call.connection, call.identity)), 201)


@operations.add("GET /user/self", who=Who.REGISTERED, returns=UserRecord(), refusals=(401, 403))
def read_self(call: Call) -> Response:
    """Return the caller's user record."""
    assert call.identity
    return reply(_record(_of(call.connection, call.identity)))


@operations.add(
    "PUT /user/self", who=Who.REGISTERED, writes=True, returns=UserRecord(), refusals=(401, 403)
)
def update_self(call: Call) -> Response:
    """Update the caller's e-mail address from the identity provider."""
    assert call.identity
    change = update(users).where(_is(call.identity)).values(email=call.identity.email)
    call.connection.execute(change)
    return reply(_record(_of(call.connection, call.identity)))


@operations.add(
    "POST /user/search",
    who=Who.ADMIN,
    body=QueryBody(),
    interpret=partial(read_query, fields=_FIELDS),
    args=page_schema("created_at", "email", "subject", "issuer"),
    returns=UserRecord(many=True),
    refusals=(401, 403, 422),
)
def search_users(call: Call) -> Response:
    """Search users. Administrators only."""
    condition = compile_query(call.body, _FIELDS, call.connection)
    total = call.connection.execute(
        select(func.count()).select_from(users).where(condition)
    ).scalar_one()
    page = slice_of(
        select(users).where(condition), call.args, [users.c[call.args["sort_by"]], users.c.number]
    )
    return paged([_record(row) for row in call.connection.execute(page)], total, call.args)


@operations.add(
    "GET /entitlement", who=Who.REGISTERED, returns=EntitlementsRecord(), refusals=(401, 403)
)
def read_entitlements(call: Call) -> Response:
    """Return the caller's entitlements."""
    assert call.identity
    return reply({"items": sorted(call.identity.entitlements)})


@operations.add(
    "GET /entitlements", who=Who.REGISTERED, returns=EntitlementsRecord(), refusals=(401, 403)
)
def read_entitlements_plural(call: Call) -> Response:
    """Return the caller's entitlements, where the published client asks for them."""
    return read_entitlements(call)


def ensure_user(connection: Connection, identity: Identity) -> bool:
    """Register `identity`, and return whether that was new."""
    record = {
        "id": str(uuid.uuid4()),
        "created_at": stamps.now(),
        "subject": identity.subject,
        "issuer": identity.issuer,
        "email": identity.email,
    }
    registration = insert_into(connection, users).values(record)
    one_each = registration.on_conflict_do_nothing(index_elements=["subject", "issuer"])
    return connection.execute(one_each.returning(users.c.id)).first() is not None


def _is(identity: Identity) -> Any:
    return (users.c.subject == identity.subject) & (users.c.issuer == identity.issuer)


def _of(connection: Connection, identity: Identity) -> Row[Any]:
    return connection.execute(select(users).where(_is(identity))).one()


def _record(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": stamps.iso(row.created_at),
        "subject": row.subject,
        "issuer": row.issuer,
        "email": row.email,
    }
