"""Drift jobs in the database: storing, changing and deleting them, and keeping the tallies up to date.

Each change of an experiment's jobs first moves its cursor; deleting the experiment locks the
cursor. That row lock makes writers of one experiment wait for each other, gives `seq` the order of
commits, and keeps the order of locks the same in all transactions. A row that was read before the
lock was taken may be gone afterwards; that is a 404.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import Boolean, Column, Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import sqlite

from lenswatch.server.db.prepared import Prepared, ask
from lenswatch.server.db.tables import cursors, drift_tags, drifts
from lenswatch.server.http.bodies import JsonObject
from lenswatch.server.http.records import Record
from lenswatch.server.jobs.bulk import from_records
from lenswatch.server.jobs.derived import keep
from lenswatch.server.jobs.lateness import late_after, mark_late
from lenswatch.server.jobs.tallies import insert_tags
from lenswatch.server.jobs.verdicts import verdict_of
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import not_found
from lenswatch.server.values.storable import written
from lenswatch.server.values.stream_names import stream_of
from lenswatch.wire import EVENT_ID, JOB_STATUSES, SCHEMA_VERSION, TAG_LENGTH

__all__ = [
    "CLOSED",
    "DriftRecord",
    "Job",
    "adopt",
    "change",
    "expire",
    "lock",
    "record",
    "remove",
    "store",
]

Job = Mapping[Any, Any]
DAY_MICROSECONDS = 24 * 3600 * 10**6
CLOSED = "closed by the server:"  # begins the error of a job that never ended
_CHUNK = 20  # values of one IN; with many more PostgreSQL may prefer a slower index


class DriftRecord(Record):
    """A drift job."""

    id = fields.UUID()
    created_at = fields.DateTime()
    schema_version = fields.Constant(SCHEMA_VERSION)
    job_status = fields.String(validate=validate.OneOf(JOB_STATUSES))
    model = fields.String()
    drift_detected = fields.Boolean()
    tags = fields.List(fields.String(validate=validate.Length(1, TAG_LENGTH)))
    parameters = JsonObject()


def store(connection: Connection, experiment: int, jobs: Sequence[Job]) -> list[tuple[Job, bool]]:
    """Store `jobs` and return their rows in order, each with whether it is new.

    A job whose event id the experiment has already is not stored again; the stored row is returned. So is
    one that has an `id`, if this transaction runs again because nobody knew whether it was committed.
    """
    if not jobs:
        return []
    moved, last = ask(
        connection,
        (_move, _step(experiment, len(jobs), any(map(_irregular, jobs)))),
        (_last_arrival, {"experiment": experiment}),
    )
    seq = _first_of(moved, len(jobs))
    rows = [_row(experiment, seq + i, job) for i, job in enumerate(jobs)]
    rows[0]["created_at"] = _following(last.scalar(), rows[0]["created_at"])
    for earlier, later in itertools.pairwise(rows):
        later["created_at"] = max(later["created_at"], earlier["created_at"] + 1)
    for row in rows:
        row |= _judged(row)
    mark_late(connection, experiment, rows)
    return _keep(connection, experiment, rows)


def adopt(connection: Connection, experiment: int, jobs: Sequence[Job]) -> list[tuple[Job, bool]]:
    """Store `jobs` of another server with their own `id` and `created_at`, in the order of the latter.

    Returns:
        As `store`. A job that arrived before one that its stream has already is late.
    """
    if not jobs:
        return []
    seq = _advance(connection, experiment, len(jobs), any(map(_irregular, jobs)))
    rows = [_row(experiment, seq + i, job) for i, job in enumerate(jobs)]
    for row in rows:
        row |= _judged(row)
    mark_late(connection, experiment, rows)
    newest = {row["stream"]: _arrived(connection, experiment, row["stream"]) for row in rows}
    for row in rows:
        row["late"] = row["late"] or row["created_at"] < newest[row["stream"]]
    return _keep(connection, experiment, rows)


def _arrived(connection: Connection, experiment: int, stream: str | None) -> int:
    """Return when the last job of a stream arrived; 0 without one."""
    query = select(drifts.c.created_at).where(
        drifts.c.experiment == experiment, drifts.c.stream == stream
    )
    query = query.order_by(drifts.c.created_at.desc(), drifts.c.number.desc()).limit(1)
    return connection.execute(query).scalar() or 0


def _keep(
    connection: Connection, experiment: int, rows: list[dict[str, Any]]
) -> list[tuple[Job, bool]]:
    """Insert the rows whose events are new, with all that is kept from them."""
    numbers = _insert(connection, rows)
    fresh = {
        row["id"]: row | {"number": numbers[row["id"]]} for row in rows if row["id"] in numbers
    }
    insert_tags(connection, fresh.values())
    keep(connection, experiment, added=list(fresh.values()))
    repeated = [row for row in rows if row["id"] not in fresh]
    events = _stored(connection, experiment, drifts.c.event_id, [r["event_id"] for r in repeated])
    unnamed = [row["id"] for row in repeated if row["event_id"] is None]
    ids = _stored(connection, experiment, drifts.c.id, unnamed)
    found: list[tuple[Job, bool]] = []
    for row in rows:
        kept = fresh.get(row["id"]) or events.get(row["event_id"]) or ids[row["id"]]
        found.append((kept, kept["id"] == row["id"]))
    return found


def _following(last: int | None, now: int) -> int:
    """Return `now`, or the next moment after the `last` arrival, if this clock went back by less than a day.

    The order of arrival is the order of the jobs, so it must survive a clock that is corrected.
    """
    behind = 0 if last is None else last + 1 - now
    return now + behind if 0 < behind < DAY_MICROSECONDS else now


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Insert the rows whose events and ids are new, and return their numbers by id."""
    if connection.dialect.name == "sqlite":
        texts = [
            row | {"tags": written(row["tags"]), "parameters": written(row["parameters"])}
            for row in rows
        ]
        _insert_new(connection, texts if len(texts) > 1 else texts[0])
        seqs = {"experiment": rows[0]["experiment"], "first": rows[0]["seq"]}
        inserted = _numbers_from(connection, seqs)
    else:
        inserted = _new_drifts(tuple(sorted(rows[0])))(connection, {"rows": written(rows)})
    return {row.id: row.number for row in inserted}


