"""Streams of an experiment: their states, and what people say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import JSON, BigInteger, and_, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.db.tables import drifts, streams
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.moments import Moment
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.identity.authors import author_of
from lenswatch.server.jobs import store
from lenswatch.server.jobs.state_fold import Stream, settled
from lenswatch.server.jobs.state_rebuild import lock, rebuild
from lenswatch.server.jobs.state_rows import read_rows, write
from lenswatch.server.jobs.state_shown import SHOWN, matches, shown
from lenswatch.server.jobs.state_span import Span
from lenswatch.server.jobs.store import DriftRecord
from lenswatch.server.jobs.stream_records import StateRecord, list_streams, one_stream
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found

__all__ = ["MAX_LIMIT", "NO_STREAM", "StreamsArgs", "filters", "operations", "stream_in_path"]

NO_STREAM = "-"  # in a path, for the jobs without a stream
MAX_LIMIT = 10_000
_LONGEST = 500  # characters of a description

operations = Operations()


def _are_states(text: str) -> None:
    unknown = [state for state in text.split(",") if state not in SHOWN]
    if unknown:
        raise ValidationError(f"Must be one or more of {', '.join(SHOWN)}, with commas between.")


class StreamsArgs(Schema):
    """The query string of a list of streams."""

    state = fields.String(validate=_are_states)
    q = bodies.Text()
    limit = fields.Integer(validate=validate.Range(min=1, max=MAX_LIMIT))
    after = bodies.Text()


class StreamRecord(StateRecord):
    """One stream of an experiment; its name is null for jobs without a stream."""

    last = fields.Nested(DriftRecord, allow_none=True)


class StreamBody(bodies.Body):
    """Description of a stream by people. A field that is left out stays as it is; null removes it."""

    title = bodies.Text(allow_none=True, validate=validate.Length(max=_LONGEST))
    place = bodies.Text(allow_none=True, validate=validate.Length(max=_LONGEST))
    owner = bodies.Text(allow_none=True, validate=validate.Length(max=_LONGEST))
    link = bodies.Text(
        allow_none=True,
        validate=[
            validate.Length(max=2000),
            validate.Regexp(r"https?://[^\s]+\Z", error="Must begin with http:// or https://."),
        ],
    )
    muted_until = Moment(allow_none=True)
    retired = fields.Boolean()
    interval_seconds = fields.Float(
        allow_none=True, validate=validate.Range(min=0.1, max=366 * 86400.0)
    )
    acknowledged = fields.Boolean()


def filters(args: Mapping[str, Any]) -> list[Any]:
    """Return the conditions on streams that a query string asks for."""
    found: list[Any] = []
    if "state" in args:
        found.append(shown().in_(args["state"].split(",")))
    if args.get("q"):
        found.append(matches(args["q"]))
    return found


@operations.add(
    "GET /experiment/{experiment_id}/streams",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=StreamsArgs(),
    returns=StreamRecord(many=True),
    refusals=(403, 404, 422),
)
def read_streams(call: Call) -> Response:
    """Return the streams of an experiment, those in trouble first, with counts and their newest jobs."""
    experiment = require("Read", call)
    after = call.args.get("after")
    found = list_streams(
        call,
        and_(streams.c.experiment == experiment["number"], *filters(call.args)),
        stamps.now(),
        limit=call.args.get("limit"),
        after=None if after is None else (experiment["id"], "" if after == NO_STREAM else after),
    )
    last = _jobs(call, [row["last_job"] for _, row in found if row["last_job"] is not None])
    return reply([record | {"last": last.get(row["last_job"])} for record, row in found])


def _jobs(call: Call, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return records of jobs by their numbers, which are one JSON parameter."""
    if call.services.database.sqlite:
        listed: Any = func.json_each(bindparam("numbers", type_=JSON))
        number = listed.table_valued("value", name="named").c.value
    else:
        listed = func.jsonb_array_elements_text(bindparam("numbers", type_=JSONB))
        number = cast(listed.table_valued("value", name="named").c.value, BigInteger)
    query = select(drifts).where(drifts.c.number.in_(select(number)))
    found = call.connection.execute(query, {"numbers": list(numbers)}).mappings()
    return {row["number"]: store.record(row) for row in found}


