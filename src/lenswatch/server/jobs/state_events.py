"""Stored events brought into agreement with those that a stream's newest jobs make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lenswatch.server.jobs.state_span import Span

__all__ = ["agree"]


def agree(
    made: Sequence[Span], stored: Sequence[Span], begin: int | None, change: int
) -> tuple[list[Span], list[int]]:
    """Return the events to store, and the numbers of those to delete.

    An event that is still there keeps its row, so that what people said of it stays with it.

    Args:
        made: The events of the jobs that were looked at.
        stored: The stream's events that had not ended before those jobs.
        begin: Time of capture of the first of these jobs if there are older ones, which are not known.
            None: there are none.
        change: Jobs of the stream that were added, less those that were removed.
    """
    left = list(stored)
    kept: list[Span] = []
    for span in made:
        match = next((old for old in left if _is_same(old, span)), None)
        if match is None:
            kept.append(span)
            continue
        left.remove(match)
        older = begin is not None and span.begun_at <= begin and match.begun_at < span.begun_at
        kept.append(
            _with_beginning(span, match, change) if older else replace(span, number=match.number)
        )
    gone: list[int] = []
    for old in left:
        if begin is None or old.begun_at >= begin:
            gone += [old.number] if old.number is not None else []
        elif old.ended_at is None or old.ended_at > begin:
            kept.append(replace(old, ended_at=max(old.begun_at, begin)))
    return kept, gone


def _is_same(old: Span, span: Span) -> bool:
    if old.kind != span.kind:
        return False
    before = span.ended_at is None or old.begun_at <= span.ended_at
    return before and (old.ended_at is None or span.begun_at <= old.ended_at)


def _with_beginning(span: Span, old: Span, change: int) -> Span:
    """Return an event whose beginning is not among the jobs that were looked at."""
    older_is_worse = (old.worst or 0.0) > (span.worst or 0.0)
    return replace(
        span,
        number=old.number,
        begun_at=old.begun_at,
        jobs=max(span.jobs, old.jobs + change),
        first_job=old.first_job,
        model=old.model,
        worst=old.worst if older_is_worse else span.worst,
        worst_job=old.worst_job if older_is_worse else span.worst_job,
        causes=old.causes,
    )
