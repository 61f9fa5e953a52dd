"""Files and folders that a process holds while it lives, so that a later one can tell whether it has ended.

The operating system gives a file free when its holder ends, however that happens. So no number of a process,
which may be another process's by now, and no clock has to be trusted.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

__all__ = ["hold", "is_held", "make_held_folder"]


def hold(path: Path) -> int:
    """Hold an existing file or folder, and return the descriptor by which it is held.

    It is held until the descriptor is closed in this process and in each one that inherited it.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be opened, or its file system knows no locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_held(path: Path) -> bool:
    """Return True while a process holds the file or folder, and where that cannot be told.

    What is missing is held by nobody.
    """
    try:
        os.close(hold(path))
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def make_held_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder that only this user can read, and hold it.

    It gets its name when it is held, so nobody ever finds it free while this process lives.

    Args:
        parent: The folder to make it in.
        prefix: The beginning of its name; the rest is random.

    Returns:
        The folder, and the descriptor by which it is held.

    Raises:
        OSError: It cannot be made or held.
    """
    unnamed = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        descriptor = hold(unnamed)
        folder = parent / (prefix + unnamed.name.removeprefix(".new-"))
        unnamed.rename(folder)
    except OSError:
        unnamed.rmdir()
        raise
    return folder, descriptor
