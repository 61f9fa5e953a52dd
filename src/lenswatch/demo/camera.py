"""The camera: sensor noise, the burnt-in time stamp, and the dated file it writes."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont
from PIL.ExifTags import IFD, Base

from lenswatch.demo.noise import generator, pixels

__all__ = ["grained", "stamp", "write"]

MARGIN = 96  # spare pixels of the noise tile, so that its place can vary


def grained(picture: Image.Image, seed: int, index: int) -> Image.Image:
    """Return the picture with sensor noise, different in each frame."""
    x, y = generator(seed, 120, index).integers(0, MARGIN, 2).tolist()
    noise = _noise(picture.size, seed).crop((x, y, x + picture.width, y + picture.height))
    return ImageChops.add(picture, noise, 1.0, -128)


@lru_cache(maxsize=2)
def _noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Return noise about 128, stronger in brightness than in colour."""
    rng, shape = generator(seed, 121), (size[1] + MARGIN, size[0] + MARGIN, 1)
    grey = 2.0 * rng.standard_normal(shape, np.float32)
    colour = 1.3 * rng.standard_normal((*shape[:2], 3), np.float32)
    return pixels((128.0 + grey + colour) / 255.0)


def stamp(picture: Image.Image, moment: datetime) -> None:
    """Burn camera name and time, in UTC, into the upper left corner."""
    size = max(8, round(picture.height / 34))
    text, place = f"REEF-CAM 1   {moment:%Y-%m-%d %H:%M:%S} UTC", (0.8 * size, 0.6 * size)
    draw, font, edge = ImageDraw.Draw(picture), ImageFont.load_default(size), max(1, size // 12)
    draw.text(place, text, "#f0f4f0", font, stroke_width=edge, stroke_fill="#10181a")


def write(picture: Image.Image, moment: datetime, folder: Path) -> Path:
    """Save the frame as a JPEG with its capture time, in UTC, as its name and in its EXIF data."""
    exif, taken = Image.Exif(), f"{moment:%Y:%m:%d %H:%M:%S}"
    exif[Base.Make], exif[Base.Model], exif[Base.DateTime] = "Lenswatch", "sample footage", taken
    details = exif.get_ifd(IFD.Exif)
    details[Base.DateTimeOriginal], details[Base.OffsetTimeOriginal] = taken, "+00:00"
    path = folder / f"{moment:%Y%m%dT%H%M%SZ}.jpg"
    picture.save(path, "JPEG", quality=85, exif=exif)
    return path
