"""States of streams and their events in the database: read before jobs are folded in, and written after."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

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

from lenswatch.server.db.tables import events, streams
from lenswatch.server.jobs.bulk import from_records
from lenswatch.server.jobs.state_fold import Stream
from lenswatch.server.jobs.state_rhythm import Rhythm
from lenswatch.server.jobs.state_span import Span

__all__ = ["Row", "forget", "is_described", "read_rows", "span_of", "write"]

Row = tuple[Stream, Mapping[Any, Any]]
_SAME = (
    *("state", "since", "verdict", "verdict_since", "ratio", "failed_at", "failed_job"),
    *("first_at", "last_at", "last_taken", "last_job", "last_judged", "judged", "recent", "shed"),
    *("due_at", "silent_since", "undecided", "acknowledged_at", "acknowledged_by"),
)
_SETTINGS = ("retired_at", "interval_set")
_WRITTEN = (*_SAME, "causes", "gaps", "interval", "event", "stale")
_SPAN = (
    *("kind", "begun_at", "ended_at", "jobs", "first_job", "worst_job", "newest_job"),
    *("worst", "model", "causes"),
)
_DESCRIBED = ("title", "place", "owner", "link", "muted_until", "retired_at", "interval_set")


def read_rows(connection: Connection, experiment: int, names: Iterable[str]) -> dict[str, Row]:
    """Return the states of the named streams that have one, each with its row."""
    values = {"experiment": experiment, "names": sorted(names)}
    rows = connection.execute(_rows(connection.dialect.name), values).mappings().all()
    troubled = [row["stream"] for row in rows if row["event"] is not None]
    spans = _read_spans(connection, experiment, troubled) if troubled else {}
    return {row["stream"]: (_stream(row, spans.get(row["stream"], ())), row) for row in rows}


def _read_spans(
    connection: Connection, experiment: int, names: Sequence[str]
) -> dict[str, tuple[Span, ...]]:
    """Return the open events of the named streams."""
    found: dict[str, tuple[Span, ...]] = {}
    values = {"experiment": experiment, "names": list(names)}
    for row in connection.execute(_open_events(connection.dialect.name), values).mappings():
        found[row["stream"]] = (*found.get(row["stream"], ()), span_of(row))
    return found


def span_of(row: Mapping[Any, Any]) -> Span:
    """Return the event of a row."""
    values = {name: row[name] for name in _SPAN} | {"causes": row["causes"] or {}}
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
    statement = _upsert(connection.dialect.name)
    if connection.dialect.name == "sqlite":
        connection.execute(statement, rows)
    else:
        connection.execute(statement, {"rows": rows})


def _write_spans(
    connection: Connection, experiment: int, spans: Sequence[tuple[str, Span]]
) -> list[Span]:
    """Store events, each of the named stream, and return them with their numbers, in this order."""
    known = [(name, span) for name, span in spans if span.number is not None]
    fresh = [(name, span) for name, span in spans if span.number is None]
    if known:
        rows = [_event(experiment, name, span) | {"here": span.number} for name, span in known]
        connection.execute(update(events).where(events.c.number == bindparam("here")), rows)
    numbers: dict[str, int] = {}
    ids = [str(uuid.uuid4()) for _ in fresh]
    if fresh:
        rows = [
            _event(experiment, name, span) | {"id": id_}
            for id_, (name, span) in zip(ids, fresh, strict=True)
        ]
        stored = connection.execute(insert(events).returning(events.c.id, events.c.number), rows)
        numbers = {row.id: row.number for row in stored}
    made = iter(ids)
    return [
        span if span.number is not None else replace(span, number=numbers[next(made)])
        for _, span in spans
    ]


def forget(connection: Connection, experiment: int, name: str) -> None:
    """Delete a stream that has no jobs any more, with its events."""
    for table in (events, streams):
        here = (table.c.experiment == experiment) & (table.c.stream == name)
        connection.execute(delete(table).where(here))


def is_described(row: Mapping[Any, Any]) -> bool:
    """Return whether people set something in the row of a stream."""
    return any(row[name] is not None for name in _DESCRIBED)


def _stream(row: Mapping[Any, Any], spans: tuple[Span, ...]) -> Stream:
    same = {name: row[name] for name in (*_SAME, *_SETTINGS)}
    causes, rhythm = tuple(row["causes"] or ()), Rhythm.of(row["gaps"])
    return Stream(**same, causes=causes, rhythm=rhythm, spans=spans)


def _values(experiment: int, name: str, stream: Stream, spans: Sequence[Span]) -> dict[str, Any]:
    shown = {span.kind: span.number for span in spans}
    return {
        "experiment": experiment,
        "stream": name,
        **{column: getattr(stream, column) for column in _SAME},
        "causes": list(stream.causes),
        "gaps": stream.rhythm.to_json(),
        "interval": stream.rhythm.interval,
        "event": shown.get(stream.shown, next(iter(shown.values()), None)),
        "stale": False,
    }


def _event(experiment: int, name: str, span: Span) -> dict[str, Any]:
    values = {column: getattr(span, column) for column in _SPAN}
    return values | {"experiment": experiment, "stream": name, "causes": dict(span.causes)}


# Each statement is built once. The caches have plain values as keys; statements as keys would never be freed.


@functools.cache
def _rows(dialect: str) -> Select[Any]:
    here = streams.c.experiment == bindparam("experiment")
    return select(streams).where(here, streams.c.stream.in_(_listed(dialect)))


@functools.cache
def _open_events(dialect: str) -> Select[Any]:
    here = (events.c.experiment == bindparam("experiment")) & events.c.ended_at.is_(None)
    return (
        select(events).where(here, events.c.stream.in_(_listed(dialect))).order_by(events.c.number)
    )


def _listed(dialect: str) -> Select[Any]:
    """Return the query for the `names`, which are one JSON parameter."""
    if dialect == "sqlite":
        listed = func.json_each(bindparam("names", type_=JSON))
    else:
        listed = func.jsonb_array_elements_text(bindparam("names", type_=JSONB))
    return select(listed.table_valued("value", name="named").c.value)


@functools.cache
def _upsert(dialect: str) -> Any:
    names = ("experiment", "stream", *_WRITTEN)
    query = sqlite.insert(streams) if dialect == "sqlite" else from_records(streams, names)
    changed = {name: query.excluded[name] for name in _WRITTEN}
    return query.on_conflict_do_update(index_elements=list(streams.primary_key), set_=changed)
