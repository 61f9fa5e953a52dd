"""Roll-ups: the jobs of each stream summed up by hour and by day of their capture.

Jobs that arrive are added. Where one was changed or removed, the hours that it touches are summed up anew
from the jobs that are stored, and their days from their hours. What retention deletes moves to sums of its
own, so a chart of last year stays.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Connection,
    Integer,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from lenswatch.server.db.prepared import Prepared
from lenswatch.server.db.tables import drifts, rollups
from lenswatch.server.jobs.buckets import Content, content_of, merged, summed
from lenswatch.server.jobs.bulk import put_rows
from lenswatch.server.query.numbers import number_at
from lenswatch.server.values.storable import written

__all__ = ["DAY", "HOUR", "SECOND", "SUMMED", "keep_rollups"]

Job = Mapping[Any, Any]
Bucket = tuple[str, int, int]  # stream, width in seconds, begin in microseconds since 1970
HOUR, DAY = 3600, 86_400
SECOND = 10**6
_KEY = (Text(), Integer(), BigInteger())  # types of a bucket's members
SUMMED = ("distance", "score")  # parameters


def keep_rollups(
    connection: Connection,
    experiment: int,
    added: Sequence[Job],
    removed: Sequence[Job],
    expired: Sequence[Job],
) -> None:
    """Bring the roll-ups up to date; see `derived.keep`."""
    gone = [job for job in (*removed, *expired) if job["verdict"]]
    if not gone:
        _add(connection, experiment, _by_bucket(added), expired=False)
        return
    _add(connection, experiment, _by_bucket(expired), expired=True)
    hours = {_bucket(job, HOUR) for job in (*gone, *added) if job["verdict"]}
    _make_anew(connection, experiment, hours)


def _by_bucket(jobs: Iterable[Job]) -> dict[Bucket, Content]:
    """Return the contents of the hours and days of `jobs`. Jobs that are running have no place in them."""
    hours: dict[Bucket, list[tuple[Any, ...]]] = defaultdict(list)
    for job in jobs:
        if job["verdict"]:
            hours[_bucket(job, HOUR)].append(_row(job))
    found = {bucket: content_of(rows, SUMMED) for bucket, rows in hours.items()}
    return found | _days(found)


def _days(hours: Mapping[Bucket, Content]) -> dict[Bucket, Content]:
    days: dict[Bucket, list[Content]] = defaultdict(list)
    for bucket, content in hours.items():
        days[_day(bucket)].append(content)
    return {bucket: summed(contents) for bucket, contents in days.items()}


def _row(job: Job) -> tuple[Any, ...]:
    values = (_number(job["parameters"].get(name)) for name in SUMMED)
    return job["taken_at"], job["number"], job["verdict"], *values


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bucket(job: Job, width: int) -> Bucket:
    return job["stream"] or "", width, _floor(job["taken_at"], width)


def _day(hour: Bucket) -> Bucket:
    stream, _, begin = hour
    return stream, DAY, _floor(begin, DAY)


def _floor(moment: int, width: int) -> int:
    return moment - moment % (width * SECOND)


def _add(
    connection: Connection, experiment: int, contents: Mapping[Bucket, Content], *, expired: bool
) -> None:
    """Add contents to those that are stored."""
    if not contents:
        return
    known = _stored(connection, experiment, contents, expired=expired)
    whole = {
        bucket: merged(known[bucket], content) if bucket in known else content
        for bucket, content in contents.items()
    }
    _put(connection, experiment, whole, expired=expired)


def _put(
    connection: Connection, experiment: int, contents: Mapping[Bucket, Content], *, expired: bool
) -> None:
    rows = [
        {
            "experiment": experiment,
            "width": width,
            "stream": stream,
            "begin": begin,
            "expired": expired,
            "content": content,
        }
        for (stream, width, begin), content in contents.items()
    ]
    put_rows(connection, rollups, rows)


def _stored(
    connection: Connection, experiment: int, buckets: Iterable[Bucket], *, expired: bool
) -> dict[Bucket, Content]:
    listed = written([list(bucket) for bucket in buckets])
    asked = {"buckets": listed, "experiment": experiment, "expired": expired}
    rows = _contents(connection, asked)
    return {(row.stream, row.width, row.begin): _json(row.content) for row in rows}


def _json(stored: Any) -> Any:
    """Return a JSON value, which SQLite has as text."""
    return json.loads(stored) if isinstance(stored, str) else stored


def _build_contents(dialect: str) -> Any:
    """Return the query for the contents of `buckets`, each an array."""
    kind = JSON if dialect == "sqlite" else JSONB
    each = func.json_each if dialect == "sqlite" else func.jsonb_array_elements
    item = each(bindparam("buckets", type_=kind)).table_valued(column("value", kind), name="asked")
    stream, width, begin = (
        _part(item.c.value, place, dialect, part) for place, part in enumerate(_KEY)
    )
    same = (
        (rollups.c.experiment == bindparam("experiment", type_=BigInteger))
        & (rollups.c.stream == stream)
        & (rollups.c.width == width)
        & (rollups.c.begin == begin)
        & (rollups.c.expired == bindparam("expired", type_=Boolean))
    )
    query = select(rollups.c.stream, rollups.c.width, rollups.c.begin, rollups.c.content)
    return query.select_from(item.join(rollups, same))


_contents = Prepared(_build_contents)


def _part(array: Any, place: int, dialect: str, kind: Any) -> Any:
    if dialect == "sqlite":
        return func.json_extract(array, f"$[{place}]", type_=kind)
    return cast(array.op("->>")(place), kind)


def _make_anew(connection: Connection, experiment: int, hours: Iterable[Bucket]) -> None:
    """Sum up hours from the jobs that are stored, and their days from their hours."""
    hours = sorted(hours)
    _replace(connection, experiment, {h: _of_jobs(connection, experiment, h) for h in hours})
    days = sorted({_day(hour) for hour in hours})
    _replace(connection, experiment, {d: _of_hours(connection, experiment, d) for d in days})


def _replace(connection: Connection, experiment: int, contents: Mapping[Bucket, Content]) -> None:
    for (stream, width, begin), content in contents.items():
        if not content["verdicts"]:
            here = (rollups.c.stream == stream) & (rollups.c.width == width)
            here &= (rollups.c.begin == begin) & rollups.c.expired.is_(False)
            connection.execute(delete(rollups).where(rollups.c.experiment == experiment, here))
    left = {bucket: content for bucket, content in contents.items() if content["verdicts"]}
    _put(connection, experiment, left, expired=False)


def _of_jobs(connection: Connection, experiment: int, bucket: Bucket) -> Content:
    stream, width, begin = bucket
    values = (number_at(connection, drifts.c.parameters, (name,)) for name in SUMMED)
    query = select(drifts.c.taken_at, drifts.c.number, drifts.c.verdict, *values).where(
        drifts.c.experiment == experiment,
        drifts.c.stream == stream if stream else drifts.c.stream.is_(None),
        drifts.c.taken_at >= begin,
        drifts.c.taken_at < begin + width * SECOND,
        drifts.c.verdict.is_not(None),
    )
    return content_of(connection.execute(query).all(), SUMMED)


def _of_hours(connection: Connection, experiment: int, day: Bucket) -> Content:
    stream, width, begin = day
    query = select(rollups.c.content).where(
        rollups.c.experiment == experiment,
        rollups.c.width == HOUR,
        rollups.c.stream == stream,
        rollups.c.begin >= begin,
        rollups.c.begin < begin + width * SECOND,
        rollups.c.expired.is_(False),
    )
    return summed(connection.execute(query).scalars())
