"""TIFF: the kinds that Pillow decodes wrongly without an error, and the previews of camera raw files.

A TIFF may hold nearly anything. What is not named here was compared with tifffile's decoding of it, see
`tests/reference/pictures/test_tiff.py` and findings/pillow-decodes-tiff-of-16-bits-as-something-else.sh.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lenswatch.errors import ImageError
from lenswatch.reference.pictures.depth import Depth

__all__ = [
    "Raw",
    "check_tiff",
    "describe_tiff",
    "is_by_planes",
    "is_of_jpegs",
    "is_tiff",
    "is_turned",
    "parts_of",
    "raw_of",
    "strip_bytes",
    "tables_of",
]

_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_MAKE, _ORIENTATION, _OFFSETS, _ROWS, _COUNTS, _PLANES, _BELOW = 271, 274, 273, 278, 279, 284, 330
_TILE_OFFSETS, _TILE_COUNTS, _JPEG_TABLES = 324, 325, 347
_SAMPLE_FORMAT, _JPEG_OFFSET, _JPEG_LENGTH, _SUBSAMPLING, _DNG = 339, 513, 514, 530, 50706
_USED = (
    *(_KIND, _BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE, _OFFSETS, _COUNTS, _BELOW),
    *(_JPEG_OFFSET, _JPEG_LENGTH, _DNG),
)
_WHITE_IS_ZERO, _YCBCR, _CFA, _LINEAR_RAW = 0, 6, 32803, 34892
_UNCOMPRESSED, _OLD_JPEG, _JPEG = 1, 6, 7
_BY_PLANES, _SIGNED = 2, 2
_REDUCED = 1  # bit of _KIND: a smaller version of another picture of the file
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_DIRECTORIES = 64
_WEBP = 50001
_COLOURS = {
    **{0: "grey with 0 as white", 1: "grey", 2: "RGB", 3: "a palette", 4: "a mask", 5: "CMYK"},
    **{6: "YCbCr", 8: "CIELab", 9: "ICCLab", 32844: "LogL", 32845: "LogLuv"},
}
_COMPRESSIONS = {
    **{2: "CCITT", 3: "CCITT (fax 3)", 4: "CCITT (fax 4)", 5: "LZW", 6: "old JPEG"},
    **{7: "JPEG", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34712: "JPEG 2000"},
    **{33003: "JPEG 2000", 33005: "JPEG 2000", 22610: "JPEG XR", 34934: "JPEG XR", 34887: "LERC"},
    **{34892: "lossy JPEG", 34925: "LZMA", 50000: "zstd", _WEBP: "WebP", 50002: "JPEG XL"},
    **{52546: "JPEG XL", 34676: "SGI LogLuv", 32771: "CCITT"},
}


@dataclass(frozen=True)
class Raw:
    """A camera raw file.

    Attributes:
        name: Its kind, for people.
        preview: The JPEG of its largest preview; None if there is none.
    """

    name: str
    preview: bytes | None


def is_tiff(data: bytes) -> bool:
    """Return True for the beginning of a TIFF, which is also that of most camera raw files."""
    return data.startswith(_MAGIC)


def check_tiff(image: Image.Image) -> Depth:
    """Return the scaling of the values of an opened TIFF.

    Raises:
        ImageError: Pillow would decode it as something else than it is.
    """
    tags = _tags_of(image)
    bits = max(_numbers(tags, _BITS) or (1,))
    compression, colours = _number(tags, _COMPRESSION, 1), _number(tags, _PHOTOMETRIC, 0)
    if compression == _WEBP:  # which Pillow knows, but not the decoder that comes with it
        raise ImageError(
            "the picture is a TIFF with the compression WebP, which is not read; save it with LZW, or "
            "send a WebP"
        )
    if _SIGNED in _numbers(tags, _SAMPLE_FORMAT):
        raise ImageError(
            "the picture is a TIFF with signed values, whose black and white are unknown; save it "
            "with unsigned ones"
        )
    if bits > 8 and compression == _UNCOMPRESSED and _number(tags, _PLANES, 1) == _BY_PLANES:
        raise ImageError(
            f"the picture is an uncompressed TIFF with {bits} bits, stored by planes, which is not "
            "read; save it compressed, or with interleaved colours"
        )
    subsampling = _numbers(tags, _SUBSAMPLING) or (2, 2)
    if colours == _YCBCR and compression == _UNCOMPRESSED and set(subsampling) != {1}:
        raise ImageError(
            "the picture is an uncompressed TIFF with reduced colour (YCbCr), which is not read; "
            "save it as RGB"
        )
    return Depth(12 if bits == 12 else 16, inverted=colours == _WHITE_IS_ZERO and bits > 8)


def is_turned(image: Image.Image) -> bool:
    """Return True for an opened TIFF with an orientation."""
    return _number(_tags_of(image), _ORIENTATION, 1) != 1


def strip_bytes(image: Image.Image) -> int:
    """Return the bytes of one decoded strip of an opened TIFF, which its decoder holds beside all."""
    tags = _tags_of(image)
    if _number(tags, _COMPRESSION, 1) == _UNCOMPRESSED:
        return 0
    width, height = _number(tags, _WIDTH, 0), _number(tags, _HEIGHT, 0)
    rows = min(_number(tags, _ROWS, height), height) if _OFFSETS in tags else 0
    return width * rows * sum(_numbers(tags, _BITS)) // 8


def is_by_planes(image: Image.Image) -> bool:
    """Return True for an opened TIFF whose colours are stored one after the other."""
    return _number(_tags_of(image), _PLANES, 1) == _BY_PLANES


def is_of_jpegs(image: Image.Image) -> bool:
    """Return True for an opened TIFF whose strips or tiles are JPEGs."""
    return _number(_tags_of(image), _COMPRESSION, 1) == _JPEG


def tables_of(image: Image.Image) -> bytes:
    """Return the JPEG that holds the tables of all JPEGs in an opened TIFF; b"" if there is none."""
    found = _tags_of(image).get(_JPEG_TABLES, b"")
    return found if isinstance(found, bytes) else b""


def parts_of(image: Image.Image) -> list[tuple[int, int]]:
    """Return position and length of the data of each strip or tile of an opened TIFF."""
    tags = _tags_of(image)
    kinds = (_TILE_OFFSETS, _TILE_COUNTS) if _TILE_OFFSETS in tags else (_OFFSETS, _COUNTS)
    offsets, counts = (_numbers(tags, kind) for kind in kinds)
    return list(zip(offsets, counts, strict=False))


def describe_tiff(data: bytes) -> str:
    """Return the kind of a TIFF that cannot be read; "" if nothing tells.

    As "a TIFF with 14 bits, grey, compression LZW".
    """
    directories = _directories(data)
    if not directories or _PHOTOMETRIC not in directories[0]:
        return ""
    first = directories[0]
    bits, compression = _numbers(first, _BITS), _number(first, _COMPRESSION, 1)
    colours = _number(first, _PHOTOMETRIC, 0)
    told = [f"{max(bits)} bits"] if bits else []
    if bits and max(bits) in (10, 12, 14):
        told[0] += ", packed"
    told.append(_COLOURS.get(colours, f"colour kind {colours}"))
    if compression != _UNCOMPRESSED:
        told.append(f"compression {_COMPRESSIONS.get(compression, compression)}")
    return f"a TIFF with {', '.join(told)}"


def raw_of(data: bytes) -> Raw | None:
    """Return what is known of a camera raw file in TIFF; None for another TIFF."""
    directories = _directories(data)
    if not directories:
        return None
    first = directories[0]
    colours = {_number(each, _PHOTOMETRIC, 0) for each in directories}
    is_dng = _DNG in first
    is_reduced = bool(_number(first, _KIND, 0) & _REDUCED) and _BELOW in first
    if not (is_dng or is_reduced or colours & {_CFA, _LINEAR_RAW}):
        return None
    made_by_apple = str(first.get(_MAKE, "")).strip("\0 ") == "Apple"
    name = "DNG, camera raw" if is_dng else "camera raw"
    if is_dng and made_by_apple and _LINEAR_RAW in colours:
        name = "Apple ProRAW (DNG, camera raw)"
    previews = [each for each in (_jpeg(data, tags) for tags in directories) if each]
    return Raw(name, max(previews, key=len, default=None))


def _jpeg(data: bytes, tags: Any) -> bytes | None:
    """Return the JPEG that is all of a directory's picture, with colours that are not raw."""
    if _number(tags, _PHOTOMETRIC, _YCBCR) in (_CFA, _LINEAR_RAW):
        return None
    compression = _number(tags, _COMPRESSION, 1)
    if compression in (_OLD_JPEG, _JPEG) and len(_numbers(tags, _OFFSETS)) == 1:
        start, length = _number(tags, _OFFSETS, 0), _number(tags, _COUNTS, 0)
    elif _JPEG_OFFSET in tags:
        start, length = _number(tags, _JPEG_OFFSET, 0), _number(tags, _JPEG_LENGTH, 0)
    else:
        return None
    found = data[start : start + length]
    return found if found.startswith(b"\xff\xd8\xff") else None


