"""One step of a long task: what training, drawing and replaying yield, and a command draws."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Step"]


@dataclass(frozen=True)
class Step:
    """`done` of `total` steps of `task`, and what to say of it."""

    task: str
    done: int
    total: int
    detail: str = ""
