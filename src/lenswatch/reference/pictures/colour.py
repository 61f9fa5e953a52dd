"""Colour profiles: from the colours of a picture's ICC profile to sRGB.

A picture without a profile, or with one that makes no visible difference, stays as it is. A profile that
cannot be used is ignored: its pixels are good all the same.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from lenswatch.detect.arrays import Pixels

__all__ = ["Profile", "cmyk_image", "profile_of"]

INVISIBLE = 3  # of 255: a profile that changes no colour by more is sRGB with other rounding
_STEPS = np.linspace(0, 255, 9).astype(np.uint8)
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC's name of a colour space, Pillow's mode


class Profile:
    """Conversion from the colours of a profile to sRGB.

    Attributes:
        mode: Pillow's mode of the colours: "RGB", "L" or "CMYK".
    """

    def __init__(self, mode: str, transform: ImageCms.ImageCmsTransform) -> None:
        self.mode = mode
        self._transform = transform

    def to_srgb(self, pixels: Pixels) -> Pixels:
        """Convert (height, width, 3) or, for CMYK, (height, width, 4) uint8 to RGB.

        Grey is expected in all three channels.
        """
        if self.mode == "CMYK":
            image = cmyk_image(pixels)
        else:
            image = Image.fromarray(pixels[..., 0] if self.mode == "L" else pixels)
        return np.array(ImageCms.applyTransform(image, self._transform))


def cmyk_image(pixels: Pixels) -> Image.Image:
    """Return the image of (height, width, 4) uint8 in CMYK."""
    height, width = pixels.shape[:2]
    return Image.frombytes("CMYK", (width, height), np.ascontiguousarray(pixels).data)


@functools.lru_cache(maxsize=32)
def profile_of(icc: bytes | None, mode: str) -> Profile | None:
    """Return the conversion that pixels of a mode need; None if they need none.

    Args:
        icc: The ICC profile of the picture.
        mode: "RGB", "L" or "CMYK".
    """
    if not icc:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if _SPACES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
        profile = Profile(mode, transform)
        return profile if mode == "CMYK" or _is_visible(profile) else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_visible(profile: Profile) -> bool:
    """Return True if colours all over the range, or greys, look otherwise in the profile."""
    if profile.mode == "L":
        colours = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    else:
        colours = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(1, -1, 3)
    return bool(np.abs(profile.to_srgb(colours).astype(int) - colours).max() > INVISIBLE)
