"""Imports to serve: nothing that only training needs, even where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Camera, write_settings
from lenswatch.config import Config

HEAVY = {"torch", "torchvision", "scipy", "frouros", "matplotlib", "pandas", "onnx", "plotly"}

WORKER = """
import json, shutil, sys
from lenswatch.api import worker
from lenswatch.api.workers.upload import Upload

worker.warm()
shutil.copy("frame.jpg", "copy.jpg")
worker.predict(Upload("input_file", "copy.jpg", "image/jpeg", "frame.jpg"))
print(json.dumps(sorted(sys.modules)))
"""

COMMAND = """
import atexit, json, sys
from lenswatch.cli.main import main

atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
main(sys.argv[1:])
"""

PARENT = """
import json, sys
import deepaas.api
from lenswatch.api import parent

print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def root(trained: Config, tmp_path: Path, camera: Camera) -> Path:
    write_settings(tmp_path)
    (tmp_path / "frame.jpg").write_bytes(camera(61))
    (tmp_path / "clean").mkdir()
    for i in range(24):
        (tmp_path / "clean" / f"{i:02}.jpg").write_bytes(camera(i))
    return tmp_path


def imported(root: Path, script: str, *arguments: str) -> set[str]:
    """Return the packages that a Python process has imported in the end."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_a_worker_serves_without_them(root: Path) -> None:
    packages = imported(root, WORKER)
    assert not packages & (HEAVY | {"deepaas", "aiohttp", "webargs", "click", "rich"})
    assert "onnxruntime" in packages


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["predict", "frame.jpg"],
        ["predict", "clean"],
        ["calibrate", "--stream", "pier", "clean"],
        ["explain", "frame.jpg"],
    ],
    ids=" ".join,
)
def test_so_do_the_commands_of_a_node(root: Path, command: list[str]) -> None:
    assert not imported(root, COMMAND, *command) & HEAVY


@pytest.mark.slow
def test_the_parent_of_the_workers_needs_no_arrays_either(root: Path) -> None:
    assert not imported(root, PARENT) & (HEAVY | {"numpy", "PIL", "onnxruntime"})
