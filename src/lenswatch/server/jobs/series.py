"""Extension for charts: the jobs of an experiment as columns, the newest or those of any span of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy import JSON, BigInteger, Connection, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from starlette.responses import Response

from lenswatch.server.db.tables import drifts, rollups
from lenswatch.server.experiments.api import require
from lenswatch.server.http import bodies
from lenswatch.server.http.operations import Call, Operations, Who, reply
from lenswatch.server.jobs.drawn import SeriesRecord, as_row, columns, drawn
from lenswatch.server.jobs.rollups import HOUR, SECOND, SUMMED
from lenswatch.server.jobs.spans import LEAST_POINTS, Chosen, Span, choose, scattered, streams_of
from lenswatch.server.query.numbers import NUMBER_PATH
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import invalid

__all__ = ["operations"]

MAX_POINTS = 5000
MAX_PATHS = 8  # parameters of one answer
MAX_STREAMS = 20  # of one answer

operations = Operations()


def _is_moment(text: str) -> None:
    if stamps.microseconds(text) is None:
        raise ValidationError("Not a valid datetime.")


def _is_path(text: str) -> None:
    if not NUMBER_PATH.match(text):
        raise ValidationError(f"Not the path of a parameter, such as parameters.distance: {text}")


def _are_paths(text: str) -> None:
    named = text.split(",")
    if len(named) > MAX_PATHS:
        raise ValidationError(f"Over {MAX_PATHS} parameters.")
    for path in named:
        _is_path(path)


def _are_few(text: str) -> None:
    if text.count(",") >= MAX_STREAMS:
        raise ValidationError(f"Over {MAX_STREAMS} streams.")


SERIES_ARGS = Schema.from_dict(
    {
        "stream": bodies.Text(validate=_are_few),
        "limit": fields.Integer(load_default=2000, validate=validate.Range(min=1, max=10_000)),
        "before": fields.String(validate=_is_moment),
        "from": fields.String(validate=_is_moment),
        "to": fields.String(validate=_is_moment),
        "points": fields.Integer(validate=validate.Range(min=LEAST_POINTS, max=MAX_POINTS)),
        "values": fields.String(validate=_are_paths),
        "models": fields.Boolean(load_default=False),
        "x": fields.String(validate=_is_path),
        "y": fields.String(validate=_is_path),
    },
    name="SeriesArgs",
)()


@operations.add(
    "GET /experiment/{experiment_id}/series",
    who=Who.ANYBODY,
    extension=True,
    slow=True,
    args=SERIES_ARGS,
    returns=SeriesRecord(),
    refusals=(403, 404, 422),
)
def read_series(call: Call) -> Response:
    """Return jobs as columns for a chart: the ones that arrived last, or those that stand for a span.

    With `from`, `to` or `points` it is a span of capture times, else the newest `limit` jobs by arrival.
    """
    number = require("Read", call)["number"]
    if any(name in call.args for name in ("from", "to", "points")):
        return reply(_span(call.connection, number, call.args))
    return reply(_newest(call.connection, number, call.args))


def _paths(args: Mapping[str, Any]) -> list[str]:
    """Return the parameters that are asked for, without `parameters.` before them."""
    asked = [*args.get("values", "").split(","), args.get("x", ""), args.get("y", "")]
    return [path.removeprefix("parameters.") for path in dict.fromkeys(asked) if path]


def _newest(connection: Connection, experiment: int, args: Mapping[str, Any]) -> dict[str, Any]:
    paths = _paths(args)
    conditions = [drifts.c.experiment == experiment]
    if "stream" in args:
        names = args["stream"].split(",")
        found = [drifts.c.stream == name if name else drifts.c.stream.is_(None) for name in names]
        conditions.append(or_(*found))
    if "before" in args:
        conditions.append(drifts.c.created_at < stamps.microseconds(args["before"]))
    query = drawn(connection, paths).where(*conditions)
    query = query.order_by(drifts.c.created_at.desc(), drifts.c.number.desc()).limit(args["limit"])
    rows = list(connection.execute(query).mappings())[::-1]
    return columns(rows, paths, models=args["models"])


def _span(connection: Connection, experiment: int, args: Mapping[str, Any]) -> dict[str, Any]:
    most, paths = args.get("points", 2000), _paths(args)
    named: Sequence[str | None] | None
    named = args["stream"].split(",") if "stream" in args else None
    if named is None:
        named = streams_of(connection, experiment, min(MAX_STREAMS, most // LEAST_POINTS)) or [None]
    if most < LEAST_POINTS * len(named):
        least = f"At least {LEAST_POINTS} for each stream: {LEAST_POINTS * len(named)}."
        raise invalid("query", {"points": [least]})
    ends = _ends(connection, experiment, named, args)
    if ends is None:
        nothing = {"method": "all", "total": 0, "begin": None, "end": None}
        return columns([], paths, models=args["models"]) | nothing
    begin, end = ends
    rows: list[Any] = []
    chosen = []
    for name in named:
        span = Span(experiment, name, begin, end)
        chosen.append(_of_stream(connection, span, most // len(named), paths, args))
        rows += _rows(connection, experiment, name, chosen[-1], paths)
    if "x" in args or "y" in args:
        axes = [
            f"path {paths.index(args[a].removeprefix('parameters.'))}" for a in "xy" if a in args
        ]
        rows = [row for row in rows if all(row[axis] is not None for axis in axes)]
    rows.sort(key=lambda row: (row["taken_at"], row["number"]))
    methods = {one.method for one in chosen}
    about = {
        "method": next(m for m in ("spread", "rollups", "extremes", "all") if m in methods),
        "total": sum(one.total for one in chosen),
        "begin": stamps.iso(begin),
        "end": stamps.iso(end),
    }
    return columns(rows, paths, models=args["models"]) | about


def _of_stream(
    connection: Connection, span: Span, most: int, paths: Sequence[str], args: Mapping[str, Any]
) -> Chosen:
    if span.stream is None or "x" in args or "y" in args:
        return scattered(connection, span, most)
    return choose(connection, span, most, list(dict.fromkeys((*SUMMED, *paths))))


def _ends(
    connection: Connection, experiment: int, names: Sequence[str | None], args: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Return begin and end of a span, of all jobs where `args` do not say; None if there are none."""
    begin, end = (
        stamps.microseconds(args[name]) if name in args else None for name in ("from", "to")
    )
    if begin is not None and end is not None:
        if begin >= end:
            raise invalid("query", {"to": ["Not after `from`."]})
        return begin, end
    found = [ends for name in names for ends in _known(connection, experiment, name)]
    first, last = min(found, default=None), max(found, default=None)
    begin, end = first if begin is None else begin, end if end is not None else last
    if begin is None or end is None or begin >= end:
        return None
    return begin, end


