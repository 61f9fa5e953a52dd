"""Commands that judge: `lenswatch evaluate`, `compare` and `explain`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lenswatch.cli.console import follow, say
from lenswatch.cli.options import with_config
from lenswatch.config import Config

__all__ = ["compare", "evaluate", "explain"]

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@with_config
@click.option(
    "--detector",
    "names",
    multiple=True,
    help="MODULE:FUNCTION of your own, or one of the built-in names; repeat for several.",
)
@click.option("--ert", default=200.0, show_default=True, help="Expected run time asked for.")
@click.option("--onsets", default=3, show_default=True, help="Starts tried for each corruption.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--processes", type=click.IntRange(min=1), help="How many at once; else one for each core."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write all figures here."
)
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path), help="Write a page with plots."
)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
def evaluate(
    config: Config,
    names: tuple[str, ...],
    ert: float,
    onsets: int,
    seed: int,
    processes: int | None,
    json_file: Path | None,
    html_file: Path | None,
    folders: tuple[Path, ...],
) -> None:
    """Judge detectors on clean footage of your own, one FOLDER for each camera.

    The first half of each folder configures, the second is judged: false alarms on clean pictures,
    and how soon corruptions are noticed. Without --detector: Lenswatch and all built-in ones.
    """
    from rich.console import Console

    from lenswatch.evaluate import Plan, figures
    from lenswatch.evaluate.makers import BUILT_IN
    from lenswatch.evaluate.report import html_page, table
    from lenswatch.evaluate.running import run
    from lenswatch.reference.training import find_pictures

    plan = Plan(ert=ert, onsets=onsets, seed=seed)
    chosen = list(dict.fromkeys(names or BUILT_IN))
    cameras = {
        camera: find_pictures(folder, ["*"], key="FOLDER")
        for camera, folder in _cameras(folders).items()
    }
    outcomes = follow(run(chosen, cameras, config, plan, processes or os.cpu_count() or 1))
    found = [figures([o for o in outcomes if o.detector == name], plan) for name in chosen]
    for threshold in ("own threshold", "matched threshold"):
        Console().print(table(found, threshold))
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if html_file is not None:
        html_file.write_text(html_page(found, outcomes), encoding="utf-8")


def _cameras(folders: Sequence[Path]) -> dict[str, Path]:
    """Called by the folders' names, or by their paths where two have the same."""
    names = [folder.resolve().name for folder in folders]
    alike = len(set(names)) < len(names)
    return {str(folder) if alike else folder.resolve().name: folder for folder in folders}


@click.command()
@with_config
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write the report here.")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@click.argument("reference_folder", type=FOLDER)
@click.argument("current_folders", nargs=-1, required=True, type=FOLDER)
def compare(
    config: Config,
    html_file: Path | None,
    as_json: bool,
    reference_folder: Path,
    current_folders: tuple[Path, ...],
) -> None:
    """Compare folders of pictures: KS test with Bonferroni, and a domain classifier's AUC.

    Both are encoded with the current reference's encoder (`lenswatch train` makes one). A way to look
    at two sets of pictures, and no alarm: neighbouring frames are not independent.
    """
    from lenswatch.evaluate.compare import compare as run
    from lenswatch.evaluate.compare import html_report
    from lenswatch.node.calibrate import embed_pictures
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.training import find_pictures

    reference = load_reference(config.storage_path)

    def embedded(folder: Path) -> Any:
        return embed_pictures(config, reference, find_pictures(folder, ["*"], key="FOLDER"))

    clean = embedded(reference_folder)
    found = [(folder.name, run(clean, embedded(folder))) for folder in current_folders]
    if as_json:
        say(json.dumps({name: one.to_json() for name, one in found}))
    else:
        for name, one in found:
            verdict = "drift" if one.drift else "no drift"
            say(
                f"{name}: {verdict} (KS with Bonferroni: corrected p {one.corrected_p_value:.2g}, "
                f"largest distance {max(one.distances):.3f}); classifier AUC {one.auc:.2f}"
            )
    if html_file is not None:
        html_file.write_text(html_report(found), encoding="utf-8")
        say(f"report: {html_file}")


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Whose lens chart to use.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("explained.png"), show_default=True
)
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def explain(config: Config, stream: str, output: Path, image: Path) -> None:
    """Draw what is wrong with IMAGE: beside the nearest clean picture, with the map laid over it.

    Nothing is recorded, and the stream's window is left alone.
    """
    from lenswatch.node.explain import explain as explain_picture

    explained = explain_picture(config, image, stream)
    explained.sheet.save(output)
    for cause in explained.causes:
        say(f"{cause.name}: {cause.strength:.1f} times the threshold, cells {list(cause.cells)}")
    if not explained.causes:
        say("nothing stands out")
    say(f"drawn: {output}")
