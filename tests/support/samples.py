"""Samples that tests send: a job, pictures."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

JOB: dict[str, Any] = {"job_status": "Completed", "model": "m", "drift_detected": False}


def picture(
    kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any
) -> bytes:
    """A picture of one colour."""
    target = io.BytesIO()
    Image.new(mode, size, "navy" if mode == "RGB" else None).save(target, kind, **options)
    return target.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it is of that size, and is a few kilobytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")