def _known(connection: Connection, experiment: int, stream: str | None) -> list[int]:
    """Return moments between which all jobs of a stream are, those that expired too."""
    here, rolled = drifts.c.experiment == experiment, rollups.c.experiment == experiment
    rolled &= rollups.c.width == HOUR
    if stream is not None:
        here &= drifts.c.stream == stream if stream else drifts.c.stream.is_(None)
        rolled &= rollups.c.stream == stream
    first, last = (
        connection.execute(select(extreme(drifts.c.taken_at)).where(here)).scalar()
        for extreme in (func.min, func.max)
    )
    gone = select(func.min(rollups.c.begin), func.max(rollups.c.begin))
    oldest, newest = connection.execute(gone.where(rolled & rollups.c.expired.is_(True))).one()
    ends = [first, last and last + 1, oldest, newest and newest + HOUR * SECOND]
    return [moment for moment in ends if moment is not None]


def _rows(
    connection: Connection,
    experiment: int,
    stream: str | None,
    chosen: Chosen,
    paths: Sequence[str],
) -> list[Any]:
    """Return the rows of chosen jobs; of a job that is gone, what its point tells."""
    numbers = {*chosen.numbers, *(point.number for point in chosen.points)}
    each = func.json_each if connection.dialect.name == "sqlite" else func.jsonb_array_elements_text
    kind = JSON if connection.dialect.name == "sqlite" else JSONB
    listed = each(bindparam("numbers", type_=kind)).table_valued("value", name="listed")
    # A join would make SQLite read the whole experiment: it takes tables in the order of an outer join.
    asked = select(cast(listed.c.value, BigInteger))
    # Without the sum SQLite would find the jobs by the index of the experiment, and read it from end to end.
    here = drifts.c.experiment + 0 == experiment
    query = drawn(connection, paths).where(drifts.c.number.in_(asked), here)
    found = connection.execute(query, {"numbers": sorted(numbers)}).mappings().all()
    rows = {row["number"]: row for row in found}
    known = set(chosen.numbers)
    gone = []
    for point in chosen.points:
        if point.number in rows and rows[point.number]["taken_at"] == point.at:
            known.add(point.number)
        else:
            gone.append(as_row(point, stream or "", paths))
    return [row for number, row in rows.items() if number in known] + gone
