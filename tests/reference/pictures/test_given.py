"""Pictures that a program opened with Pillow are read as their files are."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import camera_pixels
from lenswatch.errors import ImageError, ImageTooLarge
from lenswatch.reference.pictures import file_of, picture_of, read_picture
from support.pictures import LIMITS, SIZE
from support.profiles import ADOBE_RGB, DARK_GREY

COLOURS = Image.fromarray(camera_pixels(60))
GREY = COLOURS.convert("L")
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
ON_ITS_SIDE = COLOURS.transpose(Image.Transpose.ROTATE_90)
TWELVE_BITS = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 16)


def exif() -> Image.Exif:
    made = Image.Exif()
    made[274] = 6
    made[36867] = "2026:06:01 08:00:00"
    return made


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def see_through() -> Image.Image:
    image = COLOURS.copy()
    image.putalpha(128)
    return image


FILES = {
    "EXIF": saved(ON_ITS_SIDE, "PNG", exif=exif()),
    "EXIF in JPEG": saved(ON_ITS_SIDE, "JPEG", exif=exif()),
    "EXIF in TIFF": saved(ON_ITS_SIDE, "TIFF", exif=exif()),
    "16 bits": saved(DEEP, "PNG"),
    "12 bits": saved(TWELVE_BITS, "PNG"),
    "0 is white": saved(DEEP, "TIFF", tiffinfo={262: 0}),
    "profile": saved(COLOURS, "PNG", icc_profile=ADOBE_RGB),
    "profile of grey": saved(GREY, "PNG", icc_profile=DARK_GREY),
    "transparent": saved(see_through(), "PNG"),
    "palette": saved(COLOURS.quantize(64), "PNG"),
    "CMYK": saved(COLOURS.convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_decoded_image_is_read_as_its_file(name: str) -> None:
    data = FILES[name]
    image = Image.open(io.BytesIO(data))
    image.load()
    assert file_of(image) is None
    info = dict(image.info)
    wanted, found = read_picture(data, SIZE, LIMITS), picture_of(image, LIMITS)
    assert np.array_equal(found.pixels(SIZE), wanted.pixels(SIZE))
    about = [(p.width, p.height, p.taken, p.largest, p.notes) for p in (found, wanted)]
    assert about[0] == about[1]
    assert image.info == info


def test_sample_bits_count_for_an_image_too() -> None:
    data = FILES["12 bits"]
    image = Image.open(io.BytesIO(data))
    found, wanted = picture_of(image, LIMITS, 12), read_picture(data, SIZE, LIMITS, 12)
    assert np.array_equal(found.pixels(SIZE), wanted.pixels(SIZE))
    assert found.notes == wanted.notes


def test_an_image_that_is_not_decoded_yet_gives_its_file(tmp_path: Path) -> None:
    data = FILES["EXIF in JPEG"]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    for source in (path, io.BytesIO(data)):
        image = Image.open(source)
        assert file_of(image) == data
        assert image.size == ON_ITS_SIDE.size
        assert image.convert("RGB").size == ON_ITS_SIDE.size  # it can still be decoded


def test_a_later_frame_is_not_the_file() -> None:
    frames = [COLOURS, GREY.convert("RGB")]
    image = Image.open(
        io.BytesIO(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    )
    image.seek(1)
    assert file_of(image) is None
    assert np.array_equal(np.asarray(picture_of(image, LIMITS).image), np.asarray(frames[1]))


def test_what_cannot_be_read_of_an_image_is_named() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        picture_of(GREY.convert("F"), LIMITS)
    with pytest.raises(ImageError, match="16 on each side"):
        picture_of(COLOURS.resize((8, 8)), LIMITS)
    with pytest.raises(ImageTooLarge):
        picture_of(COLOURS, dataclasses.replace(LIMITS, max_pixels=1000))
    cut = Image.open(io.BytesIO(FILES["EXIF in JPEG"][:-400]))
    with pytest.raises(ImageError, match="decoded"):
        picture_of(cut, LIMITS)
