"""The tracking server alone: installed without anything of the node."""

from __future__ import annotations

import os
import subprocess
import threading
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_the_server_runs_from_a_slim_installation(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    needs = subprocess.run(
        [*pip, "-r", str(ROOT / "requirements-server.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    if needs.returncode:
        pytest.skip(
            f"the requirements cannot be installed here: {needs.stderr.strip().splitlines()[-1]}"
        )
    subprocess.run([*pip, "--no-deps", str(ROOT)], check=True)
    missing = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False)
    assert missing.returncode == 1
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if "LENSWATCH" not in name}
    command = [str(tmp_path / "venv" / "bin" / "lenswatch"), "server", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        try:
            assert _status(f"http://127.0.0.1:{port}/readyz", process) == 200
            assert _status(f"http://127.0.0.1:{port}/", process) == 200
        finally:
            process.terminate()
    assert process.returncode == 0


def _status(address: str, process: subprocess.Popen[bytes]) -> int:
    for _ in range(400):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.URLError:
            threading.Event().wait(0.05)
    raise AssertionError(f"{address} does not answer")
