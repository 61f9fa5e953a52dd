"""PGM and PPM whose largest value is not 255: decoded by numpy, since Pillow does it value by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lenswatch.errors import ImageError

__all__ = ["decode", "is_scaled"]

_DECODER = "ppm"  # Pillow's name of its slow one
_AT_ONCE = 2**20  # pixels


def is_scaled(image: Image.Image) -> bool:
    """Return True for an opened PGM or PPM whose values have to be scaled."""
    tiles = getattr(image, "tile", [])
    return bool(tiles) and tiles[0].codec_name == _DECODER


def decode(image: Image.Image, data: bytes) -> Image.Image:
    """Decode an opened PGM or PPM of that kind to the values that Pillow would give.

    Returns:
        An image of the mode "I;16" for grey of more than 8 bits, otherwise of 8 bits.

    Raises:
        ImageError: Some pixels are missing.
    """
    [tile] = getattr(image, "tile", [])
    white, bands = tile.args[-1], len(image.getbands())
    stored = np.dtype(">u2" if white > 255 else "u1")
    width, height = image.size
    wanted, there = width * height * bands * stored.itemsize, len(data) - tile.offset
    if there < wanted:
        raise ImageError(
            f"the picture is damaged or cut off: its pixels have {there} bytes of {wanted}"
        )
    table = _table(white, stored, image.mode)
    decoded = Image.new("I;16" if image.mode == "I" else image.mode, image.size)
    rows = max(1, _AT_ONCE // width)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        start = tile.offset + top * width * bands * stored.itemsize
        values = np.frombuffer(data, stored, count * width * bands, start)
        shape = (count, width, bands) if bands > 1 else (count, width)
        decoded.paste(Image.fromarray(table[values].reshape(shape)), (0, top))
    return decoded


def _table(white: int, stored: np.dtype[Any], mode: str) -> npt.NDArray[Any]:
    """Return the value that each stored one becomes; those above `white` are white."""
    most, kind = (65535, np.uint16) if mode == "I" else (255, np.uint8)
    shown = np.rint(np.arange(1 << 8 * stored.itemsize) / white * most)
    table: npt.NDArray[Any] = np.minimum(shown, most).astype(kind)
    return table
