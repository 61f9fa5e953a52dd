"""`lenswatch tune`: a search for settings on clean footage of one's own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lenswatch.cli.console import say, show_progress
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FILE, FOLDER, at_scheduler, with_config, with_scheduler
from lenswatch.config import Config
from lenswatch.cores import usable_cores

if TYPE_CHECKING:
    from lenswatch.evaluate.tuning import Trialled, Tuned

__all__ = ["tune"]

SHOWN = 10  # candidates of the table


class _Values(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no argument here
    """A list of numbers with commas.

    Args:
        kind: `int` or `float`.
        least: The smallest number.
    """

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], least: float) -> None:
        self._kind, self._least = kind, least

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(self._kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r}: give numbers with commas, such as 16,32", param, ctx)
        if not all(self._least <= each < 1e6 for each in found):
            self.fail(f"{value!r}: each must be {self._least:g} or more", param, ctx)
        return found


@click.command()
@with_config
@click.option("--latent-dim", type=_Values(int, 2), default="16,32,64", show_default=True)
@click.option("--sparsity", type=_Values(float, 0), default="0,1e-4,1e-2", show_default=True)
@click.option("--window", type=_Values(int, 2), default="6,12,24", show_default=True)
@click.option(
    "--width",
    type=_Values(float, 0.01),
    default="0.5,1,2",
    show_default=True,
    help="Bandwidths, as multiples of the median distance.",
)
@click.option("--random", type=click.IntRange(1), help="Try so many of the combinations.")
@click.option("--seed", default=0, show_default=True, help="Of the choice of combinations.")
@click.option("--processes", type=click.IntRange(1), help="Default: one for each core.")
@with_scheduler
@click.option("--json", "json_file", type=FILE, help="Write all figures to this file.")
@click.argument("folder", type=FOLDER)
def tune(
    config: Config,
    latent_dim: tuple[int, ...],
    sparsity: tuple[float, ...],
    window: tuple[int, ...],
    width: tuple[float, ...],
    random: int | None,
    seed: int,
    processes: int | None,
    scheduler: str | None,
    json_file: Path | None,
    folder: Path,
) -> None:
    """Search for the settings with which the distance notices corruptions soonest.

    FOLDER holds clean pictures of one camera. The first half makes each candidate, the next quarter
    chooses among them by the protocol of `lenswatch evaluate`, and the last quarter compares the
    chosen one with the settings in use. Nothing is changed: the best settings are printed.
    """
    from lenswatch.evaluate.running import opened_pool
    from lenswatch.evaluate.tuning import Space
    from lenswatch.evaluate.tuning import tune as search

    space = Space(latent_dim, sparsity, window, width)
    pictures = find_told(config, folder, ["*"], key="FOLDER").pictures
    count = processes or usable_cores()
    with show_progress() as progress, at_scheduler(scheduler) as cluster:
        pool = partial(opened_pool, count, progress=progress, cluster=cluster)
        found = search(pictures, config, space.candidates(random, seed), pool, progress=progress)
    _print(found)
    if json_file is not None:
        json_file.write_text(json.dumps(_document(found), indent=1) + "\n", encoding="utf-8")


def _print(found: Tuned) -> None:
    from rich.console import Console

    best = found.tested[0]
    Console().print(_table("Chosen from: the third quarter of the footage", found.trials, found))
    Console().print(_table("Tested on: the last quarter", found.tested, found))
    if not found.better:
        say("keep the settings in use: on pictures that chose nothing none does clearly better")
        return
    chosen = best.candidate
    say("[encoder]")
    say(f"latent_dim = {chosen.latent_dim}")
    say(f"sparsity_weight = {chosen.sparsity_weight:g}")
    say("[detector]")
    say(f"window_size = {chosen.window_size}")
    median = chosen.sigma is None and chosen.width == 1
    say('sigma = "median"' if median else f"sigma = {best.sigma:.4g}")


def _table(title: str, trials: Sequence[Trialled], found: Tuned) -> Any:
    from rich.table import Table

    columns = ("latent size", "sparsity", "window", "sigma", "delay", "noticed", "false", "")
    table = Table(*columns, title=title, title_justify="left")
    for place, each in enumerate(trials):
        mine = each.candidate == found.in_use
        if place >= SHOWN and not mine:
            continue
        one = each.candidate
        cells = [f"{one.latent_dim}", f"{one.sparsity_weight:g}", f"{one.window_size}"]
        if each.blind:
            cells += [f"{one.width:g} x median", "", "", "blind"]
        else:
            cells += [f"{each.sigma:.3g}", f"{each.delay:.1f}", f"{100 * each.noticed:.0f} %"]
            cells += [f"{each.false_alarms:.1f}"]
        table.add_row(*cells, "in use" if mine else "")
    return table


def _document(found: Tuned) -> dict[str, Any]:
    def plain(one: Trialled) -> dict[str, Any]:
        document = dataclasses.asdict(one)
        return document | {"sigma": None if one.blind else one.sigma}

    return {
        "trials": [plain(each) for each in found.trials],
        "in use": dataclasses.asdict(found.in_use),
        "tested": [plain(each) for each in found.tested],
    }
