"""Durations of the stages in which a picture is judged, for whoever asks for them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

__all__ = ["Timed", "elsewhere", "stage", "timed"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass
class _Clock:
    """The durations of a call's stages so far, and the stages that have begun and not ended."""

    seconds: dict[str, float] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


_clock: ContextVar[_Clock | None] = ContextVar("_clock", default=None)


@dataclass(frozen=True)
class Timed:
    """The result of a call, and how long it took.

    Attributes:
        output: The result.
        total: Seconds of the whole call.
        stages: Seconds of each stage by name, without those of stages within it. Those of other threads go on
            at the same time, so that all together may be more than the whole call.
    """

    output: Any
    total: float
    stages: dict[str, float]


def timed(function: Callable[[], Any]) -> Timed:
    """Return the result of a call with the durations of its stages."""
    clock, begun = _Clock(), time.perf_counter()
    token = _clock.set(clock)
    try:
        output = function()
    finally:
        _clock.reset(token)
    return Timed(output, time.perf_counter() - begun, clock.seconds)


def stage(name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator for a function that is a stage; it costs nothing unless `timed` asks.

    >>> @stage("encode")
    ... def encode(number):
    ...     return number * 2
    >>> encode(3), list(timed(lambda: encode(3)).stages)
    (6, ['encode'])
    """

    def around(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def in_stage(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            clock = _clock.get()
            if clock is None:
                return function(*args, **kwargs)
            clock.open.append(name)
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - begun
                clock.open.pop()
                clock.add(name, seconds)
                if clock.open:
                    clock.add(clock.open[-1], -seconds)

        return in_stage

    return around


def elsewhere(name: str, work: Callable[[], _R]) -> Callable[[], _R]:
    """Return `work` as another thread may do it, timed as a stage of the present call."""
    clock = _clock.get()
    if clock is None:
        return work

    def in_stage() -> _R:
        begun = time.perf_counter()
        try:
            return work()
        finally:
            clock.add(name, time.perf_counter() - begun)

    return in_stage
