"""A folder that cannot be written, for a child process, also when the tests run as root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# Root may write where the permissions forbid it, unless it gives up this capability.
OBEYING = [] if os.geteuid() else ["setpriv", "--bounding-set=-dac_override"]


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Forbid writing in a folder and all folders and files below it.

    A child process obeys that when its command begins with `OBEYING`.
    """
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)