def _directories(data: bytes) -> list[dict[int, Any]]:
    """Return the directories of a TIFF, those below the first behind it, up to a damaged one."""
    found: list[dict[int, Any]] = []
    header = data[:16] if b"+" in data[2:4] else data[:8]
    with (
        warnings.catch_warnings(),
        contextlib.suppress(Exception),
    ):  # on damage Pillow raises anything
        warnings.simplefilter("ignore")
        offsets, seen = [ImageFileDirectory_v2(header).next], set[int]()
        while offsets and len(seen) < _MOST_DIRECTORIES:
            offset = offsets.pop(0)
            if offset in seen or not 0 < offset < len(data):
                continue
            seen.add(offset)
            directory = ImageFileDirectory_v2(header)
            file = io.BytesIO(data)
            file.seek(offset)
            directory.load(file)
            found.append({tag: directory[tag] for tag in _USED if tag in directory})
            offsets += [*_numbers(found[-1], _BELOW), directory.next]
    return found


def _tags_of(image: Image.Image) -> Any:
    return image.tag_v2 if hasattr(image, "tag_v2") else {}


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    value = tags.get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(each for each in values if isinstance(each, int))


def _number(tags: Any, tag: int, default: int) -> int:
    return next(iter(_numbers(tags, tag)), default)