def stream_in_path(call: Call) -> str:
    """Return the name of the stream in the path; "" for jobs without one."""
    name = str(call.request.path_params["stream"])
    return "" if name == NO_STREAM else name


@operations.add(
    "GET /experiment/{experiment_id}/stream/{stream}",
    who=Who.ANYBODY,
    extension=True,
    returns=StateRecord(),
    refusals=(403, 404),
)
def read_stream(call: Call) -> Response:
    """Return the state of one stream; `-` names the jobs without a stream."""
    number = require("Read", call)["number"]
    record = one_stream(call, number, stream_in_path(call), stamps.now())
    if record is None:
        raise not_found("Stream")
    return reply(record)


@operations.add(
    "PUT /experiment/{experiment_id}/stream/{stream}",
    who=Who.REGISTERED,
    body=StreamBody(),
    writes=True,
    extension=True,
    returns=StateRecord(),
    refusals=(401, 403, 404, 422),
)
def describe_stream(call: Call) -> Response:
    """Name and describe a stream, acknowledge its trouble, mute or retire it, or set its interval."""
    number = require("Edit", call)["number"]
    assert call.caller
    by = author_of(call.connection, call.caller)
    describe(call.connection, number, stream_in_path(call), call.body, by)
    return reply(one_stream(call, number, stream_in_path(call), stamps.now()))


def describe(connection: Any, experiment: int, name: str, said: Mapping[str, Any], by: str) -> None:
    """Store what people say of a stream.

    Args:
        connection: A transaction that writes.
        experiment: Number of the experiment.
        name: The stream, "" for the jobs without one.
        said: Fields of `StreamBody`.
        by: Name of whoever says it.

    Raises:
        Refusal: 404 if there is no such stream.
    """
    if not lock(connection, experiment):
        raise not_found("Experiment")
    row = read_rows(connection, experiment, [name]).get(name)
    if row is None:
        raise not_found("Stream")
    if row.stale:
        rebuild(connection, experiment, name, row)
        row = read_rows(connection, experiment, [name])[name]
    stream, ended = _said(row.stream, said, by, stamps.now())
    write(connection, experiment, {name: stream}, [(name, span) for span in ended])
    texts = {key: said[key] or None for key in ("title", "place", "owner", "link") if key in said}
    values: dict[str, Any] = texts | {
        "retired_at": stream.retired_at,
        "interval_set": stream.interval_set,
    }
    if "muted_until" in said:
        values["muted_until"] = said["muted_until"]
    here = (streams.c.experiment == experiment) & (streams.c.stream == name)
    connection.execute(update(streams).where(here).values(values))


def _said(stream: Stream, said: Mapping[str, Any], by: str, now: int) -> tuple[Stream, list[Span]]:
    """Return the state of a stream after what somebody said of it, and the events that this ends."""
    ended: list[Span] = []
    stream = replace(stream, undecided=stream.undecided + 1)
    if "acknowledged" in said:
        at, who = (now, by) if said["acknowledged"] else (None, None)
        stream = replace(stream, acknowledged_at=at, acknowledged_by=who)
    if "interval_seconds" in said:
        seconds = said["interval_seconds"]
        stream = replace(stream, interval_set=None if seconds is None else int(seconds * 1e6))
    if said.get("retired") is True and stream.retired_at is None:
        ended = [replace(span, ended_at=max(now, span.begun_at)) for span in stream.spans]
        stream = replace(stream, retired_at=now, silent_since=None, spans=())
    elif said.get("retired") is False:
        stream = replace(stream, retired_at=None)
    awake = settled(replace(stream, silent_since=None))
    if stream.silent_since is not None and (awake.due_at is None or awake.due_at > now):
        ended = [replace(s, ended_at=now) for s in stream.spans if s.kind == "silent"]
        stream = replace(awake, spans=tuple(s for s in stream.spans if s.kind != "silent"))
    return settled(stream), ended
