"""Files of a watched folder that could not be judged: moved into its folder `.rejected`, with the reason."""

from __future__ import annotations

import itertools
from pathlib import Path

from lenswatch.files import write_atomically

__all__ = ["REJECTED", "reject"]

REJECTED = ".rejected"
_REASON = ".reason.txt"  # follows the name of the file


def reject(folder: Path, name: str, reason: str) -> Path:
    """Move a file into `.rejected`, write the reason beside it, and return where it is.

    A file that was rejected under the same name before stays.

    Args:
        folder: The watched folder.
        name: The file below it, with slashes.
        reason: Sentence for people.

    Raises:
        OSError: It cannot be moved.
        WriteError: The reason cannot be written; the file is where it was.
    """
    source, target = folder / name, folder / REJECTED / name
    for number in itertools.count(2):
        if not target.exists() and not _reason_of(target).exists():
            break
        target = (folder / REJECTED / name).with_stem(f"{Path(name).stem}-{number}")
    reason_file = _reason_of(target)
    write_atomically(reason_file, f"{name}: {reason}\n".encode())
    try:
        source.rename(target)
    except OSError:
        reason_file.unlink(missing_ok=True)
        raise
    return target


def _reason_of(file: Path) -> Path:
    return file.with_name(f"{file.name}{_REASON}")
