"""Colour profiles: converted to sRGB, alike at every scale, and ignored where they cannot be used."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import ImageCms

from lenswatch.reference.pictures import read_picture
from lenswatch.reference.pictures.colour import profile_of
from support.pictures import LIMITS, SIZE, encoded, gradient, pixels, textured
from support.profiles import ADOBE_RGB, DARK_GREY, DISPLAY_P3

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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
