"""Memory of decoding: bounded for 64 megapixels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import peak_memory
from support.full import FULL
from support.pictures import encoded, exif, flat_png

SIDE = 8000  # pixels: 64 megapixels
LIMIT = 300  # MiB above the memory at rest


@pytest.fixture(autouse=True)
def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def plain(mode: str, fmt: str, **options: Any) -> Any:
    return encoded(
        Image.new(mode, (SIDE, SIDE), 64 if mode == "L" else (64, 90, 120)), fmt, **options
    )


def progressive() -> bytes:
    return bytes(plain("RGB", "JPEG", progressive=True))


LARGE: dict[str, Callable[[], bytes]] = {
    "PNG, RGB": lambda: flat_png(SIDE, 8, 2, 3),
    "PNG, RGBA": lambda: flat_png(SIDE, 8, 6, 4),
    "PNG, grey": lambda: flat_png(SIDE, 8, 0, 1),
    "PNG, grey and alpha": lambda: flat_png(SIDE, 8, 4, 2),
    "PNG, palette": lambda: flat_png(SIDE, 8, 3, 1),
    "PNG, 16 bits grey": lambda: flat_png(SIDE, 16, 0, 1),
    "PNG, 16 bits RGB": lambda: flat_png(SIDE, 16, 2, 3),
    "PNG, RGB interlaced": lambda: flat_png(SIDE, 8, 2, 3, interlaced=True),
    "JPEG": lambda: plain("RGB", "JPEG"),
    "JPEG on its side": lambda: plain("RGB", "JPEG", exif=exif(6)),
    "JPEG, progressive": progressive,
    "GIF": lambda: plain("L", "GIF"),
    "TIFF, LZW": lambda: plain("RGB", "TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": lambda: plain("RGB", "TIFF", compression="jpeg"),
}
QUICK = ("JPEG, progressive",)  # a running node decodes a PNG in test_pictures_served.py


def peak(data: bytes, folder: Path, *options: str) -> tuple[float, str]:
    """Return the peak above rest in MiB, and what was refused, from a process of its own."""
    file = folder / "picture"
    file.write_bytes(data)
    command = [sys.executable, peak_memory.__file__, str(file), *options]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return float(told[-1]), "".join(told[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE if FULL else QUICK)
def test_64_megapixels_take_at_most_300_mib_above_rest(kind: str, tmp_path: Path) -> None:
    taken, refused = peak(LARGE[kind](), tmp_path)
    assert refused == ""
    assert taken < LIMIT
