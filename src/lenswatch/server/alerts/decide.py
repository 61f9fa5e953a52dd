"""The decision about messages: one transaction for the look, the memory, messages and deliveries.

So each thing is decided once, whichever process dies and whenever. Rows are locked in one order: streams,
then rules, then what belongs to them. What another process holds is skipped, and looked at the next time.
"""

from __future__ import annotations

import functools
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    insert,
    select,
    tuple_,
    update,
)

from lenswatch.server.alerts.facts import items_of
from lenswatch.server.alerts.rules import Rule, View
from lenswatch.server.alerts.spells import Memory, Telling, decide, tell
from lenswatch.server.db.database import Database, insert_of
from lenswatch.server.db.tables import (
    channels,
    deliveries,
    messages,
    rule_channels,
    rule_states,
    rules,
    streams,
)
from lenswatch.server.values import stamps

__all__ = ["add_message", "decide_pass", "delivery_row", "run_decisions", "view_of"]

LOOKED_AT = 500  # streams in one transaction
_SECONDS = 5.0  # for the transactions of one run
_KEYS = 200  # of one IN

Row = Mapping[Any, Any]


def run_decisions(database: Database, stopping: threading.Event) -> None:
    """Decide about everything that has changed or is due, within some seconds."""
    end = time.monotonic() + _SECONDS
    while not stopping.is_set() and time.monotonic() < end:
        if not decide_pass(database):
            return


def decide_pass(database: Database, now: int | None = None) -> bool:
    """Decide about up to LOOKED_AT streams, and return whether there was something to do."""
    now = stamps.now() if now is None else now
    with database.read() as connection:
        if not _is_anything(connection, now):
            return False
    with database.write() as connection:
        found = _pick(connection, now)
        if found:
            _look_at(connection, found, now)
        flushed = _flush(connection, now)
        return bool(found or flushed)


def _is_anything(connection: Connection, now: int) -> bool:
    return any(connection.execute(query, {"now": now}).first() is not None for query in _ANYTHING)


def _pick(connection: Connection, now: int) -> list[Row]:
    """Lock and return the streams to look at."""
    connection.execute(_FORGET_LOST, {"now": now})
    found: dict[tuple[int, str], Row] = {}
    for query in _TO_LOOK_AT:
        asked = {"now": now, "most": LOOKED_AT - len(found)}
        for row in connection.execute(query, asked).mappings():
            found[row["experiment"], row["stream"]] = row
        if len(found) >= LOOKED_AT:
            break
    return list(found.values())


# Statements of each look, which are built once: building takes longer than running them.
_now = bindparam("now", type_=BigInteger)
_same_stream = (rule_states.c.experiment == streams.c.experiment) & (
    rule_states.c.stream == streams.c.stream
)
_is_due = rule_states.c.due_at <= _now
_ANYTHING = (
    select(streams.c.stream).where(streams.c.undecided > 0).limit(1),
    select(rule_states.c.stream).where(_is_due).limit(1),
    select(rules.c.number).where(rules.c.flush_at <= _now).limit(1),
)
_FORGET_LOST = delete(rule_states).where(_is_due, ~exists().where(_same_stream))  # streams are gone
_TO_LOOK_AT = tuple(
    query.limit(bindparam("most")).with_for_update(of=streams, skip_locked=True)
    for query in (
        select(streams).where(streams.c.undecided > 0),
        select(streams).join(rule_states, _same_stream).where(_is_due),
    )
)


def _look_at(connection: Connection, found: Sequence[Row], now: int) -> None:
    experiments = sorted({row["experiment"] for row in found})
    by_experiment = defaultdict(list)
    for rule in _locked_rules(connection, rules.c.experiment.in_(experiments) & rules.c.enabled):
        by_experiment[rule["experiment"]].append(rule)
    watched = [row for row in found if row["experiment"] in by_experiment]
    memories = _memories(connection, watched)
    for rule in (rule for group in by_experiment.values() for rule in group):
        concerned = [
            row
            for row in watched
            if row["experiment"] == rule["experiment"] and rule["stream"] in (None, row["stream"])
        ]
        if concerned:
            _apply(connection, rule, concerned, memories, now)
    _clear(connection, found)


def _locked_rules(connection: Connection, which: Any) -> list[Row]:
    query = select(rules).where(which).order_by(rules.c.number)
    return list(connection.execute(query.with_for_update(key_share=True)).mappings())


def _memories(connection: Connection, found: Sequence[Row]) -> dict[tuple[int, str], Memory]:
    kept: dict[tuple[int, str], Memory] = {}
    for keys in _chunks([(row["experiment"], row["stream"]) for row in found]):
        here = tuple_(rule_states.c.experiment, rule_states.c.stream).in_(keys)
        for row in connection.execute(select(rule_states).where(here)).mappings():
            kept[row["rule"], row["stream"]] = Memory.from_json(row["memory"])
    return kept


def _chunks(keys: Sequence[tuple[int, str]]) -> Iterable[Sequence[tuple[int, str]]]:
    return (keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS))


