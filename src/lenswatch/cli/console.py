"""What the commands print: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from lenswatch.progress import Step

__all__ = ["follow", "say"]

Result = TypeVar("Result")


def say(text: str = "") -> None:
    """One line on standard output, at once."""
    click.echo(text)
    sys.stdout.flush()


def follow(steps: Generator[Step, None, Result]) -> Result:
    """Run a task to its end, showing its steps; what it returns."""
    console = Console()
    return _with_bars(steps, console) if console.is_terminal else _with_lines(steps)


def _with_bars(steps: Generator[Step, None, Result], console: Console) -> Result:
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", style="dim"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            if step.task not in tasks:
                tasks[step.task] = progress.add_task(step.task, total=step.total, detail="")
            progress.update(tasks[step.task], completed=step.done, total=step.total)
            if step.detail:
                progress.update(tasks[step.task], detail=step.detail)


def _with_lines(steps: Generator[Step, None, Result]) -> Result:
    """A line at every quarter of a task, and for every step that has something to tell."""
    shown: dict[str, int] = {}
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        quarter = 4 * step.done // max(1, step.total)
        if step.detail or quarter > shown.get(step.task, 0):
            shown[step.task] = quarter
            say(f"{step.task}: {step.done}/{step.total} {step.detail}".rstrip())
