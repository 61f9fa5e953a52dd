"""Reading of pictures: from bytes to checked pixels.

Training, `predict` and the command line all use it, so that pictures are scaled and rounded in one way.
JPEG files are decoded at a reduced scale (by libjpeg, in the frequency domain), since decoding at full
size takes most of the time.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

from lenswatch.config import TransformConfig, UploadConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError, ImageTooLarge
from lenswatch.reference.capture import Reading, exif_reading

__all__ = [
    "Picture",
    "check_size",
    "encoder_input",
    "read_bytes",
    "read_picture",
    "read_picture_file",
]

# The formats that are read, and the limits of a picture apart from those in `UploadConfig`.
# Raster formats that Pillow decodes by itself: no interpreters (EPS), no vector formats.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm"}
SMALLEST_SIDE = 16  # pixels; a smaller picture has too little to compare
THUMBNAIL_SIDE = 512  # pixels; the tracking server keeps no larger pictures
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        image: RGB, 8 bits, already reduced to little more than the requested size.
        width: Width of the original, upright, in pixels.
        height: Height of the original, upright, in pixels.
        taken: What the camera's clock showed, by the metadata, if there is such a time.
    """

    image: Image.Image
    width: int
    height: int
    taken: Reading | None = None

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """Return the picture scaled to `size` (height, width), as (height, width, 3) uint8.

        Scaling is bilinear with antialiasing, as in Pillow, but by torch: its code for 8 bits is several
        times faster.
        """
        pixels = np.array(self.image)
        if pixels.shape[:2] == size:
            return pixels
        planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        scaled = interpolate(planes, size=size, mode="bilinear", antialias=True)
        return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())

    def thumbnail(self, side: int = THUMBNAIL_SIDE) -> bytes:
        """Return a JPEG of at most `side` pixels on each side, for people to look at."""
        small = self.image
        if max(small.size) > side:
            small = small.copy()
            small.thumbnail((side, side), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
        return buffer.getvalue()


def check_size(count: int, limits: UploadConfig) -> None:
    """Check the size of a file in bytes.

    Raises:
        ImageTooLarge: `count` is above the limit.
        ImageError: The file is empty.
    """
    if count > limits.max_bytes:
        raise ImageTooLarge(
            f"the file has {count} bytes, the limit is {limits.max_bytes}; "
            "send a smaller picture or raise upload.max_bytes"
        )
    if count == 0:
        raise ImageError("the file is empty (0 bytes); send a picture")


def read_picture_file(path: Path, size: tuple[int, int], limits: UploadConfig) -> Picture:
    """Read a picture from a file, as `read_picture` does; the size is checked before it is read."""
    return read_picture(read_bytes(path, limits), size, limits)


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


def read_picture(data: bytes, size: tuple[int, int], limits: UploadConfig) -> Picture:
    """Decode a picture at `size` (height, width) or larger.

    A picture with an EXIF orientation is turned upright. Of an animation the first frame is taken. 16-bit
    grey is scaled to 8 bits, CMYK and palettes are converted, transparency becomes white.

    Raises:
        ImageTooLarge: More bytes or pixels than `limits` allow; pixels are counted before decoding.
        ImageError: The data is no picture, is cut off, or is too small to compare.
    """
    check_size(len(data), limits)
    with _explained():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image.width, image.height, limits)
        width, height = image.size
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        turned = orientation in _SWAPPED
        image.draft("RGB", size if turned else (size[1], size[0]))
        image.load()
        upright = _eight_bit_rgb(image if orientation == 1 else ImageOps.exif_transpose(image))
    return Picture(
        image=upright,
        width=height if turned else width,
        height=width if turned else height,
        taken=exif_reading(exif),
    )


def encoder_input(pixels: Pixels, transform: TransformConfig) -> npt.NDArray[np.float32]:
    """Normalise the pixels of a picture for the encoder.

    Args:
        pixels: (height, width, 3) uint8.
        transform: Mean and standard deviation per channel, for pixels scaled to 0..1.

    Returns:
        (3, height, width) float32.
    """
    std = np.asarray(transform.std, np.float32)
    scale = 1 / (255 * std)
    offset = -np.asarray(transform.mean, np.float32) / std
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        np.multiply(pixels[..., channel], scale[channel], out=planes[channel])
        planes[channel] += offset[channel]
    return planes


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the exceptions of Pillow and its decoders into ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about broken EXIF, and about sizes, which are checked here
            yield
    except Image.DecompressionBombError:
        raise ImageTooLarge(
            "the picture has too many pixels to be opened safely; send a smaller picture"
        ) from None
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"the file is not a picture that can be read; send one of {', '.join(FORMATS)}"
        ) from None
    except MemoryError:
        raise ImageTooLarge(
            "there is not enough memory to decode the picture; send a smaller one or lower upload.max_pixels"
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged input
        raise ImageError(f"the picture is damaged or cut off: {error}") from None


def _check_pixels(width: int, height: int, limits: UploadConfig) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the picture has {width} x {height} = {width * height} pixels, the limit is "
            f"{limits.max_pixels}; send a smaller picture or raise upload.max_pixels"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"the picture has {width} x {height} pixels; it needs {SMALLEST_SIDE} on each side"
        )


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        image = _from_16_bit(image)
    if image.mode == "F":
        raise ImageError(
            "the picture has floating-point pixels, whose range is unknown; send 8 or 16 bits"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.new("RGBA", rgba.size, "white")
        image.alpha_composite(rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError("the picture has 32-bit pixels, whose range is unknown; send 8 or 16 bits")
    return Image.fromarray((values // 257).astype(np.uint8))
