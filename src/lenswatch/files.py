"""Write files so that a reader or a crash never finds half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lenswatch.errors import WriteError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, replacing the one that is there.

    The content is on the disk when the function returns. Missing parent folders are created.

    Args:
        path: The file to write.
        content: All of its bytes.

    Raises:
        WriteError: The file or its folder cannot be written; a file that was there is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written: {error.strerror or error}; "
            "the folder must be writable and the disk must have space left"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
