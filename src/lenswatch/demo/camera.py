"""What the camera adds: sensor noise, the burnt-in time stamp, and the dated file it writes."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFont

from lenswatch.demo.noise import generator

__all__ = ["file_name", "grained", "stamp", "write"]

QUALITY = 85
MARGIN = 96
"""Spare pixels of the noise tile, so that its place can vary."""


def grained(picture: Image.Image, seed: int, index: int) -> Image.Image:
    """The picture with sensor noise; another in each frame."""
    tile = _noise(picture.size, seed)
    x, y = generator(seed, 120, index).integers(0, MARGIN, 2).tolist()
    noise = tile.crop((x, y, x + picture.width, y + picture.height))
    return ImageChops.add(picture, noise, 1.0, -128)


@lru_cache(maxsize=2)
def _noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Noise about 128, stronger in brightness than in colour."""
    rng = generator(seed, 121)
    shape = (size[1] + MARGIN, size[0] + MARGIN)
    grey = 2.0 * rng.standard_normal(shape, np.float32)[..., None]
    colour = 1.3 * rng.standard_normal((*shape, 3), np.float32)
    return Image.fromarray(np.clip(np.rint(128.0 + grey + colour), 0, 255).astype(np.uint8))


def stamp(picture: Image.Image, moment: datetime) -> None:
    """Burn camera name and time into the upper left corner."""
    size = max(8, round(picture.height / 34))
    text = f"REEF-CAM 1   {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    place = (round(0.8 * size), round(0.6 * size))
    ImageDraw.Draw(picture).text(
        place,
        text,
        (240, 244, 240),
        _font(size),
        stroke_width=max(1, size // 12),
        stroke_fill=(16, 24, 26),
    )


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def file_name(moment: datetime) -> str:
    """The name of a frame's file; names sort as the times do."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}.jpg"


def write(picture: Image.Image, moment: datetime, folder: Path) -> Path:
    """Save the frame as the camera would: a dated JPEG with the capture time in its EXIF data."""
    exif = Image.Exif()
    taken = f"{moment.astimezone(UTC):%Y:%m:%d %H:%M:%S}"
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Lenswatch", "sample footage"
    exif[ExifTags.Base.DateTime] = taken
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {ExifTags.Base.DateTimeOriginal: taken, ExifTags.Base.OffsetTimeOriginal: "+00:00"}
    )
    path = folder / file_name(moment)
    picture.save(path, "JPEG", quality=QUALITY, exif=exif)
    return path
