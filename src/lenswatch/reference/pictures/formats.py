"""The formats that are read, and the names of those that are not."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import re
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from lenswatch.errors import ImageError

__all__ = ["FORMATS", "SUFFIXES", "explain_unknown", "is_jpeg_xl", "open_image", "suffix_of"]

# Raster formats, by the names that Pillow and its plugins give them, and the suffix of their files.
# No interpreters (EPS), no vector formats.
_SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG2000": ".jp2",
    "PPM": ".ppm",
    "HEIF": ".heic",
    "AVIF": ".avif",
    "JXL": ".jxl",
}
_STARTS = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
}  # Pillow may not open these: damaged metadata
FORMATS = tuple(_SUFFIX)
SUFFIXES = {*_SUFFIX.values(), ".jpeg", ".tiff", ".pgm", ".j2k", ".heif", ".hif", ".dng"}

_EXTRAS = {"HEIF": ("HEIC", "node"), "JXL": ("JPEG XL", "jxl")}  # name, and extra of this project

# Beginnings of files that people send and that are not read.
_FOREIGN = (
    (re.compile(rb"II\xbc"), "JPEG XR"),
    (re.compile(rb"....ftypcrx|FUJIFILMCCD-RAW|IIU\0|IIR[OS]|MMOR|FOVb", re.DOTALL), "camera raw"),
    (re.compile(rb"8BPS"), "a Photoshop document"),
    (re.compile(rb"%PDF"), "a PDF document"),
    (re.compile(rb"\s*<(\?xml|svg|!DOCTYPE|html)", re.IGNORECASE), "a text such as SVG or HTML"),
    (
        re.compile(rb"....ftyp(isom|mp4|avc|qt  |M4V)|RIFF....AVI |\x1aE\xdf\xa3", re.DOTALL),
        "a video",
    ),
)
_HEIF_START = re.compile(rb"....ftyp(hei[cmsx]|hev[cmx]|mif[12]|msf1)", re.DOTALL)
_KNOWN = (  # beginnings of formats that are read, whose header may be damaged
    (_HEIF_START, "a HEIF (HEIC)"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "an AVIF"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "a PNG"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "a TIFF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "a WebP"),
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), "a JPEG 2000"),
    (re.compile(rb"P[1-6]\s"), "a PGM or PPM"),
)
_JXL_START = re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")


def open_image(source: Path | bytes) -> Image.Image:
    """Open a picture of one of the formats; nothing is decoded yet, apart from JPEG XL.

    Raises:
        UnidentifiedImageError: It is of no known format, or its header is damaged.
        OSError: The file cannot be read.
    """
    known = [name for name in FORMATS if name not in _EXTRAS or name in _register()]
    return Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=known)


def suffix_of(data: bytes) -> str:
    """Return the suffix of the file of a picture that can be read, by its content.

    It is `.jpg` for all that holds a JPEG first, and `.dng` for camera raw that Pillow does not open.
    """
    known = next((suffix for start, suffix in _STARTS.items() if data.startswith(start)), "")
    if known:
        return known
    try:
        with open_image(data) as image:
            return _SUFFIX.get(image.format or "", ".jpg")
    except UnidentifiedImageError:
        return ".dng"


def is_jpeg_xl(data: bytes) -> bool:
    """Return True for the beginning of a JPEG XL file."""
    return _JXL_START.match(data) is not None


def explain_unknown(data: bytes) -> ImageError:
    """Return the error for data that no decoder recognised."""
    for name, start in (("HEIF", _HEIF_START), ("JXL", _JXL_START)):
        if start.match(data) and name not in _register():
            known, extra = _EXTRAS[name]
            return ImageError(
                f"the picture is {known}, whose decoder is not installed; install it with: "
                f"pip install 'lenswatch[{extra}]'"
            )
    known = next((name for start, name in _KNOWN if start.match(data)), "")
    if known:
        return ImageError(f"the picture is {known} that is damaged or cut off in its header")
    kind = next((name for start, name in _FOREIGN if start.match(data)), "")
    what = f"the file is {kind}, not a picture" if kind else "the file is not a picture"
    return ImageError(f"{what} that can be read; send one of {', '.join(FORMATS)}")


@functools.cache
def _register() -> frozenset[str]:
    """Register the Pillow plugins that are installed, once; return the names of their formats."""
    found = set()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
        found.add("HEIF")
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_jxl")  # an extra, which registers itself
        found.add("JXL")
    return frozenset(found)
