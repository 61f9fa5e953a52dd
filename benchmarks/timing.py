"""Timing two ways of doing a thing side by side."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Self

__all__ = ["Comparison", "Elsewhere", "compare", "milliseconds"]

COLD, COUNTED = 3, 6  # calls in a turn


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


class Elsewhere:
    """Something to time in a process of its own, which calls what `make(*arguments)` returns there."""

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: object) -> None:
        self._make, self._arguments = make, arguments

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, self._make, self._arguments))
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join()

    def milliseconds(self) -> float:
        """Return how long one call takes, timed in that process."""
        self._pipe.send(True)
        return float(self._pipe.recv())


def _serve(
    pipe: Connection, make: Callable[..., Callable[[], object]], arguments: tuple[object, ...]
) -> None:
    action = make(*arguments)
    while pipe.recv():
        pipe.send(milliseconds(action))


def milliseconds(action: Callable[[], object] | Elsewhere) -> float:
    """Return how long one call takes."""
    if isinstance(action, Elsewhere):
        return action.milliseconds()
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def compare(
    name: str,
    ours: Callable[[], object] | Elsewhere,
    theirs: Callable[[], object] | Elsewhere,
    goal: float,
    runs: int,
) -> Comparison:
    """Time both in turn, a few calls each, so that a slow moment of the machine hits both.

    The first calls of each turn are not counted: they find the processor's caches full of the other's.
    """
    mine: list[float] = []
    other: list[float] = []
    for _ in range(math.ceil(runs / COUNTED)):
        for action, kept in ((ours, mine), (theirs, other)):
            kept += [milliseconds(action) for _ in range(COLD + COUNTED)][COLD:]
    return Comparison(name, median(mine), median(other), goal, len(mine))
