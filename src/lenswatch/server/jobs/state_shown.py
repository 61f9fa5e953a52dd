"""The state of a stream as everybody shows it: that of its jobs, unless it is retired or silent.

These are expressions on the table of streams, so that counts, filters and order are the database's.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, case, func, or_

from lenswatch.server.db.tables import STATES, experiments, streams

__all__ = [
    "ORDERS",
    "SHOWN",
    "TROUBLES",
    "by_urgency",
    "matches",
    "shown",
    "shown_name",
    "since",
    "trouble",
]

SHOWN = (*STATES, "silent", "retired")
TROUBLES = ("drift", "frozen", "failing", "silent")
_RETIRED = streams.c.retired_at.is_not(None)
_SILENT = streams.c.silent_since.is_not(None)


def shown() -> ColumnElement[str]:
    """Return the expression for the state, one of `SHOWN`."""
    return case((_RETIRED, "retired"), (_SILENT, "silent"), else_=streams.c.state)


def since() -> ColumnElement[int]:
    """Return the expression for the moment since when it holds."""
    return case(
        (_RETIRED, streams.c.retired_at),
        (_SILENT, streams.c.silent_since),
        else_=streams.c.since,
    )


def trouble(now: int) -> ColumnElement[bool]:
    """Return the condition on streams that somebody should look at.

    Not on those that are acknowledged, muted or retired.
    """
    muted = and_(streams.c.muted_until.is_not(None), streams.c.muted_until > now)
    return and_(
        ~_RETIRED,
        or_(_SILENT, streams.c.state.in_(TROUBLES)),
        streams.c.acknowledged_at.is_(None),
        ~muted,
    )


def shown_name() -> ColumnElement[str]:
    """Return the expression for the name that is shown."""
    return func.coalesce(func.nullif(streams.c.title, ""), streams.c.stream)


def by_urgency(now: int) -> list[ColumnElement[object]]:
    """Return the order of streams: those in trouble first, then by the name that is shown."""
    return [case((trouble(now), 0), else_=1), *_by_name()]


def _by_name() -> list[ColumnElement[object]]:
    return [func.lower(shown_name()), streams.c.experiment, streams.c.stream]


# Orders of streams by their names; each is a function of the present moment.
ORDERS: dict[str, Callable[[int], list[ColumnElement[object]]]] = {
    "urgency": by_urgency,
    "experiment": lambda _: [experiments.c.name, streams.c.experiment, *_by_name()],
    "near": lambda _: [func.coalesce(streams.c.ratio, 0).desc(), *_by_name()],
    "quiet": lambda _: [func.coalesce(streams.c.last_at, 0), *_by_name()],
}


def matches(text: str) -> ColumnElement[bool]:
    """Return the condition on streams whose name, place or owner contains a text in any letter case."""
    wanted = text.lower()
    columns = (streams.c.stream, streams.c.title, streams.c.place, streams.c.owner)
    return or_(*(func.lower(column).contains(wanted, autoescape=True) for column in columns))
