"""The history of an event, in the order of time: pictures, messages, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lenswatch.server.pages.job import Job
from lenswatch.server.pages.words import number, times_over
from lenswatch.server.values import stamps

__all__ = ["Happening", "history_of"]


class _Shown(Protocol):
    """A picture with its role in the event."""

    @property
    def role(self) -> str: ...
    @property
    def job(self) -> Job: ...


@dataclass(frozen=True)
class Happening:
    """One line of the list."""

    at: int
    kind: str  # a state, or "person", "hook", "bell"
    words: str
    result: str = ""  # of a message
    more: str = ""
    note: str = ""  # id of a note, which can be removed


def history_of(
    event: Mapping[str, Any],
    notes: Iterable[Mapping[str, Any]],
    deliveries: Iterable[Mapping[str, Any]],
    shown: Sequence[_Shown],
) -> list[Happening]:
    """Return what happened, oldest first."""
    found = [_picture(one.role, one.job) for one in shown]
    found += [_note(note) for note in notes]
    found += [_delivery(delivery) for delivery in deliveries]
    if event["ended_at"]:
        end = stamps.microseconds(event["ended_at"]) or 0
        found.append(Happening(end, "clean", "It was over."))
    return sorted(found, key=lambda happening: happening.at)


def _picture(role: str, job: Job) -> Happening:
    decided = job.decided[0] if job.decided else job.score if job.score.ratio else job.distance
    value = f"{decided.name} {number(decided.value)}" if decided.value is not None else ""
    causes = ", ".join(cause["name"] for cause in job.causes[:2])
    said = ": ".join(filter(None, [f"{role} picture of the event", value]))
    return Happening(job.taken, job.verdict, said, more=causes or times_over(job.ratio))


def _note(note: Mapping[str, Any]) -> Happening:
    kind = str(note["kind"])
    text = f"{kind.capitalize()}: {note['text']}" if note["text"] and kind != "note" else ""
    words = text or note["text"] or kind.capitalize()
    by = f"by {note['author']}" if note.get("author") else ""
    at = stamps.microseconds(note["begins_at"]) or 0
    return Happening(at, "person", words, more=by, note=str(note["id"]))


def _delivery(delivery: Mapping[str, Any]) -> Happening:
    at = stamps.microseconds(delivery["ended_at"] or delivery["created_at"]) or 0
    words = f"{str(delivery['what']).capitalize()} to {delivery['channel_name']}"
    return Happening(at, "hook", words, str(delivery["state"]), str(delivery["result"] or ""))
