"""PNG: a picture without its metadata, for files whose metadata Pillow stumbles over."""

from __future__ import annotations

__all__ = ["is_png", "without_metadata"]

_START = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def is_png(data: bytes) -> bool:
    """Return True for the beginning of a PNG."""
    return data.startswith(_START)


def without_metadata(data: bytes) -> bytes:
    """Return a PNG with the chunks alone that its pixels need; of damaged data, those up to the damage."""
    kept, at = [_START], len(_START)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + length
        if kind in _PIXELS:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
