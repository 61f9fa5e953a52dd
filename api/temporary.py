"""The temporary folder of a running node.

DEEPaaS copies each upload into a temporary file, and torch makes temporary folders. A process that is killed
leaves them behind. They are in a folder of the node's own, which the next start deletes.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from lenswatch.held import hold, is_held, make_held_folder

__all__ = ["PREFIX", "ensure_there", "sweep", "use_own_folder"]

log = logging.getLogger(__name__)

PREFIX = "lenswatch-node-"


def use_own_folder() -> None:
    """Make this process and those that it starts use a temporary folder of their own.

    It is below the folder that TMPDIR names, and is deleted when the process ends. Those of nodes that were
    killed are deleted now. Where none can be made, a warning is logged and nothing is changed.
    """
    parent = Path(tempfile.gettempdir())
    sweep(parent)
    try:
        folder, _ = make_held_folder(parent, f"{PREFIX}{os.getpid()}-")
    except OSError as error:
        folder, said = None, str(error)
    if folder is None:
        log.warning("%s: no temporary folder can be made (%s); uploads are put there", parent, said)
        return
    tempfile.tempdir = str(folder)
    os.environ["TMPDIR"] = str(folder)  # for the workers
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def ensure_there() -> None:
    """Make the folder again if a program that deletes old files has deleted it."""
    folder = Path(tempfile.gettempdir())
    try:
        folder.mkdir(mode=0o700)
        hold(folder)
    except OSError:  # it is there; or it cannot be made, as whoever needs it will say
        return
    log.warning("%s was deleted while it was in use; it was made again", folder)


def sweep(parent: Path) -> None:
    """Delete the folders of nodes that have ended, of this user only."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            ours = folder.lstat().st_uid == os.getuid() and folder.is_dir()
            if not ours or folder.is_symlink() or is_held(folder):
                continue
        except OSError:  # gone meanwhile
            continue
        left = sum(file.is_file() for file in folder.rglob("*"))
        shutil.rmtree(folder, ignore_errors=True)
        log.info("deleted %s of a node that was killed; files in it: %d", folder, left)