# Each statement is built once. The caches have plain values as keys; statements as keys would never be freed.


@functools.cache
def _new_drifts(names: tuple[str, ...]) -> Prepared:
    """Return PostgreSQL's INSERT of jobs whose events and ids are new, with the columns' `names`."""

    def build(_dialect: str) -> Any:
        known = from_records(drifts, names).on_conflict_do_nothing()
        return known.returning(drifts.c.id, drifts.c.number)

    return Prepared(build)


def _build_insert(_dialect: str) -> Any:
    values: dict[str, Any] = {
        column.name: bindparam(column.name) for column in drifts.c if column.name != "number"
    }
    query = sqlite.insert(drifts).values(values)
    return query.on_conflict_do_nothing()


_insert_new = Prepared(_build_insert)
_numbers_from = Prepared(
    lambda _: select(drifts.c.id, drifts.c.number).where(
        drifts.c.experiment == bindparam("experiment"), drifts.c.seq >= bindparam("first")
    )
)
_last_arrival = Prepared(
    lambda _: select(func.max(drifts.c.created_at)).where(
        drifts.c.experiment == bindparam("experiment")
    )
)
_move = Prepared(
    lambda _: (
        update(cursors)
        .where(cursors.c.experiment == bindparam("experiment"))
        .values(
            seq=cursors.c.seq + bindparam("steps"),
            irregular=or_(cursors.c.irregular, bindparam("irregular", type_=Boolean)),
        )
        .returning(cursors.c.seq)
    )
)


def change(connection: Connection, old: Job, job: Job) -> Job:
    """Replace the fields of the stored job `old` by those of `job`, and return the new row."""
    experiment = old["experiment"]
    seq = _advance(connection, experiment, 1, _irregular(job))
    here = drifts.c.number == old["number"]
    now = connection.execute(select(drifts).where(here)).mappings().first()
    if now is None:
        raise not_found("Drift")
    old = now
    values = _row(experiment, seq, job)
    values |= _judged(values | {"created_at": old["created_at"]})
    del values["id"], values["created_at"]
    values["late"] = late_after(connection, values, old)
    new = (
        connection.execute(update(drifts).where(here).values(values).returning(drifts))
        .mappings()
        .one()
    )
    keep(connection, experiment, added=[new], removed=[old])
    if set(new["tags"]) != set(old["tags"]):
        connection.execute(delete(drift_tags).where(drift_tags.c.drift == old["number"]))
        insert_tags(connection, [new])
    return new


