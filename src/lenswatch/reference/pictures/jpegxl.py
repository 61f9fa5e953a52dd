"""JPEG XL: the size of a picture by its header, since its Pillow plugin decodes when it opens."""

from __future__ import annotations

from lenswatch.errors import ImageError

__all__ = ["size_of"]

_START = b"\xff\x0a"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height, by number
_LENGTHS = (9, 13, 18, 30)  # bits of a side, by the two bits before it


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height, as they are stored.

    The layout is that of SizeHeader in ISO/IEC 18181-1.

    Raises:
        ImageError: There is no codestream at the beginning.
    """
    bits = _Bits(_codestream(data)[2:])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    wide, high = _RATIOS[ratio - 1]
    return height * wide // high, height


def _side(bits: _Bits, small: int) -> int:
    if small:
        return (bits.take(5) + 1) * 8
    return bits.take(_LENGTHS[bits.take(2)]) + 1


class _Bits:
    """Bits of bytes, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data[:16], "little")

    def take(self, count: int) -> int:
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        return value


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may be in boxes."""
    at = 0
    while not data.startswith(_START, at):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16]), 16
        if kind in (b"jxlc", b"jxlp"):
            at += head + (4 if kind == b"jxlp" else 0)
            break
        if length < head:
            break
        at += length
    if not data.startswith(_START, at):
        raise ImageError("the picture is damaged or cut off: a JPEG XL file without pixels")
    return data[at : at + 32]
