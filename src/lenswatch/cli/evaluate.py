"""Commands that evaluate detectors and compare folders: `evaluate` and `compare`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lenswatch.cli.console import say, show_progress
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FILE, FOLDER, at_scheduler, with_config, with_scheduler
from lenswatch.config import Config
from lenswatch.cores import usable_cores
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from lenswatch.evaluate.weeks_plan import WeeksPlan

__all__ = ["compare", "evaluate"]


@click.command()
@with_config
@click.option(
    "--detector",
    "names",
    multiple=True,
    help="Built-in name, or MODULE:FUNCTION of your own. May be repeated.",
)
@click.option(
    "--ert",
    type=click.FloatRange(min=1),
    default=200.0,
    show_default=True,
    help="Expected run time, in images.",
)
@click.option(
    "--onsets",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Trials for each corruption.",
)
@click.option(
    "--weeks",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DAYS",
    help="Learn from the first DAYS of each folder, and judge the days after them.",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--processes", type=click.IntRange(1), help="Default: one for each core.")
@with_scheduler
@click.option("--json", "json_file", type=FILE, help="Write all figures to this file.")
@click.option("--html", "html_file", type=FILE, help="Write a page with plots to this file.")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
def evaluate(
    config: Config,
    names: tuple[str, ...],
    ert: float,
    onsets: int,
    weeks: float | None,
    seed: int,
    processes: int | None,
    scheduler: str | None,
    json_file: Path | None,
    html_file: Path | None,
    folders: tuple[Path, ...],
) -> None:
    """Evaluate detectors on clean pictures of your own.

    Each FOLDER holds the pictures of one camera. Detectors are configured with the first half of
    each folder. The second half measures false alarms on clean pictures, and how soon corruptions
    are detected. Without --detector all built-in detectors are evaluated.

    With --weeks, the lens score alone lives through the days of each folder, whose pictures tell when they
    were taken: clean, with sudden faults, and with faults that grow over two weeks.
    """
    from rich.console import Console

    if weeks is not None:
        from lenswatch.evaluate.weeks_plan import WeeksPlan

        if names or processes or scheduler:
            raise InputError(
                "--weeks judges the lens score in one process: no --detector, --processes or --scheduler"
            )
        _weeks(
            config, WeeksPlan(weeks, ert, onsets=onsets, seed=seed), folders, json_file, html_file
        )
        return

    from lenswatch.evaluate import Plan, figures
    from lenswatch.evaluate.makers import BUILT_IN
    from lenswatch.evaluate.report import html_page, table
    from lenswatch.evaluate.running import run

    plan = Plan(ert=ert, onsets=onsets, seed=seed)
    chosen = list(dict.fromkeys(names or BUILT_IN))
    cameras = {
        camera: find_told(config, folder, ["*"], key="FOLDER").pictures
        for camera, folder in _cameras(folders).items()
    }
    count = processes or usable_cores()
    with show_progress() as progress, at_scheduler(scheduler) as cluster:
        outcomes = run(chosen, cameras, config, plan, count, progress, cluster=cluster)
    found = [figures([o for o in outcomes if o.detector == name], plan) for name in chosen]
    for threshold in ("own threshold", "matched threshold"):
        Console().print(table(found, threshold))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(html_page(found, outcomes), encoding="utf-8")


def _weeks(
    config: Config,
    plan: WeeksPlan,
    folders: Sequence[Path],
    json_file: Path | None,
    html_file: Path | None,
) -> None:
    from rich.console import Console

    from lenswatch.evaluate.weeks_plan import assess_weeks
    from lenswatch.evaluate.weeks_report import weeks_page, weeks_tables
    from lenswatch.node.clean_seeds import days_of
    from lenswatch.reference.footage import read_pictures
    from lenswatch.reference.order import times_of

    found = {}
    for camera, folder in _cameras(folders).items():
        files = find_told(config, folder, ["*"], key="FOLDER").pictures
        with show_progress() as progress:
            footage = read_pictures(files, config.transform.resize, config.upload, progress)
            days = days_of(times_of(footage.files, config.camera.zone), len(footage.files))
            if days[-1] == days[0]:
                raise InputError(
                    f"{folder}: the pictures do not tell when they were taken, so there are no days; put the "
                    "time into their names"
                )
            found[camera] = assess_weeks(list(footage.pixels), days, plan, progress)
        for table in weeks_tables(camera, found[camera]):
            Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(weeks_page(found), encoding="utf-8")


def _cameras(folders: Sequence[Path]) -> dict[str, Path]:
    """Name cameras by their folders' names, or by their paths if two have the same name."""
    names = [folder.resolve().name for folder in folders]
    alike = len(set(names)) < len(names)
    return {str(folder) if alike else folder.resolve().name: folder for folder in folders}


@click.command()
@with_config
@click.option("--html", "html_file", type=FILE, help="Write a report to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@click.argument("reference_folder", type=FOLDER)
@click.argument("current_folders", nargs=-1, required=True, type=FOLDER)
def compare(
    config: Config,
    html_file: Path | None,
    as_json: bool,
    reference_folder: Path,
    current_folders: tuple[Path, ...],
) -> None:
    """Compare folders of pictures.

    The tests are Kolmogorov-Smirnov with Bonferroni correction, and the AUC of a domain classifier.
    Pictures are encoded with the encoder of the current reference, which `lenswatch train` makes.
    Use it to look at sets of pictures, not as an alarm: neighbouring frames are not independent.
    """
    from lenswatch.evaluate.compare import FEWEST, html_report
    from lenswatch.evaluate.compare import compare as run
    from lenswatch.node.clean_footage import embed_pictures
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.order import find_in_order

    reference = load_reference(config.storage_path)

    def embedded(folder: Path) -> Any:
        pictures = find_in_order(folder, ["*"], config.camera.zone, "FOLDER").pictures
        if len(pictures) < FEWEST:
            raise InputError(
                f"{folder}: too few pictures to compare, {len(pictures)}; at least {FEWEST} are needed"
            )
        return embed_pictures(config, reference, pictures)

    clean = embedded(reference_folder)
    found = [(folder.name, run(clean, embedded(folder))) for folder in current_folders]
    if as_json:
        say(json.dumps({name: one.to_json() for name, one in found}))
    else:
        for name, one in found:
            say(
                f"{name}: {one.verdict} (KS with Bonferroni: corrected p {one.corrected_p_value:.2g}, "
                f"largest distance {max(one.distances):.3f}); classifier AUC {one.auc:.2f}"
            )
    if html_file is not None:
        html_file.write_text(html_report(found), encoding="utf-8")
        say(f"report: {html_file}")
