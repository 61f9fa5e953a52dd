"""One event: a span in which a stream drifted, was frozen, failed or was silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lenswatch.server.jobs.state_job import Seen

__all__ = ["Span", "by_rank", "place_of"]

_MOST_NAMES = 20
_ROWS, _COLUMNS = 4, 5  # of the node's map


@dataclass(slots=True)
class Span:
    """An event as the columns of its table have it.

    Attributes:
        number: Of its row; None before it is stored.
        causes: By name: `jobs`, in how many, `first`, in how many of those it came first, and `cells`, in
            how many each cell showed it.
    """

    kind: str
    begun_at: int
    ended_at: int | None = None
    jobs: int = 0
    first_job: int | None = None
    worst_job: int | None = None
    newest_job: int | None = None
    worst: float | None = None
    model: str | None = None
    causes: Mapping[str, Any] = field(default_factory=dict)
    number: int | None = None

    def with_job(self, seen: Seen) -> Span:
        """Return the event with one more job."""
        after = replace(self, jobs=self.jobs + 1, newest_job=seen.number)
        if after.first_job is None:
            after.first_job = seen.number
        if after.model is None:
            after.model = seen.model
        if after.worst_job is None or (
            seen.ratio is not None and (self.worst is None or seen.ratio > self.worst)
        ):
            after.worst_job, after.worst = seen.number, seen.ratio
        if seen.causes:
            after.causes = _counted(self.causes, seen)
        return after

    def ended_by(self, seen: Seen) -> Span:
        """Return the event as the next job ends it."""
        if self.kind == "silent":
            return replace(self, ended_at=max(self.begun_at, seen.arrived), newest_job=seen.number)
        return replace(self, ended_at=max(self.begun_at, seen.taken))


def _counted(causes: Mapping[str, Any], seen: Seen) -> Mapping[str, Any]:
    counted = dict(causes)
    for rank, cause in enumerate(seen.causes):
        if cause.name not in counted and len(counted) >= _MOST_NAMES:
            continue
        before = counted.get(cause.name, {})
        cells = dict(before.get("cells", {}))
        for cell in cause.cells:
            cells[cell] = cells.get(cell, 0) + 1
        counted[cause.name] = {
            "jobs": before.get("jobs", 0) + 1,
            "first": before.get("first", 0) + (rank == 0),
            "cells": cells,
        }
    return counted


def by_rank(causes: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the causes of an event with their names, that which came first most often first.

    >>> [name for name, _ in by_rank({"dirt": {"jobs": 9, "first": 1}, "blur": {"jobs": 5, "first": 4}})]
    ['blur', 'dirt']
    """

    def rank(item: tuple[str, Mapping[str, Any]]) -> tuple[int, int, str]:
        name, cause = item  # one of an earlier version does not say how often it came first
        return -cause.get("first", 0), -cause["jobs"], name

    return sorted(causes.items(), key=rank)


def place_of(cause: Mapping[str, Any]) -> str:
    """Return where most jobs of an event showed a cause: "upper right", "middle", or "all over".

    Empty if no cells are known.

    >>> place_of({"jobs": 2, "cells": {"0,4": 2, "0,3": 1, "3,0": 0}})
    'upper right'
    """
    often = [key.split(",") for key, jobs in cause["cells"].items() if 2 * jobs >= cause["jobs"]]
    cells = [(int(row), int(column)) for row, column in often]
    if not cells:
        return "all over" if cause["cells"] else ""
    if len(cells) > _ROWS * _COLUMNS // 2:
        return "all over"
    row = _third([row for row, _ in cells], _ROWS, ("upper", "", "lower"))
    column = _third([column for _, column in cells], _COLUMNS, ("left", "", "right"))
    return " ".join(filter(None, (row, column))) or "middle"


def _third(positions: list[int], size: int, words: tuple[str, str, str]) -> str:
    middle = (sum(positions) / len(positions) + 0.5) / size
    return words[min(2, int(middle * 3))]
