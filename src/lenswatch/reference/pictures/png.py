"""PNG: whether all pixels are there, and a picture without its metadata.

Pillow looks at no sum of the pixels' chunks, and is content with compressed data that holds too few rows:
those that are missing are black.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import Image

from lenswatch.errors import ImageError

__all__ = ["check_rows", "check_sums", "is_png", "without_metadata"]

_START = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_SUMMED = (b"IHDR", b"PLTE", b"IDAT")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colours
_PASSES = (  # of an interlaced picture: first column and row, and the steps to the next ones
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PIECE = 2**16  # bytes that are decompressed at a time


def is_png(data: bytes) -> bool:
    """Return True for the beginning of a PNG."""
    return data.startswith(_START)


def check_sums(data: bytes) -> None:
    """Check the sums (CRC) of the chunks that hold pixels; one that the file ends before is not missed.

    Raises:
        ImageError: A chunk was changed.
    """
    view = memoryview(data)
    for kind, start, end in _chunks(data):
        told = data[end : end + 4]
        if (
            kind in _SUMMED
            and len(told) == 4
            and zlib.crc32(view[start - 4 : end]).to_bytes(4) != told
        ):
            raise ImageError(
                f"the picture is damaged or cut off: the checksum of its chunk {kind.decode()} at byte "
                f"{start} is wrong"
            )


def check_rows(image: Image.Image, data: bytes) -> None:
    """Check that the data of a decoded PNG holds all of its rows.

    Rows without data are zero. Only where one of the last two is, the data is decompressed and counted,
    which takes about half as long as decoding.

    Raises:
        ImageError: There are fewer rows than the header tells.
    """
    width, height = image.size
    last = (image.crop((0, row, width, row + 1)) for row in (height - 2, height - 1))
    if all(any(row.tobytes()) for row in last):
        return
    wanted = _bytes_of_rows(data)
    found = _decompressed_bytes(data, wanted)
    if found < wanted:
        raise ImageError(
            f"the picture is damaged or cut off: its data has {found} bytes, and its "
            f"{width} x {height} pixels need {wanted}"
        )


def without_metadata(data: bytes) -> bytes:
    """Return a PNG with the chunks alone that its pixels need; of damaged data, those up to the damage."""
    kept = [data[start - 8 : end + 4] for kind, start, end in _chunks(data) if kind in _PIXELS]
    return b"".join([_START, *kept])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of what each chunk holds; the end may lie behind that of the file."""
    at = len(_START)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _bytes_of_rows(data: bytes) -> int:
    """Return the bytes of all rows, each with the number of its filter, by the header."""
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    bits = data[24] * _CHANNELS.get(data[25], 1)
    total = 0
    for left, top, across, down in _PASSES if data[28] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
    return total


def _decompressed_bytes(data: bytes, most: int) -> int:
    """Return the number of bytes that the compressed rows hold, counted up to `most`."""
    view, count = memoryview(data), 0
    rows = zlib.decompressobj()
    for kind, start, end in _chunks(data):
        left: bytes | memoryview = view[start:end] if kind == b"IDAT" else b""
        while left and not rows.eof and count < most:
            count += len(rows.decompress(left, _PIECE))
            left = rows.unconsumed_tail
    while not rows.eof and count < most and (more := rows.decompress(b"", _PIECE)):
        count += len(more)
    return count
