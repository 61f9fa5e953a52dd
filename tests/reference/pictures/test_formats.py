"""Formats: those of telephones are read, and the others are refused by name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import FORMATS, SUFFIXES, formats, read_picture, suffix_of
from support.pictures import LIMITS, SIZE, encoded, exif, gradient, pixels, turned


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_is_read_and_gets_its_suffix(fmt: str) -> None:
    data = encoded(gradient(), fmt, **({"quality": 90} if fmt in ("AVIF", "HEIF", "JXL") else {}))
    assert np.abs(pixels(data) - pixels(encoded(gradient()))).mean() < 8
    assert suffix_of(data) in SUFFIXES


@pytest.mark.parametrize("fmt", ["HEIF", "AVIF", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_of_a_telephone_is_turned_upright_once(fmt: str, orientation: int) -> None:
    stored = turned(gradient(), orientation)
    data = encoded(stored, fmt, exif=exif(orientation).tobytes(), quality=90)
    picture = read_picture(data, SIZE, LIMITS)
    assert (picture.width, picture.height) == (192, 108)
    expected = pixels(encoded(gradient()))
    assert np.abs(picture.pixels(SIZE).astype(int) - expected).mean() < 6


def test_a_jpeg_in_jpeg_xl_is_turned_upright(tmp_path: Path) -> None:
    from PIL import Image

    stored = tmp_path / "camera.jpg"
    stored.write_bytes(encoded(turned(gradient(), 6), "JPEG", quality=95, exif=exif(6)))
    with Image.open(stored) as image:
        data = encoded(image, "JXL", lossless_jpeg=True)
    picture = read_picture(data, SIZE, LIMITS)
    assert (picture.width, picture.height) == (192, 108)
    assert np.abs(picture.pixels(SIZE) - pixels(stored.read_bytes())).mean() < 1


# 64 x 32 pixels, red on the left, in lossy JPEG XL whose header says orientation 6.
TURNED_JPEG_XL = (
    "/wrHLZATABWIAgA8A7WfIAAAFSqjjBu8nOv58kOHxbSN6wxttW1hCWOzvTBICIALbMNVVTWLVYACLGUbI3NxwwINkzJgG4gN"
    "/w6Xzc2RqiBQC39ByHQVwh+I9dFx8sXG8Cl6MIJnCmILVBiqb8jkjWHdBkAdSVPaCBkLbfSIx0IQZcAIfnUdkFtXB9l1AcRd"
    "V0iBBPR0p8aL8S7e8bAqpgQaeWK9+d6ZeHI4IYZR2WXHswJOmUUykYj9kjN4UR0Ioj3Ul/FB95nQ16WFu0Wis5VOkir5/OH4"
    "SsEUAQ=="
)


def test_a_jpeg_xl_is_turned_upright_by_its_decoder() -> None:
    picture = read_picture(base64.b64decode(TURNED_JPEG_XL), (64, 32), LIMITS)
    assert (picture.width, picture.height) == (32, 64)
    shown = picture.pixels((64, 32))
    assert shown[:24, :, 0].min() > 200
    assert shown[40:].max() < 50


@pytest.mark.parametrize("fmt", ["HEIF", "AVIF", "JXL", "WEBP"])
def test_the_capture_time_is_read_from_every_format_of_telephones(fmt: str) -> None:
    found = exif(1)
    found.get_ifd(0x8769)[36867] = "2026:06:01 08:30:00"
    taken = read_picture(encoded(gradient(), fmt, exif=found.tobytes()), SIZE, LIMITS).taken
    assert taken is not None
    assert taken.shown.isoformat() == "2026-06-01T08:30:00"


@pytest.mark.parametrize(("fmt", "extra"), [("JXL", "jxl"), ("HEIF", "node")])
def test_a_missing_decoder_is_named_with_the_command_that_installs_it(
    fmt: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    data = encoded(gradient(), fmt)
    monkeypatch.delitem(Image.OPEN, fmt)
    monkeypatch.setattr(formats, "_register", frozenset[str])
    with pytest.raises(ImageError, match=rf"pip install 'lenswatch\[{extra}\]'"):
        read_picture(data, SIZE, LIMITS)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"8BPS\0\1", "a Photoshop document"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera raw"),
        (b"\n<svg xmlns='http://www.w3.org/2000/svg'/>", "a text such as SVG"),
    ],
)
def test_what_is_no_picture_is_named(start: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        pixels(start + bytes(64))


@pytest.mark.parametrize(
    ("fmt", "kept", "says"),
    [
        ("HEIF", 0.3, r"a HEIF \(HEIC\) that is damaged or cut off"),
        ("AVIF", 0.3, "an AVIF that is damaged or cut off"),
        ("GIF", 0.0, "a GIF that is damaged or cut off"),
        ("TIFF", 0.0, "a TIFF that is damaged or cut off"),
        ("WEBP", 0.0, "its header tells of more data than there is"),
        ("JXL", 0.7, "cut off: the decoder of JPEG XL finds an error"),
    ],
)
def test_a_picture_whose_header_is_damaged_is_named(fmt: str, kept: float, says: str) -> None:
    data = encoded(gradient(), fmt)
    with pytest.raises(ImageError, match=says):
        pixels(data[: max(20, int(len(data) * kept))])


def test_the_documentation_lists_every_format() -> None:
    page = (Path(__file__).parents[3] / "docs" / "pictures.md").read_text()
    names: dict[str, Any] = {
        "JPEG2000": "JPEG 2000",
        "JXL": "JPEG XL",
        "HEIF": "HEIC",
        "WEBP": "WebP",
        "PPM": "PGM",
    }
    for fmt in FORMATS:
        assert f"| {names.get(fmt, fmt)}" in page, fmt
