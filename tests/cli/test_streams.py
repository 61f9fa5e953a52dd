"""`lenswatch status` and `reset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Camera
from lenswatch.config import Config
from lenswatch.reference.paths import current_digest


def test_status_and_reset_tell_of_streams(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "one.jpg").write_bytes(camera(60))
    run("predict", "--stream", "reef", tmp_path / "one.jpg")
    shown = run("status").output
    assert "reef" in shown
    assert current_digest(trained.storage_path) in shown
    assert "window cleared" in run("reset", "reef").output
    again = run("reset", "reef")
    assert again.exit_code == 1
    assert "no window" in again.output
