"""The overview: how all streams are that a caller may see, those in trouble first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema
from sqlalchemy import ColumnElement, Connection, and_, case, func, select
from starlette.responses import Response

from lenswatch.server.db.tables import experiments, streams
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.http.records import Count, Record
from lenswatch.server.identity.permissions import readable
from lenswatch.server.jobs.state_shown import ORDERS, SHOWN, shown, trouble
from lenswatch.server.jobs.stream_records import StateRecord, Viewer, list_streams
from lenswatch.server.jobs.streams import MAX_LIMIT, NO_STREAM, StreamsArgs, filters
from lenswatch.server.values import stamps

__all__ = ["operations", "overview"]

DEFAULT_LIMIT = 1000

operations = Operations()


class OverviewArgs(StreamsArgs):
    """The query string of the overview; `after` is `EXPERIMENT/STREAM`, in the order of urgency."""

    experiment = fields.UUID()
    order = fields.String(load_default="urgency", validate=validate.OneOf(ORDERS))
    each = fields.Integer(validate=validate.Range(min=1, max=MAX_LIMIT))

    @validates_schema
    def _goes_on_by_urgency(self, data: Mapping[str, Any], **_: Any) -> None:
        if "after" in data and (data.get("order", "urgency") != "urgency" or "each" in data):
            raise ValidationError("Only without `order` and `each`.", "after")


class CountsRecord(Record):
    """Numbers of streams by state."""

    class Meta:
        """One field for each state."""

        include = {state: Count() for state in SHOWN}  # noqa: RUF012


class WatchedRecord(Record):
    """An experiment with the numbers of its streams by state, and of those in trouble."""

    id = fields.UUID()
    name = fields.String()
    counts = fields.Nested(CountsRecord)
    trouble = Count()
    newest = fields.DateTime(allow_none=True)


class PlacedRecord(StateRecord):
    """A stream of an experiment."""

    experiment = fields.UUID()
    experiment_name = fields.String()


class OverviewRecord(Record):
    """All streams by state, the experiments, and as many streams as were asked for.

    The numbers are of all streams; the filters select only the listed ones.
    """

    counts = fields.Nested(CountsRecord)
    trouble = Count()
    experiments = fields.List(fields.Nested(WatchedRecord))
    streams = fields.List(fields.Nested(PlacedRecord))


@operations.add(
    "GET /overview",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=OverviewArgs(),
    returns=OverviewRecord(),
    refusals=(422,),
)
def read_overview(call: Call) -> Response:
    """Return how all streams are in the experiments that the caller may read, those in trouble first."""
    return reply(overview(call, call.args))


def overview(viewer: Viewer, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overview's record; `args` are those of the query string."""
    now, seen = stamps.now(), readable(viewer.caller)
    watched = _watched(viewer.connection, seen, now)
    conditions = [seen, *filters(args)]
    if "experiment" in args:
        conditions.append(experiments.c.id == str(args["experiment"]))
    after = None
    if "after" in args:
        experiment, _, name = args["after"].partition("/")
        after = (experiment, "" if name == NO_STREAM else name)
    found = list_streams(
        viewer,
        and_(*conditions),
        now,
        order=args.get("order", "urgency"),
        each=args.get("each"),
        limit=args.get("limit", DEFAULT_LIMIT),
        after=after,
    )
    listed = [
        record | {"experiment": row["experiment_id"], "experiment_name": row["experiment_name"]}
        for record, row in found
    ]
    return {
        "counts": _sums(watched),
        "trouble": sum(one["trouble"] for one in watched),
        "experiments": watched,
        "streams": listed,
    }


def _watched(connection: Connection, seen: ColumnElement[bool], now: int) -> list[dict[str, Any]]:
    """Return the experiments that may be seen, with their streams by state."""
    query = (
        select(
            experiments.c.number,
            experiments.c.id,
            experiments.c.name,
            shown().label("shown"),
            func.count(streams.c.stream).label("streams"),
            func.sum(case((trouble(now), 1), else_=0)).label("trouble"),
            func.max(streams.c.last_at).label("newest"),
        )
        .select_from(experiments.outerjoin(streams, streams.c.experiment == experiments.c.number))
        .where(seen)
        .group_by(experiments.c.number, experiments.c.id, experiments.c.name, "shown")
        .order_by(experiments.c.name, experiments.c.number)
    )
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query):
        one = found.setdefault(
            row.number,
            {
                "id": row.id,
                "name": row.name,
                "counts": dict.fromkeys(SHOWN, 0),
                "trouble": 0,
                "newest": None,
            },
        )
        if row.streams:
            one["counts"][row.shown] += row.streams
            one["trouble"] += int(row.trouble)
            if row.newest is not None:
                one["newest"] = max(one["newest"] or "", stamps.iso(row.newest))
    return list(found.values())


def _sums(watched: list[dict[str, Any]]) -> dict[str, int]:
    return {state: sum(one["counts"][state] for one in watched) for state in SHOWN}
