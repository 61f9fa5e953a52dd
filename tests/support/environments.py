"""Virtual environments with what a test says and nothing else."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path


def new_environment(folder: Path, *wanted: str) -> str:
    """Make one in `folder` and install what is `wanted`; what pip says if that fails.

    The pip is that of the tests' own environment: another one would take a while to install.
    """
    venv.create(folder)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "install", "--quiet", *wanted], capture_output=True, text=True, check=False
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""
