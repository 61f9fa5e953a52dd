"""PGM and PPM of any largest value: the pixels of Pillow, in a fraction of its time."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import ppm, read_picture
from support.pictures import LIMITS, SIZE, pixels

WHITES = (1, 3, 100, 254, 256, 1000, 1023, 4095, 16383, 65534, 65535)


def netpbm(kind: str, white: int, above: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of random values up to `white`, and some by `above` above it."""
    shape = (size[1], size[0], 3 if kind == "P6" else 1)
    values = np.random.default_rng(white).integers(0, white + above + 1, shape)
    body = values.astype(">u2" if white > 255 else np.uint8).tobytes()
    return f"{kind}\n# by a camera\n{size[0]} {size[1]}\n{white}\n".encode() + body


@pytest.mark.parametrize("kind", ["P5", "P6"])
@pytest.mark.parametrize("white", WHITES)
@pytest.mark.parametrize("above", [0, 1])
def test_the_values_are_those_of_pillow(
    kind: str, white: int, above: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ppm, "_AT_ONCE", 1000)  # pixels: several bands
    data = netpbm(kind, white, above if white not in (255, 65535) else 0)
    image = Image.open(io.BytesIO(data))
    assert ppm.is_scaled(image) == ((kind, white) != ("P5", 65535))
    if ppm.is_scaled(image):
        decoded = np.asarray(ppm.decode(image, data))
        assert np.array_equal(decoded, np.asarray(Image.open(io.BytesIO(data))))
    assert pixels(data).std() > 1


@pytest.mark.parametrize("kind", ["P5", "P6"])
def test_values_of_8_bits_are_left_to_pillow(kind: str) -> None:
    assert not ppm.is_scaled(Image.open(io.BytesIO(netpbm(kind, 255))))


def test_a_picture_with_too_few_pixels_is_refused_with_their_bytes() -> None:
    with pytest.raises(ImageError, match="cut off: its pixels have 18430 bytes of 18432"):
        pixels(netpbm("P6", 1023)[:-2])


def test_pillow_is_not_asked_for_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL.PpmImagePlugin import PpmDecoder

    monkeypatch.delattr(PpmDecoder, "decode")
    picture = read_picture(netpbm("P5", 1023), SIZE, LIMITS)
    assert picture.pixels(SIZE).std() > 1


def test_the_bits_of_a_camera_do_not_count_where_the_file_tells_white() -> None:
    data = netpbm("P5", 4095)
    told = read_picture(data, SIZE, LIMITS, 12)
    assert np.array_equal(told.pixels(SIZE), pixels(data))
    assert (told.notes, told.largest) == ((), None)
