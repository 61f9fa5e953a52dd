"""The jobs that stand for a span of time in a chart, however many there are.

Few jobs are all there. Of more, extremes and changes of verdict are, exactly. Of very many, those of each
hour or day come from roll-ups, and jobs at even distances in time fill up what was asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Text, cast, func, select

from lenswatch.server.db.tables import drifts, rollups, tallies
from lenswatch.server.jobs.buckets import (
    Content,
    Point,
    content_of,
    jobs_in,
    last_verdict,
    points_of,
    summed,
)
from lenswatch.server.jobs.rollups import DAY, HOUR, SECOND
from lenswatch.server.jobs.spread import even_moments, moments_of_jobs, spread
from lenswatch.server.query.numbers import number_at

__all__ = ["LEAST_POINTS", "Chosen", "Span", "choose", "chosen_of", "scattered", "streams_of"]

READ = 16_000  # jobs that are read one by one; more take longer than a viewer should wait
_SAMPLE = 16  # contents that tell how many points one has
LEAST_POINTS = 50  # of a stream: there is room for the extremes and the verdicts of the whole span

Piece = tuple[int, Content]  # a content, and when it begins


@dataclass(frozen=True)
class Span:
    """A span of capture times of one stream, from `begin` until before `end`."""

    experiment: int
    stream: str | None  # "" for jobs without one, None for all together
    begin: int
    end: int

    def where(self) -> ColumnElement[bool]:
        """Return the condition on its jobs."""
        return self.until_end() & (drifts.c.taken_at >= self.begin)

    def until_end(self) -> ColumnElement[bool]:
        """Return the condition on its jobs and those before it."""
        here = (drifts.c.experiment == self.experiment) & (drifts.c.taken_at < self.end)
        if self.stream is None:
            return here
        return here & (drifts.c.stream == self.stream if self.stream else drifts.c.stream.is_(None))

    def part(self, begin: int, end: int) -> Span:
        """Return a part of the span."""
        return Span(self.experiment, self.stream, begin, end)


@dataclass(frozen=True)
class Chosen:
    """Jobs of a span: points by roll-ups or extremes, numbers of further ones, and how many there are."""

    method: str
    total: int
    points: list[Point]
    numbers: list[int]


def streams_of(connection: Connection, experiment: int, most: int) -> list[str] | None:
    """Return the names of all streams that ever had a job; None if they are more than `most`."""
    query = select(tallies.c.stream).where(tallies.c.experiment == experiment).distinct()
    found = list(connection.execute(query.limit(most + 1)).scalars())
    return found if len(found) <= most else None


def choose(connection: Connection, span: Span, most: int, paths: Sequence[str]) -> Chosen:
    """Return at most `most` jobs of a stream's span, with the extremes and the changes of verdict.

    Args:
        connection: A transaction that reads.
        span: The span.
        most: At least LEAST_POINTS.
        paths: The parameters whose extremes count, as dotted paths.
    """
    if _count(connection, span, READ) <= READ:
        return _read_all(connection, span, most, paths)
    pieces = list(_summed_up(connection, span, most))
    points = chosen_of(pieces, span.begin, span.end, most - most // 3)
    numbers = spread(connection, span.until_end(), moments_of_jobs(pieces, most - len(points)))
    return Chosen("rollups", sum(jobs_in(content) for _, content in pieces), points, numbers)


def scattered(connection: Connection, span: Span, most: int) -> Chosen:
    """Return at most `most` jobs of a span, in equal shares of time or of jobs, whatever their values."""
    query = select(drifts.c.number).where(span.where(), drifts.c.verdict.is_not(None))
    order = (drifts.c.taken_at, drifts.c.number)
    if _count(connection, span, READ) > READ:
        if span.stream is None:
            numbers = spread(connection, span.until_end(), even_moments(span.begin, span.end, most))
            return Chosen("spread", _total(connection, span), [], numbers)
        pieces = list(_summed_up(connection, span, most))
        numbers = spread(connection, span.until_end(), moments_of_jobs(pieces, most))
        return Chosen("spread", sum(jobs_in(content) for _, content in pieces), [], numbers)
    found = list(connection.execute(query.order_by(*order)).scalars())
    if len(found) <= most:
        return Chosen("all", len(found), [], found)
    some = [found[place * len(found) // most] for place in range(most)]
    return Chosen("spread", len(found), [], some)


def _total(connection: Connection, span: Span) -> int:
    query = select(func.count()).select_from(drifts).where(span.where())
    return int(connection.execute(query).scalar_one())


def chosen_of(pieces: Sequence[Piece], begin: int, end: int, most: int) -> list[Point]:
    """Return at most `most` points of a span: extremes, and where verdicts change.

    Args:
        pieces: The contents of the span, in order.
        begin: Its begin, in microseconds since 1970.
        end: The moment after its end.
        most: At least LEAST_POINTS.
    """
    some = [content for _, content in pieces[:: max(1, len(pieces) // _SAMPLE)]]
    each = sum(len(points_of(one, last_verdict(one))) for one in some) / max(1, len(some))
    count = max(1, min(most // 2, int(most / max(1, each))))
    while True:
        points = _points(pieces, begin, end, count)
        if len(points) <= most or count == 1:
            return points
        # At least a twentieth less, so that few tries are enough.
        count = max(1, min(count - 1 - count // 20, count * most // len(points)))


def _points(pieces: Sequence[Piece], begin: int, end: int, count: int) -> list[Point]:
    """Return the points of `count` equal parts of a span."""
    found: list[Point] = []
    before: str | None = None
    for _, group in itertools.groupby(pieces, lambda p: (p[0] - begin) * count // (end - begin)):
        content = summed(content for _, content in group)
        found += [p for p in points_of(content, before) if begin <= p.at < end]
        before = last_verdict(content)
    return found


def _count(connection: Connection, span: Span, most: int) -> int:
    """Return the number of jobs, at most one more than `most`."""
    some = select(drifts.c.number).where(span.where()).limit(most + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _read_all(connection: Connection, span: Span, most: int, paths: Sequence[str]) -> Chosen:
    rows = _rows(connection, span, paths)
    expired = list(_expired(connection, span, most))
    total = len(rows) + sum(jobs_in(content) for _, content in expired)
    if not expired and len(rows) <= most:
        return Chosen("all", total, [], [row[1] for row in rows])
    pieces = sorted([*_parts(rows, span, most // 2, paths), *expired], key=lambda piece: piece[0])
    return Chosen("extremes", total, chosen_of(pieces, span.begin, span.end, most), [])


def _rows(connection: Connection, span: Span, paths: Sequence[str]) -> list[Any]:
    """Return time of capture, number, verdict and values of all jobs that have ended."""
    values = (number_at(connection, drifts.c.parameters, tuple(p.split("."))) for p in paths)
    order = (drifts.c.taken_at, drifts.c.number)
    query = select(*order, drifts.c.verdict, *values).where(span.where()).order_by(*order)
    return [row for row in connection.execute(query.limit(READ)).all() if row.verdict]


def _parts(rows: Sequence[Any], span: Span, count: int, paths: Sequence[str]) -> Iterator[Piece]:
    """Yield the contents of `count` equal parts of a span."""
    length = span.end - span.begin
    for part, group in itertools.groupby(rows, lambda row: (row[0] - span.begin) * count // length):
        yield span.begin + -(-part * length // count), content_of(group, paths)


def _width(span: Span, most: int) -> int:
    """Return the width of the roll-ups that tell as much about a span as is asked for."""
    return HOUR if span.end - span.begin <= 2 * most * HOUR * SECOND else DAY


def _summed_up(connection: Connection, span: Span, most: int) -> Iterator[Piece]:
    """Yield the contents of a span: of whole days or hours from roll-ups, of the rest from the jobs."""
    widths = (HOUR,) if _width(span, most) == HOUR else (DAY, HOUR)
    for width, begin, end in _cover(span.begin, span.end, widths):
        part = span.part(begin, end)
        if width:
            yield from _rolled(connection, part, width, begin)
        else:
            rows = _rows(connection, part, ("distance", "score"))
            jobs = list(_parts(rows, part, most, ("distance", "score")))
            jobs += _expired(connection, part, most)
            yield from sorted(jobs, key=lambda piece: piece[0])


def _cover(begin: int, end: int, widths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield parts of a span that whole buckets cover, with their width; 0 for what none covers."""
    if begin >= end:
        return
    if not widths:
        yield 0, begin, end
        return
    step = widths[0] * SECOND
    first, last = -(-begin // step) * step, end // step * step
    if first >= last:
        yield from _cover(begin, end, widths[1:])
        return
    yield from _cover(begin, first, widths[1:])
    yield widths[0], first, last
    yield from _cover(last, end, widths[1:])


def _rolled(
    connection: Connection, span: Span, width: int, begin: int, *where: ColumnElement[bool]
) -> Iterable[Piece]:
    query = select(rollups.c.begin, cast(rollups.c.content, Text)).where(
        rollups.c.experiment == span.experiment,
        rollups.c.width == width,
        rollups.c.stream == span.stream,
        rollups.c.begin >= begin,
        rollups.c.begin < span.end,
        *where,
    )
    rows = connection.execute(query.order_by(rollups.c.begin)).all()
    # Together they are parsed much faster than one by one.
    contents = msgspec.json.decode(f"[{','.join(text for _, text in rows)}]")
    return [(begin, content) for (begin, _), content in zip(rows, contents, strict=True)]


def _expired(connection: Connection, span: Span, most: int) -> Iterable[Piece]:
    """Return what is known of jobs that retention deleted. The first piece may begin before the span."""
    width = _width(span, most)
    begin = span.begin - span.begin % (width * SECOND)
    return _rolled(connection, span, width, begin, rollups.c.expired.is_(True))