def remove(connection: Connection, job: Job) -> None:
    """Delete a stored job with its picture."""
    _advance(connection, job["experiment"], 1, False)
    here = drifts.c.number == job["number"]
    gone = connection.execute(delete(drifts).where(here).returning(drifts)).mappings().all()
    if not gone:
        raise not_found("Drift")
    keep(connection, job["experiment"], removed=gone)


def expire(connection: Connection, experiment: int, numbers: Sequence[int]) -> None:
    """Delete jobs that their experiment keeps no longer, with their pictures. Roll-ups of them stay."""
    if not numbers:
        return
    _advance(connection, experiment, 1, False)
    here = drifts.c.number.in_(numbers)
    gone = connection.execute(delete(drifts).where(here).returning(drifts)).mappings().all()
    keep(connection, experiment, expired=gone)


def record(row: Job) -> dict[str, Any]:
    """Return a row as a record of the contract."""
    return {
        "id": row["id"],
        "created_at": stamps.iso(row["created_at"]),
        "schema_version": SCHEMA_VERSION,
        "job_status": row["job_status"],
        "model": row["model"],
        "drift_detected": row["drift_detected"],
        "tags": row["tags"],
        "parameters": row["parameters"],
    }


def lock(connection: Connection, experiment: int) -> None:
    """Lock the experiment's cursor, for a change of what belongs to its jobs.

    Raises:
        Refusal: 404 if the experiment was deleted meanwhile.
    """
    cursor = select(cursors.c.seq).where(cursors.c.experiment == experiment).with_for_update()
    if connection.execute(cursor).first() is None:
        raise not_found("Experiment")


def _advance(connection: Connection, experiment: int, steps: int, irregular: bool) -> int:
    """Lock the experiment's cursor, advance it, and return the first of the `steps` new numbers."""
    return _first_of(_move(connection, _step(experiment, steps, irregular)), steps)


def _step(experiment: int, steps: int, irregular: bool) -> dict[str, Any]:
    return {"experiment": experiment, "steps": steps, "irregular": irregular}


def _first_of(moved: Any, steps: int) -> int:
    seq = moved.scalar()
    if seq is None:
        raise not_found("Experiment")
    return int(seq) - steps + 1


def _row(experiment: int, seq: int, job: Job) -> dict[str, Any]:
    row = {
        "experiment": experiment,
        "seq": seq,
        "created_at": stamps.now(),
        "late": False,
        "stream": stream_of(job["parameters"].get("stream")),
        "event_id": _event_key(job["parameters"].get("event_id")),
        **job,
    }
    if "id" not in row:
        row["id"] = str(uuid.uuid4())
    return row


def _judged(row: Job) -> dict[str, Any]:
    """Return the columns by which charts find a job."""
    taken = stamps.capture(row["parameters"].get("captured_at"), row["created_at"])
    return {
        "taken_at": row["created_at"] if taken is None else taken,
        "verdict": verdict_of(row),
    }


def _event_key(event_id: Any) -> str | None:
    """Return the key of an event in the index: its id, or a digest if the id does not fit."""
    fitting = _fitting(EVENT_ID, event_id)
    if event_id is None or fitting:
        return fitting
    written = json.dumps(_by_value(event_id), sort_keys=True).encode()
    return "#" + hashlib.blake2b(written, digest_size=31).hexdigest()  # no id that fits has a "#"


def _by_value(value: Any) -> Any:
    """Return `value` with whole floats as integers, so that 1.0 equals 1."""
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _by_value(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fitting(pattern: Any, value: Any) -> str | None:
    return value if isinstance(value, str) and pattern.match(value) else None


def _irregular(job: Job) -> bool:
    """Return whether stream or event id of the parameters are not in their columns as they are."""
    parameters = job["parameters"]
    kept = {
        "stream": stream_of(parameters.get("stream")),
        "event_id": _fitting(EVENT_ID, parameters.get("event_id")),
    }
    return any(
        key in parameters and (value is None or value != parameters[key])
        for key, value in kept.items()
    )


def _stored(
    connection: Connection, experiment: int, column: Column[Any], values: list[str | None]
) -> dict[str | None, Job]:
    """Return the stored jobs by `column`, where it has one of the `values`."""
    wanted = [value for value in values if value is not None]
    found: dict[str | None, Job] = {}
    for start in range(0, len(wanted), _CHUNK):
        query = select(drifts).where(
            drifts.c.experiment == experiment, column.in_(wanted[start : start + _CHUNK])
        )
        found |= {row[column.name]: row for row in connection.execute(query).mappings()}
    return found
