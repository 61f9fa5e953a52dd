"""Rules of an experiment: who is told what. Callers who may edit see them; those who manage change them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError, fields, validate, validates, validates_schema
from sqlalchemy import Connection, delete, func, insert, literal, select, update
from starlette.responses import Response

from lenswatch.server.alerts.channel_api import numbers_of
from lenswatch.server.alerts.preview import DAYS, preview
from lenswatch.server.alerts.rules import KINDS
from lenswatch.server.alerts.spells import Memory
from lenswatch.server.db.tables import (
    channels,
    messages,
    rule_channels,
    rule_states,
    rules,
    streams,
)
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.moments import Moment
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid, not_found
from lenswatch.server.values.stream_names import STREAM_RULE, is_stream

__all__ = ["MOST_RULES", "operations", "rules_of"]

MOST_RULES = 100  # of an experiment
_YEAR_SECONDS = 366 * 86400
_DAY_SECONDS = 86400
_TIME = r"^([01]\d|2[0-3]):[0-5]\d$(?!\n)"  # also as JavaScript reads it
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*\Z")
_OWN = ("name", "stream", "enabled", "muted_until", "channels")  # all other fields are terms

Row = Mapping[Any, Any]
operations = Operations()


class QuietBody(bodies.Body):
    """Hours of each day without messages. What still holds when they end is sent then."""

    begins = fields.String(required=True, validate=validate.Regexp(_TIME))
    ends = fields.String(required=True, validate=validate.Regexp(_TIME))
    timezone = fields.String(load_default="UTC", validate=validate.Length(1, 64))

    @validates("timezone")
    def _is_zone(self, value: str, **_: Any) -> None:
        try:
            if _ZONE.match(value):
                ZoneInfo(value)
                return
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
        raise ValidationError("No such time zone; use a name such as Europe/Lisbon or UTC.")

    @validates_schema
    def _is_span(self, data: Mapping[str, Any], **_: Any) -> None:
        if data.get("begins") == data.get("ends"):
            raise ValidationError("The quiet hours end when they begin.", "ends")


LEAST_REMIND_SECONDS = 60


def _seconds(default: float, most: int, text: str) -> fields.Float:
    return fields.Float(
        load_default=default, validate=validate.Range(0, most), metadata={"description": text}
    )


class RuleBody(bodies.Body):
    """Fields of a rule that a client may set."""

    name = bodies.Text(required=True, validate=validate.Length(1, 100))
    stream = bodies.Text(
        load_default=None,
        allow_none=True,
        metadata={"description": 'null for all streams; "" for jobs without one.'},
    )
    enabled = fields.Boolean(load_default=True)
    muted_until = Moment(load_default=None, allow_none=True)
    on = fields.List(
        fields.String(validate=validate.OneOf(KINDS)),
        required=True,
        validate=validate.Length(1, len(KINDS)),
    )
    count = fields.Integer(load_default=1, strict=True, validate=validate.Range(1, 100))
    of = fields.Integer(load_default=1, strict=True, validate=validate.Range(1, 100))
    minimum_seconds = _seconds(0, _YEAR_SECONDS, "Time for which it must last.")
    cooldown_seconds = _seconds(0, _YEAR_SECONDS, "Least time between two messages on a stream.")
    digest_seconds = _seconds(60, _DAY_SECONDS, "Time for which it is gathered into one message.")
    remind_seconds = _seconds(0, _YEAR_SECONDS, "Time between reminders; 0 for none.")
    quiet = fields.Nested(QuietBody, load_default=None, allow_none=True)
    channels = fields.List(fields.UUID(), load_default=list, validate=validate.Length(max=20))

    @validates("stream")
    def _is_stream(self, value: str | None, **_: Any) -> None:
        if value and not is_stream(value):
            raise ValidationError(f"Not the name of a stream: {STREAM_RULE}.")

    @validates("remind_seconds")
    def _is_no_flood(self, value: float, **_: Any) -> None:
        if 0 < value < LEAST_REMIND_SECONDS:
            raise ValidationError(f"Must be 0 for none, or at least {LEAST_REMIND_SECONDS}.")

    @validates_schema
    def _fits(self, data: Mapping[str, Any], **_: Any) -> None:
        if "count" in data and "of" in data and data["count"] > data["of"]:
            raise ValidationError("More than `of`.", "count")


class RuleRecord(Record):
    """A rule."""

    id = fields.UUID()
    created_at = fields.DateTime()
    name = fields.String()
    stream = fields.String(allow_none=True)
    enabled = fields.Boolean()
    muted_until = fields.DateTime(allow_none=True)
    on = fields.List(fields.String(validate=validate.OneOf(KINDS)))
    count = Count()
    of = Count()
    minimum_seconds = fields.Float()
    cooldown_seconds = fields.Float()
    digest_seconds = fields.Float()
    remind_seconds = fields.Float()
    quiet = fields.Nested(QuietBody, allow_none=True)
    channels = fields.List(fields.UUID())
    messages = Count()
    last_message_at = fields.DateTime(allow_none=True)


class PreviewRecord(Record):
    """Messages that a rule would have sent. `unknown` names kinds of which no events are kept."""

    days = Count()
    messages = Count()
    alarms = Count()
    held_back = Count()
    unknown = fields.List(fields.String())
    complete = fields.Boolean()
    streams = bodies.JsonObject(metadata={"description": "Messages by stream, the most first."})


def rules_of(connection: Connection, experiment: int) -> list[dict[str, Any]]:
    """Return the records of an experiment's rules, by number `experiment`."""
    query = select(rules).where(rules.c.experiment == experiment).order_by(rules.c.number)
    return [_record(connection, row) for row in connection.execute(query).mappings()]


