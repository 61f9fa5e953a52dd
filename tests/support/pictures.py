"""Pictures that tests encode, and their pixels as the node reads them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from lenswatch.config import UploadConfig
from lenswatch.reference.pictures import read_picture

SIZE = (54, 96)
LIMITS = UploadConfig()


def encoded(image: Any, fmt: str = "PNG", **options: Any) -> Any:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def gradient(width: int = 192, height: int = 108) -> Any:
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([columns * 255 // width, rows * 255 // height, 255 - columns], -1).astype(np.uint8)
    )


def textured(width: int, height: int, seed: int = 0) -> Any:
    """A picture with detail all over, so that no part of it can be missed unseen."""
    spots = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)


def pixels(data: Any, size: Any = SIZE) -> Any:
    return read_picture(data, size, LIMITS).pixels(size).astype(int)


def turned(image: Any, orientation: int) -> Any:
    """The picture as a camera stores it that gives this EXIF orientation."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return image if orientation == 1 else image.transpose(undo[orientation])


def exif(orientation: int) -> Any:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def chunk(kind: bytes, body: bytes, check: int | None = None) -> bytes:
    """A chunk of a PNG, with its sum or a wrong one."""
    check = zlib.crc32(kind + body) if check is None else check
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def flat_png(side: int, bits: int, kind: int, channels: int, interlaced: bool = False) -> bytes:
    """A PNG of side x side pixels of one colour, made without such a picture in memory."""
    header = np.array([side, side], ">u4").tobytes() + bytes([bits, kind, 0, 0, int(interlaced)])
    packed, parts = zlib.compressobj(1), []
    passes = [(1, 1)]
    if interlaced:
        passes = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)]
    for across, down in passes:
        width, height = -(-side // across), -(-side // down)
        row = b"\0" + b"\x40" * (width * channels * bits // 8)
        parts += [packed.compress(row) for _ in range(height)]
    body = b"".join([*parts, packed.flush()])
    palette = chunk(b"PLTE", bytes(range(255)) + b"\0\0\0") if kind == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), palette, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    )
