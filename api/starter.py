"""The end of DEEPaaS with the script that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

__all__ = ["end_with_deep_start"]

_PR_SET_PDEATHSIG = 1  # of prctl: the signal that a process gets when its parent ends


def end_with_deep_start() -> None:
    """Let this process get SIGTERM when AI4OS' script `deep-start`, which started it, ends.

    The script waits for DEEPaaS and hands no signal on: DEEPaaS would outlive it. Nothing changes under
    another parent, and on systems other than Linux.
    """
    parent = os.getppid()
    if sys.platform != "linux" or not _is_deep_start(parent):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGTERM)


def _is_deep_start(number: int) -> bool:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return any(Path(word).name.startswith("deep-start") for word in words[:2])