def _record(connection: Connection, row: Row) -> dict[str, Any]:
    query = (
        select(channels.c.id)
        .join(rule_channels, rule_channels.c.channel == channels.c.number)
        .where(rule_channels.c.rule == row["number"])
        .order_by(channels.c.number)
    )
    sent = select(func.count(), func.max(messages.c.created_at))
    count, last = connection.execute(sent.where(messages.c.rule == row["number"])).one()
    muted = row["muted_until"]
    return {
        "id": row["id"],
        "created_at": stamps.iso(row["created_at"]),
        "name": row["name"],
        "stream": row["stream"],
        "enabled": row["enabled"],
        "muted_until": None if muted is None else stamps.iso(muted),
        **row["terms"],
        "channels": list(connection.execute(query).scalars()),
        "messages": count,
        "last_message_at": None if last is None else stamps.iso(last),
    }


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a rule that a body sets."""
    terms = {name: value for name, value in body.items() if name not in _OWN}
    terms["on"] = [kind for kind in KINDS if kind in terms["on"]]
    own = {name: body[name] for name in _OWN if name != "channels"}
    return own | {"terms": terms, **({} if own["enabled"] else {"flush_at": None})}


def _set_channels(connection: Connection, rule: Row, ids: Sequence[uuid.UUID]) -> None:
    wanted = list(dict.fromkeys(map(str, ids)))
    found = numbers_of(connection, rule["experiment"], wanted)
    missing = [channel for channel in wanted if channel not in found]
    if missing:
        raise invalid("json", {"channels": [f"There is no channel {missing[0]}."]})
    connection.execute(delete(rule_channels).where(rule_channels.c.rule == rule["number"]))
    rows = [{"rule": rule["number"], "channel": number} for number in found.values()]
    if rows:
        connection.execute(insert(rule_channels), rows)


def _begin(connection: Connection, rule: Row) -> None:
    """Let a rule begin with the streams as they are: what they were before is not told."""
    connection.execute(delete(rule_states).where(rule_states.c.rule == rule["number"]))
    if not rule["enabled"]:
        return
    here = streams.c.experiment == rule["experiment"]
    if rule["stream"] is not None:
        here &= streams.c.stream == rule["stream"]
    values = (
        literal(rule["number"]),
        streams.c.stream,
        streams.c.experiment,
        literal(Memory().to_json(), rule_states.c.memory.type),
        literal(False),
    )
    names = ["rule", "stream", "experiment", "memory", "ready"]
    connection.execute(insert(rule_states).from_select(names, select(*values).where(here)))
    connection.execute(update(streams).where(here).values(undecided=streams.c.undecided + 1))


@operations.add(
    "GET /experiment/{experiment_id}/rule",
    who=Who.ANYBODY,
    extension=True,
    returns=RuleRecord(many=True),
    refusals=(403, 404),
)
def list_rules(call: Call) -> Response:
    """List the rules of an experiment."""
    return reply(rules_of(call.connection, require("Edit", call)["number"]))


@operations.add(
    "POST /experiment/{experiment_id}/rule",
    who=Who.REGISTERED,
    body=RuleBody(),
    writes=True,
    success=201,
    extension=True,
    returns=RuleRecord(),
    refusals=(401, 403, 404, 422),
)
def create_rule(call: Call) -> Response:
    """Create a rule. It also tells of what is wrong already."""
    experiment = require("Manage", call)["number"]
    count = select(func.count()).where(rules.c.experiment == experiment)
    if call.connection.execute(count).scalar_one() >= MOST_RULES:
        raise invalid("json", {"_schema": [f"An experiment has at most {MOST_RULES} rules."]})
    row = {"id": str(uuid.uuid4()), "experiment": experiment, "created_at": stamps.now()}
    query = insert(rules).values(row | _fields(call.body)).returning(rules)
    rule = call.connection.execute(query).mappings().one()
    _set_channels(call.connection, rule, call.body["channels"])
    _begin(call.connection, rule)
    return reply(_record(call.connection, rule), 201)


@operations.add(
    "POST /experiment/{experiment_id}/rule-preview",
    who=Who.REGISTERED,
    body=RuleBody(),
    slow=True,
    extension=True,
    returns=PreviewRecord(),
    refusals=(401, 403, 404, 422),
)
def preview_rule(call: Call) -> Response:
    """Say what a rule would have sent in the last 30 days, from the events that are kept."""
    experiment = require("Edit", call)["number"]
    fields_of = _fields(call.body)
    found = preview(call.connection, experiment, fields_of["stream"], fields_of["terms"])
    return reply({"days": DAYS, **found})


@operations.add(
    "GET /experiment/{experiment_id}/rule/{rule_id}",
    who=Who.ANYBODY,
    extension=True,
    returns=RuleRecord(),
    refusals=(403, 404),
)
def read_rule(call: Call) -> Response:
    """Return one rule."""
    return reply(_record(call.connection, _found(call, "Edit")))


@operations.add(
    "PUT /experiment/{experiment_id}/rule/{rule_id}",
    who=Who.REGISTERED,
    body=RuleBody(),
    writes=True,
    extension=True,
    returns=RuleRecord(),
    refusals=(401, 403, 404, 422),
)
def replace_rule(call: Call) -> Response:
    """Replace a rule's fields. What it has told already is not told again."""
    before = _found(call, "Manage")
    here = rules.c.number == before["number"]
    query = update(rules).where(here).values(_fields(call.body)).returning(rules)
    after = call.connection.execute(query).mappings().first()
    if after is None:  # deleted meanwhile
        raise not_found("Rule")
    _set_channels(call.connection, after, call.body["channels"])
    if any(after[name] != before[name] for name in ("enabled", "stream")):
        _begin(call.connection, after)
    elif after["enabled"]:
        mine = rule_states.c.rule == after["number"]
        call.connection.execute(update(rule_states).where(mine).values(due_at=stamps.now()))
    return reply(_record(call.connection, after))


@operations.add(
    "DELETE /experiment/{experiment_id}/rule/{rule_id}",
    who=Who.REGISTERED,
    writes=True,
    success=204,
    extension=True,
    refusals=(401, 403, 404),
)
def delete_rule(call: Call) -> Response:
    """Delete a rule. Its messages stay."""
    number = _found(call, "Manage")["number"]
    call.connection.execute(delete(rules).where(rules.c.number == number))
    return Response(status_code=204)


def _found(call: Call, level: str) -> Row:
    experiment = require(level, call)["number"]
    query = select(rules).where(
        rules.c.id == str(call.request.path_params["rule_id"]), rules.c.experiment == experiment
    )
    row = call.connection.execute(query).mappings().first()
    if row is None:
        raise not_found("Rule")
    return row
