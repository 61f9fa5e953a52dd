"""`lenswatch up` as a user starts it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from support.waiting import until

__all__ = ["READY", "up", "wait_for_text"]

READY = "Press Ctrl-C to stop"


@contextlib.contextmanager
def up(root: Path, *, node_port: int, server_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start `lenswatch up` as a user does, with its output in root/out.txt."""
    command = [sys.executable, "-m", "lenswatch", "up", "--config", str(root / "config.toml")]
    with (root / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--port={node_port}", f"--server-port={server_port}"],
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()  # which ends its servers too
                process.wait()
                raise


def wait_for_text(
    file: Path, text: str, process: subprocess.Popen[bytes], seconds: float = 120
) -> None:
    """Return once the file holds the text; fail when the process ends without it."""
    until(lambda: text in file.read_text() or process.poll() is not None, seconds=seconds)
    assert text in file.read_text()
