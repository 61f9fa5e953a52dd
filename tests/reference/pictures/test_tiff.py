"""TIFF: decoded as tifffile decodes it, or refused with the reason; and previews of camera raw files."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import read_picture
from support.pictures import LIMITS, encoded, exif, gradient, pixels, textured

SIZE = (96, 128)
COLOURS = np.asarray(gradient(SIZE[1], SIZE[0]))


def written(
    bits: int, colours: str = "rgb", planes: str = "contig", order: Any = "<", **options: Any
) -> bytes:
    """A TIFF of the gradient."""
    values = COLOURS if colours in ("rgb", "ycbcr") else COLOURS[..., 0]
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    scaled = (values / 255 * ((1 << bits) - 1)).astype(kind)
    if planes == "separate":
        scaled = np.moveaxis(scaled, -1, 0)
    if bits not in (8, 16, 32):
        options["bitspersample"] = bits
    file = io.BytesIO()
    tifffile.imwrite(
        file, scaled, photometric=colours, planarconfig=planes if values.ndim == 3 else None,
        metadata=None, byteorder=order, **options,
    )  # fmt: skip
    return file.getvalue()


def by_tifffile(data: bytes) -> Any:
    """The picture as tifffile decodes it, in 0..255."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        values = page.asarray().astype(float) * 255 / ((1 << page.bitspersample) - 1)
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if values.ndim == 2:
        values = np.stack([values] * 3, -1)
    values = np.moveaxis(values, 0, -1) if values.shape[0] == 3 else values
    return 255 - values if inverted else values


TILED: dict[str, Any] = {"tile": (32, 32)}
READ: list[tuple[int, str, str, dict[str, Any]]] = [
    *itertools.product((1, 2, 4, 8), ("minisblack", "miniswhite"), ["contig"], [{}]),
    *itertools.product([8], ["rgb"], ("contig", "separate"), ({}, TILED, {"bigtiff": True})),
    *itertools.product([8], ["rgb"], ("contig", "separate"), [{"compression": "lzw"}]),
    *itertools.product([8], ["rgb"], ["contig"], [{"compression": "jpeg"}]),
    *itertools.product([16], ["rgb"], ["contig"], ({}, TILED, {"compression": "zlib"})),
    *itertools.product(
        [16], ["rgb"], ["separate"], ({"compression": "lzw"}, {"compression": "zstd"})
    ),
    *itertools.product([16], ["minisblack"], ["contig"], ({}, TILED, {"compression": "zlib"})),
    *itertools.product([16], ["miniswhite"], ["contig"], ({}, TILED, {"compression": "lzw"})),
    *itertools.product([12], ["minisblack"], ["contig"], ({}, TILED)),
]


@pytest.mark.parametrize(("bits", "colours", "planes", "options"), READ)
def test_a_tiff_is_read_as_tifffile_reads_it(
    bits: int, colours: str, planes: str, options: dict[str, Any]
) -> None:
    data = written(bits, colours, planes, **options)
    assert np.abs(pixels(data, SIZE) - by_tifffile(data)).max() <= 2 + 5 * ("jpeg" in str(options))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (written(16, planes="separate"), "uncompressed TIFF with 16 bits, stored by planes"),
        (written(16, planes="separate", tile=(32, 32)), "16 bits, stored by planes"),
        (written(16, planes="separate", order=">"), "16 bits, stored by planes"),
        (written(14, "minisblack"), "TIFF with 14 bits"),
        (written(10, "minisblack"), "TIFF with 10 bits, packed, grey, which is not read"),
        (written(12, "rgb"), "TIFF with 12 bits"),
        (written(12, "minisblack", order=">"), "TIFF with 12 bits"),
        (written(16, "miniswhite", order=">"), "TIFF with 16 bits, grey with 0 as white, which"),
        (written(32, "minisblack"), "32-bit"),
        (
            written(8, compression="jpeg2000"),
            "TIFF with 8 bits, RGB, compression JPEG 2000, which is",
        ),
        (written(8, compression="webp"), "TIFF with the compression WebP, which is not read"),
        (written(32, "rgb"), "TIFF with 32 bits"),
    ],
)
def test_a_tiff_that_pillow_cannot_or_would_wrongly_decode_is_refused(
    data: bytes, says: str
) -> None:
    with pytest.raises(ImageError, match=says):
        pixels(data)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_values_are_refused(kind: Any) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, (COLOURS[..., 0] // 2).astype(kind), photometric="minisblack")
    with pytest.raises(ImageError, match="signed values"):
        pixels(file.getvalue())


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_upright_once(orientation: int, compression: Any) -> None:
    from support.pictures import turned

    data = encoded(
        turned(gradient(), orientation), "TIFF", exif=exif(orientation), compression=compression
    )
    picture = read_picture(data, (54, 96), LIMITS)
    assert (picture.width, picture.height) == (192, 108)
    assert np.array_equal(picture.pixels((54, 96)), pixels(encoded(gradient())))


def dng(preview: Any, raw_colours: str = "cfa", make: str = "Maker") -> bytes:
    """A DNG: a small picture first, the raw data and perhaps a JPEG preview below it."""
    file = io.BytesIO()
    raw = (np.asarray(textured(640, 480).convert("L")).astype(np.uint16)) * 16
    values = raw if raw_colours == "cfa" else np.stack([raw] * 3, -1)
    tags: Any = [(50706, "B", 4, b"\1\4\0\0", False), (271, "s", 0, make, False)]
    with tifffile.TiffWriter(file) as writer:
        below = 1 + (preview is not None)
        writer.write(
            np.asarray(gradient(127, 95)), photometric="rgb", subfiletype=1, subifds=below,
            extratags=tags, metadata=None,
        )  # fmt: skip
        writer.write(values, photometric=raw_colours, subfiletype=0, metadata=None)
        if preview is not None:
            writer.write(
                np.asarray(preview), photometric="rgb", compression="jpeg", subfiletype=1,
                rowsperstrip=preview.height, metadata=None,
            )  # fmt: skip
    return file.getvalue()


def test_of_a_dng_its_preview_is_read_if_it_is_large_enough() -> None:
    preview = textured(320, 240)
    picture = read_picture(dng(preview), SIZE, LIMITS)
    assert (picture.width, picture.height) == (320, 240)
    assert picture.notes == ("the preview of 320 x 240 pixels in the camera raw file was taken",)
    expected = pixels(encoded(preview), SIZE)
    assert np.abs(picture.pixels(SIZE).astype(int) - expected).mean() < 4


def test_a_dng_with_a_preview_that_is_too_small_is_refused() -> None:
    with pytest.raises(ImageError, match="DNG, camera raw, whose preview of 96 x 64 pixels is"):
        pixels(dng(textured(96, 64)), SIZE)


def test_a_dng_without_a_jpeg_preview_is_refused() -> None:
    assert Image.open(io.BytesIO(dng(None))).size == (127, 95)  # which is what Pillow makes of it
    with pytest.raises(ImageError, match="DNG, camera raw, without a JPEG preview"):
        pixels(dng(None))


def test_a_proraw_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match="Apple ProRAW"):
        pixels(dng(None, "linear_raw", "Apple"))


def test_a_tiff_with_several_pages_is_no_camera_raw_file() -> None:
    data = encoded(gradient(), "TIFF", save_all=True, append_images=[gradient(64, 64)])
    assert np.array_equal(pixels(data), pixels(encoded(gradient())))
