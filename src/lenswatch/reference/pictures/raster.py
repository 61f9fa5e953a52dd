"""Decoded pixels as they are stored, and their scaling in bands of rows.

A picture of 64 megapixels takes 256 MB as Pillow holds it, so that no second one of its size may be made:
it is turned upright, converted to 8 bits and RGB, and scaled in width band by band, and in height at last.
The pixels are those of converting and scaling the whole at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError
from lenswatch.reference.pictures.colour import Profile, cmyk_image
from lenswatch.reference.pictures.depth import Depth
from lenswatch.reference.pictures.scaling import resized

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
_TURNED: dict[Image.Transpose, Callable[[Pixels], Pixels]] = {
    _T.FLIP_LEFT_RIGHT: lambda pixels: pixels[:, ::-1],
    _T.ROTATE_180: lambda pixels: pixels[::-1, ::-1],
    _T.FLIP_TOP_BOTTOM: lambda pixels: pixels[::-1],
    _T.TRANSPOSE: lambda pixels: pixels.swapaxes(0, 1),
    _T.ROTATE_270: lambda pixels: np.rot90(pixels, -1),
    _T.TRANSVERSE: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    _T.ROTATE_90: np.rot90,
}
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_FROM_THE_END = (3, 4, 7, 8)  # those whose first upright row is the last row or column


@dataclass(frozen=True)
class Raster:
    """A decoded picture as it is stored.

    Attributes:
        stored: The pixels, as the camera held them: an image of any mode, or (height, width, 3 or 4) uint8
            of RGB or CMYK.
        orientation: EXIF orientation, 1 to 8.
        depth: Scaling of values above 8 bits.
        profile: Conversion of the colours to sRGB.
    """

    stored: Image.Image | Pixels
    orientation: int = 1
    depth: Depth = field(default_factory=Depth)
    profile: Profile | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright."""
        if isinstance(self.stored, Image.Image):
            width, height = self.stored.size
        else:
            height, width = self.stored.shape[:2]
        return (height, width) if self.orientation in SIDEWAYS else (width, height)

    def scaled(self, size: tuple[int, int]) -> Pixels:
        """Return the picture scaled to `size` (height, width), as (height, width, 3) uint8 in sRGB.

        Scaling is bilinear with antialiasing. It goes along rows first, so that bands of rows may be scaled
        by themselves.
        """
        bands = self._bands()
        pixels = next(bands)
        height = self.size[1]
        if len(pixels) < height:
            pixels = _narrowed(itertools.chain([pixels], bands), height, size[1])
        pixels = resized(pixels, size)
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
            yield self._upright(self.stored, top, min(top + rows, height))

    def _upright(self, stored: Image.Image | Pixels, top: int, bottom: int) -> Pixels:
        """Return upright rows of the stored picture, which may be columns of it."""
        width, height = self.size
        if self.orientation in _FROM_THE_END:
            top, bottom = height - bottom, height - top
        sideways = self.orientation in SIDEWAYS
        box = (top, 0, bottom, width) if sideways else (0, top, width, bottom)
        left, upper, right, lower = box
        turn = _TURNS.get(self.orientation)
        if isinstance(stored, Image.Image):
            part = stored if box == (0, 0, *stored.size) else stored.crop(box)
            return self._converted(part if turn is None else part.transpose(turn))
        pixels = stored[upper:lower, left:right]
        if turn is not None:
            pixels = np.ascontiguousarray(_TURNED[turn](pixels))
        if pixels.shape[2] == 4 and self.profile is None:
            return self._converted(cmyk_image(pixels))
        return pixels

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


def _narrowed(bands: Iterable[Pixels], height: int, width: int) -> Pixels:
    """Return the rows of all bands, scaled in width."""
    done, narrow = 0, np.empty((0, width, 3), np.uint8)
    for band in bands:
        if not done:
            narrow = np.empty((height, width, band.shape[2]), np.uint8)
        narrow[done : done + len(band)] = resized(band, (len(band), width))
        done += len(band)
    return narrow
