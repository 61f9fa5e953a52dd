"""Colour profiles: converted to sRGB, alike at every scale, and ignored where they cannot be used."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import ImageCms

from lenswatch.reference.pictures import read_picture
from lenswatch.reference.pictures.colour import profile_of
from support.pictures import LIMITS, SIZE, encoded, gradient, pixels, textured

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(primaries: Any, gamma: float, space: bytes = b"RGB ") -> bytes:
    """An ICC profile (version 2) of a display: colorants in XYZ under D50, and a power curve."""
    xyz = {
        name: b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)
        for name, values in primaries.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"Test\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78) + b"\0"
    curves = (b"rTRC", b"gTRC", b"bTRC") if space == b"RGB " else (b"kTRC",)
    tags = {b"desc": desc, **xyz, **dict.fromkeys(curves, curve)}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(body), 0x02100000, b"mntr", space, b"XYZ ", b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


WHITE = {b"wtpt": (0.9642, 1.0, 0.8249)}
DISPLAY_P3 = profile(
    WHITE
    | {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2920, 0.6922, 0.0419),
       b"bXYZ": (0.1571, 0.0666, 0.7841)},
    2.2,
)  # fmt: skip
ADOBE_RGB = profile(
    WHITE
    | {b"rXYZ": (0.6097, 0.3111, 0.0195), b"gXYZ": (0.2053, 0.6257, 0.0609),
       b"bXYZ": (0.1492, 0.0632, 0.7446)},
    2.2,
)  # fmt: skip
DARK_GREY = profile(WHITE, 1.0, b"GRAY")


def converted(image: Any, icc: bytes) -> Any:
    """The colours by LittleCMS, for the whole picture."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


@pytest.mark.parametrize("icc", [DISPLAY_P3, ADOBE_RGB])
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_colours_of_another_profile_become_srgb(fmt: str, icc: bytes) -> None:
    image = gradient()
    found, plain = pixels(encoded(image, fmt, icc_profile=icc)), pixels(encoded(image, fmt))
    expected = pixels(encoded(converted(image, icc)))
    assert np.abs(found - expected).mean() < 4
    assert np.abs(plain - expected).mean() > 4


@pytest.mark.parametrize("size", [(1600, 900), (192, 108)])
def test_a_profile_is_converted_alike_at_every_scale_and_in_the_thumbnail(size: Any) -> None:
    picture = read_picture(
        encoded(gradient().resize(size), "JPEG", quality=95, icc_profile=ADOBE_RGB), SIZE, LIMITS
    )
    expected = pixels(encoded(converted(gradient(), ADOBE_RGB)))
    assert np.abs(picture.pixels(SIZE).astype(int) - expected).mean() < 4
    assert np.abs(pixels(picture.thumbnail()) - expected).mean() < 6


def test_a_profile_for_grey_is_converted() -> None:
    image = gradient().convert("L")
    found = pixels(encoded(image, icc_profile=DARK_GREY))
    assert np.abs(found - pixels(encoded(converted(image, DARK_GREY)))).mean() < 2
    assert found.mean() > pixels(encoded(image)).mean() + 20


def test_srgb_by_its_profile_stays_as_it_is() -> None:
    image = textured(192, 112)
    for fmt in ("JPEG", "PNG"):
        plain = pixels(encoded(image, fmt))
        assert np.array_equal(pixels(encoded(image, fmt, icc_profile=SRGB)), plain)


@pytest.mark.parametrize(
    "icc", [b"not a profile", DISPLAY_P3[:200], DARK_GREY, bytes(3000)], ids=range(4)
)
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_that_cannot_be_used_is_ignored(fmt: str, icc: bytes) -> None:
    plain = pixels(encoded(gradient(), fmt))
    assert np.array_equal(pixels(encoded(gradient(), fmt, icc_profile=icc)), plain)


def test_a_conversion_is_made_once() -> None:
    assert profile_of(DISPLAY_P3, "RGB") is profile_of(DISPLAY_P3, "RGB")
    assert profile_of(DISPLAY_P3, "RGB") is not None
    assert profile_of(DISPLAY_P3, "CMYK") is None
    assert profile_of(None, "RGB") is None


def test_cmyk_without_a_profile_is_converted_as_before() -> None:
    image = textured(192, 112).convert("CMYK")
    data = encoded(image, "TIFF")
    assert np.array_equal(pixels(data), pixels(encoded(image.convert("RGB"), "PNG")))
