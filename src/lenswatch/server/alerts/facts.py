"""The facts of a message, as they were when it was decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from lenswatch.server.alerts.rules import Rule
from lenswatch.server.alerts.spells import Telling
from lenswatch.server.db.tables import drifts, events, pictures
from lenswatch.server.jobs.state_span import by_rank, place_of

__all__ = ["DETAILED", "items_of"]

DETAILED = 40  # items of a message with all their facts; of more, only state and time are told
_ORDER = ("drift", "silence", "failure", "frozen", "warning", "shedding")
_EVENT_KINDS = {"drift": "drift", "frozen": "frozen", "failure": "failing", "silence": "silent"}
_CAUSES = 3

Row = Mapping[Any, Any]


def items_of(
    connection: Connection, rule: Rule, told: Sequence[tuple[Row, Telling]]
) -> list[dict[str, Any]]:
    """Return the items of a message, the most pressing first, as `messages.facts` keeps them.

    Args:
        connection: The transaction of the decision.
        rule: Whose message it is.
        told: Rows of streams, with what is told of each.
    """
    ordered = sorted(told, key=lambda pair: _urgency(pair[1]))
    return [
        _item(row, telling) | (_details(connection, rule, row, telling) if n < DETAILED else {})
        for n, (row, telling) in enumerate(ordered)
    ]


def _urgency(telling: Telling) -> tuple[int, int, int]:
    whats = ("alarm", "reminder", "recovery")
    return whats.index(telling.what), _ORDER.index(telling.kind), telling.since


def _item(row: Row, telling: Telling) -> dict[str, Any]:
    return {
        "stream": row["stream"],
        "name": row["title"] or row["stream"] or "(no name)",
        "place": row["place"],
        "kind": telling.kind,
        "what": telling.what,
        "since": telling.since,
        "ended_at": telling.ended_at,
        "held": telling.held,
        "shed": telling.shed,
    }


def _details(connection: Connection, rule: Rule, row: Row, telling: Telling) -> dict[str, Any]:
    event = _event(connection, row, telling.kind)
    return {
        "event": event["id"] if event else None,
        "causes": _causes(row, event, telling),
        "ratio": _ratio(row, event, telling),
        "verdicts": _verdicts(rule, row, telling),
        "in_a_row": _in_a_row(row["recent"]),
        "last_at": row["last_taken"],
        "job": _pictured(connection, row, event, telling),
    }


def _event(connection: Connection, row: Row, kind: str) -> Row | None:
    """Return the newest event of a kind; a warning belongs to none."""
    if kind not in _EVENT_KINDS:
        return None
    query = (
        select(events)
        .where(
            events.c.experiment == row["experiment"],
            events.c.stream == row["stream"],
            events.c.kind == _EVENT_KINDS[kind],
        )
        .order_by(events.c.begun_at.desc(), events.c.number.desc())
        .limit(1)
    )
    return connection.execute(query).mappings().first()


def _causes(row: Row, event: Row | None, telling: Telling) -> list[dict[str, str]]:
    if telling.what == "recovery" or telling.kind in ("silence", "shedding"):
        return []
    if event is not None and event["causes"]:
        named = by_rank(event["causes"])[:_CAUSES]
        return [{"name": name, "place": place_of(cause)} for name, cause in named]
    return [{"name": name, "place": ""} for name in row["causes"] or ()]


def _ratio(row: Row, event: Row | None, telling: Telling) -> float | None:
    if telling.kind not in ("drift", "warning", "frozen"):
        return None
    found = event["worst"] if event is not None and telling.what != "recovery" else row["ratio"]
    return None if found is None else round(float(found), 3)


def _verdicts(rule: Rule, row: Row, telling: Telling) -> list[int] | None:
    """Return how many of how many verdicts make the trouble, where the rule counts them."""
    letters = {"drift": "d", "warning": "wd", "failure": "f", "frozen": "z"}.get(telling.kind)
    if letters is None or rule.of == 1 or telling.what == "recovery":
        return None
    newest = row["recent"][-rule.of :]
    return [sum(letter in letters for letter in newest), len(newest)]


def _in_a_row(recent: str) -> int:
    return len(recent) - len(recent.rstrip(recent[-1:])) if recent else 0


def _pictured(connection: Connection, row: Row, event: Row | None, telling: Telling) -> int | None:
    """Return the number of the job whose picture shows the trouble best; None if none is kept."""
    wanted = [row["last_pictured"]]
    if event is not None and telling.what != "recovery":
        wanted = [event["worst_job"], event["newest_job"], event["first_job"], *wanted]
    kept = _with_picture(connection, [number for number in wanted if number is not None])
    return next((number for number in wanted if number in kept), None)


def _with_picture(connection: Connection, jobs: Collection[int]) -> set[int]:
    query = select(pictures.c.drift).join(drifts, drifts.c.number == pictures.c.drift)
    return set(connection.execute(query.where(pictures.c.drift.in_(jobs))).scalars())
