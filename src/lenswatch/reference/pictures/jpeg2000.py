"""JPEG 2000: decoding at a reduced scale, for pictures whose full size takes too much memory."""

from __future__ import annotations

from PIL import Image

__all__ = ["reductions"]

_START, _CODING, _TILE = b"\xff\x4f\xff\x51", 0xFF52, 0xFF90


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
