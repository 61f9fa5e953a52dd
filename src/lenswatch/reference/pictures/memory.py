"""Estimates of the memory that decoding takes, known before it begins.

The bytes of a pixel were measured with pictures of 64 megapixels and the largest ones were taken, see
`tests/faults/test_picture_memory.py`.
"""

from __future__ import annotations

from PIL import Image

from lenswatch.reference.pictures.tiff import is_turned, strip_bytes

__all__ = ["JXL_BYTES", "needed_bytes"]

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # bytes of a pixel in Pillow, else 4
# Decoders that hold the picture in forms of their own.
_DECODED = {"WEBP": 19, "AVIF": 12, "HEIF": 11, "JPEG2000": 20}
JXL_BYTES = 12


def needed_bytes(image: Image.Image) -> float:
    """Return the bytes that loading an opened picture takes, beside those of its file."""
    width, height = image.size
    stored = _STORED.get(image.mode, 4)
    if image.format == "TIFF":
        copies = 2 if is_turned(image) else 1  # Pillow turns it itself
        return float(width * height * stored * copies + strip_bytes(image))
    return float(width * height * _DECODED.get(image.format or "", stored))
