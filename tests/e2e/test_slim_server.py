"""The tracking server alone: installed without anything of the node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest

from support.environments import new_environment
from support.ports import free_port
from support.waiting import until_it_answers

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ALL = """
import importlib, pkgutil
import lenswatch.server
for module in pkgutil.walk_packages(lenswatch.server.__path__, "lenswatch.server."):
    if ".migrations" not in module.name:  # Alembic runs those, when the server starts
        importlib.import_module(module.name)
try:
    import torch
except ImportError:
    print("no torch")
"""


@pytest.fixture(scope="module")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of such an installation."""
    folder = tmp_path_factory.mktemp("slim")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "api"):
        shutil.copytree(ROOT / name, folder / name)
    needs = ("-r", str(ROOT / "requirements-server.txt"))
    if problem := new_environment(folder / "venv", *needs):
        pytest.skip(f"the requirements cannot be installed here: {problem}")
    assert not new_environment(folder / "venv", "--no-deps", str(folder))
    return folder / "venv" / "bin"


def test_every_module_of_the_server_can_be_imported(slim: Path, tmp_path: Path) -> None:
    said = run(slim / "python", "-c", IMPORT_ALL, folder=tmp_path)
    assert said == "no torch\n"


def test_a_key_is_made(slim: Path, tmp_path: Path) -> None:
    said = run(slim / "lenswatch", "keys", "create", "node", folder=tmp_path)
    assert said.startswith("lwk_")


def test_the_server_runs(slim: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [slim / "lenswatch", "server", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings()) as process:
        try:
            until_it_answers(f"http://127.0.0.1:{port}/readyz", process)
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200
        finally:
            process.terminate()
    assert process.returncode == 0


def run(*command: Path | str, folder: Path) -> str:
    """What a command says."""
    done = subprocess.run(
        command, cwd=folder, env=surroundings(), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def surroundings() -> dict[str, str]:
    """Our environment without what leads to other modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
