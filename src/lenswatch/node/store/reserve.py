"""Space kept in reserve, so that what waits in `node.db` can be sent while the disk is full.

Even deleting rows needs space in SQLite: a checkpoint that has to enlarge the database, or a new WAL file.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

__all__ = ["NoReserve", "Reserve", "free_bytes", "total_bytes"]

LARGEST_BYTES = 16 * 2**20
SHARE = 8  # of a small disk, one part in so many
PIECES = 4
RESTORE_EVERY_SECONDS = 5.0


class Reserve:
    """A file that takes up space, and gives it back piece by piece while the disk is full.

    It belongs to all processes that use the database beside it: what one of them has given back is missing
    for all, until one of them restores it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._restore_at = 0.0

    @property
    def size(self) -> int:
        """Bytes of the whole reserve."""
        try:
            return min(LARGEST_BYTES, total_bytes(self.path.parent) // SHARE)
        except OSError:
            return LARGEST_BYTES

    @property
    def held(self) -> int:
        """Bytes that are in reserve now."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def restore(self) -> bool:
        """Make the reserve whole if the disk has twice the space for it, and return True if it is whole.

        It is tried every few seconds only.
        """
        if time.monotonic() < self._restore_at:
            return False
        self._restore_at = time.monotonic() + RESTORE_EVERY_SECONDS
        size = self.size
        missing = size - self.held
        if missing <= 0:
            return True
        with contextlib.suppress(OSError):
            if free_bytes(self.path.parent) < 2 * missing:
                return False
            with self.path.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            return True
        return False

    def release(self, leaving: int = 0) -> bool:
        """Give a piece back to the disk, and return True if there was one.

        Args:
            leaving: Pieces that have to stay, for something more important.
        """
        piece = self.size // PIECES
        held = self.held
        if held <= leaving * piece or not held:
            return False
        left = max(held - piece, leaving * piece)
        with contextlib.suppress(OSError):
            if left:
                os.truncate(self.path, left)
            else:
                self.path.unlink(missing_ok=True)
            return True
        return False


class NoReserve(Reserve):
    """No reserve, for a database that is not on a disk of this machine."""

    size = 0
    held = 0

    def restore(self) -> bool:
        """Do nothing."""
        return True

    def release(self, leaving: int = 0) -> bool:  # noqa: ARG002
        """Give nothing."""
        return False


def free_bytes(folder: Path) -> int:
    """Return the bytes that may still be written to a folder's disk.

    Raises:
        OSError: There is no such folder.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def total_bytes(folder: Path) -> int:
    """Return the size of a folder's disk in bytes.

    Raises:
        OSError: There is no such folder.
    """
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize
