"""Progress of a long task, reported to a function that the caller passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Step", "no_progress"]


@dataclass(frozen=True)
class Step:
    """A step of a long task.

    Attributes:
        task: Name of the task, such as "training".
        done: Steps done so far.
        total: Steps of the whole task.
        detail: Further text for the user, such as the loss of an epoch.
    """

    task: str
    done: int
    total: int
    detail: str = ""


Progress = Callable[[Step], None]


def no_progress(_step: Step) -> None:
    """Ignore a step; the default of functions that report progress."""
