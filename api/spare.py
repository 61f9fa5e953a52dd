"""Space for uploads while the disk of the temporary folder is full: a folder in memory."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

from lenswatch.api.temporary import PREFIX, sweep

from lenswatch.held import make_held_folder
from lenswatch.node.store.reserve import free_bytes

__all__ = ["SpareFolder"]

log = logging.getLogger(__name__)

MEMORY = Path("/dev/shm")  # a file system in memory, on Linux
LEAST_BYTES = (
    64 * 2**20
)  # free on the disk of a temporary folder: aiohttp and DEEPaaS each write an upload


class SpareFolder:
    """The choice of this process's temporary folder: the usual one, or one in memory while its disk is full.

    Args:
        memory: The file system in memory.
    """

    def __init__(self, memory: Path = MEMORY) -> None:
        self._usual = Path(tempfile.gettempdir())
        self._memory = memory
        self._folder: Path | None = None
        self._spares = False
        if memory.is_dir():
            sweep(memory)

    def choose(self) -> None:
        """Let new temporary files of this process be where there is space."""
        try:
            spares = free_bytes(self._usual) < min(LEAST_BYTES, free_bytes(self._memory))
            folder = self._made() if spares else self._usual
        except OSError:  # nothing better is known
            spares, folder = False, self._usual
        if spares != self._spares:
            told = (
                "is full; uploads are kept in memory" if spares else "has space for uploads again"
            )
            log.warning("the disk of %s %s", self._usual, told)
        self._spares = spares
        tempfile.tempdir = str(folder)

    def _made(self) -> Path:
        """Return the folder in memory, which is deleted when the process ends."""
        if self._folder is None or not self._folder.is_dir():
            self._folder, _ = make_held_folder(self._memory, f"{PREFIX}{os.getpid()}-")
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder
