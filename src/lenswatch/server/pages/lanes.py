"""The lanes below a chart on its time axis: events as spans, notes as letters, a film of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from lenswatch.server.pages.points import Point
from lenswatch.server.pages.ranges import Range
from lenswatch.server.values import stamps

__all__ = ["Lanes", "lanes_of"]

SLOTS = 8
_NARROW = 0.2  # percent of the axis: a gap that nobody sees
_URGENT = ("drift", "warning", "failed")


@dataclass(frozen=True)
class Span:
    """A note, an event or `count` of one kind that touch, with its edges in percent of the axis."""

    record: Mapping[str, Any]
    begin: int
    end: int | None
    left: float
    width: float
    letter: str = ""
    count: int = 1


@dataclass(frozen=True)
class Slot:
    """One picture of the film; `point` is None where none is kept, `count` says of how many jobs."""

    point: Point | None
    count: int
    left: float  # the picture's time, in percent of the axis
    role: str = ""


@dataclass(frozen=True)
class Lanes:
    """Everything on the time axis besides the values."""

    start: int
    end: int
    events: Sequence[Span]
    notes: Sequence[Span]
    film: Sequence[Slot]


def lanes_of(
    points: Sequence[Point],
    events: Sequence[Mapping[str, Any]],
    notes: Sequence[Mapping[str, Any]],
    span: Range,
) -> Lanes:
    """Return the lanes of a range; of the newest jobs, it is as long as these."""
    now = stamps.now()
    start = span.start if span.start is not None else points[0].taken if points else now
    end = span.end if span.end is not None else points[-1].taken if points else now
    end = max(end, start + 1)
    spans = [_span(event, "begun_at", "ended_at", start, end) for event in events]
    noted = [_span(note, "begins_at", "ends_at", start, end) for note in notes]
    shown = sorted(filter(None, noted), key=lambda one: one.begin)
    lettered = [
        Span(one.record, one.begin, one.end, one.left, one.width, _letter(i))
        for i, one in enumerate(shown)
    ]
    return Lanes(start, end, _fused(filter(None, spans)), lettered, _film(points, start, end))


def _fused(spans: Iterable[Span]) -> list[Span]:
    """Return spans in the order of time, with those of one kind that cannot be told apart as one."""
    found: list[Span] = []
    open_ones: dict[str, int] = {}  # where the last span of each kind is
    for span in sorted(spans, key=lambda one: one.begin):
        kind = str(span.record["kind"])
        at = open_ones.get(kind)
        if at is None or span.left > found[at].left + found[at].width + _NARROW:
            open_ones[kind] = len(found)
            found.append(span)
            continue
        last = found[at]
        right = max(last.left + last.width, span.left + span.width)
        end = None if last.end is None or span.end is None else max(last.end, span.end)
        found[at] = replace(last, end=end, width=right - last.left, count=last.count + 1)
    return found


def _letter(index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else str(index + 1)


def _span(record: Mapping[str, Any], first: str, last: str, start: int, end: int) -> Span | None:
    begin = stamps.microseconds(record[first]) or 0
    ended = stamps.microseconds(record[last]) if record[last] else None
    lasts = first == "begun_at"  # an event without an end goes on, a note is a moment
    until = ended if ended is not None else end if lasts else begin
    if until < start or begin > end:
        return None
    left = 100 * (max(begin, start) - start) / (end - start)
    right = 100 * (min(until, end) - start) / (end - start)
    return Span(record, begin, ended, left, max(0.4, right - left))


def _film(points: Sequence[Point], start: int, end: int) -> list[Slot]:
    """Return the slots of the film, each with its most telling picture."""
    slots: list[list[Point]] = [[] for _ in range(SLOTS)]
    for point in points:
        at = int(SLOTS * (point.taken - start) / (end - start))
        if 0 <= at <= SLOTS:
            slots[min(at, SLOTS - 1)].append(point)
    newest = next((p for p in reversed(points) if p.image), None)
    drifts = [p for p in points if p.job.verdict == "drift" and p.image]
    first = drifts[0] if drifts else None
    worst = max(drifts, key=lambda p: p.job.ratio or 0, default=None)
    roles = [(first, "first"), (worst, "worst"), (newest, "newest")]
    return [_slot(inside, roles, start, end) for inside in slots]


def _slot(
    inside: Sequence[Point], roles: Sequence[tuple[Point | None, str]], start: int, end: int
) -> Slot:
    kept = [point for point in inside if point.image]
    if not kept:
        return Slot(None, len(inside), 0)
    role, chosen = "", kept[len(kept) // 2]
    for point, name in roles:
        if point is not None and any(point is one for one in kept):
            role, chosen = name, point
            if name == "worst":
                break
    urgent = [p for verdict in _URGENT for p in kept if p.job.verdict == verdict]
    if not role and urgent:
        chosen = (
            urgent[len(urgent) // 2]
            if urgent[0].job.verdict == urgent[-1].job.verdict
            else urgent[0]
        )
    return Slot(chosen, len(inside), 100 * (chosen.taken - start) / (end - start), role)
