"""`lenswatch reference`: references as files, and their light forms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenswatch.cli.console import say
from lenswatch.cli.options import FILE, with_config
from lenswatch.config import Config

if TYPE_CHECKING:
    from lenswatch.detect.arrays import Pixels
    from lenswatch.node.transfer import Imported
    from lenswatch.reference.artefact import Reference

__all__ = ["reference"]

_NAMED = click.argument("digest", metavar="REFERENCE", required=False)


@click.group()
def reference() -> None:
    """Look at references, go back to another one, move them to other machines.

    REFERENCE is the beginning of a digest that `lenswatch references` lists; without it, the one
    in use is meant.
    """


@reference.command()
@with_config
@click.argument("digest", metavar="REFERENCE")
@click.argument("file", type=FILE)
def export(config: Config, digest: str, file: Path) -> None:
    """Write a reference with its calibrations into FILE.

    A light form is made first if it has none, so that nodes without torch can use it.
    """
    from lenswatch.node.transfer import export_reference
    from lenswatch.reference.catalogue import find_reference
    from lenswatch.reference.light import have_light

    found = find_reference(config.storage_path, digest)
    if not have_light(config.storage_path, found):
        _make_light(config, found)
    export_reference(config.storage_path, found, file)
    say(f"reference {found} is in {file}; `lenswatch reference import` takes it on another machine")


@reference.command(name="import")
@with_config
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(config: Config, file: Path) -> None:
    """Take a reference and its calibrations from FILE.

    Nothing is taken unless all of it is as it was exported. It becomes the reference in use if there
    is none yet; otherwise `lenswatch use` changes that.
    """
    from lenswatch.node.transfer import import_reference

    _imported(config, import_reference(config.storage_path, file))


def _imported(config: Config, taken: Imported) -> None:
    """Say what was imported, and take it into use if there is no other reference."""
    from lenswatch.reference.artefact import use_reference
    from lenswatch.reference.paths import current_digest

    say(f"reference {taken.digest} {'is imported' if taken.new else 'was here already'}")
    if taken.calibrated:
        say(f"calibrated streams: {', '.join(taken.calibrated)}")
    if not taken.light:
        say("it has no light form: torch must be installed where it is used")
    current = current_digest(config.storage_path)
    if current is None:
        use_reference(config.storage_path, taken.digest)
    if current in (None, taken.digest):
        say("it is in use")
    else:
        say(f"in use is {current} still; lenswatch use {taken.digest}")


@reference.command()
@with_config
@click.argument("digest", metavar="REFERENCE")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def publish(config: Config, digest: str, folder: Path) -> None:
    """Write a reference into FOLDER for people without Lenswatch.

    The folder gets the weights and clean embeddings as safetensors, the encoder as ONNX, and a model
    card, as the Hugging Face Hub expects them. `lenswatch reference export` is for other nodes.
    """
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.catalogue import find_reference
    from lenswatch.reference.publish import publish as write

    found = find_reference(config.storage_path, digest)
    loaded = load_reference(config.storage_path, found, light=False)
    say(
        f"reference {found} is in {folder}: {', '.join(write(config.storage_path, loaded, folder))}"
    )


@reference.command()
@with_config
@click.option("--alias", help="Give the new version this alias.")
@_NAMED
def push(config: Config, alias: str | None, digest: str | None) -> None:
    """Log a reference in MLflow, as `lenswatch train` does.

    $MLFLOW_TRACKING_URI is the address of the server. The reference becomes a version of the
    registered model that is named as tracking.experiment.
    """
    from lenswatch.reference.catalogue import find_reference
    from lenswatch.reference.paths import current_digest
    from lenswatch.registry.push import push_reference

    named = digest or current_digest(config.storage_path) or ""
    pushed = push_reference(config, find_reference(config.storage_path, named), alias)
    say(f"logged in MLflow: {pushed.uri}, run {pushed.run_id}")


@reference.command()
@with_config
@click.argument("uri", metavar="MODEL")
def pull(config: Config, uri: str) -> None:
    """Take a reference and its calibrations from MLflow's model registry.

    MODEL is models:/NAME@ALIAS or models:/NAME/VERSION. Otherwise as `lenswatch reference import`.
    """
    from lenswatch.registry.pull import pull_reference

    _imported(config, pull_reference(config.storage_path, uri))


@reference.command()
@with_config
@_NAMED
def light(config: Config, digest: str | None) -> None:
    """Make the light form of a reference that was made without.

    It is the encoder for onnxruntime, with which a node takes a fifth of the memory. Training makes
    it. Embeddings are compared with torch's on the reference's clean pictures that are still there.
    """
    from lenswatch.reference.catalogue import find_reference
    from lenswatch.reference.paths import current_digest

    named = digest or current_digest(config.storage_path) or ""
    _make_light(config, find_reference(config.storage_path, named))


def _make_light(config: Config, digest: str) -> None:
    from lenswatch.reference.artefact import load_reference
    from lenswatch.reference.keep_light import make_light, noise
    from lenswatch.reference.light import read_light

    loaded = load_reference(config.storage_path, digest, light=False)
    clean = _clean(config, loaded)
    first = next(clean, None)
    pictures = noise(loaded.transform.resize) if first is None else itertools.chain([first], clean)
    make_light(config.storage_path, loaded, pictures)
    about = read_light(config.storage_path, digest).about
    kind = (
        "clean pictures" if first is not None else "pictures of noise, as clean ones are not here"
    )
    say(
        f"light form of reference {digest}: embeddings differ from torch's by "
        f"{about['largest_difference']:.1g} at most ({about['pictures']} {kind})"
    )


def _clean(config: Config, loaded: Reference) -> Iterator[Pixels]:
    """Yield the pixels of the clean pictures that are where they were, unchanged."""
    from lenswatch.errors import InputError
    from lenswatch.reference.identity import file_digest
    from lenswatch.reference.pictures import read_picture_file

    size, bits = loaded.transform.resize, loaded.transform.sample_bits
    for picture in loaded.pictures:
        file = config.image_folder / picture.path
        if file_digest(file) == picture.sha256:
            try:
                yield read_picture_file(file, size, config.upload, bits).pixels(size)
            except InputError:  # stricter limits than when it was trained
                continue
