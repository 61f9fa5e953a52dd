"""Output of the commands: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich import progress as bars
from rich.console import Console

from lenswatch.progress import Progress, Step

__all__ = ["amount", "one_line", "say", "show_progress"]


def say(text: str = "") -> None:
    """Print a line on standard output, at once."""
    click.echo(text)
    sys.stdout.flush()


def amount(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_line(text: str, at_most: int = 500) -> str:
    """Return foreign text as one line, without control characters, cut to `at_most` characters."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(plain.split())
    return line if len(line) <= at_most else line[: at_most - 1] + "…"


@contextmanager
def show_progress(*, err: bool = False) -> Iterator[Progress]:
    """Yield a function that shows the steps it is called with, on standard error if `err` is true."""
    console = Console(stderr=err)
    if not console.is_terminal:
        yield _lines(err=err)
        return
    columns = (
        bars.TextColumn("{task.description:<18}"),
        bars.BarColumn(32),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[detail]}", style="dim"),
    )
    with bars.Progress(*columns, console=console) as shown:
        yield _bars(shown)


def _bars(shown: bars.Progress) -> Progress:
    tasks: dict[str, bars.TaskID] = {}

    def show(step: Step) -> None:
        if step.task not in tasks:
            tasks[step.task] = shown.add_task(step.task, total=step.total, detail="")
        shown.update(tasks[step.task], completed=step.done, total=step.total)
        if step.detail:
            shown.update(tasks[step.task], detail=step.detail)

    return show


def _lines(*, err: bool) -> Progress:
    """Return a function that prints a line for each quarter of a task and each step with a detail."""
    quarters: dict[str, int] = {}

    def show(step: Step) -> None:
        quarter = 4 * step.done // max(1, step.total)
        if step.detail or quarter > quarters.get(step.task, 0):
            quarters[step.task] = quarter
            click.echo(f"{step.task}: {step.done}/{step.total} {step.detail}".rstrip(), err=err)
            (sys.stderr if err else sys.stdout).flush()

    return show
