"""Deliveries of an experiment: what was said to whom, and whether it arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate
from sqlalchemy import ColumnElement, Connection, Select, func, select, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.alerts.messages import Message, Statement
from lenswatch.server.db.tables import (
    CHANNEL_KINDS,
    DELIVERY_STATES,
    channels,
    deliveries,
    experiments,
    messages,
)
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Record
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid, not_found

__all__ = ["DeliveryRecord", "deliveries_of", "delivery_of", "operations"]

MOST_LISTED = 500

operations = Operations()


class DeliveryArgs(Schema):
    """The query string of the list of deliveries."""

    state = fields.String(validate=validate.OneOf(DELIVERY_STATES))
    channel = fields.UUID()
    event = fields.UUID()
    stream = bodies.Text()
    limit = fields.Integer(load_default=100, validate=validate.Range(1, MOST_LISTED))
    before = fields.UUID(metadata={"description": "Id of the last delivery of the page before."})


class DeliveryRecord(Record):
    """A message to one channel."""

    id = fields.UUID()
    created_at = fields.DateTime()
    title = fields.String()
    what = fields.String(validate=validate.OneOf(("alarm", "reminder", "recovery", "test")))
    rule = fields.String(allow_none=True)
    channel = fields.UUID(allow_none=True)
    channel_name = fields.String()
    channel_kind = fields.String(validate=validate.OneOf(CHANNEL_KINDS))
    state = fields.String(validate=validate.OneOf(DELIVERY_STATES))
    tries = fields.Integer()
    unknown = fields.Integer()
    result = fields.String(allow_none=True)
    next_try_at = fields.DateTime(allow_none=True)
    ended_at = fields.DateTime(allow_none=True)
    seconds = fields.Float(allow_none=True)
    streams = fields.List(fields.String())
    events = fields.List(fields.UUID())


def deliveries_of(
    connection: Connection,
    experiment: int,
    *,
    limit: int = 100,
    state: str | None = None,
    channel: str | None = None,
    event: str | None = None,
    stream: str | None = None,
    before: str | None = None,
) -> list[dict[str, Any]]:
    """Return the records of an experiment's deliveries, the newest first.

    Args:
        connection: A transaction.
        experiment: Number of the experiment.
        limit: Most records.
        state: Only those in this state.
        channel: Only those to the channel with this id.
        event: Only those of messages about the event with this id.
        stream: Only those of messages about this stream.
        before: Only those before the delivery with this id.

    Raises:
        Refusal: 422 if there is no delivery `before`.
    """
    query = _query(experiment).order_by(deliveries.c.number.desc()).limit(limit)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if channel is not None:
        query = query.where(channels.c.id == channel)
    if before is not None:
        place = select(deliveries.c.number).where(
            deliveries.c.id == before, deliveries.c.experiment == experiment
        )
        number = connection.execute(place).scalar()
        if number is None:
            raise invalid("query", {"before": ["The experiment has no such delivery."]})
        query = query.where(deliveries.c.number < number)
    query = query.where(*_about(connection, "event", event), *_about(connection, "stream", stream))
    return [_record(row) for row in connection.execute(query).mappings()]


def delivery_of(connection: Connection, experiment: int, delivery_id: str) -> dict[str, Any]:
    """Return the record of one delivery.

    Raises:
        Refusal: 404 if the experiment has no such delivery.
    """
    query = _query(experiment).where(deliveries.c.id == delivery_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Delivery")
    return _record(row)


def _query(experiment: int) -> Select[Any]:
    columns: tuple[Any, ...] = (
        deliveries,
        messages.c.created_at,
        messages.c.facts,
        messages.c.rule_name,
        experiments.c.name.label("experiment_name"),
        channels.c.id.label("channel_id"),
    )
    query: Select[Any] = select(*columns)
    return (
        query.join(messages, messages.c.number == deliveries.c.message)
        .join(experiments, experiments.c.number == deliveries.c.experiment)
        .outerjoin(channels, channels.c.number == deliveries.c.channel)
        .where(deliveries.c.experiment == experiment)
    )


def _about(connection: Connection, key: str, value: str | None) -> list[ColumnElement[bool]]:
    """Return the condition that an item of the message has `value` under `key`."""
    if value is None:
        return []
    if connection.dialect.name == "postgresql":
        return [type_coerce(messages.c.facts, JSONB).contains([{key: value}])]
    item = func.json_each(messages.c.facts).table_valued("value", name="item").c.value
    same = func.json_extract(item, f"$.{key}") == value
    return [select(item).where(same).correlate(messages).exists()]


def _record(row: Mapping[Any, Any]) -> dict[str, Any]:
    statements = [Statement(item, "") for item in row["facts"]]
    owner = {"name": row["experiment_name"]}
    message = Message(row["id"], row["created_at"], owner, row["rule_name"], statements)
    return {
        **{name: row[name] for name in ("id", "channel_name", "channel_kind", "state", "tries")},
        **{name: row[name] for name in ("unknown", "result", "seconds")},
        "created_at": stamps.iso(row["created_at"]),
        "title": message.title,
        "what": message.kind,
        "rule": row["rule_name"],
        "channel": row["channel_id"],
        "next_try_at": _iso(row["due_at"] if row["state"] == "waiting" else None),
        "ended_at": _iso(row["ended_at"]),
        "streams": sorted({item["stream"] for item in row["facts"]}),
        "events": sorted({item["event"] for item in row["facts"] if item.get("event")}),
    }


def _iso(stamp: int | None) -> str | None:
    return None if stamp is None else stamps.iso(stamp)


@operations.add(
    "GET /experiment/{experiment_id}/deliveries",
    who=Who.ANYBODY,
    args=DeliveryArgs(),
    extension=True,
    returns=DeliveryRecord(many=True),
    refusals=(403, 404, 422),
)
def list_deliveries(call: Call) -> Response:
    """List deliveries, the newest first. Callers who may edit see them."""
    experiment = require("Edit", call)["number"]
    asked: dict[str, Any] = {
        name: value if name in ("limit", "state", "stream") else str(value)
        for name, value in call.args.items()
    }
    return reply(deliveries_of(call.connection, experiment, **asked))


@operations.add(
    "GET /experiment/{experiment_id}/deliveries/{delivery_id}",
    who=Who.ANYBODY,
    extension=True,
    returns=DeliveryRecord(),
    refusals=(403, 404),
)
def read_delivery(call: Call) -> Response:
    """Return one delivery."""
    experiment = require("Edit", call)["number"]
    delivery = str(call.request.path_params["delivery_id"])
    return reply(delivery_of(call.connection, experiment, delivery))
