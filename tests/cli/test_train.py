"""`lenswatch train`, `calibrate` and `adopt`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import SIZE, Camera
from lenswatch.config import Config
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.paths import current_digest
from support.second_camera import write_frames


@pytest.mark.slow
def test_train_makes_a_reference_and_its_thresholds(
    run: Any, tmp_path: Path, camera: Camera
) -> None:
    fill(tmp_path / "storage" / "images" / "clean", camera, 40)
    dirty = tmp_path / "storage" / "images" / "dirty"
    dirty.mkdir()
    for i in range(14):
        (dirty / f"{i:03}.jpg").write_bytes(camera(i, blurred=True))
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert "training: 1/4 loss" in ended.output
    assert "drift above" in ended.output
    assert current_digest(tmp_path / "storage") in ended.output
    assert "dirty pictures: 14; by the distance alone, drift in" in ended.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"no picture", "the file is not a picture"),
        (bytes(2_000_001), "the file has 2000001 bytes, the limit is 2000000"),
        (None, "the picture is damaged or cut off"),
    ],
)
def test_train_leaves_out_one_broken_picture_of_fifty(
    run: Any,
    tmp_path: Path,
    camera: Camera,
    caplog: pytest.LogCaptureFixture,
    content: Any,
    reason: str,
) -> None:
    clean = fill(tmp_path / "storage" / "images" / "clean", camera, 50)
    (clean / "007.jpg").write_bytes(camera(7)[:900] if content is None else content)
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert "from 49 clean pictures" in ended.output
    assert "1 of 50 clean pictures cannot be read and are left out" in caplog.text
    assert f"007.jpg: {reason}" in caplog.text
    manifest = load_reference(tmp_path / "storage").manifest
    assert len(manifest["pictures"]) == 49
    assert "clean/007.jpg" not in [picture["path"] for picture in manifest["pictures"]]
    assert "lens score: drift above" in ended.output
    assert "they come from 49 clean pictures" in ended.output


def test_train_refuses_more_broken_pictures_and_lists_them(
    run: Any, tmp_path: Path, camera: Camera
) -> None:
    clean = fill(tmp_path / "storage" / "images" / "clean", camera, 50)
    (clean / "003.jpg").write_bytes(b"")
    (clean / "007.jpg").write_bytes(b"no picture")
    ended = run("train")
    assert ended.exit_code == 1
    first, empty, text = ended.output.splitlines()[-3:]
    assert first == (
        "lenswatch: 2 of 50 clean pictures cannot be read, more than 2 %; replace or remove them:"
    )
    assert empty.startswith(f"  {clean / '003.jpg'}: the file is empty")
    assert text.startswith(f"  {clean / '007.jpg'}: the file is not a picture")
    assert current_digest(tmp_path / "storage") is None


@pytest.mark.slow
def test_broken_dirty_pictures_do_not_end_train(run: Any, tmp_path: Path, camera: Camera) -> None:
    fill(tmp_path / "storage" / "images" / "clean", camera, 40)
    dirty = fill(tmp_path / "storage" / "images" / "dirty", camera, 14)
    (dirty / "003.jpg").write_bytes(b"")
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert "warning: 1 of 14 dirty pictures cannot be read" in ended.output


def fill(folder: Path, camera: Camera, count: Any) -> Any:
    """Pictures of the small camera in a new folder."""
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"{i:03}.jpg").write_bytes(camera(i))
    return folder


def test_calibrate_takes_a_streams_own_pictures(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for i in range(30):
        (own / f"own-{i:03}.jpg").write_bytes(camera(100 + i))
    ended = run("calibrate", "--stream", "reef", own)
    assert ended.exit_code == 0, ended.output
    assert "stream reef:" in ended.output
    assert "lens score: drift above" in ended.output
    assert "distance: none, since 30 clean pictures are too few for it" in ended.output
    assert list((tmp_path / "storage" / "calibration").glob("*/reef.json"))


def test_calibrate_with_the_names_of_the_references_pictures_uses_the_folder(
    trained: Config, run: Any, tmp_path: Path
) -> None:
    """Two cameras on one schedule, named by date."""
    names = sorted(file.name for file in (trained.image_folder / "clean").iterdir())[:40]
    write_frames(tmp_path / "same", names)
    write_frames(tmp_path / "own", [f"pier_{name}" for name in names])
    same, own = (
        run("calibrate", "--stream", stream, tmp_path / folder).output.splitlines()[2:]
        for stream, folder in (("pier", "same"), ("pier2", "own"))
    )
    assert same == own
    assert same != run("calibrate").output.splitlines()[2:]


@pytest.mark.slow
def test_training_again_keeps_thresholds_and_alarms(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    before = current_digest(trained.storage_path)
    write_frames(tmp_path / "street", [f"{i:03}.jpg" for i in range(40)])
    write_frames(tmp_path / "dock", [f"{i:03}.jpg" for i in range(40)], camera)
    later = write_frames(tmp_path / "later", [f"{i:03}.jpg" for i in range(200, 220)])
    run("calibrate", "--stream", "street", tmp_path / "street")
    run("calibrate", "--stream", "dock", tmp_path / "dock")
    shutil.rmtree(tmp_path / "dock")
    run("predict", "--stream", "reef", "--drift-distance", "-2", later[0])
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert current_digest(trained.storage_path) == before  # the same pictures and seed
    settings = tmp_path / "config.toml"
    settings.write_text(settings.read_text().replace("epochs = 4", "epochs = 2\nseed = 1"))
    ended = run("train")
    assert ended.exit_code == 0, ended.output
    assert current_digest(trained.storage_path) != before
    street = (tmp_path / "street").resolve()
    assert f"stream street: recalibrated from 40 pictures in {street}" in ended.output
    assert "stream dock: not calibrated under the new reference, since 40 of its 40" in ended.output
    assert "run `lenswatch calibrate --stream dock FOLDER`" in ended.output
    assert "stream reef: in alarm; it stays so until clean pictures end it" in ended.output
    answers = [json.loads(line) for line in predicted(run, "street", tmp_path / "later")]
    assert not any(answer["drift"] for answer in answers)
    (dock,) = predicted(run, "dock", later[0])
    assert json.loads(dock)["calibrated"] is False
    (reef,) = predicted(run, "reef", later[0])
    assert json.loads(reef)["alarm"] is True


def predicted(run: Any, stream: str, path: Path) -> list[str]:
    """Judge pictures as JSON lines."""
    ended = run("predict", "--stream", stream, "--json", path)
    return [line for line in ended.output.splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_calibrate_draws_its_runs(trained: Config, run: Any, tmp_path: Path) -> None:
    ended = run("calibrate", "--plot", tmp_path / "runs.png")
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")


def test_the_tutorials_pair_is_adopted(run: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pair = tmp_path / "pair"
    pair.mkdir()
    network = Autoencoder(SIZE, 8)
    torch.save(network.state_dict(), pair / "autoencoder.pth")
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    torch.save([torch.from_numpy(row[None]) for row in rows], pair / "clean_embeddings.pth")
    ended = run("adopt", pair)
    assert ended.exit_code == 0, ended.output
    assert "from 40 clean embeddings" in ended.output
