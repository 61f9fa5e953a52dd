"""Messages that a rule would have sent: the same decisions, on the events that are kept.

Events are spans of trouble. So what happened within one is not known: a rule on N of M verdicts is taken to
begin when the event does, if that has N jobs. Warnings, lost jobs and what people muted leave no events.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, or_, select

from lenswatch.server.alerts.rules import TROUBLES, Rule, View
from lenswatch.server.alerts.spells import Memory, decide, tell
from lenswatch.server.db.tables import events
from lenswatch.server.values import stamps

__all__ = ["DAYS", "Span", "preview", "simulate"]

DAYS = 30
MOST_EVENTS = 20_000  # that are looked at, the newest
MOST_LOOKS = 100_000  # of the simulation
_DAY = 86400 * 10**6
_LISTED = 20  # streams

# One event: stream, state, beginning and end in microseconds since 1970 (None while it lasts).
Span = tuple[str, str, int, int | None]


def preview(
    connection: Connection,
    experiment: int,
    stream: str | None,
    terms: Mapping[str, Any],
    now: int | None = None,
) -> dict[str, Any]:
    """Return numbers of messages of the last DAYS, as the API answers them."""
    now = stamps.now() if now is None else now
    rule = Rule.of_terms(terms)
    spans = _spans(connection, experiment, stream, rule, now)
    told, unsaid, complete = simulate(rule, spans, now - DAYS * _DAY, now)
    by_stream = Counter(name for names in told for name in set(names))
    return {
        "messages": len(told),
        "alarms": sum(map(len, told)),
        "held_back": unsaid,
        "complete": complete,
        "unknown": [kind for kind in rule.kinds if kind not in TROUBLES],
        "streams": dict(by_stream.most_common(_LISTED)),
    }


def _spans(
    connection: Connection, experiment: int, stream: str | None, rule: Rule, now: int
) -> list[Span]:
    query = select(events.c.stream, events.c.kind, events.c.begun_at, events.c.ended_at).where(
        events.c.experiment == experiment,
        events.c.begun_at >= now - 2 * DAYS * _DAY,
        or_(events.c.ended_at.is_(None), events.c.ended_at >= now - DAYS * _DAY),
        or_(events.c.jobs >= rule.count, events.c.kind == "silent"),
    )
    if stream is not None:
        query = query.where(events.c.stream == stream)
    newest = query.order_by(events.c.begun_at.desc()).limit(MOST_EVENTS)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(newest)]


def simulate(
    rule: Rule, spans: Iterable[Span], begin: int, now: int
) -> tuple[list[list[str]], int, bool]:
    """Return a rule's messages, the number of tellings that were held back for good, and whether that is all.

    A message is the list of its streams.

    Args:
        rule: The rule.
        spans: All events.
        begin: Start of the time that counts.
        now: Its end.
    """
    simulation = _Simulation(rule, now)
    for stream, changes in _changes(spans).items():
        simulation.add(stream, changes)
    simulation.run()
    told = [streams for at, streams in simulation.messages if at >= begin]
    return told, sum(at >= begin for at in simulation.unsaid), simulation.looks < MOST_LOOKS


def _changes(spans: Iterable[Span]) -> dict[str, list[tuple[int, View]]]:
    """Return how each stream is from which moment on."""
    by_stream: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        by_stream[span[0]].append(span)
    return {stream: _views(own) for stream, own in by_stream.items()}


def _views(spans: Sequence[Span]) -> list[tuple[int, View]]:
    edges = sorted({edge for span in spans for edge in span[2:] if edge is not None})
    views = []
    for moment in edges:
        lasting = {
            kind: begun
            for _, kind, begun, ended in spans
            if begun <= moment and (ended is None or ended > moment)
        }
        state = next((kind for kind in ("failing", "drift", "frozen") if kind in lasting), "clean")
        view = View(state, since=lasting.get(state), silent_since=lasting.get("silent"))
        views.append((moment, view))
    return views


class _Simulation:
    """A clock that goes from one moment at which something happens to the next."""

    def __init__(self, rule: Rule, now: int) -> None:
        self.rule = replace(rule, count=1, of=1, muted_until=None)
        self.now = now
        self.messages: list[tuple[int, list[str]]] = []
        self.unsaid: list[int] = []
        self.looks = 0
        self._views: dict[str, View] = {}
        self._memories: dict[str, Memory] = defaultdict(lambda: Memory(judged=0, shed=0))
        self._pushed = itertools.count()
        self._queue: list[tuple[int, int, str | None, View | None]] = []
        self._flush_at: int | None = None

    def add(self, stream: str, changes: Iterable[tuple[int, View]]) -> None:
        """Let a stream change so."""
        for moment, view in changes:
            self._push(moment, stream, view)

    def run(self) -> None:
        """Go through all moments until now."""
        while self._queue and self._queue[0][0] <= self.now and self.looks < MOST_LOOKS:
            self.looks += 1
            moment, _, stream, view = heapq.heappop(self._queue)
            if stream is None:
                self._flush(moment)
                continue
            if view is not None:
                self._views[stream] = view
            self._look(moment, stream)

    def _push(self, moment: int, stream: str | None, view: View | None) -> None:
        heapq.heappush(self._queue, (moment, next(self._pushed), stream, view))

    def _look(self, moment: int, stream: str) -> None:
        decision = decide(self.rule, self._memories[stream], self._views[stream], moment)
        self._memories[stream] = decision.memory
        self.unsaid += [moment] * len(decision.unsaid)
        if decision.due_at is not None:
            self._push(max(decision.due_at, moment + 1), stream, None)
        if decision.memory.ready and self._flush_at is None:
            self._flush_at = moment + self.rule.digest
            self._push(self._flush_at, None, None)

    def _flush(self, moment: int) -> None:
        self._flush_at = None
        streams = []
        for stream, memory in list(self._memories.items()):
            if memory.ready:
                self._memories[stream], tellings = tell(memory, moment)
                streams += [stream] * len(tellings)
                self._push(moment, stream, None)
        if streams:
            self.messages.append((moment, streams))
