"""Pictures that a program opened with Pillow: read as their files are, as far as Pillow still has them."""

from __future__ import annotations

import io

from PIL import Image, ImageFile

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageError
from lenswatch.reference.pictures.depth import Depth
from lenswatch.reference.pictures.limits import check_pixels
from lenswatch.reference.pictures.metadata import Metadata, metadata_of
from lenswatch.reference.pictures.picture import Picture
from lenswatch.reference.pictures.reading import read_loaded
from lenswatch.reference.pictures.tiff import check_tiff

__all__ = ["file_of", "picture_of"]


def file_of(image: Image.Image) -> bytes | None:
    """Return the bytes of the file of a picture that was opened and not decoded yet; else None."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or image.tell():
        return None
    file = image.fp
    if file is None:
        return None
    try:
        at = file.tell()
        file.seek(0)
        data = file.read()
        file.seek(at)
    except (OSError, ValueError, io.UnsupportedOperation):  # such as a closed file
        return None
    return bytes(data)


def picture_of(image: Image.Image, limits: UploadConfig, sample_bits: int = 0) -> Picture:
    """Return a picture by the pixels and the metadata that Pillow has of it.

    It is turned upright by its EXIF orientation, and its colours, transparency and more than 8 bits are those
    of `read_picture`.

    Args:
        image: The picture, in any mode. It is left as it is.
        limits: Pixels that are accepted.
        sample_bits: Bits that a camera uses of 16; 0 for all.

    Raises:
        ImageTooLarge: It has more pixels than `limits` allow.
        ImageError: It cannot be decoded, is of a kind whose range is unknown, or too small to compare.
    """
    check_pixels(image.width, image.height, limits)
    try:
        image.load()
    except Exception as error:  # Pillow raises nearly anything on damaged files
        raise ImageError(
            f"the image cannot be decoded: {error}; send an undamaged picture"
        ) from None
    depth, info = Depth(), dict(image.info)
    about = metadata_of(image)
    image.info.update(info)
    if image.format == "TIFF":  # which Pillow has turned by now
        depth = check_tiff(image)
        about = Metadata(1, about.taken, about.icc)
    tells_white = image.format in ("JXL", "PPM")
    return read_loaded(image, image.size, about, depth, sample_bits, tells_white=tells_white)
