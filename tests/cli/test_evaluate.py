"""`lenswatch evaluate` and `compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from support.second_camera import write_frames


def test_compare_tells_folders_apart_and_writes_a_page(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    for name, blurred in (("same", False), ("blurred", True)):
        folder = tmp_path / name
        folder.mkdir()
        for i in range(30):
            (folder / f"{i:03}.jpg").write_bytes(camera(2 * i, blurred=blurred))
    clean = tmp_path / "storage" / "images" / "clean"
    page = tmp_path / "report.html"
    ended = run("compare", "--html", page, clean, tmp_path / "same", tmp_path / "blurred")
    assert ended.exit_code == 0, ended.output
    assert "same: no drift" in ended.output
    assert "blurred: drift" in ended.output
    assert "plotly" in page.read_text().lower()


def test_compare_leaves_out_one_broken_picture_of_fifty_and_refuses_more(
    trained: Config, run: Any, tmp_path: Path, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    clean = tmp_path / "storage" / "images" / "clean"
    files = write_frames(tmp_path / "other", [f"{i:03}.jpg" for i in range(50)], camera)
    files[7].write_bytes(b"")
    ended = run("compare", clean, tmp_path / "other")
    assert ended.exit_code == 0, ended.output
    assert f"{files[7]}: the file is empty" in caplog.text
    files[8].write_bytes(b"no picture")
    ended = run("compare", clean, tmp_path / "other")
    assert ended.exit_code == 1
    assert "2 of 50 pictures cannot be read, more than 2 %" in ended.output
    assert f"  {files[8]}: the file is not a picture" in ended.output


def test_compare_names_the_folder_with_too_few_pictures(
    trained: Config, run: Any, tmp_path: Path, camera: Camera
) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "one.jpg").write_bytes(camera(1))
    ended = run("compare", tmp_path / "storage" / "images" / "clean", tmp_path / "few")
    assert ended.exit_code == 1
    assert "few: too few pictures to compare, 1; at least 4 are needed" in ended.output


@pytest.mark.parametrize("option", ["--ert", "--onsets", "--processes"])
def test_evaluate_refuses_zero_before_it_reads_pictures(
    run: Any, tmp_path: Path, option: str
) -> None:
    ended = run("evaluate", option, "0", tmp_path)
    assert ended.exit_code == 2
    assert f"Invalid value for '{option}'" in ended.output


def test_an_unknown_detector_is_named_with_the_known_ones(
    run: Any, tmp_path: Path, camera: Camera
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(camera(1))
    ended = run("evaluate", "--detector", "nobody:nothing", folder)
    assert ended.exit_code == 1
    assert "lenswatch, tutorial" in ended.output


@pytest.mark.slow
def test_a_detector_of_ones_own_is_judged(run: Any, tmp_path: Path, camera: Camera) -> None:
    folder = tmp_path / "harbour"
    folder.mkdir()
    for i in range(262):
        (folder / f"{i:03}.jpg").write_bytes(camera(i))
    files = [tmp_path / "figures.json", tmp_path / "page.html"]
    asked = ("--detector", "support.detectors:brightness", "--onsets", "1", "--processes", "2")
    ended = run("evaluate", *asked, "--json", files[0], "--html", files[1], folder)
    assert ended.exit_code == 0, ended.output
    assert "harbour: corrupted footage: 21/21" in ended.output
    (found,) = json.loads(files[0].read_text())
    assert found["own threshold"]["false alarms"]["images"] == 125
    assert found["own threshold"]["detections"]["sudden 3"]["brightness"]["share"] == 1
    assert "support.detectors:brightness" in files[1].read_text()
