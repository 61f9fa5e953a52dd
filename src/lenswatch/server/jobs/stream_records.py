"""Records of streams as the API and the pages show them, troubles first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from marshmallow import fields, validate
from sqlalchemy import ColumnElement, Connection, Select, case, func, select, tuple_

from lenswatch.server.db.tables import (
    STATES,
    drifts,
    events,
    experiments,
    pictures,
    streams,
    tallies,
)
from lenswatch.server.http.records import Count, Record
from lenswatch.server.identity.authors import shown_author
from lenswatch.server.identity.identity import Caller
from lenswatch.server.identity.permissions import readable
from lenswatch.server.jobs.state_shown import (
    ORDERS,
    SHOWN,
    by_urgency,
    shown,
    since,
    trouble,
)
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid

__all__ = ["StateRecord", "Viewer", "list_streams", "one_stream"]

_pictured = drifts.alias("pictured")
_KEY = (streams.c.experiment, streams.c.stream)
_MICROSECONDS = 10**6


class Viewer(Protocol):
    """A transaction that reads, and who asks."""

    connection: Connection
    caller: Caller | None


class StateRecord(Record):
    """How a stream is; moments and values are null where there are none."""

    stream = fields.String(allow_none=True)
    total = Count()
    drifted = Count()
    failed = Count()
    name = fields.String()
    title = fields.String(allow_none=True)
    place = fields.String(allow_none=True)
    owner = fields.String(allow_none=True)
    link = fields.String(allow_none=True)
    state = fields.String(validate=validate.OneOf(SHOWN))
    since = fields.DateTime(allow_none=True)
    pictures_state = fields.String(validate=validate.OneOf(STATES))
    pictures_since = fields.DateTime(allow_none=True)
    trouble = fields.Boolean()
    muted_until = fields.DateTime(allow_none=True)
    retired_at = fields.DateTime(allow_none=True)
    acknowledged_at = fields.DateTime(allow_none=True)
    acknowledged_by = fields.String(allow_none=True)
    interval_seconds = fields.Float(allow_none=True)
    interval_set_seconds = fields.Float(allow_none=True)
    first_at = fields.DateTime(allow_none=True)
    last_at = fields.DateTime(allow_none=True)
    last_taken = fields.DateTime(allow_none=True)
    due_at = fields.DateTime(allow_none=True)
    silent_since = fields.DateTime(allow_none=True)
    event = fields.UUID(allow_none=True)
    causes = fields.List(fields.String())
    ratio = fields.Float(allow_none=True)
    picture = fields.UUID(allow_none=True)
    recent = fields.List(fields.String())


def list_streams(
    viewer: Viewer,
    where: ColumnElement[bool],
    now: int,
    *,
    order: str = "urgency",
    each: int | None = None,
    limit: int | None = None,
    after: tuple[str, str] | None = None,
) -> list[tuple[dict[str, Any], Mapping[Any, Any]]]:
    """Return streams in an order, each as its record and its row.

    Args:
        viewer: The transaction that reads, and who asks.
        where: Condition on the tables `streams` and `experiments`.
        now: The present moment.
        order: One of `ORDERS`.
        each: The most of one experiment.
        limit: The most that are returned.
        after: Id of the experiment and name of the stream after which to begin, in the order of urgency.

    Raises:
        Refusal: 422 if there is no stream `after`.
    """
    sorting, connection = ORDERS[order](now), viewer.connection
    if after is not None:
        known = _named(after, streams.c.stream).where(readable(viewer.caller))
        if connection.execute(known).first() is None:
            raise invalid(
                "query", {"after": [f"There is no stream {after[1] or '-'!r} to go on after."]}
            )
        where &= _beyond(after, now)
    query = _query(now).where(where)
    if each is not None or limit is not None:
        query = _query(now).where(tuple_(*_KEY).in_(_first(where, sorting, each, limit)))
    rows = connection.execute(query.order_by(*sorting)).mappings().all()
    counts = _counts(connection, {row["experiment"] for row in rows})
    return [(_record(row, counts, viewer.caller), row) for row in rows]


def one_stream(viewer: Viewer, experiment: int, name: str, now: int) -> dict[str, Any] | None:
    """Return the record of one stream, or None if there is none of this name."""
    here = (streams.c.experiment == experiment) & (streams.c.stream == name)
    found = list_streams(viewer, here, now)
    return found[0][0] if found else None


def _query(now: int) -> Select[Any]:
    return (
        select(
            streams,
            experiments.c.id.label("experiment_id"),
            experiments.c.name.label("experiment_name"),
            shown().label("shown"),
            since().label("shown_since"),
            case((trouble(now), 1), else_=0).label("trouble"),
            events.c.id.label("event_id"),
            _pictured.c.id.label("picture"),
        )
        .join(experiments, experiments.c.number == streams.c.experiment)
        .outerjoin(events, events.c.number == streams.c.event)
        .outerjoin(pictures, pictures.c.drift == streams.c.last_pictured)
        .outerjoin(_pictured, _pictured.c.number == pictures.c.drift)
    )


def _first(
    where: ColumnElement[bool],
    sorting: Sequence[ColumnElement[Any]],
    each: int | None,
    limit: int | None,
) -> Select[Any]:
    """Return the query for the keys of the first streams: rows of streams are too long to be sorted."""
    place = func.row_number().over(partition_by=streams.c.experiment, order_by=sorting)
    keys = select(*_KEY).join(experiments, experiments.c.number == streams.c.experiment)
    keys = keys.where(where)
    if each is not None:
        ranked = keys.add_columns(
            place.label("place"), *(column.label(f"sort {i}") for i, column in enumerate(sorting))
        ).subquery("ranked")
        keys = select(ranked.c.experiment, ranked.c.stream).where(ranked.c.place <= each)
        sorting = [ranked.c[f"sort {i}"] for i in range(len(sorting))]
    listed = keys.order_by(*sorting).limit(limit).subquery("listed")
    return select(listed.c.experiment, listed.c.stream)


def _beyond(after: tuple[str, str], now: int) -> ColumnElement[bool]:
    """Return the condition on streams that come after one in the order of their urgency."""
    order = by_urgency(now)
    return tuple_(*order) > _named(after, *order).correlate(None).scalar_subquery()


def _named(name: tuple[str, str], *columns: Any) -> Select[Any]:
    """Return the query for columns of one stream, by id of the experiment and name."""
    found = select(*columns).join(experiments, experiments.c.number == streams.c.experiment)
    return found.where(experiments.c.id == name[0], streams.c.stream == name[1])


def _counts(connection: Connection, numbers: Iterable[int]) -> dict[tuple[int, str], Any]:
    """Return the numbers of jobs by experiment and stream: all, with drift, and failed."""
    drifted = case((tallies.c.drift_detected.is_(True), tallies.c.jobs), else_=0)
    failed = case((tallies.c.job_status == "Failed", tallies.c.jobs), else_=0)
    sums = (func.sum(column) for column in (tallies.c.jobs, drifted, failed))
    key = (tallies.c.experiment, tallies.c.stream)
    query = select(*key, *sums).where(tallies.c.experiment.in_(list(numbers))).group_by(*key)
    return {(e, s): tuple(map(int, found)) for e, s, *found in connection.execute(query)}


def _record(
    row: Mapping[Any, Any], counts: Mapping[tuple[int, str], Any], caller: Caller | None
) -> dict[str, Any]:
    total, drifted, failed = counts.get((row["experiment"], row["stream"]), (0, 0, 0))
    times = ("muted_until", "retired_at", "acknowledged_at", "first_at", "last_at", "last_taken")
    return {
        "stream": row["stream"] or None,
        "total": total,
        "drifted": drifted,
        "failed": failed,
        "name": row["title"] or row["stream"],
        **{key: row[key] for key in ("title", "place", "owner", "link")},
        "acknowledged_by": shown_author(row["acknowledged_by"], caller),
        "state": row["shown"],
        "since": _iso(row["shown_since"]),
        "pictures_state": row["state"],
        "pictures_since": _iso(row["since"]),
        "trouble": bool(row["trouble"]),
        **{key: _iso(row[key]) for key in (*times, "due_at", "silent_since")},
        "interval_seconds": _seconds(row["interval"]),
        "interval_set_seconds": _seconds(row["interval_set"]),
        "event": row["event_id"],
        "causes": row["causes"] or [],
        "ratio": row["ratio"],
        "picture": row["picture"],
        "recent": list(row["recent"]),
    }


def _iso(stamp: int | None) -> str | None:
    return None if stamp is None else stamps.iso(stamp)


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _MICROSECONDS
