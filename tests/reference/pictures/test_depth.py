"""Values above 8 bits: each scaled by the bits that its file or the reference tells."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import read_picture
from lenswatch.reference.pictures.depth import Depth, bits_of
from support.pictures import LIMITS, SIZE, encoded, gradient, pixels

GREY = np.asarray(gradient())[..., 0].astype(np.uint16)
GREY[:8] = 255


def grey(white: int) -> Any:
    """The gradient as 16-bit values up to `white`."""
    return (GREY.astype(np.uint32) * white // 255).astype(np.uint16)


def shown() -> Any:
    return pixels(encoded(Image.fromarray(GREY.astype(np.uint8))))


def pgm(white: int) -> bytes:
    return b"P5 192 108 %d\n" % white + bytes(grey(white).astype(">u2").tobytes())


@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_a_pgm_is_scaled_by_the_largest_value_that_it_states(white: int) -> None:
    assert np.abs(pixels(pgm(white)) - shown()).max() <= 1


@pytest.mark.parametrize("container", ["jp2", "j2k"])
@pytest.mark.parametrize("sample_bits", [0, 12])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_jpeg_2000_is_scaled_by_its_bits(bits: int, sample_bits: int, container: str) -> None:
    """Bits that a reference tells are those of 16, and count for 16 only."""
    stated = sample_bits if bits == 16 and sample_bits else bits
    values = grey((1 << stated) - 1)
    data = imagecodecs.jpeg2k_encode(
        values, bitspersample=bits, reversible=True, codecformat=container
    )
    assert np.array_equal(imagecodecs.jpeg2k_decode(data), values)
    picture = read_picture(bytes(data), SIZE, LIMITS, sample_bits)
    assert np.abs(picture.pixels(SIZE).astype(int) - shown()).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_xl_is_scaled_by_its_bits_whatever_the_reference_tells(bits: int) -> None:
    values = grey((1 << bits) - 1)
    data = bytes(imagecodecs.jpegxl_encode(values, bitspersample=bits, lossless=True))
    untold = read_picture(data, SIZE, LIMITS)
    assert untold.pixels(SIZE).max() >= 252
    told = read_picture(data, SIZE, LIMITS, 12)
    assert np.array_equal(told.pixels(SIZE), untold.pixels(SIZE))
    assert told.notes == ()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_2000_with_deep_colours_is_refused(bits: int) -> None:
    values = (COLOURS * ((1 << bits) - 1) // 255).astype(np.uint16)
    data = bytes(imagecodecs.jpeg2k_encode(values, bitspersample=bits, reversible=True))
    with pytest.raises(ImageError, match=f"JPEG 2000 with colours of {bits} bits"):
        read_picture(data, SIZE, LIMITS)


def test_jpeg_2000_with_colours_of_8_bits_is_read() -> None:
    data = bytes(imagecodecs.jpeg2k_encode(COLOURS.astype(np.uint8), reversible=True))
    assert np.array_equal(pixels(data), pixels(encoded(gradient())))


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_in_16_are_scaled_where_the_reference_tells_them(bits: int, fmt: str) -> None:
    data = encoded(Image.fromarray(grey((1 << bits) - 1)), fmt)
    picture = read_picture(data, SIZE, LIMITS, bits)
    assert np.abs(picture.pixels(SIZE).astype(int) - shown()).max() <= 1
    assert picture.notes == (
        f"the values of 16 bits are taken as {bits} bits (transform.sample_bits)",
    )


def test_values_that_use_few_bits_are_told_and_not_guessed() -> None:
    picture = read_picture(encoded(Image.fromarray(grey(1023))), SIZE, LIMITS)
    [note] = picture.notes
    assert "the largest of the 16-bit values is 1023, as of 10 bits" in note
    assert picture.pixels(SIZE).max() <= 4


def test_a_dark_picture_of_12_bits_is_scaled_like_a_bright_one() -> None:
    dark = read_picture(encoded(Image.fromarray(grey(300))), SIZE, LIMITS, 12)
    assert dark.pixels(SIZE).max() == 300 * 255 // 4095


def test_values_above_the_bits_are_white_and_told() -> None:
    picture = read_picture(encoded(Image.fromarray(grey(65535))), SIZE, LIMITS, 12)
    assert picture.pixels(SIZE).max() == 255
    assert "more than 12 bits hold" in picture.notes[0]


COLOURS = np.asarray(gradient()).astype(np.uint32)


def deep(white: int, kind: str) -> bytes:
    """The gradient in colours of 16 bits, with values up to `white`."""
    values = (COLOURS * white // 255).astype(np.uint16)
    if kind == "PNG":
        return bytes(imagecodecs.png_encode(values))
    options: dict[str, Any] = {"LZW": {"compression": "lzw"}, "big": {"byteorder": ">"}}.get(
        kind, {}
    )
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="rgb", metadata=None, rowsperstrip=20, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "LZW", "big"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_of_few_bits_in_16_are_scaled_like_grey(bits: int, kind: str) -> None:
    data = deep((1 << bits) - 1, kind)
    found = read_picture(data, SIZE, LIMITS)
    assert found.largest is not None
    assert bits_of(found.largest) == bits
    told = read_picture(data, SIZE, LIMITS, bits)
    expected = pixels(encoded(gradient()))
    assert np.abs(told.pixels(SIZE).astype(int) - expected).max() <= 1
    note = f"the values of 16 bits are taken as {bits} bits (transform.sample_bits)"
    assert told.notes == ((note,) if bits < 16 else ())


def test_colours_above_the_bits_are_white_and_told() -> None:
    picture = read_picture(deep(65535, "PNG"), SIZE, LIMITS, 12)
    assert picture.pixels(SIZE).mean() > 200
    assert picture.notes[0].startswith("the largest value is 65535, more than 12 bits hold")


def test_colours_of_16_bits_are_their_upper_bytes_as_before() -> None:
    data = deep(65535, "PNG")
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(pixels(data), pixels(encoded(image.copy())))


def test_colours_of_16_bits_that_use_few_are_told() -> None:
    image = np.asarray(gradient()).astype(np.uint16) * 8
    data = bytes(imagecodecs.png_encode(image))
    assert Image.open(io.BytesIO(data)).mode == "RGB"
    assert "use 12 bits, of which only" in read_picture(data, SIZE, LIMITS).notes[0]
    bright = bytes(imagecodecs.png_encode(np.asarray(gradient()).astype(np.uint16) * 257))
    assert read_picture(bright, SIZE, LIMITS).notes == ()


def test_all_values_become_what_whole_numbers_of_the_range_give() -> None:
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(Depth().eight_bits(values), values // 257)
    assert np.array_equal(Depth(inverted=True).eight_bits(values), 255 - values // 257)


def test_the_fewest_bits_that_cameras_have_are_found() -> None:
    assert [bits_of(value) for value in (0, 1023, 1024, 4095, 16383, 16384, 65535)] == [
        10, 10, 12, 12, 14, 16, 16,
    ]  # fmt: skip
