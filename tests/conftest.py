"""What most tests start from: a small camera, and a reference trained on it once."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenswatch.config import Config, EncoderConfig, StorageConfig, TrackingConfig, TransformConfig

SIZE = (64, 96)  # height, width: enough for two cells of the encoder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """A developer's own LENSWATCH_* and DRIFT_MONITOR_* variables change no test."""
    import os

    for name in list(os.environ):
        prefixed = name.startswith(("LENSWATCH_", "DRIFT_MONITOR_", "MYTOKEN_"))
        if prefixed and name != "LENSWATCH_TEST_POSTGRES":
            monkeypatch.delenv(name)


def camera_pixels(i: int, *, blurred: bool = False) -> np.ndarray:
    """Frame `i` of a small fixed camera: a scene, a moving thing, slow light. (64, 96, 3) uint8."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    scene = 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7) + 12 * np.sin(i / 9)
    thing = 70 * np.exp(-((rows - 32) ** 2 + (columns - (7 * i) % SIZE[1]) ** 2) / 60)
    noise = np.random.default_rng(i).normal(0, 3, (*SIZE, 3))
    pixels = np.clip((scene + thing)[..., None] * (1.0, 0.9, 0.7) + noise, 0, 255).astype(np.uint8)
    if blurred:
        small = Image.fromarray(pixels).resize((6, 4), Image.Resampling.BOX)
        pixels = np.asarray(small.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))
    return pixels


def jpeg(pixels: np.ndarray, quality: int = 90, **options) -> bytes:
    """The pixels as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def camera():
    """(frame number, blurred=False) -> a JPEG of the small camera."""

    def frame(i: int, *, blurred: bool = False) -> bytes:
        return jpeg(camera_pixels(i, blurred=blurred))

    return frame


def small_config(root: Path, **tables) -> Config:
    """Settings for the small camera, its storage in `root`; no tracking server."""
    defaults = {
        "transform": TransformConfig(resize=SIZE),
        "encoder": EncoderConfig(latent_dim=8, epochs=4, batch_size=8),
        "storage": StorageConfig(path=str(root / "storage")),
        "tracking": TrackingConfig(url=""),
    }
    return Config(**(defaults | tables), root=root)


@pytest.fixture
def config(tmp_path) -> Config:
    """Settings of a node that has nothing yet."""
    return small_config(tmp_path)


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory) -> Path:
    """A storage folder with 60 clean pictures and a reference trained on them."""
    from lenswatch.stream_calibration import calibrate_stream
    from lenswatch.training import build_reference, find_pictures

    root = tmp_path_factory.mktemp("trained")
    config = small_config(root)
    clean = config.image_folder / "clean"
    clean.mkdir(parents=True)
    for i in range(60):
        (clean / f"{i:04}.jpg").write_bytes(jpeg(camera_pixels(i)))
    run = build_reference(config, find_pictures(config.image_folder, config.camera_state.clean))
    while True:
        try:
            next(run)
        except StopIteration as stop:
            calibrate_stream(config, stop.value)
            return root


@pytest.fixture
def trained(_trained_once, tmp_path) -> Config:
    """Settings of a node with a reference, in a storage of this test's own."""
    shutil.copytree(_trained_once / "storage", tmp_path / "storage", dirs_exist_ok=True)
    return small_config(tmp_path)


@pytest.fixture
def tracked(trained) -> Config:
    """As `trained`, with an outbox that nobody empties."""
    return dataclasses.replace(trained, tracking=TrackingConfig(url="http://127.0.0.1:9"))
