"""Events: the spans in which streams drifted, were frozen, failed or were silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate
from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select
from starlette.responses import Response

from lenswatch.server.db.tables import EVENT_KINDS, drifts, events
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.moments import Moment
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.jobs.state_span import by_rank, place_of
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid, not_found

__all__ = ["find_event", "list_events", "operations"]

MAX_EVENTS = 1000

operations = Operations()
_JOBS = ("first_job", "worst_job", "newest_job")
_jobs = {name: drifts.alias(name) for name in _JOBS}


class EventsArgs(Schema):
    """The query string of a list of events: those of a stream, of a kind, within a span of time, or open."""

    class Meta:
        """`from` is a keyword of Python."""

        include = {  # noqa: RUF012
            "from": Moment(),
        }

    stream = bodies.Text()
    kind = fields.String(validate=validate.OneOf(EVENT_KINDS))
    to = Moment()
    open = fields.Boolean()
    limit = fields.Integer(load_default=100, validate=validate.Range(min=1, max=MAX_EVENTS))
    after = fields.UUID()


class CauseRecord(Record):
    """A cause, in how many jobs of the event it was named, and where most of them showed it."""

    name = fields.String()
    jobs = Count()
    place = fields.String()


class EventRecord(Record):
    """One event. Jobs are null if they are deleted, `worst` is the largest value over its threshold."""

    id = fields.UUID()
    stream = fields.String(allow_none=True)
    kind = fields.String(validate=validate.OneOf(EVENT_KINDS))
    begun_at = fields.DateTime()
    ended_at = fields.DateTime(allow_none=True)
    jobs = Count()
    first_job = fields.UUID(allow_none=True)
    worst_job = fields.UUID(allow_none=True)
    newest_job = fields.UUID(allow_none=True)
    worst = fields.Float(allow_none=True)
    model = fields.String(allow_none=True)
    causes = fields.List(fields.Nested(CauseRecord))


@operations.add(
    "GET /experiment/{experiment_id}/events",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=EventsArgs(),
    returns=EventRecord(many=True),
    refusals=(403, 404, 422),
)
def read_events(call: Call) -> Response:
    """Return the events of an experiment, the newest first."""
    number = require("Read", call)["number"]
    return reply(list_events(call.connection, number, call.args))


@operations.add(
    "GET /experiment/{experiment_id}/event/{event_id}",
    who=Who.ANYBODY,
    extension=True,
    returns=EventRecord(),
    refusals=(403, 404),
)
def read_event(call: Call) -> Response:
    """Return one event."""
    number = require("Read", call)["number"]
    event_id = str(call.request.path_params["event_id"])
    return reply(event_record(find_event(call.connection, number, event_id)))


def find_event(connection: Connection, experiment: int, event_id: str) -> Mapping[Any, Any]:
    """Return the row of an event, with the ids of its jobs.

    Raises:
        Refusal: 404 if the experiment has no such event.
    """
    row = _event(connection, experiment, event_id)
    if row is None:
        raise not_found("Event")
    return row


def _event(connection: Connection, experiment: int, event_id: str) -> Mapping[Any, Any] | None:
    here = (events.c.experiment == experiment) & (events.c.id == event_id)
    return connection.execute(_query().where(here)).mappings().first()


def list_events(
    connection: Connection, experiment: int, args: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return records of events, the newest first; `args` are those of the query string.

    Raises:
        Refusal: 422 if there is no event `after`.
    """
    if "after" in args and _event(connection, experiment, str(args["after"])) is None:
        raise invalid("query", {"after": ["The experiment has no such event."]})
    order = (events.c.begun_at.desc(), events.c.number.desc())
    query = _query().where(and_(*_conditions(experiment, args))).order_by(*order)
    rows = connection.execute(query.limit(args.get("limit", MAX_EVENTS))).mappings()
    return [event_record(row) for row in rows]


def event_record(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the record of an event's row."""
    causes = by_rank(row["causes"] or {})
    return {
        "id": row["id"],
        "stream": row["stream"] or None,
        "kind": row["kind"],
        "begun_at": stamps.iso(row["begun_at"]),
        "ended_at": None if row["ended_at"] is None else stamps.iso(row["ended_at"]),
        "jobs": row["jobs"],
        **{name: row[f"{name}_id"] for name in _JOBS},
        "worst": row["worst"],
        "model": row["model"],
        "causes": [{"name": n, "jobs": c["jobs"], "place": place_of(c)} for n, c in causes],
    }


def _query() -> Select[Any]:
    query = select(events, *(jobs.c.id.label(f"{name}_id") for name, jobs in _jobs.items()))
    source: Any = events
    for name, jobs in _jobs.items():
        source = source.outerjoin(jobs, jobs.c.number == events.c[name])
    return query.select_from(source)


def _conditions(experiment: int, args: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    found = [events.c.experiment == experiment]
    if "stream" in args:
        found.append(events.c.stream == args["stream"])
    if "kind" in args:
        found.append(events.c.kind == args["kind"])
    if "from" in args:
        found.append(or_(events.c.ended_at.is_(None), events.c.ended_at >= args["from"]))
    if "to" in args:
        found.append(events.c.begun_at <= args["to"])
    if "open" in args:
        is_open = events.c.ended_at.is_(None)
        found.append(is_open if args["open"] else ~is_open)
    if "after" in args:
        own = select(events.c.begun_at, events.c.number).where(events.c.id == str(args["after"]))
        begun, number = (own.with_only_columns(c).scalar_subquery() for c in own.selected_columns)
        earlier = and_(events.c.begun_at == begun, events.c.number < number)
        found.append(or_(events.c.begun_at < begun, earlier))
    return found
