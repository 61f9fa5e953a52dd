"""A calibration that is damaged: the node starts, says so, and goes on once it is whole again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from conftest import Camera, deepaas_running, write_settings
from lenswatch.reference.paths import calibration_folder, current_digest
from support.waiting import until


@pytest.fixture
def root(trained_root: Path, tmp_path: Path) -> Path:
    """A folder with settings, a reference and its calibration."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    return tmp_path


def default_calibration(root: Path) -> Path:
    digest = current_digest(root / "storage")
    assert digest
    return calibration_folder(root / "storage") / digest / "default.json"


@pytest.mark.slow
def test_a_node_with_a_truncated_calibration_starts_and_says_why_it_does_not_judge(
    root: Path, camera: Camera
) -> None:
    file = default_calibration(root)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with deepaas_running(root) as served:
        refused = served.predict(camera(60))
        assert refused.status_code == 503
        assert f"{file}: truncated" in refused.json()["message"]
        health = requests.get(f"{served.url}/healthz", timeout=60)
        assert health.status_code == 503
        assert f"{file}: truncated" in health.json()["message"]
        file.unlink()
        file.write_bytes(whole)
        answer = served.predict(camera(60))
        assert answer.status_code == 200
        assert answer.json()["distance"] is not None
        until(lambda: requests.get(f"{served.url}/healthz", timeout=60).status_code == 200)
