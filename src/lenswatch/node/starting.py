"""The start of a node without a reference: restore, adopt, or show a demo.

Nothing here needs torch, because DEEPaaS' parent process calls it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from lenswatch.config import Config
from lenswatch.errors import LenswatchError
from lenswatch.files import write_atomically
from lenswatch.node.archive import archive_folder, restore
from lenswatch.node.store.collections import all_collections
from lenswatch.node.store.places import look_into
from lenswatch.reference.manifest import EMBEDDINGS, WEIGHTS
from lenswatch.reference.paths import current_digest, reference_folder

__all__ = ["DEMO_NOTE", "drop_demo", "is_demo", "prepare", "tutorial_folder"]

log = logging.getLogger(__name__)

DEMO_NOTE = (
    "The demo reference is in use, made of drawn pictures: its verdicts on a real camera mean nothing. "
    "`lenswatch train` makes your own."
)
ADOPT_SECONDS = 300.0


def prepare(config: Config) -> None:
    """Give a node without a reference one, if there is any to be had, and log what was done.

    First its own from the archive, then the tutorial's pair of files beside the archive, then the demo
    reference of the settings. A node that is to collect clean pictures gets no other than its own.
    """
    try:
        said = restore(config)
    except OSError as error:
        said = f"the storage folder cannot be filled from its archive: {error}"
    if said:
        log.warning("%s", said)
    for give in (_adopt, _show_demo):
        if current_digest(config.storage_path) is None and not _collects(config):
            give(config)


def tutorial_folder(config: Config) -> Path | None:
    """Return the folder beside the archive if the tutorial's pair of files lies there."""
    archive = archive_folder(config)
    if archive is None:
        return None
    both = all((archive.parent / name).is_file() for name in (WEIGHTS, EMBEDDINGS))
    return archive.parent if both else None


def is_demo(storage: Path, digest: str) -> bool:
    """Return True if a reference is the demo's."""
    try:
        return _mark(storage).read_text(errors="replace").strip() == digest
    except OSError:
        return False


def drop_demo(storage: Path) -> None:
    """Stop using the demo reference, if it is the one in use: what is collected now is for a new one."""
    digest = current_digest(storage)
    if digest is not None and is_demo(storage, digest):
        (reference_folder(storage) / "current").unlink(missing_ok=True)


def _collects(config: Config) -> bool:
    """Return True if clean pictures are collected for the first reference, or will be."""
    if config.camera.collect:
        return True
    with look_into(config) as store:
        if store is None:
            return False
        with store.read() as connection:
            return bool(all_collections(connection))


def _adopt(config: Config) -> None:
    """Adopt the tutorial's files in a child process, since that needs torch."""
    folder = tutorial_folder(config)
    if folder is None:
        return
    command = [sys.executable, "-m", "lenswatch", "adopt", str(folder)]
    if config.file is not None:
        command += ["--config", str(config.file)]
    failure: Exception | None = None
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=ADOPT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = error
    if failure is not None:
        log.warning("%s and %s in %s were not adopted: %s", WEIGHTS, EMBEDDINGS, folder, failure)
        return
    lines = (ended.stderr if ended.returncode else ended.stdout).strip().splitlines()
    if ended.returncode:
        told = lines[-1] if lines else f"exit code {ended.returncode}"
        log.warning("%s and %s in %s were not adopted: %s", WEIGHTS, EMBEDDINGS, folder, told)
    else:
        log.warning("%s and %s in %s were adopted: %s", WEIGHTS, EMBEDDINGS, folder, lines[0])


def _show_demo(config: Config) -> None:
    from lenswatch.node.transfer import import_reference
    from lenswatch.reference.artefact import use_reference

    if not config.storage.demo_reference:
        return
    file = (config.root / config.storage.demo_reference).resolve()
    try:
        taken = import_reference(config.storage_path, file)
        write_atomically(_mark(config.storage_path), taken.digest.encode())
        use_reference(config.storage_path, taken.digest)
    except LenswatchError as error:
        said = f"the demo reference cannot be used: {error}"
    else:
        said = DEMO_NOTE
    log.warning("%s", said)


def _mark(storage: Path) -> Path:
    return reference_folder(storage) / "demo"
