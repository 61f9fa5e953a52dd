"""Channels of an experiment: where its messages go.

Addresses and secrets are only taken in. Callers who may edit see the channels; those who manage change them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from marshmallow import fields, validate
from sqlalchemy import Connection, delete, func, insert, select, update
from starlette.responses import Response

from lenswatch.server.alerts.channels import apprise, webhook
from lenswatch.server.alerts.decide import delivery_row
from lenswatch.server.alerts.deliveries import drop_waiting
from lenswatch.server.alerts.delivery_api import DeliveryRecord, delivery_of
from lenswatch.server.db.tables import CHANNEL_KINDS, channels, deliveries, messages
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.identity.fetching import host_of
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal, invalid, not_found

__all__ = ["MOST_CHANNELS", "channels_of", "find_channel", "numbers_of", "operations"]

MOST_CHANNELS = 50  # of an experiment
_MOST_RECIPIENTS = 50
_MAIL = r"^[A-Za-z0-9._%+'=&-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?$(?!\n)"

Row = Mapping[Any, Any]
operations = Operations()


class ChannelBody(bodies.Body):
    """Fields of a channel that a client may set."""

    name = bodies.Text(required=True, validate=validate.Length(1, 100))
    kind = fields.String(required=True, validate=validate.OneOf(CHANNEL_KINDS))
    url = bodies.Text(
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, 2000),
        metadata={"description": "Of a webhook, or as apprise takes it; null keeps the present."},
    )
    to = fields.List(
        fields.String(validate=validate.Regexp(_MAIL)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(1, _MOST_RECIPIENTS),
        metadata={"description": "Addresses for e-mail; null keeps the present ones."},
    )
    renew_secret = fields.Boolean(load_default=False)


class LastRecord(Record):
    """The newest delivery of a channel that was tried."""

    state = fields.String()
    result = fields.String(allow_none=True)
    tries = fields.Integer()


class ChannelRecord(Record):
    """A channel. The secret of a webhook is there only when it is new."""

    id = fields.UUID()
    created_at = fields.DateTime()
    name = fields.String()
    kind = fields.String(validate=validate.OneOf(CHANNEL_KINDS))
    target = fields.String()
    waiting = fields.Integer()
    last = fields.Nested(LastRecord, allow_none=True)
    secret = fields.String()
    optional = ("secret",)


def channels_of(connection: Connection, experiment: int) -> list[dict[str, Any]]:
    """Return the records of an experiment's channels, by number `experiment`."""
    query = select(channels).where(channels.c.experiment == experiment).order_by(channels.c.number)
    return [_record(connection, row) for row in connection.execute(query).mappings()]


def find_channel(connection: Connection, experiment: int, channel_id: str) -> Row:
    """Return the row of a channel.

    Raises:
        Refusal: 404 if the experiment has no such channel.
    """
    query = select(channels).where(channels.c.id == channel_id, channels.c.experiment == experiment)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Channel")
    return row


def _record(connection: Connection, row: Row, secret: str | None = None) -> dict[str, Any]:
    mine = deliveries.c.channel == row["number"]
    waiting = select(func.count()).where(mine, deliveries.c.due_at.is_not(None))
    query = select(deliveries).where(mine, deliveries.c.tries > 0)
    query = query.order_by(deliveries.c.number.desc()).limit(1)
    last = connection.execute(query).mappings().first()
    return {
        "id": row["id"],
        "created_at": stamps.iso(row["created_at"]),
        "name": row["name"],
        "kind": row["kind"],
        "target": row["target"]["shown"],
        "waiting": connection.execute(waiting).scalar_one(),
        "last": last and {name: last[name] for name in ("state", "result", "tries")},
        **({"secret": secret} if secret else {}),
    }


