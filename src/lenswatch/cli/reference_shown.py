"""`lenswatch reference show` and `compare`: look at references before one is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from lenswatch.cli.console import amount, say, show_progress
from lenswatch.cli.footage import find_told
from lenswatch.cli.options import FOLDER, with_config
from lenswatch.config import Config
from lenswatch.errors import ArtefactError

if TYPE_CHECKING:
    from lenswatch.node.compare import Said

__all__ = ["compare", "show"]

SHOWN = ("drift", "warning", "alarm", "distance", "score")
NAMED = 10  # pictures that a line names


@click.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.argument("digest", metavar="REFERENCE", required=False)
def show(config: Config, as_json: bool, digest: str | None) -> None:
    """Show what a reference was made of, and how.

    REFERENCE is the beginning of its digest; without it the one in use is shown.
    """
    facts = _facts(config, digest)
    if as_json:
        say(json.dumps(facts))
        return
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            text = " to ".join(dict.fromkeys(value)) if name == "taken" else _text(value)
            say(f"{name}: {text}")


def _facts(config: Config, digest: str | None) -> dict[str, Any]:
    from lenswatch.node.calibration_file import calibrated_streams
    from lenswatch.node.starting import is_demo
    from lenswatch.reference.catalogue import find_reference
    from lenswatch.reference.light import have_light
    from lenswatch.reference.manifest import verified_manifest
    from lenswatch.reference.paths import calibration_folder, current_digest, reference_folder
    from lenswatch.reference.schema import load_schema

    storage = config.storage_path
    current = current_digest(storage)
    if digest is None and current is None:
        raise ArtefactError(
            f"{storage}: there is no reference yet; make one with `lenswatch train`"
        )
    found = find_reference(storage, digest or current or "")
    manifest = verified_manifest(reference_folder(storage) / found, found)
    pictures = manifest.get("pictures") or []
    times = sorted(each["taken"] for each in pictures if isinstance(each, dict) and "taken" in each)
    schema = load_schema(storage, found)
    return {
        "reference": found,
        "in use": found == current,
        "demo": is_demo(storage, found),
        "made": manifest.get("created_at"),
        "source": manifest.get("source"),
        "clean pictures": len(pictures),
        "taken": [times[0], times[-1]] if times else [],
        "digest of the pictures": manifest.get("pictures_digest"),
        "kind of the pictures": None if schema is None else schema.to_json(),
        "encoder": (manifest.get("configuration") or {}).get("encoder"),
        "metrics": manifest.get("metrics"),
        "code": manifest.get("code"),
        "versions": manifest.get("versions"),
        "environment": manifest.get("environment"),
        "calibrated streams": calibrated_streams(calibration_folder(storage), found),
        "light form": have_light(storage, found),
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        inner = [_text(one) for one in value]
        return " x ".join(inner) if all(isinstance(one, int) for one in value) else ", ".join(inner)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.command()
@with_config
@click.option("--stream", default="default", show_default=True, help="Camera that took them.")
@click.option("--json", "as_json", is_flag=True, help="Print each picture's verdicts as JSON.")
@click.argument("first")
@click.argument("second")
@click.argument("folder", type=FOLDER)
def compare(
    config: Config, stream: str, as_json: bool, first: str, second: str, folder: Path
) -> None:
    """Compare what two references say of the pictures of FOLDER.

    FIRST and SECOND are the beginnings of their digests. Both must be calibrated, and judge the
    pictures as those of a new stream. Nothing is recorded or changed.
    """
    from lenswatch.node.compare import verdicts
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.catalogue import find_reference

    digests = [find_reference(config.storage_path, each) for each in (first, second)]
    references = [load_reference(config.storage_path, digest) for digest in digests]
    pictures = find_told(config, folder, ["*"], key="FOLDER").pictures
    if as_json:
        both = [verdicts(config, each, pictures, stream) for each in references]
        for one, other in _pairs(*both):
            document: dict[str, Any] = {"image_name": one.path.name}
            for digest, each in zip(digests, (one, other), strict=True):
                document |= {digest: {key: getattr(each, key) for key in SHOWN}}
            say(json.dumps(document))
        return
    with show_progress() as progress:
        both = [verdicts(config, each, pictures, stream, progress) for each in references]
    table = Table("reference", "pictures", "drift", "warning", "in alarm", "in use")
    for digest, said in zip(digests, both, strict=True):
        counts = [
            sum(each.drift for each in said),
            sum(each.warning and not each.drift for each in said),
            sum(each.alarm for each in said),
        ]
        table.add_row(digest, str(len(said)), *map(str, counts), _in_use(config, digest))
    Console().print(table)
    different = [
        f"{one.path.name} ({one.word}, {other.word})"
        for one, other in _pairs(*both)
        if one.word != other.word
    ]
    more = f" and {len(different) - NAMED} more" if len(different) > NAMED else ""
    if different:
        say(
            f"{amount(len(different), 'picture')} judged differently: {', '.join(different[:NAMED])}{more}"
        )
    else:
        say("all pictures are judged alike")


def _pairs(first: Sequence[Said], second: Sequence[Said]) -> list[tuple[Said, Said]]:
    """Return both verdicts on each picture that both references can read."""
    found = {each.path: each for each in second}
    return [(each, found[each.path]) for each in first if each.path in found]


def _in_use(config: Config, digest: str) -> str:
    from lenswatch.reference.paths import current_digest

    return "yes" if digest == current_digest(config.storage_path) else ""
