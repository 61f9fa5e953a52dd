"""Clean pictures chosen from existing footage, and copied below the node's own."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from lenswatch.errors import WriteError
from lenswatch.node.collecting.collection import spread
from lenswatch.reference.amount import check_amount
from lenswatch.reference.order import Ordered
from lenswatch.reference.paths import COLLECTED

__all__ = ["choose_from"]


def choose_from(found: Ordered, images: Path, stream: str, wanted: int, least: int) -> list[Path]:
    """Choose pictures that are spread over the time, and copy them below the folder `images`.

    Pictures that are below `images` already are used where they are. A file that is there is never replaced.

    Args:
        found: The footage.
        images: The folder of all pictures of the node.
        stream: The stream that the pictures belong to.
        wanted: Most pictures that are chosen.
        least: Fewest that are needed.

    Returns:
        The pictures below `images`, in time order.

    Raises:
        InputError: There are too few; none is copied.
        WriteError: A picture cannot be copied.
    """
    chosen = [found.pictures[i] for i in spread(_moments(found), wanted)]
    check_amount(len(chosen), least)
    if all(path.resolve().is_relative_to(images.resolve()) for path in chosen):
        return chosen
    try:
        return [_copied(path, images / COLLECTED / stream) for path in chosen]
    except OSError as error:
        raise WriteError(
            f"{error.filename or images}: cannot be written: {error.strerror or error}; "
            "the folder must be writable and the disk must have space left"
        ) from error


def _moments(found: Ordered) -> list[float]:
    """Return the times of the pictures in seconds where they are known, else the places in the order."""
    return [time.timestamp() for time in found.places] or list(range(len(found.pictures)))


def _copied(path: Path, folder: Path) -> Path:
    """Copy a picture with its times, under its own name and a part of its digest."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / f"{path.stem}-{digest[:12]}{path.suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(path, temporary)  # not copy2: rclone 1.60 cannot tell extended attributes
        status = path.stat()
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        temporary.rename(target)
    return target
