"""Damaged metadata counts as absent: good pixels are not refused for it."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import PngImagePlugin

from lenswatch.reference.pictures import suffix_of
from support.pictures import chunk, encoded, exif, gradient, pixels

PNG = encoded(gradient())
AFTER_HEADER = 8 + 25


def inserted(extra: bytes) -> bytes:
    return bytes(PNG[:AFTER_HEADER] + extra + PNG[AFTER_HEADER:])


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", b"taken at noon by my old camera"),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta <<< \xff\xfe tiff:Orientation"),
        chunk(b"iCCP", b"profile\0\0not compressed"),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  12\nzzzz\n"),
        chunk(b"tEXt", b"Comment\0of a sum that is wrong", 12345),
        chunk(b"pHYs", b"short"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000))),
    ],
    ids=["text", "offset", "XMP", "profile", "raw profile", "sum", "resolution", "much text"],
)
def test_a_png_with_damaged_metadata_is_read(extra: bytes) -> None:
    assert np.array_equal(pixels(inserted(extra)), pixels(PNG))


def test_a_png_with_damaged_metadata_behind_its_pixels_keeps_what_is_before_them() -> None:
    data = encoded(gradient(), exif=exif(3))
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000)))
    found = pixels(data[:-12] + bomb + data[-12:])
    assert np.array_equal(found, pixels(data))
    assert not np.array_equal(found, pixels(PNG))


def app(number: int, body: bytes) -> bytes:
    return bytes([0xFF, 0xE0 + number]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "segment",
    [
        app(1, b"Exif\0\0taken at noon"),
        app(1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        app(1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta <<< \xff\xfe"),
        app(2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        app(2, b"ICC_PROFILE\0\x01\x01garbage"),
        app(13, b"Photoshop 3.0\x008BIM\x04\x04"),
    ],
    ids=["text", "offset", "XMP", "MPF", "profile", "Photoshop"],
)
def test_a_jpeg_with_damaged_metadata_is_read(segment: bytes) -> None:
    data = encoded(gradient(), "JPEG")
    damaged = data[:2] + segment + data[2:]
    assert np.array_equal(pixels(damaged), pixels(data))
    assert suffix_of(damaged) == ".jpg"


@pytest.mark.parametrize(
    ("tag", "value", "compression"),
    [
        (700, "XMP as text", None),
        (34665, 99_999_999, None),
        (34665, 99_999_999, "tiff_lzw"),
        (34853, 3, "tiff_lzw"),
    ],
)
def test_a_tiff_with_damaged_metadata_is_read(tag: int, value: Any, compression: Any) -> None:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[tag] = value
    tags.tagtype[tag] = 2 if tag == 700 else 4
    data = encoded(gradient(), "TIFF", tiffinfo=tags, compression=compression)
    assert np.array_equal(pixels(data), pixels(PNG))


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_does_not_exist_is_none(value: int) -> None:
    data = encoded(gradient(), "JPEG", exif=exif(value))
    assert np.array_equal(pixels(data), pixels(encoded(gradient(), "JPEG")))


def test_xmp_tells_the_orientation_where_exif_does_not() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="3"/>')
    found = pixels(encoded(gradient().rotate(180), pnginfo=info))
    assert np.array_equal(found, pixels(PNG))
