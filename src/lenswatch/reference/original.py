"""The file of a picture as it came: its bytes, and the suffix that fits them."""

from __future__ import annotations

import io
from pathlib import Path, PurePath

from PIL import Image

from lenswatch.reference.pictures import FORMATS, SUFFIXES, Picture

__all__ = ["original_bytes", "suffix_of"]

_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
_SUFFIX |= {"GIF": ".gif", "JPEG2000": ".jp2", "PPM": ".ppm", "MPO": ".jpg"}


def original_bytes(source: bytes | Path | Picture) -> bytes:
    """Return a picture's file; one that is decoded already becomes a PNG file."""
    if isinstance(source, Path):
        return source.read_bytes()
    if isinstance(source, Picture):
        buffer = io.BytesIO()
        source.image.save(buffer, "PNG")
        return buffer.getvalue()
    return source


def suffix_of(data: bytes, name: str = "") -> str:
    """Return the suffix for the bytes of a picture.

    Args:
        data: The file.
        name: Its name, which counts where the bytes do not tell.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = image.format or ""
    except Exception:  # decoders raise nearly anything
        kind = ""
    given = PurePath(name).suffix.lower()
    return _SUFFIX.get(kind) or (given if given in SUFFIXES else ".jpg")
