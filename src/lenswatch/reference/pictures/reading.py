"""Reading a picture: checks, decoding, and what is said of it.

JPEG files are decoded at a reduced scale (by libjpeg, in the frequency domain), since decoding at full
size takes most of the time.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageError, ImageTooLarge
from lenswatch.reference.pictures import deep_colour, jpeg, jpeg2000, jpegxl, png, ppm, tiff
from lenswatch.reference.pictures.colour import profile_of
from lenswatch.reference.pictures.depth import WHOLE, Depth, bits_of
from lenswatch.reference.pictures.formats import explain_unknown, is_jpeg_xl, open_image
from lenswatch.reference.pictures.limits import check_memory, check_pixels, check_size, fits
from lenswatch.reference.pictures.memory import JXL_BYTES, needed_bytes
from lenswatch.reference.pictures.metadata import Metadata, metadata_of
from lenswatch.reference.pictures.picture import Picture
from lenswatch.reference.pictures.raster import BAND, SIDEWAYS, Raster
from lenswatch.reference.pictures.tiff_jpeg import check_jpegs

__all__ = ["read_bytes", "read_loaded", "read_picture", "read_picture_file"]

_JPEG_START = b"\xff\xd8\xff"
_DECODER_SAYS = {  # in words that tell something
    "decoder error -2": "the data of a strip or tile cannot be decoded",
    "could not create decoder object": "its header tells of more data than there is",
}
_LOW = 1 << 12  # a largest value below this means that no more than 12 of 16 bits are in use


def read_picture_file(
    path: Path, size: tuple[int, int], limits: UploadConfig, sample_bits: int = 0
) -> Picture:
    """Read a picture from a file, as `read_picture` does; the size is checked before it is read."""
    return read_picture(read_bytes(path, limits), size, limits, sample_bits)


def read_bytes(path: Path, limits: UploadConfig) -> bytes:
    """Return the bytes of a picture's file, whose size is checked first.

    Raises:
        ImageTooLarge: The file has more bytes than `limits` allow.
        ImageError: The file is empty or cannot be read.
    """
    try:
        check_size(path.stat().st_size, limits)
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from None


def read_picture(
    data: bytes, size: tuple[int, int], limits: UploadConfig, sample_bits: int = 0
) -> Picture:
    """Decode a picture at `size` (height, width) or larger.

    A picture with an EXIF orientation is turned upright. Of an animation the first frame is taken. More
    than 8 bits are scaled to 8, CMYK and palettes are converted, transparency becomes white, and colours of
    another profile become sRGB. Damaged metadata counts as absent.

    Args:
        data: The file.
        size: Height and width.
        limits: Bytes, pixels and memory that are accepted.
        sample_bits: Bits that a camera uses of the 16 of a file that does not tell; 0 for all.

    Raises:
        ImageTooLarge: More bytes, pixels or memory than `limits` allow; known before decoding.
        ImageError: The data is no picture, is cut off, is of a kind that would be decoded wrongly, or is
            too small to compare.
    """
    check_size(len(data), limits)
    with _explained(data):
        if data.startswith(_JPEG_START):
            return _read_jpeg(data, size, limits)
        if is_jpeg_xl(data):
            width, height = jpegxl.size_of(data)
            check_pixels(width, height, limits)
            check_memory(width * height * JXL_BYTES, "JPEG XL", width, height, limits)
        raw = tiff.raw_of(data) if tiff.is_tiff(data) else None
        if raw is not None:
            return _read_preview(data, raw, size, limits)
        return _read_other(data, size, limits, sample_bits)


def _read_jpeg(
    data: bytes, size: tuple[int, int], limits: UploadConfig, about: Metadata | None = None
) -> Picture:
    """Read a JPEG; `about` is the metadata of the file that it is a preview of."""
    found = jpeg.examine(data)
    image = _opened(data)
    check_pixels(image.width, image.height, limits)
    about = about or metadata_of(image)
    whole = image.size
    if not found.lossless:
        image.draft("RGB", _stored_size(size, about))
    area = image.width * image.height
    needed = found.coefficient_bytes() + area * (3 * 4 if found.lossless else 3 + 4)
    check_memory(needed + _narrow_bytes(image, size, about), "JPEG", *whole, limits)
    space = "CMYK" if len(found.sampling) == 4 else "RGB"
    mode = "L" if len(found.sampling) == 1 else space
    stored = jpeg.decode(data, found, image.size, space)
    raster = Raster(stored, about.orientation, profile=profile_of(about.icc, mode))
    return _picture(raster, whole, about)


def _read_preview(
    data: bytes, raw: tiff.Raw, size: tuple[int, int], limits: UploadConfig
) -> Picture:
    """Read the preview of a camera raw file."""
    if raw.preview is None:
        raise ImageError(
            f"the file is {raw.name}, without a JPEG preview that could be used; send JPEG or TIFF"
        )
    try:
        about = metadata_of(open_image(data))
    except UnidentifiedImageError:  # a kind of raw data that Pillow does not know
        about = Metadata()
    found = jpeg.examine(raw.preview)
    if min(found.height, found.width) < min(size) or max(found.height, found.width) < max(size):
        raise ImageError(
            f"the file is {raw.name}, whose preview of {found.width} x {found.height} pixels is smaller "
            f"than the {size[1]} x {size[0]} that are compared; send JPEG or TIFF"
        )
    picture = _read_jpeg(raw.preview, size, limits, replace(about, icc=None))
    note = f"the preview of {found.width} x {found.height} pixels in the camera raw file was taken"
    return replace(picture, notes=(note,))


def _read_other(
    data: bytes, size: tuple[int, int], limits: UploadConfig, sample_bits: int
) -> Picture:
    if png.is_png(data):
        png.check_sums(data)
    image = _opened(data)
    check_pixels(image.width, image.height, limits)
    whole, kind = image.size, image.format or ""
    depth = tiff.check_tiff(image) if kind == "TIFF" else Depth()
    is_deep, has_lower = deep_colour.is_deep(image), deep_colour.has_lower(image)
    needed = needed_bytes(image)
    if kind == "JPEG2000":
        jpeg2000.check_colours(image, data)
    else:
        check_memory(needed, kind, *whole, limits)
    if kind == "PNG":  # before its metadata: findings/pillow-getexif-decodes-a-whole-png.sh
        image = _loaded_png(image, data)
    about = metadata_of(image)
    if kind == "JPEG2000" and not fits(needed, limits):
        for level in jpeg2000.reductions(image, data, _stored_size(size, about)[::-1]):
            needed /= 4
            setattr(image, "reduce", level)  # noqa: B010 - of this format, not the method of that name
            if fits(needed, limits):
                break
    check_memory(needed + _narrow_bytes(image, size, about), kind, *whole, limits)
    if kind == "TIFF":
        check_jpegs(image, data)
        # findings/pillow-swaps-the-size-of-a-tiff-before-it-turns-it.sh
        about = replace(about, orientation=1)
    tells_white = kind == "JXL" or (kind == "JPEG2000" and jpeg2000.bits(data) < WHOLE)
    if ppm.is_scaled(image):
        image, tells_white = ppm.decode(image, data), True
    image.load()
    picture = read_loaded(image, whole, about, depth, sample_bits, tells_white=tells_white)
    if not is_deep:
        return picture
    if has_lower and 0 < sample_bits < WHOLE:
        check_memory(2 * needed + 3 * whole[0] * whole[1], kind, *whole, limits)
        return _deep_colours(picture, image, data, Depth(sample_bits))
    return _upper_colours(picture, image, has_lower)


def read_loaded(
    image: Image.Image,
    whole: tuple[int, int],
    about: Metadata,
    depth: Depth,
    sample_bits: int,
    *,
    tells_white: bool,
) -> Picture:
    """Return the picture of pixels that are decoded.

    Args:
        image: The pixels.
        whole: Width and height of the original as it is stored.
        about: The metadata.
        depth: Scaling of values above 8 bits.
        sample_bits: Bits that a camera uses of the 16 of a file that does not tell; 0 for all.
        tells_white: The format tells which value is white, so that it was scaled already.

    Raises:
        ImageError: The range of the values is unknown.
    """
    raster = Raster(image, about.orientation, depth, profile_of(about.icc, _colours(image)))
    if image.mode == "F":
        raise ImageError(
            "the picture has floating-point pixels, whose range is unknown; send 8 or 16 bits"
        )
    picture = _picture(raster, whole, about)
    if image.mode.startswith("I") and depth.bits == WHOLE and not tells_white:
        return _sixteen_bits(picture, image, sample_bits)
    return picture


def _opened(data: bytes) -> Image.Image:
    """Open a picture, without its metadata if that is what Pillow stumbles over."""
    try:
        return open_image(data)
    except Exception:
        if png.is_png(data):
            return open_image(png.without_metadata(data))
        if data.startswith(_JPEG_START):
            return open_image(jpeg.without_metadata(data))
        raise


def _loaded_png(image: Image.Image, data: bytes) -> Image.Image:
    """Decode a PNG, without its metadata if that is what Pillow stumbles over."""
    with contextlib.suppress(Exception):  # Pillow raises nearly anything on damaged metadata
        image.load()
        png.check_rows(image, data)
        return image
    info, image = image.info, open_image(png.without_metadata(data))
    image.load()
    image.info.update(info)
    png.check_rows(image, data)
    return image


def _picture(raster: Raster, whole: tuple[int, int], about: Metadata) -> Picture:
    width, height = whole[::-1] if about.orientation in SIDEWAYS else whole
    return Picture(raster, width, height, about.taken)


def _stored_size(size: tuple[int, int], about: Metadata) -> tuple[int, int]:
    """Return the width and height of the stored picture that `size` (height, width) stands for."""
    return size if about.orientation in SIDEWAYS else (size[1], size[0])


def _narrow_bytes(image: Image.Image, size: tuple[int, int], about: Metadata) -> int:
    """Return the bytes of the picture when its width is scaled and its height is not yet."""
    height = image.width if about.orientation in SIDEWAYS else image.height
    return height * size[1] * 3


def _colours(image: Image.Image) -> str:
    """Return the kind of colours that a profile has to be for."""
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


def _sixteen_bits(picture: Picture, image: Image.Image, sample_bits: int) -> Picture:
    """Return a picture of 16 bits with its depth, and what to say about that."""
    least, largest = _extremes(image)
    if least < 0 or largest > 65535:
        raise ImageError("the picture has 32-bit pixels, whose range is unknown; send 8 or 16 bits")
    bits = sample_bits or WHOLE
    depth = replace(picture.raster.depth, bits=bits)
    notes = []
    if bits < WHOLE:
        notes.append(_note_on_bits(largest, depth))
    elif largest < _LOW:
        notes.append(
            f"the largest of the 16-bit values is {largest}, as of {bits_of(largest)} bits; set "
            "transform.sample_bits and train again if the camera has so few"
        )
    raster = replace(picture.raster, depth=depth)
    return replace(picture, raster=raster, largest=largest, notes=tuple(notes))


def _extremes(image: Image.Image) -> tuple[int, int]:
    """Return the least and the largest value of a picture, without its transparency, band by band."""
    rows = max(1, BAND // image.width)
    found = []
    for top in range(0, image.height, rows):
        part = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        part = part[..., :3] if part.ndim == 3 else part
        found += [int(part.min()), int(part.max())]
    return min(found), max(found)


def _upper_colours(picture: Picture, image: Image.Image, has_lower: bool) -> Picture:
    """Return a picture by the upper 8 of its 16 bits, and what to say where too few are used."""
    largest = _extremes(image)[1] << 8 | 255
    notes: tuple[str, ...] = ()
    if largest < _LOW and has_lower:
        notes = (
            f"the 16-bit colours use {bits_of(largest)} bits, of which only the upper ones are read; set "
            "transform.sample_bits and train again if the camera has so few",
        )
    elif largest < _LOW:
        notes = (
            "the 16-bit colours use 12 bits or fewer, of which only the upper ones are read; send 8 bits "
            "if the camera has so few",
        )
    return replace(picture, largest=largest if has_lower else None, notes=notes)


def _deep_colours(picture: Picture, image: Image.Image, data: bytes, depth: Depth) -> Picture:
    """Return a picture by all of its 16 bits, of which the camera uses fewer."""
    lower = open_image(png.without_metadata(data)) if png.is_png(data) else _opened(data)
    deep_colour.choose_lower(lower)
    lower.load()
    pixels, largest = deep_colour.scaled(image, lower, depth)
    raster = replace(picture.raster, stored=pixels)
    return replace(picture, raster=raster, largest=largest, notes=(_note_on_bits(largest, depth),))


def _note_on_bits(largest: int, depth: Depth) -> str:
    """Return what to say of values of 16 bits of which fewer count."""
    if largest > depth.white:
        return (
            f"the largest value is {largest}, more than {depth.bits} bits hold, so that parts are too "
            "bright; set transform.sample_bits and train again if the camera has more"
        )
    return f"the values of 16 bits are taken as {depth.bits} bits (transform.sample_bits)"


@contextmanager
def _explained(data: bytes) -> Iterator[None]:
    """Turn the exceptions of Pillow and its decoders into ImageError."""
    try:
        with warnings.catch_warnings():
            # They are about broken EXIF, and about sizes, which are checked here.
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise ImageTooLarge(
            "the picture has too many pixels to be opened safely; send a smaller picture"
        ) from None
    except ImageError:
        raise
    except UnidentifiedImageError:
        what = tiff.describe_tiff(data) if tiff.is_tiff(data) else ""
        raise (
            ImageError(
                f"the picture is {what}, which is not read; send RGB or grey of 8 or 16 bits"
            )
            if what
            else explain_unknown(data)
        ) from None
    except MemoryError:
        raise ImageTooLarge(
            "there is not enough memory to decode the picture; send a smaller one or lower "
            "upload.max_decode_bytes"
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged input
        told = next(iter(str(error).splitlines()), "")
        if is_jpeg_xl(data):  # what its plugin says is for those who build it
            told = "the decoder of JPEG XL finds an error in its data"
        told = _DECODER_SAYS.get(told, told)
        raise ImageError(f"the picture is damaged or cut off: {told}") from None
