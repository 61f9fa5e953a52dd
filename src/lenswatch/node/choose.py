"""Clean pictures chosen from existing footage, and copied below the node's own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lenswatch.errors import WriteError
from lenswatch.node.collection import spread
from lenswatch.reference.paths import COLLECTED
from lenswatch.reference.training import find_pictures

__all__ = ["choose_from"]


def choose_from(folder: Path, images: Path, stream: str, wanted: int) -> list[Path]:
    """Choose pictures that are spread over a folder, and copy them below the folder `images`.

    A folder that is below `images` already is used where it is. A file that is there is never replaced.

    Args:
        folder: The footage.
        images: The folder of all pictures of the node.
        stream: The stream that the pictures belong to.
        wanted: Most pictures that are chosen.

    Returns:
        The pictures below `images`, in time order.

    Raises:
        ConfigError: The folder holds no picture.
        WriteError: A picture cannot be copied.
    """
    found = find_pictures(folder, ["*"], key="FOLDER")
    chosen = [found[i] for i in spread(_moments(found), wanted)]
    if folder.resolve().is_relative_to(images.resolve()):
        return chosen
    try:
        return [_copied(path, images / COLLECTED / stream) for path in chosen]
    except OSError as error:
        raise WriteError(
            f"{error.filename or images}: cannot be written: {error.strerror or error}; "
            "the folder must be writable and the disk must have space left"
        ) from error


def _moments(found: Sequence[Path], taken: Sequence[datetime | None] = ()) -> list[float]:
    """Return the capture times in seconds where all are known, else the places in the order."""
    known = [time.timestamp() for time in taken if time is not None]
    return known if len(known) == len(found) else [float(i) for i in range(len(found))]


def _copied(path: Path, folder: Path) -> Path:
    """Copy a picture with its times, under its own name and a part of its digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / f"{path.stem}-{digest[:12]}{path.suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copy2(path, temporary)
        temporary.rename(target)
    return target
