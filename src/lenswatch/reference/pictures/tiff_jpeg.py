"""JPEG inside TIFF: whether the data of all strips or tiles is there.

The decoder of TIFF drops the warnings of its JPEG decoder, so that a strip whose data is missing becomes
grey. They are heard here, by decoding each strip once more at an eighth of its size; the pixels are those
of the decoder of TIFF.
"""

from __future__ import annotations

from PIL import Image

from lenswatch.errors import ImageError
from lenswatch.reference.pictures import jpeg
from lenswatch.reference.pictures.tiff import is_of_jpegs, parts_of, tables_of

__all__ = ["check_jpegs"]

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_SHARE = 8  # as small as a JPEG can be decoded


def check_jpegs(image: Image.Image, data: bytes) -> None:
    """Check the JPEGs of which an opened TIFF is made, if it is of that kind.

    Raises:
        ImageError: A part of one is missing or damaged.
    """
    if not is_of_jpegs(image):
        return
    tables = tables_of(image).removesuffix(_END)
    parts = parts_of(image)
    for number, (start, length) in enumerate(parts, 1):
        try:
            _check(data[start : start + length], tables)
        except ImageError as error:
            raise ImageError(f"{error} (part {number} of {len(parts)} of a TIFF)") from None


def _check(part: bytes, tables: bytes) -> None:
    if not part.startswith(_START):
        raise ImageError("the picture is damaged or cut off: there is no JPEG")
    whole = tables + part[len(_START) :] if tables else part
    found = jpeg.examine(whole)
    space = "CMYK" if len(found.sampling) == 4 else "RGB"
    jpeg.decode(whole, found, (-(-found.width // _SHARE), -(-found.height // _SHARE)), space)
