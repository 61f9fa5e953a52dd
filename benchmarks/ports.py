"""Servers on free ports of loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time

import requests

__all__ = ["free_port", "until_it_answers"]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_it_answers(process: subprocess.Popen[bytes], url: str, seconds: float = 120) -> None:
    """Wait until a server that has just been started answers with 200.

    Raises:
        TimeoutError: It has ended, or does not answer in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer; exit code of its process: {process.poll()}")
