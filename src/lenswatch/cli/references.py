"""Commands for the references in the storage folder: `references` and `use`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from lenswatch.cli.console import say, show_progress
from lenswatch.cli.options import with_config
from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.reference.paths import SHADOW, calibration_folder, current_digest

__all__ = ["references", "use"]


@click.command()
@with_config
def references(config: Config) -> None:
    """List the references, the newest last, and the streams that are calibrated under each."""
    from lenswatch.node.calibration_file import calibrated_streams
    from lenswatch.reference.catalogue import list_references
    from lenswatch.reference.light import have_light

    folder = calibration_folder(config.storage_path)
    table = Table("in use", "reference", "made (UTC)", "pictures", "calibrated streams")
    for column in table.columns[:4]:
        column.no_wrap = True
    in_shadow = current_digest(config.storage_path, SHADOW)
    for each in list_references(config.storage_path):
        made = each.created_at.replace("T", " ").removesuffix("Z")
        pictures = "" if each.pictures is None else str(each.pictures)
        streams = ", ".join(calibrated_streams(folder, each.digest))
        cells = [made if each.readable else "manifest damaged", pictures, streams]
        used = "yes" if each.current else "shadow" if each.digest == in_shadow else ""
        table.add_row(used, each.digest, *cells)
    if not table.row_count:
        say("no reference yet: lenswatch train")
        return
    Console().print(table)
    current = current_digest(config.storage_path)
    if current is not None and not have_light(config.storage_path, current):
        say(
            "the one in use is served by torch, at five times the memory: lenswatch reference light"
        )


@click.command()
@with_config
@click.option("--shadow", is_flag=True, help="Let it judge beside the one in use, for comparison.")
@click.argument("digest")
def use(config: Config, shadow: bool, digest: str) -> None:
    """Use another reference, for example the one before the last training.

    DIGEST is the reference's name or its beginning; `lenswatch references` lists them. Streams that
    are not calibrated under that reference are calibrated with the clean pictures they had before.

    With --shadow the reference in use stays, and a running node judges each picture by both. What the
    other one says raises no alarm, and is on the camera's page. `lenswatch use` ends that.
    """
    from lenswatch.node.recalibrate import alarm_lines, take_up
    from lenswatch.reference.artefact import end_shadow, load_reference
    from lenswatch.reference.catalogue import find_reference

    found = find_reference(config.storage_path, digest)
    current = current_digest(config.storage_path)
    if shadow and current in (None, found):
        why = "is the one in use" if current else "there is none in use to compare it with"
        raise InputError(f"reference {found}: {why}; put another one in shadow")
    reference = load_reference(config.storage_path, found)
    with show_progress() as progress:
        taken_up = take_up(config, reference, progress, again=False, shadow=shadow)
    for line in (*taken_up.lines, *(() if shadow else alarm_lines(config))):
        say(line)
    if shadow:
        say(f"reference {found} judges in shadow; lenswatch use {found} takes it into use")
        say(f"lenswatch use {current} ends that")
        return
    end_shadow(config.storage_path)
    say(f"reference {reference.digest} is in use")
