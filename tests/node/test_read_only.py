"""A storage folder that cannot be written, as on a read-only medium."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera, write_settings
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.paths import calibration_folder, current_digest
from support.read_only import OBEYING, read_only


@pytest.fixture
def run(trained: Config, tmp_path: Path) -> Any:
    """Runs a command while the storage folder is read-only, and checks that it was left alone."""
    settings = write_settings(tmp_path)
    storage = trained.storage_path

    def command(*arguments: Any) -> Any:
        before = sorted(path.relative_to(storage) for path in storage.rglob("*"))
        program = [sys.executable, "-m", "lenswatch", arguments[0], "--config", str(settings)]
        with read_only(storage):
            ended = subprocess.run(
                [*OBEYING, *program, *map(str, arguments[1:])],
                capture_output=True,
                text=True,
                timeout=120,
            )
        assert sorted(path.relative_to(storage) for path in storage.rglob("*")) == before
        return ended

    return command


@pytest.mark.slow
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_picture_is_explained(
    trained: Config, run: Any, tmp_path: Path, camera: Camera, calibrated: bool
) -> None:
    if not calibrated:
        shutil.rmtree(calibration_folder(trained.storage_path))
    (tmp_path / "blurred.jpg").write_bytes(camera(60, blurred=True))
    ended = run("explain", "--output", tmp_path / "why.png", tmp_path / "blurred.jpg")
    assert ended.returncode == 0, ended.stderr
    assert "blurred" in ended.stdout
    assert (tmp_path / "why.png").exists()
    assert not list(trained.storage_path.glob("node.db*"))


@pytest.mark.slow
def test_a_calibration_that_cannot_be_kept_is_one_clear_line(run: Any) -> None:
    ended = run("calibrate")
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "cannot be written" in line]
    assert "default.json: cannot be written: Permission denied; " in line


@pytest.mark.slow
@pytest.mark.parametrize("judged", [True, False])
def test_the_status_is_shown(
    trained: Config, run: Any, tmp_path: Path, camera: Camera, judged: bool
) -> None:
    if judged:
        Node(trained).observe(camera(60), Request(stream="reef"))
    ended = run("status")
    assert ended.returncode == 0, ended.stderr
    assert str(current_digest(trained.storage_path)) in ended.stdout
    assert ("reef" in ended.stdout) == judged
