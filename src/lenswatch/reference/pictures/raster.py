"""Decoded pixels as they are stored, and their scaling in bands of rows.

A picture of 64 megapixels takes 256 MB as Pillow holds it, so that no second one of its size may be made:
it is turned upright, converted to 8 bits and RGB, and scaled in width band by band, and in height at last.
The pixels are those of converting and scaling the whole at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError
from lenswatch.reference.pictures.colour import Profile
from lenswatch.reference.pictures.depth import Depth

__all__ = ["Raster"]

BAND = 2**20  # pixels that are converted at a time
_T = Image.Transpose
_TURNS = {  # by EXIF orientation
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_FROM_THE_END = (3, 4, 7, 8)  # those whose first upright row is the last row or column


@dataclass(frozen=True)
class Raster:
    """A decoded picture as it is stored.

    Attributes:
        stored: The pixels, of any mode, as the camera held them.
        orientation: EXIF orientation, 1 to 8.
        depth: Scaling of values above 8 bits.
        profile: Conversion of the colours to sRGB.
    """

    stored: Image.Image
    orientation: int = 1
    depth: Depth = field(default_factory=Depth)
    profile: Profile | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        width, height = self.stored.size
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def scaled(self, size: tuple[int, int]) -> Pixels:
        """Return the picture scaled to `size` (height, width), as (height, width, 3) uint8 in sRGB.

        Scaling is bilinear with antialiasing, as in Pillow, but by torch: its code for 8 bits is several
        times faster. It scales rows before columns, so that bands of rows may be scaled by themselves.
        """
        bands = self._bands()
        first = _resized_rows(next(bands), size[1])
        narrow = np.empty((self.size[1], *first.shape[1:]), np.uint8)
        narrow[: len(first)] = first
        done = len(first)
        for band in bands:
            narrow[done : done + len(band)] = _resized_rows(band, size[1])
            done += len(band)
        pixels = _resized(narrow, size)
        return pixels if self.profile is None else self.profile.to_srgb(pixels)

    def whole(self) -> Pixels:
        """Return all pixels, as (height, width, 3) uint8 in sRGB."""
        width, height = self.size
        return self.scaled((height, width))

    def _bands(self) -> Iterator[Pixels]:
        """Yield bands of upright rows, as (rows, width, 3) uint8, or 4 for CMYK with a profile."""
        width, height = self.size
        rows = max(1, BAND // width)
        for top in range(0, height, rows):
            yield self._converted(self._upright(top, min(top + rows, height)))

    def _upright(self, top: int, bottom: int) -> Image.Image:
        """Return upright rows of the stored picture, which may be columns of it."""
        width, height = self.size
        if self.orientation in _FROM_THE_END:
            top, bottom = height - bottom, height - top
        sideways = self.orientation in SIDEWAYS
        box = (top, 0, bottom, width) if sideways else (0, top, width, bottom)
        part = self.stored if box == (0, 0, *self.stored.size) else self.stored.crop(box)
        turn = _TURNS.get(self.orientation)
        return part if turn is None else part.transpose(turn)

    def _converted(self, part: Image.Image) -> Pixels:
        if part.mode.startswith("I"):
            grey = self.depth.eight_bits(np.asarray(part))
            return np.repeat(grey[..., None], 3, axis=2)
        if part.has_transparency_data:
            rgba = part.convert("RGBA")
            part = Image.new("RGBA", rgba.size, "white")
            part.alpha_composite(rgba)
        if not (part.mode == "CMYK" and self.profile is not None):
            part = part if part.mode == "RGB" else _rgb(part)
        return np.array(part)


def _rgb(part: Image.Image) -> Image.Image:
    try:
        return part.convert("RGB")
    except ValueError:
        raise ImageError(
            f"the picture has colours of the kind {part.mode}, which are not read; send RGB or grey"
        ) from None


def _resized_rows(pixels: Pixels, width: int) -> Pixels:
    return _resized(pixels, (len(pixels), width))


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if pixels.shape[:2] == size:
        return pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    scaled = interpolate(planes, size=size, mode="bilinear", antialias=True)
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())
