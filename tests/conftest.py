"""Fixtures of most tests: a small camera, and a reference trained on it once."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image

from lenswatch.config import Config, EncoderConfig, StorageConfig, TrackingConfig, TransformConfig
from support.once import made_once
from support.ports import free_port
from support.waiting import until_it_answers

pytest_plugins = [
    "support.handled",
    "support.mixed",
    "support.node_stores",
    "support.slow",
    "support.strict",
]

# Many containers set this, and then each of the many child processes compiles our modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How fast an example is made or runs says nothing while other programs keep the machine busy; and a
# property of a server may well be tried on one that earlier examples have used.
# CI tries the same examples each time, so that what fails there fails again; elsewhere they are drawn anew.
settings.register_profile(
    "lenswatch",
    deadline=None,
    derandomize=os.environ.get("LENSWATCH_TEST_STRICT", "") not in ("", "0"),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("lenswatch")

SIZE = (64, 96)  # height, width: enough for two cells of the encoder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own LENSWATCH_* and DRIFT_MONITOR_* variables."""
    for name in list(os.environ):
        prefixed = name.startswith(("LENSWATCH_", "DRIFT_MONITOR_", "MYTOKEN_"))
        if prefixed and not name.startswith("LENSWATCH_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps by which commands lower their priority, which would outlast the test in this process."""
    steps: list[int] = []
    monkeypatch.setattr(os, "nice", steps.append)
    return steps


def camera_pixels(i: int, *, blurred: bool = False) -> NDArray[np.uint8]:
    """Return frame `i` (64, 96, 3) uint8 of a small fixed camera: a scene, a moving spot, slow light."""
    rows, columns = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    scene = 110 + 60 * np.sin(columns / 5) * np.cos(rows / 7) + 3 * np.sin(i / 5)
    thing = 70 * np.exp(-((rows - 32) ** 2 + (columns - (37 * i) % SIZE[1]) ** 2) / 60)
    noise = np.random.default_rng(i).normal(0, 3, (*SIZE, 3))
    coloured = (scene + thing)[..., None] * (1.0, 0.9, 0.7) + noise
    pixels: NDArray[np.uint8] = np.clip(coloured, 0, 255).astype(np.uint8)
    if blurred:
        small = Image.fromarray(pixels).resize((6, 4), Image.Resampling.BOX)
        pixels = np.asarray(small.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))
    return pixels


def jpeg(pixels: NDArray[np.uint8], quality: int = 90, **options: Any) -> bytes:
    """Return the pixels as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


class Camera(Protocol):
    """The small camera: a frame's number in, a JPEG out."""

    def __call__(self, i: int, *, blurred: bool = False) -> bytes: ...


@pytest.fixture(scope="session")
def camera() -> Camera:
    """Function (frame number, blurred=False) that returns a JPEG of the small camera."""

    def frame(i: int, *, blurred: bool = False) -> bytes:
        return jpeg(camera_pixels(i, blurred=blurred))

    return frame


def small_config(root: Path, **tables: Any) -> Config:
    """Return settings for the small camera with its storage in `root` and no tracking server."""
    defaults: dict[str, Any] = {
        "transform": TransformConfig(resize=SIZE),
        "encoder": EncoderConfig(latent_dim=8, epochs=4, batch_size=8),
        "storage": StorageConfig(path=str(root / "storage")),
        "tracking": TrackingConfig(url=""),
    }
    return Config(**(defaults | tables), root=root)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a node without a reference."""
    return small_config(tmp_path)


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with 60 clean pictures and a reference trained on them."""
    return made_once(tmp_path_factory, "trained", _train)


def _train(root: Path) -> None:
    from lenswatch.node.calibrate import calibrate_stream
    from lenswatch.reference.training import build_reference, find_pictures

    config = small_config(root)
    clean = config.image_folder / "clean"
    clean.mkdir(parents=True)
    for i in range(60):
        (clean / f"{i:04}.jpg").write_bytes(jpeg(camera_pixels(i)))
    pictures = find_pictures(config.image_folder, config.camera_state.clean)
    calibrate_stream(config, build_reference(config, pictures))


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path) -> Config:
    """Settings of a node with a reference, in a storage of this test's own."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage", dirs_exist_ok=True)
    return small_config(tmp_path)


@pytest.fixture
def tracked(trained: Config) -> Config:
    """Settings of `trained` with a tracking server that is down, so that the outbox keeps its rows."""
    return dataclasses.replace(trained, tracking=TrackingConfig(url="http://127.0.0.1:9"))


SETTINGS = """
[transform]
resize = [64, 96]
[encoder]
latent_dim = 8
epochs = 4
batch_size = 8
[storage]
path = "storage"
[tracking]
url = "{url}"
[upload]
max_bytes = 2000000
"""


def write_settings(root: Path, url: str = "") -> Path:
    """Write a config.toml for the small camera in `root`."""
    file = root / "config.toml"
    file.write_text(SETTINGS.format(url=url))
    return file


@dataclasses.dataclass
class Served:
    """A running deepaas-run."""

    url: str
    process: subprocess.Popen[bytes]
    root: Path
    log: Path
    temporary: Path

    @property
    def predict_url(self) -> str:
        return f"{self.url}/v2/models/lenswatch/predict/"

    def predict(self, data: bytes, name: str = "frame.jpg", **fields: Any) -> requests.Response:
        files = {"input_file": (name, data, "image/jpeg")}
        return requests.post(self.predict_url, files=files, data=fields, timeout=60)


@contextlib.contextmanager
def deepaas_running(
    root: Path, *, workers: int = 1, programs: Path = Path(sys.executable).parent
) -> Iterator[Served]:
    """Run deepaas-run with the settings in `root`, and end it with all its workers.

    Args:
        root: The working directory, with config.toml.
        workers: Processes that judge.
        programs: The folder of deepaas-run.
    """
    log, temporary, port = root / "deepaas.log", root / "tmp", free_port()
    temporary.mkdir(exist_ok=True)
    settings = {"LENSWATCH_CONFIG": str(root / "config.toml"), "TMPDIR": str(temporary)}
    command = [str(programs / "deepaas-run"), "--listen-ip=127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, f"--listen-port={port}", f"--workers={workers}"],
            cwd=root,
            env={**os.environ, **settings, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_it_answers(f"{url}/livez", process, log)
        yield Served(url, process, root, log, temporary)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(8)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def deepaas(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two DEEPaaS workers on the trained reference, whose tracking server is down."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, f"http://127.0.0.1:{free_port()}")
    with deepaas_running(root, workers=2) as served:
        yield served
