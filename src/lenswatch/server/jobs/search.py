"""Search of an experiment's jobs: a page and the exact total, with as few rows read as possible.

The total comes from the tallies where they have it. For a span of time, the smaller of inside and
outside is counted. A tag is looked up in the table of tags, which is ordered by time. A condition
that no index covers takes one pass for page and total together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    exists,
    func,
    literal,
    select,
    true,
)

from lenswatch.server.db.tables import cursors, drift_tags, drifts, tag_tallies, tallies
from lenswatch.server.http.paging import ordered, slice_of
from lenswatch.server.query.conditions import Fields, compile_query
from lenswatch.server.query.tree import AllOf, AnyOf, Compare, Equal, Match, Not, Query
from lenswatch.server.values import stamps
from lenswatch.wire import SCHEMA_VERSION

__all__ = ["FIELDS", "condition", "page"]

_STREAM = ("parameters", "stream")
_EVENT = ("parameters", "event_id")


def _tagged(tags: tuple[str, ...]) -> ColumnElement[bool]:
    own = drift_tags.alias()  # the query may contain the table itself
    query = select(literal(1)).where(
        own.c.experiment == drifts.c.experiment,
        own.c.tag.in_(tags),
        own.c.created_at == drifts.c.created_at,
        own.c.drift == drifts.c.number,
    )
    return exists(query.correlate(drifts))


FIELDS = Fields(
    texts={"_id": drifts.c.id, "job_status": drifts.c.job_status, "model": drifts.c.model},
    stamps={"created_at": drifts.c.created_at},
    booleans={"drift_detected": drifts.c.drift_detected},
    documents={"tags": drifts.c.tags, "parameters": drifts.c.parameters},
    constants={"schema_version": SCHEMA_VERSION},
    members={"tags": _tagged},
    objects=frozenset({"parameters"}),
)
# Where all jobs of an experiment have proper streams and event ids, columns replace the parameters.
_REGULAR = dataclasses.replace(FIELDS, paths={_STREAM: drifts.c.stream, _EVENT: drifts.c.event_id})
_TALLIED = Fields(
    texts={"job_status": tallies.c.job_status},
    booleans={"drift_detected": tallies.c.drift_detected},
    paths={_STREAM: func.nullif(tallies.c.stream, "")},
)
_OPPOSITE: dict[str, Any] = {"$gt": "$lte", "$gte": "$lt", "$lt": "$gte", "$lte": "$gt"}
_TALLIED_PATHS = {("job_status",), ("drift_detected",), _STREAM}
_INDEXED_PATHS = _TALLIED_PATHS | {("created_at",), ("_id",), ("id",), ("tags",), _EVENT}


def condition(connection: Connection, query: Query, fields: Fields = FIELDS) -> ColumnElement[bool]:
    """Return the condition of `query` on rows of `drifts`."""
    return compile_query(query, fields, connection)


def page(
    connection: Connection, experiment: int, query: Query, args: Mapping[str, Any]
) -> tuple[list[RowMapping], int]:
    """Return the rows of the page that `args` ask for, and the number of rows on all pages."""
    return _Search(connection, experiment, args).page(query)


class _Search:
    def __init__(self, connection: Connection, experiment: int, args: Mapping[str, Any]) -> None:
        self.connection = connection
        self.experiment = experiment
        self.args = args
        odd = select(cursors.c.irregular).where(cursors.c.experiment == experiment)
        self.regular = not connection.execute(odd).scalar_one()
        self.fields = _REGULAR if self.regular else FIELDS
        self.by_time = args["sort_by"] in ("created_at", "schema_version")

    def page(self, query: Query) -> tuple[list[RowMapping], int]:
        tag, rest = _one_tag(query)
        if tag is not None and _paths(rest) <= _INDEXED_PATHS:
            return self.by_tag(tag, rest)
        if _paths(query) <= self.indexed():
            return self.by_index(query)
        return self.by_pass(query)

    def indexed(self) -> set[tuple[str, ...]]:
        return _INDEXED_PATHS if self.regular else _INDEXED_PATHS - {_STREAM, _EVENT}

    def where(self, query: Query) -> ColumnElement[bool]:
        return (drifts.c.experiment == self.experiment) & condition(
            self.connection, query, self.fields
        )

    def by_index(self, query: Query) -> tuple[list[RowMapping], int]:
        total = self.tallied(query)
        if total is None:
            total = self.all_but_outside(query)
        if total is None:
            total = self.count(drifts, self.where(query))
        rows = slice_of(select(drifts).where(self.where(query)), self.args, self.sort())
        if self.args["sort_by"] == "model":
            rows = self.by_model(query)
        return list(self.connection.execute(rows).mappings()), total

    def by_model(self, query: Query) -> Select[Any]:
        """Return the query of a page sorted by model, which no index has, without sorting whole rows."""
        narrow = select(drifts.c.number).where(self.where(query))
        page = slice_of(narrow, self.args, self.sort())
        whole = select(drifts).where(drifts.c.number.in_(page))
        return whole.order_by(*ordered(self.sort(), self.args))

    def sort(self) -> list[ColumnElement[Any]]:
        order: list[ColumnElement[Any]] = [drifts.c.created_at, drifts.c.number]
        return order if self.by_time else [drifts.c[self.args["sort_by"]], *order]

    def count(self, source: FromClause, where: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(source).where(where)
        return int(self.connection.execute(query).scalar_one())

    def tallied(self, query: Query) -> int | None:
        """Return the total from the tallies, or None if they do not have it."""
        paths = _paths(query)
        if not paths <= _TALLIED_PATHS or (_STREAM in paths and not self.regular):
            return None
        where = compile_query(query, _TALLIED, self.connection)
        jobs = select(func.coalesce(func.sum(tallies.c.jobs), 0))
        jobs = jobs.where(tallies.c.experiment == self.experiment, where)
        return int(self.connection.execute(jobs).scalar_one())

    def all_but_outside(self, query: Query) -> int | None:
        """Return the total of a span of time with most of the jobs, by counting the others; else None."""
        outside = _outside(query)
        if not outside:
            return None
        first, last = (
            self.connection.execute(
                select(extreme(drifts.c.created_at)).where(drifts.c.experiment == self.experiment)
            ).scalar()
            for extreme in (func.min, func.max)
        )
        jobs = self.tallied(AllOf(()))
        if first is None or last is None or jobs is None:
            return None
        left_out = sum(
            max(0, moment - first if before else last - moment) for _, moment, before in outside
        )
        if 2 * left_out > last - first:
            return None
        return jobs - sum(self.count(drifts, self.where(node)) for node, _, _ in outside)

    def by_tag(self, tag: str, rest: Query) -> tuple[list[RowMapping], int]:
        """Return page and total of the jobs with `tag` that satisfy `rest`, from the index of tags."""
        source = drift_tags.join(drifts, drifts.c.number == drift_tags.c.drift)
        tagged = (drift_tags.c.experiment == self.experiment) & (drift_tags.c.tag == tag)
        where = tagged & condition(self.connection, rest, self.fields)
        order = [drift_tags.c.created_at, drift_tags.c.drift] if self.by_time else self.sort()
        rows = slice_of(select(drifts).select_from(source).where(where), self.args, order)
        total = self.tag_total(tag) if rest == AllOf(()) else self.count(source, where)
        return list(self.connection.execute(rows).mappings()), total

    def tag_total(self, tag: str) -> int:
        here = (tag_tallies.c.experiment == self.experiment) & (tag_tallies.c.tag == tag)
        return self.connection.execute(select(tag_tallies.c.jobs).where(here)).scalar() or 0

    def by_pass(self, query: Query) -> tuple[list[RowMapping], int]:
        """Return page and total from one pass over the jobs."""
        hits = select(*self.sort()).where(self.where(query)).cte("hits")
        order = [hits.c[column.key] for column in self.sort() if column.key]
        numbers = slice_of(select(hits.c.number), self.args, order).subquery("page")
        total = select(func.count().label("total")).select_from(hits).subquery("total")
        source = total.outerjoin(numbers, true()).outerjoin(
            drifts, drifts.c.number == numbers.c.number
        )
        order = [drifts.c[column.key] for column in self.sort() if column.key]
        query_ = select(total.c.total, drifts).select_from(source)
        query_ = query_.order_by(*ordered(order, self.args))
        rows = list(self.connection.execute(query_).mappings())
        return [row for row in rows if row["id"] is not None], rows[0]["total"]


def _outside(query: Query) -> list[tuple[Query, int, bool]]:
    """Return the complement of a query for a span of time; empty for any other query.

    For each end: the complementary query, its bound, and whether that is the lower one.
    """
    found: dict[bool, tuple[Query, int, bool]] = {}
    for part in _conjuncts(query):
        match part:
            case Match(("created_at",), Compare(sign, str(text))):
                moment, before = stamps.microseconds(text), sign in ("$gt", "$gte")
            case _:
                return []
        if moment is None or before in found:
            return []
        found[before] = Match(("created_at",), Compare(_OPPOSITE[sign], text)), moment, before
    return list(found.values())


def _paths(query: Query) -> set[tuple[str, ...]]:
    """Return the paths that `query` mentions."""
    match query:
        case AllOf(parts) | AnyOf(parts):
            return set().union(*map(_paths, parts))
        case Not(part):
            return _paths(part)
        case Match(path, predicate):
            simple = path != ("tags",) or (
                isinstance(predicate, Equal) and isinstance(predicate.value, str)
            )
            return {path} if simple else {("*", *path)}


def _one_tag(query: Query) -> tuple[str | None, Query]:
    """Return a tag that every hit must have, and the rest of the query."""
    parts = list(_conjuncts(query))
    for position, part in enumerate(parts):
        if isinstance(part, Match) and part.path == ("tags",):
            predicate = part.predicate
            if isinstance(predicate, Equal) and isinstance(predicate.value, str):
                return predicate.value, AllOf(tuple(parts[:position] + parts[position + 1 :]))
    return None, query


def _conjuncts(query: Query) -> list[Query]:
    if isinstance(query, AllOf):
        return [inner for part in query.parts for inner in _conjuncts(part)]
    return [query]
