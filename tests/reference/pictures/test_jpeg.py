"""JPEG: damage is heard whatever the decoder's path, and the kinds that cameras send are read."""

from __future__ import annotations

import functools
import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import jpeg, read_picture
from support.pictures import LIMITS, SIZE, encoded, exif, gradient, pixels, textured, turned

END = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "grey": {},
    "CMYK": {},
}
LARGE, SMALL = (800, 600), (112, 64)  # decoded at an eighth, at full scale


def refusal(data: bytes) -> str:
    try:
        pixels(data)
    except ImageError as error:
        return str(error)
    return ""


@functools.cache
def whole(kind: str, size: tuple[int, int]) -> bytes:
    image = textured(*size)
    if kind in ("grey", "CMYK"):
        image = image.convert("L" if kind == "grey" else kind)
    data: bytes = encoded(image, "JPEG", quality=90, **KINDS[kind])
    return data


@pytest.mark.parametrize("size", [LARGE, SMALL])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_without_its_end_marker_is_the_same_picture(
    kind: str, size: tuple[int, int]
) -> None:
    data = whole(kind, size)
    assert np.array_equal(pixels(data[:-2]), pixels(data))
    assert np.array_equal(pixels(data[:-1]), pixels(data))


@pytest.mark.parametrize("end", [b"", END])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey"])
def test_a_few_bytes_before_the_end_marker_may_be_missing(kind: str, end: bytes) -> None:
    data = whole(kind, LARGE)
    assert np.abs(pixels(data[:-8] + end) - pixels(data)).mean() < 0.5


@pytest.mark.parametrize("end", [b"", END])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("size", [LARGE, SMALL])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_with_a_missing_part_is_refused_with_and_without_an_end_marker(
    kind: str, size: tuple[int, int], share: float, end: bytes
) -> None:
    data = whole(kind, size)
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(data[: int(len(data) * share)] + end)


@pytest.mark.parametrize("size", [LARGE, SMALL])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_with_a_part_cut_out_of_its_middle_is_refused(
    kind: str, size: tuple[int, int]
) -> None:
    data = whole(kind, size)
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(data[: len(data) // 2] + data[len(data) * 7 // 10 :])


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    data = whole("progressive", LARGE)
    scans = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    with pytest.raises(ImageError, match="coefficients of component 1 are missing"):
        pixels(data[: scans[-1]] + END)


@pytest.mark.parametrize("end", [b"", END])
def test_half_of_a_lossless_jpeg_is_refused(end: bytes) -> None:
    data = imagecodecs.jpeg8_encode(np.asarray(gradient()), lossless=True)
    with pytest.raises(ImageError, match="damaged or cut off"):
        pixels(data[: len(data) // 2] + end)


def test_bytes_that_a_camera_puts_before_the_end_marker_do_no_harm() -> None:
    data = whole("baseline", LARGE)
    assert np.array_equal(pixels(data[:-2] + bytes(64) + END), pixels(data))


def test_damage_is_heard_behind_a_harmless_warning() -> None:
    data = bytearray(whole("baseline", SMALL))
    padding, heard = bytes(64), 0
    for at in range(len(data) // 2, len(data) - 60, 11):
        damaged = data.copy()
        damaged[at : at + 40] = bytes(byte ^ 0x5A for byte in data[at : at + 40])
        if "bad Huffman code" in refusal(bytes(damaged)):
            heard += 1
            assert refusal(bytes(damaged[:-2]) + padding + END)
    assert heard


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("divisor", [1, 2, 4, 8])
def test_both_decoders_make_the_same_pixels(divisor: int, subsampling: int, shift: int) -> None:
    width, height = 96 * divisor + shift * (divisor - 1), 54 * divisor + shift * 3
    data = encoded(textured(width, height), "JPEG", subsampling=subsampling)
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (SIZE[1], SIZE[0]))
        ours = jpeg.decode(data, jpeg.examine(data), image.size, "RGB")
        assert np.array_equal(np.asarray(ours), np.asarray(image))


@pytest.mark.parametrize("size", [LARGE, SMALL])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright_at_every_scale(
    orientation: int, size: tuple[int, int]
) -> None:
    upright = gradient(*size)
    stored = turned(upright, orientation)
    picture = read_picture(
        encoded(stored, "JPEG", quality=95, exif=exif(orientation)), SIZE, LIMITS
    )
    assert (picture.width, picture.height) == size
    expected = pixels(encoded(upright, "PNG"))
    assert np.abs(picture.pixels(SIZE).astype(int) - expected).mean() < 3


def without_tables(data: bytes) -> bytes:
    """A JPEG as a frame of Motion JPEG has it: the Huffman tables are known and left out."""
    kept, at = [data[:2]], 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if data[at + 1] != 0xC4:
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return b"".join(kept) + data[at:]


def with_gain_map(data: bytes) -> bytes:
    """An Ultra HDR file: XMP that says so, and a map of brightness behind the end marker."""
    xmp = (
        b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF "
        b"xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description "
        b"xmlns:hdrgm='http://ns.adobe.com/hdr-gain-map/1.0/' hdrgm:Version='1.0'/></rdf:RDF></x:xmpmeta>"
    )
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    gain: bytes = encoded(gradient(64, 64).convert("L"), "JPEG")
    return data[:2] + segment + data[2:] + gain


@pytest.mark.parametrize(
    "changed",
    [without_tables, with_gain_map, lambda data: data + b"GPS\0 or a thumbnail\xff" * 9],
    ids=["Motion JPEG", "Ultra HDR", "bytes after the end"],
)
@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_what_cameras_add_or_leave_out_changes_no_pixel(
    size: tuple[int, int], changed: Any
) -> None:
    data = encoded(textured(*size), "JPEG")
    assert np.array_equal(pixels(changed(data)), pixels(data))


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_of_a_multi_picture_file_the_first_picture_counts(size: tuple[int, int]) -> None:
    image, beside = textured(*size), gradient(64, 64)
    data = encoded(image, "MPO", save_all=True, append_images=[beside])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.array_equal(pixels(data), pixels(encoded(image, "JPEG")))


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_lossless_jpeg_is_read(size: tuple[int, int]) -> None:
    image = textured(*size)
    data = imagecodecs.jpeg8_encode(np.asarray(image), lossless=True)
    assert np.array_equal(pixels(data), pixels(encoded(image)))


def test_a_jpeg_of_12_bits_is_refused_by_name() -> None:
    grey = np.asarray(gradient().convert("L")).astype(np.uint16) * 16
    data = imagecodecs.jpeg_encode(grey, bitspersample=12)
    with pytest.raises(ImageError, match="a JPEG with 12 bits per sample"):
        pixels(data)


def test_a_jpeg_ls_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="JPEG-LS"):
        pixels(imagecodecs.jpegls_encode(np.asarray(gradient())))


def test_a_jpeg_that_ends_in_its_header_is_refused() -> None:
    data = whole("baseline", SMALL)
    for length in range(4, data.index(b"\xff\xda") + 12):
        with pytest.raises(ImageError):
            pixels(data[:length])
