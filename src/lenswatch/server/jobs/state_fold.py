"""The state of a stream after more jobs: a pure function of the state before and the jobs.

The state is the result of this function over the jobs of the stream that have finished and are not late,
in the order of their arrival. Failures change it only when nothing was ever judged, or when the newest
`FAILING_AFTER` jobs failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lenswatch.server.jobs.state_job import VERDICTS, Seen
from lenswatch.server.jobs.state_rhythm import NO_RHYTHM, Rhythm, due_after
from lenswatch.server.jobs.state_span import Span

__all__ = ["FAILING_AFTER", "RECENT", "Stream", "fold", "known", "settled"]

FAILING_AFTER = 3  # failures in a row
RECENT = 100  # letters
_SPANNED = ("drift", "frozen")  # verdicts that make an event


@dataclass(slots=True)
class Stream:
    """The part of a stream's row that its jobs make. The columns of the table say what each is."""

    state: str = "waiting"
    since: int | None = None
    verdict: str | None = None
    verdict_since: int | None = None
    ratio: float | None = None
    causes: tuple[str, ...] = ()
    failed_at: int | None = None
    failed_job: int | None = None
    first_at: int | None = None
    last_at: int | None = None
    last_taken: int | None = None
    last_job: int | None = None
    last_judged: int | None = None
    judged: int = 0
    recent: str = ""
    shed: int = 0
    rhythm: Rhythm = NO_RHYTHM
    due_at: int | None = None
    silent_since: int | None = None
    spans: tuple[Span, ...] = ()  # the open ones
    # As people set it.
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    retired_at: int | None = None
    interval_set: int | None = None
    undecided: int = 0

    @property
    def shown(self) -> str:
        """The state with silence."""
        return self.state if self.silent_since is None else "silent"


def known(first_at: int | None = None) -> Stream:
    """Return the state of a stream whose first judged job is not known here."""
    return Stream(first_at=first_at)


def fold(stream: Stream | None, jobs: Iterable[Seen]) -> tuple[Stream | None, list[Span]]:
    """Return the state after all `jobs`, and the events that ended; `stream` stays as it is.

    A picture that the node refused does not make a stream that is not known.
    """
    after = None if stream is None else replace(stream)
    ended: list[Span] = []
    for seen in jobs:
        if after is None:
            if seen.refused:
                continue
            after = known(seen.arrived)
        if seen.shed:
            after.shed += seen.shed
            after.undecided += 1
        if seen.letter:
            _take(after, seen, ended)
    return (after and settled(after)), ended


def settled(stream: Stream) -> Stream:
    """Return the state with the moment at which the stream becomes silent."""
    due = None
    if stream.retired_at is None and stream.silent_since is None and stream.last_at is not None:
        due = due_after(stream.rhythm, stream.last_at, stream.interval_set)
    return replace(stream, due_at=due)


def _take(stream: Stream, seen: Seen, ended: list[Span]) -> None:
    """Take in a job that counts."""
    before = stream.shown
    if seen.letter == "f":
        _fail(stream, seen)
    else:
        _judge(stream, seen)
    stream.last_at, stream.last_taken, stream.last_job = seen.arrived, seen.taken, seen.number
    stream.judged += 1
    stream.silent_since = None
    changed = stream.state != before
    if changed:
        stream.acknowledged_at = stream.acknowledged_by = None
    if changed or stream.recent.strip("c"):
        stream.undecided += 1
    if stream.spans or stream.verdict in _SPANNED or stream.state == "failing":
        _span(stream, seen, ended)


def _fail(stream: Stream, seen: Seen) -> None:
    stream.recent = (stream.recent + "f")[-RECENT:]
    if stream.failed_at is None:
        stream.failed_at, stream.failed_job = seen.taken, seen.number
    if stream.verdict is None or stream.recent.endswith("f" * FAILING_AFTER):
        stream.state, stream.since = "failing", stream.failed_at


def _judge(stream: Stream, seen: Seen) -> None:
    verdict = VERDICTS[seen.letter]
    if verdict != stream.verdict:
        stream.verdict, stream.verdict_since = verdict, seen.taken
    stream.state, stream.since = verdict, stream.verdict_since
    stream.recent = (stream.recent + seen.letter)[-RECENT:]
    stream.failed_at = stream.failed_job = None
    stream.ratio = seen.ratio
    stream.causes = tuple([cause.name for cause in seen.causes[:2]])
    stream.last_judged = seen.number
    if seen.captured is not None:
        stream.rhythm = stream.rhythm.after(seen.captured, seen.arrived)


def _span(stream: Stream, seen: Seen, ended: list[Span]) -> None:
    """Begin, extend and end the events of a stream by its newest job."""
    wanted = [stream.verdict] if stream.verdict in _SPANNED else []
    wanted += ["failing"] if stream.state == "failing" else []
    spans = {span.kind: span for span in stream.spans}
    ended += (span.ended_by(seen) for kind, span in spans.items() if kind not in wanted)
    stream.spans = tuple([_extended(spans.get(kind), kind, stream, seen) for kind in wanted])


def _extended(span: Span | None, kind: str, stream: Stream, seen: Seen) -> Span:
    """Return the open event of a kind after one more job."""
    if kind == "failing":
        if span is None:
            run = len(stream.recent) - len(stream.recent.rstrip("f"))
            begun = seen.taken if stream.failed_at is None else stream.failed_at
            span = Span(kind, begun, jobs=run - 1, first_job=stream.failed_job)
        return span.with_job(seen)
    if span is not None and seen.letter == "f":
        return span
    return (span or Span(kind, seen.taken)).with_job(seen)
