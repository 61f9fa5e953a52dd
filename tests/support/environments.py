"""Virtual environments that hold what a test names and nothing else."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

SECONDS = 240  # less than a test may take; a download that hangs is reported as such


def new_environment(folder: Path, *wanted: str) -> str:
    """Create one in `folder` and install `wanted` into it. Return pip's last line if that fails.

    It uses the pip of the tests' own environment: installing another one takes a while. Nothing is compiled
    before it is imported, which takes half of the time.
    """
    venv.create(folder)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    command = [*pip, "install", "--quiet", "--no-compile", *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"pip did not end within {SECONDS} seconds"
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""
