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
    """The folder of the programs after `pip install '.[server]'`."""
    folder = tmp_path_factory.mktemp("slim")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("src", "api"):
        shutil.copytree(ROOT / name, folder / name)
    pinned = ("-c", str(ROOT / "constraints.txt"))
    if problem := new_environment(folder / "venv", *pinned, f"{folder}[server]"):
        pytest.skip(f"the server cannot be installed here: {problem}")
    return folder / "venv" / "bin"


def test_every_module_of_the_server_can_be_imported(slim: Path, tmp_path: Path) -> None:
    said = run(slim / "python", "-c", IMPORT_ALL, folder=tmp_path)
    assert said == "no torch\n"


def test_a_key_is_made(slim: Path, tmp_path: Path) -> None:
    said = run(slim / "lenswatch", "keys", "create", "node", folder=tmp_path)
    assert said.startswith("lwk_")


@pytest.mark.parametrize("command", [["train"], ["calibrate"], ["up"]])
def test_a_command_of_the_node_says_what_to_install(
    slim: Path, tmp_path: Path, command: list[str]
) -> None:
    done = subprocess.run(
        [slim / "lenswatch", *command],
        cwd=tmp_path,
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'lenswatch[node]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_runs(slim: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [str(slim / "lenswatch"), "server", "--port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env=surroundings()) as process:
        try:
            until_it_answers(f"http://127.0.0.1:{port}/readyz", process)
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200
        finally:
            process.terminate()
    assert process.returncode == 0


def run(*command: Path | str, folder: Path) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        command, cwd=folder, env=surroundings(), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def surroundings() -> dict[str, str]:
    """Return our environment without the variables that lead to other modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
