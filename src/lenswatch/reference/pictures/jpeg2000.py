"""JPEG 2000: its bits, and decoding at a reduced scale where the full size takes too much memory."""

from __future__ import annotations

from PIL import Image

from lenswatch.errors import ImageError

__all__ = ["bits", "check_colours", "reductions"]

_START, _CODING, _TILE = b"\xff\x4f\xff\x51", 0xFF52, 0xFF90


def bits(data: bytes) -> int:
    """Return the bits of the deepest component, by the main header; 0 without one."""
    at = data.find(_START) + 40
    if at < 40:
        return 0
    components = int.from_bytes(data[at : at + 2])
    depths = data[at + 2 : at + 2 + 3 * components : 3]  # the first bit of each: it is signed
    return max(((depth & 127) + 1 for depth in depths), default=0)


def check_colours(image: Image.Image, data: bytes) -> None:
    """Raise ImageError for an opened picture whose brightest values Pillow turns into black.

    See findings/pillow-turns-white-of-deep-jpeg-2000-into-black.sh.
    """
    depth = bits(data)
    if depth > 8 and not image.mode.startswith("I"):
        raise ImageError(
            f"the picture is a JPEG 2000 with colours of {depth} bits, whose white would be read as "
            "black; send 8 bits, or PNG or TIFF"
        )


def reductions(image: Image.Image, data: bytes, size: tuple[int, int]) -> list[int]:
    """Return how often a picture can be halved and stay as large as `size` (height, width)."""
    levels = _levels(data)
    return [
        level
        for level in range(1, levels + 1)
        if image.height >> level >= size[0] and image.width >> level >= size[1]
    ]


def _levels(data: bytes) -> int:
    """Return the number of decompositions, by the coding style in the main header; 0 without one."""
    at = data.find(_START) + 2
    while 2 <= at < len(data) - 10:
        marker = int.from_bytes(data[at : at + 2])
        if marker == _CODING:
            return min(data[at + 9], 32)
        if marker == _TILE:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0
