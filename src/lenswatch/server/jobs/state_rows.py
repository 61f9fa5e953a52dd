"""States of streams and their events in the database: read before jobs are folded in, and written after."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import events, streams
from lenswatch.server.jobs.bulk import from_records
from lenswatch.server.jobs.state_fold import Stream
from lenswatch.server.jobs.state_rhythm import Rhythm
from lenswatch.server.jobs.state_span import Span
from lenswatch.server.values.storable import written

__all__ = ["Row", "forget", "is_described", "read_rows", "span_of", "write"]

_SAME = (
    *("state", "since", "verdict", "verdict_since", "ratio", "failed_at", "failed_job"),
    *("first_at", "last_at", "last_taken", "last_job", "last_judged", "judged", "recent", "shed"),
    *("due_at", "silent_since", "undecided", "acknowledged_at", "acknowledged_by"),
)
_READ = (*_SAME, "retired_at", "interval_set")
_WRITTEN = (*_SAME, "causes", "gaps", "interval", "event", "stale")
_SPAN = (
    *("kind", "begun_at", "ended_at", "jobs", "first_job", "worst_job", "newest_job"),
    *("worst", "model", "causes"),
)
_DESCRIBED = ("title", "place", "owner", "link", "muted_until", "retired_at", "interval_set")


class Row(NamedTuple):
    """The state of a stream as it is stored, and whether it must be made anew."""

    stream: Stream
    stale: bool


def read_rows(connection: Connection, experiment: int, names: Collection[str]) -> dict[str, Row]:
    """Return the states of the named streams that have one."""
    values: dict[str, Any] = {"experiment": experiment}
    if len(names) == 1:
        found = _one_row(connection, values | {"name": next(iter(names))})
    else:
        found = _rows(connection, values | {"names": json.dumps(sorted(names))})
    rows: dict[str, Row] = {}
    troubled = []
    for row in found:
        name, stale, event, causes, gaps, *same = tuple(row)
        stream = Stream(**dict(zip(_READ, same, strict=True)))
        stream.causes, stream.rhythm = tuple(_json(causes) or ()), Rhythm.of(gaps)
        rows[name] = Row(stream, bool(stale))
        if event is not None:
            troubled.append(name)
    if troubled:
        asked = values | {"names": json.dumps(troubled)}
        for event in _open_events(connection, asked).mappings():
            stream = rows[event["stream"]].stream
            stream.spans = (*stream.spans, span_of(event))
    return rows


def span_of(row: Mapping[Any, Any]) -> Span:
    """Return the event of a row."""
    values = {name: row[name] for name in _SPAN} | {"causes": _json(row["causes"]) or {}}
    return Span(**values, number=row["number"])


def write(
    connection: Connection,
    experiment: int,
    states: Mapping[str, Stream],
    ended: Sequence[tuple[str, Span]],
) -> None:
    """Store states of streams with their open events, and the events that `ended`.

    What people set stays as it is.
    """
    if not states:
        return
    spans = [(name, span) for name, stream in states.items() for span in stream.spans]
    stored = _write_spans(connection, experiment, [*spans, *ended]) if spans or ended else []
    opened: dict[str, list[Span]] = {}
    for (name, _), span in zip(spans, stored, strict=False):
        opened.setdefault(name, []).append(span)
    rows = [
        _values(experiment, name, stream, opened.get(name, ())) for name, stream in states.items()
    ]
    if connection.dialect.name == "sqlite":
        for row in rows:
            row["causes"] = written(row["causes"])
        _upsert(connection, rows if len(rows) > 1 else rows[0])
    else:
        _upsert.later(connection, {"rows": written(rows)})


def forget(connection: Connection, experiment: int, name: str) -> None:
    """Delete a stream that has no jobs any more, with its events."""
    for table in (events, streams):
        here = (table.c.experiment == experiment) & (table.c.stream == name)
        connection.execute(delete(table).where(here))


def is_described(connection: Connection, experiment: int, name: str) -> bool:
    """Return whether people set something in the row of a stream."""
    here = (streams.c.experiment == experiment) & (streams.c.stream == name)
    query = select(*(streams.c[column] for column in _DESCRIBED)).where(here)
    row = connection.execute(query).first()
    return row is not None and any(value is not None for value in row)


def _write_spans(
    connection: Connection, experiment: int, spans: Sequence[tuple[str, Span]]
) -> list[Span]:
    """Store events, each of the named stream, and return them with their numbers, in this order."""
    known = [_span_values(span) for _, span in spans if span.number is not None]
    if known:
        _update_span(connection, known if len(known) > 1 else known[0])
    fresh = {str(uuid.uuid4()): pair for pair in spans if pair[1].number is None}
    if not fresh:
        return [span for _, span in spans]
    rows = [
        {column: getattr(span, column) for column in _SPAN}
        | {"id": id_, "experiment": experiment, "stream": name, "causes": dict(span.causes)}
        for id_, (name, span) in fresh.items()
    ]
    stored = connection.execute(insert(events).returning(events.c.id, events.c.number), rows)
    numbers = {row.id: row.number for row in stored}
    made = iter(fresh)
    return [
        span if span.number is not None else replace(span, number=numbers[next(made)])
        for _, span in spans
    ]


def _values(experiment: int, name: str, stream: Stream, spans: Sequence[Span]) -> dict[str, Any]:
    values = {column: getattr(stream, column) for column in _SAME}
    shown = {span.kind: span.number for span in spans}
    values["experiment"], values["stream"], values["stale"] = experiment, name, False
    values["causes"] = stream.causes
    values["gaps"], values["interval"] = stream.rhythm.to_text(), stream.rhythm.interval
    values["event"] = shown.get(stream.shown, next(iter(shown.values()), None))
    return values


def _span_values(span: Span) -> dict[str, Any]:
    values = {column: getattr(span, column) for column in _SPAN}
    return values | {"causes": written(dict(span.causes)), "here": span.number}


def _json(stored: Any) -> Any:
    """Return a JSON value, which SQLite has as text."""
    return json.loads(stored) if isinstance(stored, str) else stored


def _listed(dialect: str) -> Select[Any]:
    """Return the query for the `names`, which are one JSON parameter."""
    if dialect == "sqlite":
        listed = func.json_each(bindparam("names", type_=JSON))
    else:
        listed = func.jsonb_array_elements_text(bindparam("names", type_=JSONB))
    return select(listed.table_valued("value", name="named").c.value)


_HERE = streams.c.experiment == bindparam("experiment")
_state = select(
    *(streams.c[name] for name in ("stream", "stale", "event", "causes", "gaps", *_READ))
).where(_HERE)
_one_row = Prepared(lambda _: _state.where(streams.c.stream == bindparam("name")))
_rows = Prepared(lambda dialect: _state.where(streams.c.stream.in_(_listed(dialect))))
_open_events = Prepared(
    lambda dialect: (
        select(events)
        .where(
            events.c.experiment == bindparam("experiment"),
            events.c.ended_at.is_(None),
            events.c.stream.in_(_listed(dialect)),
        )
        .order_by(events.c.number)
    )
)
_update_span = Prepared(
    lambda _: (
        update(events)
        .where(events.c.number == bindparam("here"))
        .values({name: bindparam(name) for name in _SPAN})
    )
)


def _build_upsert(dialect: str) -> Any:
    names = ("experiment", "stream", *_WRITTEN)
    if dialect == "sqlite":
        query: Any = sqlite.insert(streams).values({name: bindparam(name) for name in names})
    else:
        query = from_records(streams, names)
    changed = {name: query.excluded[name] for name in _WRITTEN}
    return query.on_conflict_do_update(index_elements=list(streams.primary_key), set_=changed)


_upsert = Prepared(_build_upsert)