def _apply(
    connection: Connection,
    row: Row,
    concerned: Sequence[Row],
    memories: Mapping[tuple[int, str], Memory],
    now: int,
) -> None:
    """Look at streams with one rule: keep what it remembers, and record what it will never say."""
    rule = Rule.of_terms(row["terms"], row["muted_until"])
    states, unsaid, ready = [], [], False
    for stream in concerned:
        # A stream that came after the rule begins with nothing.
        before = memories.get((row["number"], stream["stream"]), Memory(judged=0, shed=0))
        decision = decide(rule, before, view_of(stream), now)
        ready = ready or decision.memory.ready
        unsaid += [(stream, each.telling, each.reason) for each in decision.unsaid]
        states.append(_state(row, stream, decision.memory, decision.due_at))
    _keep(connection, states)
    if ready and row["flush_at"] is None:
        flush = update(rules).where(rules.c.number == row["number"])
        connection.execute(flush.values(flush_at=now + rule.digest))
    if unsaid:
        items = items_of(connection, rule, [(stream, telling) for stream, telling, _ in unsaid])
        reasons = "; ".join(sorted({reason for _, _, reason in unsaid}))
        add_message(connection, row, items, now, unsent=f"{reasons}; over before that ended")


def _state(row: Row, stream: Row, memory: Memory, due_at: int | None) -> dict[str, Any]:
    return {
        "rule": row["number"],
        "stream": stream["stream"],
        "experiment": row["experiment"],
        "memory": memory.to_json(),
        "ready": memory.ready,
        "due_at": due_at,
    }


def _keep(connection: Connection, states: Sequence[dict[str, Any]]) -> None:
    connection.execute(_keeping(connection.dialect.name), list(states))


@functools.cache
def _keeping(dialect: str) -> Any:
    query = insert_of(dialect, rule_states)
    changed = {name: query.excluded[name] for name in ("memory", "ready", "due_at")}
    keys = [rule_states.c.rule, rule_states.c.stream]
    return query.on_conflict_do_update(index_elements=keys, set_=changed)


def _clear(connection: Connection, found: Sequence[Row]) -> None:
    for keys in _chunks([(r["experiment"], r["stream"]) for r in found if r["undecided"]]):
        here = tuple_(streams.c.experiment, streams.c.stream).in_(keys)
        connection.execute(update(streams).where(here).values(undecided=0))


def view_of(row: Row) -> View:
    """Return a row of `streams` as rules see it."""
    return View(
        state=row["state"],
        since=row["since"],
        recent=row["recent"],
        judged=row["judged"],
        silent_since=row["silent_since"],
        acknowledged=row["acknowledged_at"] is not None,
        muted_until=row["muted_until"],
        retired=row["retired_at"] is not None,
        shed=row["shed"],
    )


def _flush(connection: Connection, now: int) -> bool:
    """Make the messages that are complete."""
    due = _locked_rules(connection, rules.c.flush_at <= now)
    for row in due:
        _say(connection, row, now)
        connection.execute(
            update(rules).where(rules.c.number == row["number"]).values(flush_at=None)
        )
    return bool(due)


def _say(connection: Connection, row: Row, now: int) -> None:
    rule = Rule.of_terms(row["terms"], row["muted_until"])
    told: list[tuple[Row, Telling]] = []
    states = []
    for found in connection.execute(_ready(row["number"])).mappings():
        memory = Memory.from_json(found["memory"])
        memory, tellings = tell(memory, now)
        told += [(found, telling) for telling in tellings]
        # The next look finds out when it is due again.
        states.append(_state(row, found, memory, now))
    if states:
        _keep(connection, states)
    if told:
        add_message(connection, row, items_of(connection, rule, told), now)


def _ready(rule: int) -> Select[Any]:
    return (
        select(streams, rule_states.c.memory)
        .join(rule_states, _same_stream)
        .where(rule_states.c.rule == rule, rule_states.c.ready)
    )


def add_message(
    connection: Connection,
    rule: Row,
    items: Sequence[dict[str, Any]],
    now: int,
    *,
    unsent: str | None = None,
) -> None:
    """Store a message of a rule with a delivery for each of its channels; `unsent` says why not to send."""
    row = {
        "id": str(uuid.uuid4()),
        "experiment": rule["experiment"],
        "rule": rule["number"],
        "rule_name": rule["name"],
        "created_at": now,
        "facts": list(items),
    }
    number = connection.execute(
        insert(messages).values(row).returning(messages.c.number)
    ).scalar_one()
    query = (
        select(channels)
        .join(rule_channels, rule_channels.c.channel == channels.c.number)
        .where(rule_channels.c.rule == rule["number"])
        .order_by(channels.c.number)
    )
    rows = [
        delivery_row(channel, number, now, unsent)
        for channel in connection.execute(query).mappings()
    ]
    if rows:
        connection.execute(insert(deliveries), rows)


def delivery_row(channel: Row, message: int, now: int, unsent: str | None = None) -> dict[str, Any]:
    """Return the row of a message's delivery to a channel, due now unless it is never sent."""
    return {
        "id": str(uuid.uuid4()),
        "experiment": channel["experiment"],
        "message": message,
        "channel": channel["number"],
        "channel_name": channel["name"],
        "channel_kind": channel["kind"],
        "state": "waiting" if unsent is None else "not sent",
        "due_at": now if unsent is None else None,
        "result": unsent,
        "ended_at": None if unsent is None else now,
    }
