"""`lenswatch status` and `reset`."""

from __future__ import annotations

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.node.request import open_store
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.paths import calibration_folder, current_digest, node_database
from lenswatch.wire import DriftJob


@pytest.fixture
def judged(trained: Config, run: Any, tmp_path: Path, camera: Camera) -> Config:
    """A node whose stream "reef" has judged one picture."""
    (tmp_path / "one.jpg").write_bytes(camera(60))
    assert run("predict", "--stream", "reef", tmp_path / "one.jpg").exit_code == 0
    return trained


def test_status_and_reset_tell_of_streams(judged: Config, run: Any) -> None:
    shown = run("status").output
    assert "reef" in shown
    assert str(current_digest(judged.storage_path)) in shown
    assert "provisional" in shown
    assert "1/12" in shown
    assert "nothing can alarm" not in shown
    assert "window cleared" in run("reset", "reef").output
    again = run("reset", "reef")
    assert again.exit_code == 1
    assert "no window" in again.output


def test_status_says_where_the_logs_are(judged: Config, run: Any) -> None:
    assert "logs        on standard error" in run("status").output
    (judged.storage_path / "logs").mkdir()
    assert f"logs        {judged.storage_path / 'logs'}" in run("status").output


def test_status_says_that_a_stream_is_in_alarm(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    folder = tmp_path / "fouled"
    folder.mkdir()
    for i in range(20):
        (folder / f"{i:02}.jpg").write_bytes(camera(i, blurred=True))
    run("predict", "--stream", "reef", folder)
    assert "ALARM" in run("status").output


def test_status_says_that_nothing_can_alarm(judged: Config, run: Any) -> None:
    shutil.rmtree(calibration_folder(judged.storage_path))
    shown = run("status").output
    assert "not calibrated" in shown
    assert "reef: nothing can alarm. There are no thresholds" in shown


def test_a_calibration_that_cannot_be_read_does_not_hide_the_rest(judged: Config, run: Any) -> None:
    for file in calibration_folder(judged.storage_path).rglob("*.json"):
        file.write_text("{")
    shown = run("status")
    assert shown.exit_code == 0
    assert "reef: nothing can alarm. " in shown.output
    assert "damaged" in shown.output
    assert "not calibrated" not in shown.output
    assert "run `lenswatch calibrate` for this stream" in shown.output


def test_a_state_that_cannot_be_read_does_not_hide_the_rest(judged: Config, run: Any) -> None:
    digest = current_digest(judged.storage_path)
    assert digest
    with open_store(judged).begin() as transaction:
        transaction.put_window("pier", digest, b"rubbish")
    shown = run("status")
    assert shown.exit_code == 0
    assert "pier: a stream's stored state cannot be read" in " ".join(shown.output.split())
    assert "reef" in shown.output


def test_status_tells_of_collections(judged: Config, run: Any) -> None:
    run("collect", "--stream", "pier", "--new-camera", "--pictures", 100)
    run("collect", "--stream", "reef")
    shown = run("status").output
    assert "pier: Collecting clean pictures: 0 of at most 100" in shown
    assert shown.count("othing can alarm") == 1
    assert "collecting 0/100" in shown


def test_status_writes_nothing_where_there_is_nothing(run: Any, tmp_path: Path) -> None:
    shown = run("status")
    assert shown.exit_code == 0
    assert "none yet: lenswatch train" in shown.output
    assert "no picture has been judged yet" in shown.output
    assert not (tmp_path / "storage").exists()


def test_status_shows_the_time_of_the_newest_picture(judged: Config, run: Any) -> None:
    assert f"{datetime.now(UTC):%Y-%m-%d}" in run("status").output


def test_status_says_how_many_originals_are_kept(
    judged: Config, run: Any, tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "originals" not in run("status").output
    monkeypatch.setenv("LENSWATCH_STORAGE_KEEP_ORIGINALS", "all")
    monkeypatch.setenv("LENSWATCH_STORAGE_ORIGINALS_MAX_BYTES", "3000000")
    assert "originals   0 pictures kept, 0.0 of at most 3.0 MB" in run("status").output
    (tmp_path / "two.jpg").write_bytes(camera(61) + bytes(200_000))  # after the end of the picture
    assert run("predict", tmp_path / "two.jpg").exit_code == 0
    assert "originals   1 picture kept, 0.2 of at most 3.0 MB" in run("status").output


def test_status_says_what_was_given_up_for_want_of_space(
    trained: Config, run: Any, tmp_path: Path
) -> None:
    assert "space" not in run("status").output
    with contextlib.closing(
        NodeStore(node_database(trained.storage_path), max_bytes=2000)
    ) as store:
        for _ in range(3):
            with store.begin() as transaction:
                transaction.post(DriftJob("Completed", "m"), b"x" * 1500)
    shown = " ".join(run("status").output.split())
    assert "space short since 20" in shown
    assert "2 pictures and 0 jobs were given up, the last one at 20" in shown
