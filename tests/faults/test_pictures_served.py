"""Pictures as cameras send them to a running node: damaged, large and of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from conftest import SIZE, Served, camera_pixels, deepaas_running, write_settings
from support.peak_memory import status
from support.pictures import encoded, flat_png, textured
from support.ports import free_port

END = b"\xff\xd9"
WHOLE = encoded(textured(SIZE[1] * 4, SIZE[0] * 4), "JPEG")
RISE = 330  # MiB: 300 for decoding, and what a request takes beside it


@pytest.fixture(scope="module")
def served(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, f"http://127.0.0.1:{free_port()}")
    with deepaas_running(root) as running:
        yield running


def image(fmt: str) -> Any:
    return encoded(Image.fromarray(camera_pixels(3)).resize((384, 256)), fmt)


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"", END])
@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_a_422_with_and_without_an_end_marker(
    served: Served, progressive: bool, end: bytes
) -> None:
    whole = encoded(textured(960, 640), "JPEG", progressive=progressive)
    response = served.predict(whole[: len(whole) // 2] + end)
    assert response.status_code == 422
    assert "damaged or cut off" in response.json()["message"]


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["HEIF", "AVIF", "JXL", "JPEG2000", "TIFF"])
def test_a_picture_of_another_format_is_judged(served: Served, fmt: str) -> None:
    response = served.predict(image(fmt), f"picture.{fmt.lower()}", stream=fmt.lower())
    assert response.status_code == 200, response.text
    assert response.json()["window"]["filled"] == 1


@pytest.mark.slow
def test_a_jpeg_without_its_end_marker_is_judged(served: Served) -> None:
    assert served.predict(WHOLE[:-2], stream="no-end").status_code == 200


@pytest.mark.slow
def test_64_megapixels_raise_the_memory_of_a_worker_by_little(served: Served) -> None:
    assert served.predict(WHOLE, stream="large").status_code == 200
    [worker] = workers(served)
    rest = status("VmRSS", worker)
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # forgets the peak
    response = served.predict(flat_png(8000, 8, 6, 4), "large.png", stream="large")
    assert response.status_code == 200, response.text
    assert workers(served) == [worker]
    assert status("VmHWM", worker) - rest < RISE


@pytest.mark.slow
def test_a_picture_that_would_take_more_is_a_413_with_the_limit(served: Served) -> None:
    data = encoded(Image.new("RGB", (5000, 4000)), "WEBP", method=0)
    assert served.predict(WHOLE, stream="larger").status_code == 200
    [worker] = workers(served)
    rest = status("VmRSS", worker)
    Path(f"/proc/{worker}/clear_refs").write_text("5")  # forgets the peak
    response = served.predict(data, "large.webp")
    assert response.status_code == 413
    assert "5000 x 4000 pixels" in response.json()["message"]
    assert "the limit is 300 MiB" in response.json()["message"]
    assert status("VmHWM", worker) - rest < 20  # it was not decoded


def workers(served: Served) -> list[int]:
    """Return the worker processes of the node."""
    children = psutil.Process(served.process.pid).children(recursive=True)
    return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]
