"""A picture of which half is missing is refused in every format, with a repaired end or without."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lenswatch.errors import ImageError
from support.pictures import chunk, encoded, pixels, textured

SIZE = (320, 240)


def png(rows: Callable[[bytes], bytes]) -> bytes:
    """A PNG in order, whose compressed rows were changed."""
    image = np.asarray(textured(*SIZE))
    raw = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", rows(raw)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def test_a_png_in_order_is_read() -> None:
    assert np.array_equal(pixels(png(zlib.compress)), pixels(encoded(textured(*SIZE))))


def test_a_png_with_half_of_its_data_and_an_end_is_refused() -> None:
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(png(lambda raw: half(zlib.compress(raw))))


def chunks_of(rows: bytes, count: int) -> list[bytes]:
    length = -(-len(rows) // count)
    return [chunk(b"IDAT", rows[at : at + length]) for at in range(0, len(rows), length)]


def png_of(parts: list[bytes], interlaced: bool = False) -> bytes:
    header = struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, int(interlaced))
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *parts, chunk(b"IEND", b"")])


def rows_of(image: Any) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in np.asarray(image))


def test_a_png_of_which_a_chunk_is_missing_is_refused() -> None:
    parts = chunks_of(zlib.compress(rows_of(textured(*SIZE))), 9)
    assert np.array_equal(pixels(png_of(parts)), pixels(encoded(textured(*SIZE))))
    for lost in range(1, 9):
        with pytest.raises(ImageError, match="damaged or cut off"):
            pixels(png_of(parts[:lost] + parts[lost + 1 :]))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_png_whose_data_was_changed_is_refused_by_its_checksum(count: int) -> None:
    data = bytearray(png(lambda raw: zlib.compress(raw, 0)))  # decodes whatever its bytes are
    data[len(data) // 2 : len(data) // 2 + count] = bytes(count)
    with pytest.raises(ImageError, match="checksum of its chunk IDAT at byte 41 is wrong"):
        pixels(bytes(data))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.995])
def test_a_png_with_whole_compressed_data_of_too_few_rows_is_refused(share: float) -> None:
    short = png(lambda raw: zlib.compress(raw[: int(len(raw) * share)]))
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(short)


def test_an_interlaced_png_without_its_last_pass_is_refused() -> None:
    image = np.asarray(textured(*SIZE))
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    passes = [image[top::down, left::across] for left, top, across, down in steps]
    passes.append(image[1::2])
    raw = b"".join(rows_of(part) for part in passes)
    whole = png_of([chunk(b"IDAT", zlib.compress(raw))], interlaced=True)
    assert np.array_equal(pixels(whole), pixels(encoded(textured(*SIZE))))
    short = png_of([chunk(b"IDAT", zlib.compress(raw[: len(raw) // 2]))], interlaced=True)
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(short)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "I;16"])
def test_a_png_whose_last_rows_are_black_is_read(mode: str) -> None:
    image = textured(*SIZE).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    image.paste(0 if len(image.getbands()) == 1 else (0,) * len(image.getbands()), (0, 200, *SIZE))
    assert pixels(encoded(image)).std() > 10
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(encoded(image)[:-100])


def gif_of_half() -> bytes:
    """A GIF whose blocks of data end in the middle, and that ends as it should."""
    data = encoded(textured(*SIZE).quantize(255), "GIF")
    at = data.index(b",") + 10
    at += (3 << (data[at - 1] & 7) + 1 if data[at - 1] & 0x80 else 0) + 1
    blocks = []
    while data[at]:
        blocks.append(data[at : at + data[at] + 1])
        at += data[at] + 1
    start = data.index(blocks[0])
    return bytes(data[:start] + b"".join(blocks[: len(blocks) // 2]) + b"\0;")


def test_a_gif_of_half_the_blocks_is_refused() -> None:
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(gif_of_half())


CUT: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("PPM", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("JPEG2000", {}),
    ("JPEG2000", {"irreversible": True, "tile_size": (128, 128)}),
    ("AVIF", {}),
    ("HEIF", {}),
    ("JXL", {}),
    ("JXL", {"lossless": True}),
    ("TIFF", {}),
    *(("TIFF", {"compression": kind}) for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
]


@pytest.mark.parametrize(("fmt", "options"), CUT)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_picture_cut_off_is_refused(fmt: str, options: dict[str, Any], share: float) -> None:
    data = encoded(textured(*SIZE), fmt, **options)
    assert pixels(data).std() > 10
    with pytest.raises(ImageError):
        pixels(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("compression", "lost"),
    [
        (None, "cut"),  # zeros are black rows, and rows without a length are there nevertheless
        *itertools.product(["zlib", "lzw", "packbits", "jpeg"], ["cut", "zeros", "absent"]),
    ],
)
def test_a_tiff_whose_lower_strips_are_missing_is_refused(compression: Any, lost: str) -> None:
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.asarray(textured(*SIZE)), compression=compression, rowsperstrip=32,
        photometric="rgb", metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as read:
        page = read.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        offsets, counts = page.dataoffsets, page.databytecounts
        length = page.tags["StripByteCounts"]
    data = bytearray(file.getvalue())
    for i in range(len(counts) // 2, len(counts)):
        if lost == "zeros":
            data[offsets[i] : offsets[i] + counts[i]] = bytes(counts[i])
        elif lost == "absent":
            width = {3: 2, 4: 4}[int(length.dtype)]
            data[length.valueoffset + i * width : length.valueoffset + (i + 1) * width] = bytes(
                width
            )
        elif i == len(counts) // 2:
            del data[offsets[i] :]
    assert pixels(file.getvalue()).std() > 10
    with pytest.raises(ImageError):
        pixels(bytes(data))


def by_tifffile(**options: Any) -> bytes:
    file = io.BytesIO()
    image = np.asarray(textured(*SIZE))
    if options.get("planarconfig") == "separate":
        image = np.moveaxis(image, -1, 0)
    tifffile.imwrite(file, image, compression="jpeg", metadata=None, photometric="rgb", **options)
    return file.getvalue()


JPEGS: dict[str, Callable[[], bytes]] = {
    "strips": lambda: by_tifffile(rowsperstrip=64),
    "one strip": lambda: by_tifffile(rowsperstrip=240),
    "tiles": lambda: by_tifffile(tile=(64, 64)),
    "planes": lambda: by_tifffile(rowsperstrip=64, planarconfig="separate"),
    "tables": lambda: encoded(textured(*SIZE), "TIFF", compression="jpeg"),
    "CMYK": lambda: encoded(textured(*SIZE).convert("CMYK"), "TIFF", compression="jpeg"),
    "grey": lambda: encoded(textured(*SIZE).convert("L"), "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_tiff_of_jpegs_one_of_which_ends_early_is_refused(kind: str) -> None:
    whole = JPEGS[kind]()
    assert pixels(whole).std() > 10
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        at = len(page.dataoffsets) // 2
        start, count = page.dataoffsets[at], page.databytecounts[at]
    data = bytearray(whole)
    middle, rest = start + count * 3 // 4, count // 4 - 2
    data[middle : middle + rest] = b"\xff\xd9" + bytes(rest - 2)
    with pytest.raises(ImageError, match=r"damaged or cut off: .* \(part \d+ of \d+ of a TIFF\)"):
        pixels(bytes(data))


def test_an_image_is_read_as_long_as_its_pixels_are_there() -> None:
    data = encoded(textured(*SIZE))
    assert np.array_equal(pixels(data[:-12]), pixels(data))  # without IEND
    gif = encoded(textured(*SIZE).quantize(255), "GIF")
    assert np.array_equal(pixels(gif[:-2]), pixels(gif))  # without its trailer
