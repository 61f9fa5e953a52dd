"""Colours of 16 bits a channel, of which Pillow decodes 8: the upper bytes, or the lower ones on request.

The upper ones are enough unless a camera uses fewer bits. Then a second decoding brings the lower ones: as
if the bytes of the file were in the other order.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from PIL import Image

from lenswatch.detect.arrays import Pixels
from lenswatch.reference.pictures.depth import Depth
from lenswatch.reference.pictures.tiff import is_by_planes

__all__ = ["choose_lower", "has_lower", "is_deep", "scaled"]

_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B"}
_ROWS = 256  # that are scaled at a time


def is_deep(image: Image.Image) -> bool:
    """Return True for an opened picture with colours of 16 bits, of which Pillow keeps the upper 8."""
    return image.mode.startswith("RGB") and ";16" in _raw_mode(image)


def has_lower(image: Image.Image) -> bool:
    """Return True for an opened picture with such colours whose lower bytes can be decoded, too."""
    return (
        _raw_mode(image) in _OTHER and not image.has_transparency_data and not is_by_planes(image)
    )


def choose_lower(image: Image.Image) -> None:
    """Make an opened picture decode the lower bytes of its colours."""
    tiles: list[Any] = getattr(image, "tile", [])
    other = _OTHER[_raw_mode(image)]
    setattr(  # noqa: B010 - of opened files, and not of all images
        image,
        "tile",
        [
            each._replace(args=other if isinstance(each.args, str) else (other, *each.args[1:]))
            for each in tiles
        ],
    )


def scaled(upper: Image.Image, lower: Image.Image, depth: Depth) -> tuple[Pixels, int]:
    """Return (height, width, 3) uint8 by both bytes of the colours, and their largest value."""
    pixels, largest = np.empty((upper.height, upper.width, 3), np.uint8), 0
    for top in range(0, upper.height, _ROWS):
        box = (0, top, upper.width, min(top + _ROWS, upper.height))
        values = np.asarray(upper.crop(box)).astype(np.uint16)
        values *= 256
        values |= np.asarray(lower.crop(box))
        pixels[top : box[3]] = depth.eight_bits(values)
        largest = max(largest, int(values.max()))
    return pixels, largest


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name of the order of the bytes in the file."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0].args if tiles else ()
    found = arguments if isinstance(arguments, str) else next(iter(arguments or ()), "")
    return str(found).replace(";16N", f";16{_NATIVE}")
