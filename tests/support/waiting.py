"""Waiting for what happens in another thread or process.

The seconds are there to end a test that would hang. They are many: other programs may keep the machine busy.
"""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")


def until(condition: Callable[[], Found], seconds: float = 60) -> Found:
    """Wait for a true value of `condition()` and return it; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"no result within {seconds} s"
        time.sleep(0.01)
    return found


def until_it_answers(
    url: str, process: subprocess.Popen[Any], log: Path | None = None, seconds: float = 120
) -> None:
    """Return once `url` is answered well; fail, with the log, if the server's process ends first."""

    def said() -> str:
        return log.read_text(errors="replace")[-3000:] if log else ""

    def answers() -> bool:
        assert process.poll() is None, f"the server ended with {process.returncode}: {said()}"
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except OSError:
            return False
        return True

    until(answers, seconds)
