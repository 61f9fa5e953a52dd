"""A small disk of a test's own, and another program that fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PIECES = (2**20, 4096, 1)  # a disk is full when it does not take a single byte


class SmallDisk:
    """A file system in memory.

    Attributes:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "another-program.log"

    @property
    def free(self) -> int:
        """Bytes left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leaving: int = 0) -> None:
        """Let another program take what is left."""
        with self._filler.open("ab", buffering=0) as file:
            for piece in PIECES:
                with contextlib.suppress(OSError):
                    while self.free - leaving >= piece or not leaving:
                        file.write(b"\xff" * piece)

    def clear(self) -> None:
        """Delete what the other program wrote."""
        self._filler.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size, and unmount it afterwards."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "lenswatch-test", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small disk: mounting a file system needs root")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
