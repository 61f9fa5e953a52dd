"""Cameras of 10 or 12 bits in 16: training finds the bits, and no later picture changes them."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import camera_pixels, small_config
from lenswatch.config import Config
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.manifest import TRANSFORM
from lenswatch.reference.paths import reference_folder
from lenswatch.reference.training import build_reference, find_pictures
from support.once import made_once

WHITE = 4095  # of 12 bits


def grey(i: int, white: float) -> bytes:
    """A picture of the camera as 16-bit PNG, whose values end at `white`."""
    values = camera_pixels(i).mean(axis=2)
    file = io.BytesIO()
    Image.fromarray((values * white / values.max()).astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def twelve_bits(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return small_config(made_once(tmp_path_factory, "twelve-bits", _train))


def _train(root: Path) -> None:
    config = small_config(root)
    clean = config.image_folder / "clean"
    clean.mkdir(parents=True)
    for i in range(60):
        (clean / f"{i:04}.png").write_bytes(grey(i, WHITE if i % 2 else WHITE / 8))
    pictures = find_pictures(config.image_folder, config.camera_state.clean)
    calibrate_stream(config, build_reference(config, pictures))


@pytest.mark.slow
def test_training_finds_the_bits_of_the_brightest_picture(twelve_bits: Config) -> None:
    reference = load_reference(twelve_bits.storage_path)
    assert reference.transform.sample_bits == 12


@pytest.mark.slow
@pytest.mark.parametrize("white", [WHITE, WHITE / 8])
def test_dark_and_bright_pictures_are_scaled_alike_and_the_answer_says_so(
    twelve_bits: Config, white: float
) -> None:
    answer = Node(twelve_bits).observe(grey(3, white), Request(stream=f"white-{white:.0f}"))
    assert answer["picture_notes"] == [
        "the values of 16 bits are taken as 12 bits (transform.sample_bits)"
    ]


@pytest.mark.slow
def test_a_picture_of_the_clean_footage_is_like_itself(twelve_bits: Config) -> None:
    node = Node(twelve_bits)
    answer = node.observe(grey(3, WHITE), Request(stream="itself"))
    assert answer["nearest"] == "clean/0003.png"
    assert not answer["drift"]


@pytest.mark.slow
def test_the_log_of_training_says_what_was_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _train(tmp_path)
    assert f"value of the clean pictures is {WHITE}, so they are taken as 12 bits" in caplog.text


def test_a_reference_of_8_bit_pictures_says_nothing_of_bits(trained: Config) -> None:
    reference = load_reference(trained.storage_path)
    folder = reference_folder(trained.storage_path) / reference.digest
    stored: dict[str, Any] = json.loads((folder / TRANSFORM).read_text())
    assert "sample_bits" not in stored
    answer = Node(trained).observe(next(trained.image_folder.rglob("*.jpg")), Request())
    assert "picture_notes" not in answer