def _check(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request with the `target` of the channel, or None in its place."""
    given = body["to"] if body["kind"] == "email" else body["url"]
    return body | {"target": None if given is None else _target(body["kind"], given)}


def _target(kind: str, given: Any) -> dict[str, Any]:
    if kind == "email":
        return {"to": given, "shown": ", ".join(given)}
    if kind == "webhook":
        host = host_of(given)
        if not host or urlsplit(given).fragment:
            raise invalid("json", {"url": ["Not an address that begins with http:// or https://."]})
        return {"url": given, "shown": host}
    return {"url": given, "shown": ""}


def _authorize(call: Call) -> None:
    require("Manage", call)


def _ask_apprise(call: Call) -> None:
    """Check what only the server's configuration and libraries can tell."""
    body = call.body
    mail = call.services.config.alerts
    if body["kind"] == "email" and not (mail.smtp_host and mail.mail_from):
        raise _refuse("kind", "This server sends no e-mail: see server.alerts.smtp_host.")
    if body["kind"] != "apprise" or body["target"] is None:
        return
    if not apprise.is_installed():
        raise _refuse("kind", "This server has no apprise: its extra `alerts` is not installed.")
    service = apprise.service_of(body["url"])
    if service is None:
        raise _refuse("url", "Apprise does not know such a URL.")
    body["target"]["shown"] = service


def _refuse(field: str, text: str) -> Refusal:
    return invalid("json", {field: [text]})


@operations.add(
    "GET /experiment/{experiment_id}/channel",
    who=Who.ANYBODY,
    extension=True,
    returns=ChannelRecord(many=True),
    refusals=(403, 404),
)
def list_channels(call: Call) -> Response:
    """List the channels of an experiment."""
    return reply(channels_of(call.connection, require("Edit", call)["number"]))


@operations.add(
    "POST /experiment/{experiment_id}/channel",
    who=Who.REGISTERED,
    body=ChannelBody(),
    interpret=_check,
    authorize=_authorize,
    prepare=_ask_apprise,
    writes=True,
    success=201,
    extension=True,
    returns=ChannelRecord(),
    refusals=(401, 403, 404, 422),
)
def create_channel(call: Call) -> Response:
    """Create a channel. The answer shows the secret of a webhook, once."""
    experiment = require("Manage", call)
    body = call.body
    if body["target"] is None:
        needed = "to" if body["kind"] == "email" else "url"
        raise _refuse(needed, "Missing data for required field.")
    count = select(func.count()).where(channels.c.experiment == experiment["number"])
    if call.connection.execute(count).scalar_one() >= MOST_CHANNELS:
        raise _refuse("_schema", f"An experiment has at most {MOST_CHANNELS} channels.")
    secret = webhook.new_secret() if body["kind"] == "webhook" else None
    row = {
        "id": str(uuid.uuid4()),
        "experiment": experiment["number"],
        "created_at": stamps.now(),
        "secret": secret,
        **{name: body[name] for name in ("name", "kind", "target")},
    }
    made = call.connection.execute(insert(channels).values(row).returning(channels)).mappings()
    return reply(_record(call.connection, made.one(), secret), 201)


@operations.add(
    "GET /experiment/{experiment_id}/channel/{channel_id}",
    who=Who.ANYBODY,
    extension=True,
    returns=ChannelRecord(),
    refusals=(403, 404),
)
def read_channel(call: Call) -> Response:
    """Return one channel."""
    return reply(_record(call.connection, _found(call, "Edit")))


@operations.add(
    "PUT /experiment/{experiment_id}/channel/{channel_id}",
    who=Who.REGISTERED,
    body=ChannelBody(),
    interpret=_check,
    authorize=_authorize,
    prepare=_ask_apprise,
    writes=True,
    extension=True,
    returns=ChannelRecord(),
    refusals=(401, 403, 404, 422),
)
def replace_channel(call: Call) -> Response:
    """Replace a channel's fields, with `renew_secret` also the secret of a webhook."""
    row, body = _found(call, "Manage"), call.body
    if body["kind"] != row["kind"]:
        raise _refuse("kind", f"This channel is of the kind {row['kind']}, which does not change.")
    renew = body["renew_secret"] and row["kind"] == "webhook"
    secret = webhook.new_secret() if renew else None
    changed = {"name": body["name"], "target": body["target"] or row["target"]}
    changed |= {"secret": secret} if secret else {}
    here = channels.c.number == row["number"]
    query = update(channels).where(here).values(changed).returning(channels)
    after = call.connection.execute(query).mappings().first()
    if after is None:  # deleted meanwhile
        raise not_found("Channel")
    return reply(_record(call.connection, after, secret))


@operations.add(
    "DELETE /experiment/{experiment_id}/channel/{channel_id}",
    who=Who.REGISTERED,
    writes=True,
    success=204,
    extension=True,
    refusals=(401, 403, 404),
)
def delete_channel(call: Call) -> Response:
    """Delete a channel. Messages that wait for it are not sent."""
    number = _found(call, "Manage")["number"]
    drop_waiting(call.connection, number, "the channel was deleted", stamps.now())
    call.connection.execute(delete(channels).where(channels.c.number == number))
    return Response(status_code=204)


@operations.add(
    "POST /experiment/{experiment_id}/channel/{channel_id}/test",
    who=Who.REGISTERED,
    writes=True,
    success=202,
    extension=True,
    returns=DeliveryRecord(),
    refusals=(401, 403, 404),
)
def test_channel(call: Call) -> Response:
    """Send a test message, whatever is muted or quiet. The delivery says later whether it arrived."""
    channel, now = _found(call, "Manage"), stamps.now()
    row = {
        "id": str(uuid.uuid4()),
        "experiment": channel["experiment"],
        "created_at": now,
        "facts": [],
    }
    query = insert(messages).values(row).returning(messages.c.number)
    message = call.connection.execute(query).scalar_one()
    delivery = delivery_row(channel, message, now)
    call.connection.execute(insert(deliveries).values(delivery))
    return reply(delivery_of(call.connection, channel["experiment"], delivery["id"]), 202)


def _found(call: Call, level: str) -> Row:
    experiment = require(level, call)["number"]
    return find_channel(call.connection, experiment, str(call.request.path_params["channel_id"]))


def numbers_of(connection: Connection, experiment: int, ids: Sequence[str]) -> Mapping[str, int]:
    """Return the numbers of channels by id; those that the experiment has not are left out."""
    query = select(channels.c.id, channels.c.number).where(
        channels.c.experiment == experiment, channels.c.id.in_(ids)
    )
    return {row.id: row.number for row in connection.execute(query)}
