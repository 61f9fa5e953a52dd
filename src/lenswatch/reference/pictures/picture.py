"""A picture that was read, and the encoder's input that is made of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from lenswatch.config import TransformConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.reference.capture import Reading
from lenswatch.reference.pictures.raster import Raster

__all__ = ["Picture", "encoder_input"]

THUMBNAIL_SIDE = 512  # pixels; the tracking server keeps no larger pictures


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        raster: Its pixels, already reduced to little more than the requested size if it is a JPEG.
        width: Width of the original, upright, in pixels.
        height: Height of the original, upright, in pixels.
        taken: What the camera's clock showed, by the metadata, if there is such a time.
        largest: Largest value of a picture of 16 bits whose file does not tell how many of them count; of
            colours the largest that their upper 8 bits allow, unless all were needed.
        notes: Sentences on what was assumed in reading it.
    """

    raster: Raster
    width: int
    height: int
    taken: Reading | None = None
    largest: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, pixels: Pixels) -> Picture:
        """Return a picture of (height, width, 3) uint8 in sRGB."""
        height, width = pixels.shape[:2]
        return cls(Raster(Image.fromarray(pixels)), width, height)

    @functools.cached_property
    def image(self) -> Image.Image:
        """The picture in sRGB with 8 bits, at the size at which it was decoded."""
        return Image.fromarray(self.raster.whole())

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """Return the picture scaled to `size` (height, width), as (height, width, 3) uint8 in sRGB."""
        return self.raster.scaled(size)

    def thumbnail(self, side: int = THUMBNAIL_SIDE) -> bytes:
        """Return a JPEG of at most `side` pixels on each side, for people to look at."""
        width, height = self.raster.size
        share = min(1, side / max(width, height))
        small = self.pixels((max(1, round(height * share)), max(1, round(width * share))))
        pixels = np.ascontiguousarray(small)
        return bytes(simplejpeg.encode_jpeg(pixels, 80, "RGB", "420", fastdct=False))


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
