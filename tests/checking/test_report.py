"""Checks of clean pictures: what is wrong is named, and what is right is quiet."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import camera_pixels, jpeg
from lenswatch.checking.report import Finding, Report, check
from lenswatch.config import Config
from lenswatch.reference.order import find_in_order

START = datetime(2026, 6, 1, 8, tzinfo=UTC)
Frame = NDArray[np.uint8]


def name(i: int, minutes: float | None = None) -> str:
    moment = START + timedelta(minutes=10 * i if minutes is None else minutes)
    return f"cam_{moment:%Y%m%d-%H%M%S}.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 clean pictures, ten minutes apart."""
    path = tmp_path / "clean"
    path.mkdir()
    for i in range(24):
        (path / name(i)).write_bytes(jpeg(camera_pixels(i)))
    return path


def checked(config: Config, folder: Path) -> Report:
    return check(folder, find_in_order(folder, ["*"]), config)


def found(config: Config, folder: Path) -> dict[str, Finding]:
    return {finding.kind: finding for finding in checked(config, folder).findings}


def test_clean_pictures_are_quiet(config: Config, folder: Path) -> None:
    report = checked(config, folder)
    assert report.findings == ()
    assert report.pictures == 24
    assert report.counts == {
        "formats": {"jpg": 24},
        "sizes": {"96 x 64": 24},
        "colours": {"in colour": 24},
    }


def test_all_files_that_cannot_be_read_are_named(config: Config, folder: Path) -> None:
    (folder / name(30)).write_bytes(b"")
    (folder / name(31)).write_bytes(jpeg(camera_pixels(1))[:900])
    (folder / name(32)).write_bytes(b"")
    unreadable = [f for f in checked(config, folder).findings if f.kind == "unreadable"]
    assert sorted(f.files for f in unreadable) == [(name(30), name(32)), (name(31),)]
    assert any("empty" in f.says for f in unreadable)


def test_other_formats_sizes_and_colours_are_named(config: Config, folder: Path) -> None:
    picture = Image.fromarray(camera_pixels(5))
    picture.resize((48, 32)).save(folder / name(40))
    picture.convert("L").save(folder / name(41))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    (folder / name(42)).write_bytes(buffer.getvalue())  # named .jpg nevertheless
    findings = found(config, folder)
    assert findings["size"].files == (name(40),)
    assert findings["colours"].files == (name(41),)
    assert findings["format"].files == (name(42),)
    assert findings["format"].says == (
        "the pictures have more than one format: jpg (26), and png (1)"
    )


def test_copies_are_told_from_pictures_of_a_scene_that_does_not_change(
    config: Config, folder: Path
) -> None:
    large = [np.kron(camera_pixels(i), np.ones((4, 4, 1), np.uint8)) for i in range(24)]
    for i, pixels in enumerate(large):
        (folder / name(i)).write_bytes(jpeg(pixels))
    (folder / name(30)).write_bytes((folder / name(3)).read_bytes())
    (folder / name(31)).write_bytes(jpeg(large[9], quality=60))
    findings = found(config, folder)
    assert findings["duplicate"].files == (name(30),)
    assert findings["near duplicate"].files == (name(31),)
    assert f"such as {name(9)} and {name(31)}" in findings["near duplicate"].says


def test_gaps_and_wrong_clocks_are_named(config: Config, folder: Path) -> None:
    for i in range(3):
        moment = 24 * 60 * 10 + 10 * i
        (folder / name(0, moment)).write_bytes(jpeg(camera_pixels(30 + i)))
    (folder / "cam_20150101-000000.jpg").write_bytes(jpeg(camera_pixels(40)))
    findings = found(config, folder)
    assert "1 gap between pictures that are usually 0:10:00 apart" in findings["gap"].says
    assert "cam_20150101-000000.jpg (2015-01-01" in findings["order"].says


def test_numbers_without_zeros_are_named(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "numbered"
    folder.mkdir()
    for i in range(8, 12):
        (folder / f"frame{i}.jpg").write_bytes(jpeg(camera_pixels(i)))
    assert "sort frame10.jpg before frame9.jpg" in found(config, folder)["unpadded"].says


def test_a_camera_that_is_moved_within_the_footage_is_named(config: Config, folder: Path) -> None:
    for i in range(24, 40):
        (folder / name(i)).write_bytes(jpeg(np.roll(camera_pixels(i), (11, 16), (0, 1))))
    findings = found(config, folder)
    assert findings["view"].files == (name(24),)
    assert "the view changes at picture 25 and stays so" in findings["view"].says


def test_another_exposure_from_one_picture_on_is_named(config: Config, folder: Path) -> None:
    for i in range(24, 40):
        darker = (camera_pixels(i) * 0.4).astype(np.uint8)
        (folder / name(i)).write_bytes(jpeg(darker))
    finding = found(config, folder)["exposure"]
    assert finding.files == (name(24),)
    assert "changes by -" in finding.says


def test_slow_light_is_no_change_of_exposure(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "evening"
    folder.mkdir()
    for i in range(40):
        (folder / name(i)).write_bytes(jpeg((camera_pixels(i) * (1 - i / 50)).astype(np.uint8)))
    assert "exposure" not in found(config, folder)


def test_a_picture_unlike_all_others_is_named(config: Config, folder: Path) -> None:
    hand = camera_pixels(50)
    hand[:, 20:80] = np.random.default_rng(0).integers(0, 60, (64, 60, 3))
    (folder / name(50)).write_bytes(jpeg(hand))
    assert found(config, folder)["unlike"].files == (name(50),)


def test_day_and_night_are_no_change_of_view_and_no_copies(config: Config, tmp_path: Path) -> None:
    """At night lamps light the scene from the other side: bright parts are dark ones then."""
    folder = tmp_path / "days"
    folder.mkdir()
    for i in range(60):
        pixels = camera_pixels(i)
        if (i // 15) % 2 == 1:
            pixels = ((255 - pixels) // 2).astype(np.uint8)
        (folder / name(i)).write_bytes(jpeg(pixels))
    kinds = found(config, folder)
    assert not {"view", "near duplicate", "unlike"} & set(kinds)
