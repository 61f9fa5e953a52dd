"""The state of a stream after one more job: a pure function of the state before and the job.

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

__all__ = ["FAILING_AFTER", "RECENT", "Stream", "fold", "known", "settled", "step"]

FAILING_AFTER = 3  # failures in a row
RECENT = 100  # letters
_SPANNED = ("drift", "frozen")  # verdicts that make an event


@dataclass(frozen=True, slots=True)
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
    """Return the state after all `jobs`, and the events that ended."""
    ended: list[Span] = []
    for seen in jobs:
        stream, closed = step(stream, seen)
        ended += closed
    return (stream and settled(stream)), ended


def step(stream: Stream | None, seen: Seen) -> tuple[Stream | None, list[Span]]:
    """Return the state after one more job but for `due_at`, and the events that it ended.

    A picture that the node refused does not make a stream that is not known.
    """
    if stream is None:
        if seen.refused:
            return None, []
        stream = known(seen.arrived)
    if seen.shed:
        shed, undecided = stream.shed + seen.shed, stream.undecided + 1
        stream = replace(stream, shed=shed, undecided=undecided)
    if not seen.letter:
        return stream, []
    after = _failed(stream, seen) if seen.letter == "f" else _judged(stream, seen)
    return _with_spans(stream, after, seen)


def settled(stream: Stream) -> Stream:
    """Return the state with the moment at which the stream becomes silent."""
    due = None
    if stream.retired_at is None and stream.silent_since is None and stream.last_at is not None:
        due = due_after(stream.rhythm, stream.last_at, stream.interval_set)
    return replace(stream, due_at=due)


def _failed(stream: Stream, seen: Seen) -> Stream:
    recent = (stream.recent + "f")[-RECENT:]
    failed_at = seen.taken if stream.failed_at is None else stream.failed_at
    failed_job = seen.number if stream.failed_at is None else stream.failed_job
    failing = stream.verdict is None or recent.endswith("f" * FAILING_AFTER)
    return _arrived(
        replace(
            stream,
            state="failing" if failing else stream.state,
            since=failed_at if failing else stream.since,
            failed_at=failed_at,
            failed_job=failed_job,
            recent=recent,
        ),
        seen,
    )


def _judged(stream: Stream, seen: Seen) -> Stream:
    verdict, rhythm = VERDICTS[seen.letter], stream.rhythm
    if seen.captured is not None:
        rhythm = rhythm.after(seen.captured, seen.arrived)
    since = stream.verdict_since if verdict == stream.verdict else seen.taken
    return _arrived(
        replace(
            stream,
            state=verdict,
            since=since,
            verdict=verdict,
            verdict_since=since,
            ratio=seen.ratio,
            causes=tuple(cause.name for cause in seen.causes[:2]),
            failed_at=None,
            failed_job=None,
            last_judged=seen.number,
            recent=(stream.recent + seen.letter)[-RECENT:],
            rhythm=rhythm,
        ),
        seen,
    )


def _arrived(stream: Stream, seen: Seen) -> Stream:
    """Return the state with the job as the newest, so that the stream is not silent."""
    return replace(
        stream,
        last_at=seen.arrived,
        last_taken=seen.taken,
        last_job=seen.number,
        judged=stream.judged + 1,
        silent_since=None,
    )


def _with_spans(before: Stream, after: Stream, seen: Seen) -> tuple[Stream, list[Span]]:
    """Return the state `after` a job with its events brought up to date, and those that ended."""
    changed = after.state != before.shown
    if changed:
        after = replace(after, acknowledged_at=None, acknowledged_by=None)
    if changed or after.recent.strip("c"):
        after = replace(after, undecided=after.undecided + 1)
    wanted = [kind for kind in _SPANNED if kind == after.verdict]
    wanted += ["failing"] * (after.state == "failing")
    if not wanted and not before.spans:
        return after, []
    spans = {span.kind: span for span in before.spans}
    ended = [span.ended_by(seen) for kind, span in spans.items() if kind not in wanted]
    kept = tuple(_extended(spans.get(kind), kind, after, seen) for kind in wanted)
    return replace(after, spans=kept), ended


def _extended(span: Span | None, kind: str, after: Stream, seen: Seen) -> Span:
    """Return the open event of a kind after one more job."""
    if kind == "failing":
        run = len(after.recent) - len(after.recent.rstrip("f"))
        span = span or Span(
            kind, after.failed_at or seen.taken, jobs=run - 1, first_job=after.failed_job
        )
        return span.with_job(seen)
    span = span or Span(kind, seen.taken)
    return span.with_job(seen) if seen.letter != "f" else span
