"""Training through DEEPaaS: a new reference, taken up by the worker that serves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from conftest import Camera, deepaas_running, small_config, write_settings
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.paths import current_digest
from support.ports import free_port
from support.second_camera import write_frames
from support.waiting import until


@pytest.mark.slow
def test_training_makes_a_new_reference_and_serves_with_it(
    trained_root: Path, tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow is set, as AI4OS sets it, and down."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    before = current_digest(tmp_path / "storage")
    files = write_frames(tmp_path / "street", [f"{i:03}.jpg" for i in range(30)])
    config = small_config(tmp_path)
    calibrate_stream(config, load_reference(config.storage_path), "street", files)
    with deepaas_running(tmp_path) as served:
        assert served.predict(camera(60)).json()["model"] == f"lenswatch@{before}"
        assert served.predict(camera(60), stream="reef", drift_distance=-2).json()["alarm"] is True
        url = f"{served.url}/v2/models/lenswatch/train/"
        started = requests.post(url, params={"seed": 5, "epochs": 2}, timeout=60).json()
        training = until(lambda: outcome(f"{url}{started['uuid']}"), seconds=120)
        assert training["status"] == "done", training
        made = training["result"]["output"]
        assert made["pictures"] == 60
        assert made["metrics"]["epochs"] <= 2
        assert made["streams"] == [
            f"stream street: recalibrated from 30 pictures in {(tmp_path / 'street').resolve()}",
            "stream reef: in alarm; it stays so until clean pictures end it",
        ]
        (first, *_) = made["calibration_notes"]
        assert first in served.log.read_text()
        assert served.log.read_text().count("not logged in MLflow") == 1
        after = current_digest(tmp_path / "storage")
        assert after != before
        answer = served.predict(camera(61)).json()
        assert served.predict(camera(61), stream="reef").json()["alarm"] is True
    assert answer["model"] == made["model"] == f"lenswatch@{after}"
    assert answer["window"]["filled"] == 1
    assert answer["calibration_notes"] == made["calibration_notes"]


def outcome(url: Any) -> Any:
    training = requests.get(url, timeout=60).json()
    return training if training["status"] != "running" else None
