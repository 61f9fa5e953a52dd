"""Timing two ways of doing a thing side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Comparison", "compare", "milliseconds"]


@dataclass(frozen=True)
class Comparison:
    """Medians in milliseconds of ours and theirs, and how many times ours is faster.

    `goal` is what the ratio is to be at least; `runs` how many pairs were timed.
    """

    name: str
    ours: float
    theirs: float
    goal: float
    runs: int

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ours_ms": round(self.ours, 4),
            "theirs_ms": round(self.theirs, 4),
            "ratio": round(self.ratio, 2),
            "goal": self.goal,
            "runs": self.runs,
        }


def milliseconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], goal: float, runs: int
) -> Comparison:
    """Time both in turn, after a warm-up, so that a slow moment of the machine hits both."""
    for _ in range(3):
        ours()
        theirs()
    pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(runs)]
    mine, other = (median(column) for column in zip(*pairs, strict=True))
    return Comparison(name, mine, other, goal, runs)
