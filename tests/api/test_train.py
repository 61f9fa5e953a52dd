"""Training through DEEPaaS: a new reference, taken up by the worker that serves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Camera, deepaas_running, write_settings
from lenswatch.reference.paths import current_digest
from support.waiting import until


@pytest.mark.slow
def test_training_makes_a_new_reference_and_serves_with_it(
    trained_root: Path, tmp_path: Path, camera: Camera
) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    before = current_digest(tmp_path / "storage")
    with deepaas_running(tmp_path) as served:
        assert served.predict(camera(60)).json()["model"] == f"lenswatch@{before}"
        url = f"{served.url}/v2/models/lenswatch/train/"
        started = requests.post(url, params={"seed": 5, "epochs": 2}, timeout=60).json()
        training = until(lambda: outcome(f"{url}{started['uuid']}"), seconds=120)
        assert training["status"] == "done", training
        made = training["result"]["output"]
        assert made["pictures"] == 60
        assert made["metrics"]["epochs"] <= 2
        (first, *_) = made["calibration_notes"]
        assert first in served.log.read_text()
        after = current_digest(tmp_path / "storage")
        assert after != before
        answer = served.predict(camera(61)).json()
    assert answer["model"] == made["model"] == f"lenswatch@{after}"
    assert answer["window"]["filled"] == 1
    assert answer["calibration_notes"] == made["calibration_notes"]


def outcome(url: Any) -> Any:
    training = requests.get(url, timeout=60).json()
    return training if training["status"] != "running" else None
