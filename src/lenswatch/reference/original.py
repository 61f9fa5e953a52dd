"""The file of a picture as it came."""

from __future__ import annotations

import io
from pathlib import Path

from lenswatch.reference.pictures import Picture

__all__ = ["original_bytes"]


def original_bytes(source: bytes | Path | Picture) -> bytes:
    """Return a picture's file; one that is decoded already becomes a PNG file."""
    if isinstance(source, Path):
        return source.read_bytes()
    if isinstance(source, Picture):
        buffer = io.BytesIO()
        source.image.save(buffer, "PNG")
        return buffer.getvalue()
    return source
