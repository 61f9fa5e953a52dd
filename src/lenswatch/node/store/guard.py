"""A lock on `node.db` that SQLite does not know: writers share it, and a repair has it alone.

A repair changes the file in ways in which SQLite's own locks do not help: the damage may be where they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lenswatch.errors import StoreDamaged, StoreError

__all__ = ["Guard", "beside"]

POLL_SECONDS = 0.02
MADE = "made"  # in the file of the lock, until a repair is noted there


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to a database, such as `node.db.lock`."""
    return path.with_name(path.name + suffix)


class Guard:
    """The lock of one `node.db`, held through a file beside it. One thread may use it at a time.

    The file `node.db.repairing` is there while a repair is not finished, also after it was killed.

    Args:
        path: The database.
        timeout: Seconds to wait for the lock.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._files: tuple[int, int] | None = None
        self._repairing = beside(path, ".repairing")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other writers, so that no repair begins.

        Raises:
            StoreDamaged: A repair was interrupted, and has to be finished first.
            StoreError: A repair takes longer than `timeout`.
        """
        with self._held(fcntl.LOCK_SH):
            if self._repairing.exists():
                raise StoreDamaged(f"{self._path}: its repair was interrupted")
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock alone, so that no other process of ours writes. Those that come later wait.

        Raises:
            StoreError: Others hold it for longer than `timeout`.
        """
        with self._held(fcntl.LOCK_EX):
            yield

    def last_repair(self) -> str:
        """Return what the last repair has noted; empty when there was none."""
        noted = self._noted()
        return "" if noted == MADE else noted

    def was_made(self) -> bool:
        """Return True when the database was whole at some time, so that an empty file is a damaged one."""
        return bool(self._noted())

    def note_made(self) -> None:
        """Note that the database is whole; on a full disk this may fail, and is done the next time."""
        files = self._opened()
        if files is not None and not self._noted():
            with contextlib.suppress(OSError):
                os.pwrite(files[1], MADE.encode(), 0)

    def note_gone(self) -> None:
        """Forget all notes, since there is no database."""
        files = self._opened()
        if files is not None:
            os.ftruncate(files[1], 0)

    def note_repair(self, name: str) -> None:
        """Note a repair in the file of the lock, so that others see that it is done.

        Args:
            name: A text that no other repair has.
        """
        files = self._opened()
        if files is not None:
            os.ftruncate(files[1], 0)
            os.pwrite(files[1], name.encode(), 0)

    def close(self) -> None:
        """Close the file of the lock. It is opened again when needed."""
        for file in self._files or ():
            os.close(file)
        self._files = None

    def begin_anew(self) -> None:
        """Begin anew in a forked process, where an open file would be the lock of the process before it."""
        self.close()  # which leaves the lock to the other one

    @contextmanager
    def _held(self, kind: int) -> Iterator[None]:
        files = self._opened()
        if files is None:
            yield
            return
        folder, file = files
        deadline = time.monotonic() + self._timeout
        # Whoever waits for the lock alone holds the folder's: writers cannot follow each other for ever.
        self._wait(folder, kind, deadline)
        try:
            self._wait(file, kind, deadline)
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _wait(self, file: int, kind: int, deadline: float) -> None:
        while not _locked(file, kind):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{self._path}: locked for more than {self._timeout:g} s, since it is being repaired or "
                    "another process does not let go of it; try again"
                )
            time.sleep(POLL_SECONDS)

    def _noted(self) -> str:
        files = self._opened()
        return "" if files is None else os.pread(files[1], 200, 0).decode(errors="replace")

    def _opened(self) -> tuple[int, int] | None:
        """Return the open folder and the open file of the lock; None where nothing can be written."""
        if self._files is None:
            try:
                folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return None
            try:
                name = beside(self._path, ".lock")
                file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError:
                os.close(folder)
                return None
            self._files = folder, file
        return self._files


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
