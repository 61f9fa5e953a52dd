"""Alarms against what people and programs said: which were true, what was missed, how long it took.

All of it is plain arithmetic on values; times are microseconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

__all__ = ["Alarm", "Label", "Outcomes", "Span", "outcomes", "spans_of"]


@dataclass(frozen=True)
class Alarm:
    """One alarm of a stream, from its first picture to its end.

    Attributes:
        stream: Name of the stream.
        model: Reference that judged the first picture.
        begun_at: Time of capture of the first picture.
        ended_at: Its end; None while it lasts.
        said: A person's word: True for a true drift, False for a false alarm, None if nobody said anything.
    """

    stream: str
    model: str | None
    begun_at: int
    ended_at: int | None
    said: bool | None = None


class Label(NamedTuple):
    """The truth about one picture. There may be a million of them, so they are made quickly."""

    stream: str
    model: str
    taken_at: int
    drift: bool


@dataclass(frozen=True)
class Span:
    """Pictures in a row, among the labelled ones of a stream, that show drift."""

    stream: str
    model: str
    begun_at: int
    ended_at: int  # time of capture of the last of them


@dataclass
class Outcomes:
    """Counts of one reference and stream, or of all.

    Attributes:
        true: Alarms that were true.
        false: Alarms that were not.
        unknown: Alarms of which that is not known.
        delays: Time from the begin of each detected span to its alarm, in ascending order.
        missed: Spans without an alarm.
    """

    true: int = 0
    false: int = 0
    unknown: int = 0
    delays: list[int] = field(default_factory=list)
    missed: int = 0


Key = tuple[str | None, str | None]  # model and stream


def outcomes(
    alarms: Iterable[Alarm],
    labels: Iterable[Label],
    begin: int | None = None,
    end: int | None = None,
) -> dict[Key, Outcomes]:
    """Return the counts by model and stream, and those of all under (None, None).

    Args:
        alarms: All alarms of the streams.
        labels: All labels of the streams, in any order; of two at one moment the later one counts last.
        begin: Count alarms and spans that began at this moment or later.
        end: Count alarms and spans that began before this moment.
    """
    alarms_of: dict[str, list[Alarm]] = {}
    for alarm in sorted(alarms, key=attrgetter("begun_at")):
        alarms_of.setdefault(alarm.stream, []).append(alarm)
    labels_of: dict[str, list[Label]] = {}
    for label in sorted(labels, key=attrgetter("taken_at")):
        labels_of.setdefault(label.stream, []).append(label)
    found: dict[Key, Outcomes] = {(None, None): Outcomes()}
    for stream in sorted(alarms_of.keys() | labels_of.keys()):
        _count(found, alarms_of.get(stream, []), labels_of.get(stream, []), begin, end)
    for each in found.values():
        each.delays.sort()
    return found


def spans_of(labels: Sequence[Label]) -> list[Span]:
    """Return the spans of drift among a stream's labels, which are in the order of capture.

    A span ends at the next picture that is labelled clean; pictures without a label do not end it.
    """
    found: list[Span] = []
    goes_on = False
    for label in labels:
        if label.drift and goes_on:
            found[-1] = replace(found[-1], ended_at=label.taken_at)
        elif label.drift:
            found.append(Span(label.stream, label.model, label.taken_at, label.taken_at))
        goes_on = label.drift
    return found


def _count(
    found: dict[Key, Outcomes],
    alarms: Sequence[Alarm],
    labels: Sequence[Label],
    begin: int | None,
    end: int | None,
) -> None:
    """Add the alarms and spans of one stream to the counts."""
    times = [label.taken_at for label in labels]
    for alarm in alarms:
        if _within(alarm.begun_at, begin, end):
            _add_alarm(found, alarm, _was_true(alarm, labels, times))
    for span in spans_of(labels):
        if _within(span.begun_at, begin, end):
            _add_span(found, span, _delay(span, alarms))


def _within(moment: int, begin: int | None, end: int | None) -> bool:
    return (begin is None or begin <= moment) and (end is None or moment < end)


def _was_true(alarm: Alarm, labels: Sequence[Label], times: Sequence[int]) -> bool | None:
    """Return a person's word about an alarm, else that of the labels within it, else None."""
    if alarm.said is not None:
        return alarm.said
    first = bisect_left(times, alarm.begun_at)
    last = len(times) if alarm.ended_at is None else bisect_right(times, alarm.ended_at)
    within = labels[first:last]
    return any(label.drift for label in within) if within else None


def _delay(span: Span, alarms: Sequence[Alarm]) -> int | None:
    """Return the time from a span's begin to the first alarm that was on within it; None if none was."""
    for alarm in alarms:
        if alarm.begun_at > span.ended_at:
            return None
        if alarm.ended_at is None or alarm.ended_at >= span.begun_at:
            return max(0, alarm.begun_at - span.begun_at)
    return None


def _add_alarm(found: dict[Key, Outcomes], alarm: Alarm, was_true: bool | None) -> None:
    for counts in _both(found, (alarm.model, alarm.stream)):
        counts.true += was_true is True
        counts.false += was_true is False
        counts.unknown += was_true is None


def _add_span(found: dict[Key, Outcomes], span: Span, delay: int | None) -> None:
    for counts in _both(found, (span.model, span.stream)):
        if delay is None:
            counts.missed += 1
        else:
            counts.delays.append(delay)


def _both(found: dict[Key, Outcomes], key: Key) -> tuple[Outcomes, Outcomes]:
    return found[None, None], found.setdefault(key, Outcomes())
