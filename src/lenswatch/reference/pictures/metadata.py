"""Metadata of a picture that reading it needs; what is damaged of it counts as absent."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ExifTags, Image

from lenswatch.reference.capture import Reading, exif_reading

__all__ = ["Metadata", "metadata_of"]

_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
_XMP = ("xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class Metadata:
    """Metadata of a picture.

    Attributes:
        orientation: EXIF orientation, 1 to 8.
        taken: Reading of the camera's clock.
        icc: The colour profile.
    """

    orientation: int = 1
    taken: Reading | None = None
    icc: bytes | None = None


def metadata_of(image: Image.Image) -> Metadata:
    """Return the metadata of an opened picture.

    What cannot be read is taken off the picture, since decoding a TIFF would stumble over it again.
    """
    exif = _exif(image)
    for tag in _DIRECTORIES:
        try:
            exif.get_ifd(tag)
        except Exception:  # Pillow raises nearly anything on damaged metadata
            exif.pop(tag, None)
    for name in _XMP:
        image.info.pop(name, None)
    icc = image.info.get("icc_profile")
    return Metadata(_orientation(image, exif), exif_reading(exif), icc or None)


def _exif(image: Image.Image) -> Image.Exif:
    for _ in range(2):  # after an error there is what could be read before it
        try:
            return image.getexif()
        except Exception:  # as above
            continue
    return Image.Exif()


def _orientation(image: Image.Image, exif: Image.Exif) -> int:
    """Return the orientation of the pixels as they are decoded."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # its decoder turns the pixels and leaves the tag
    try:
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1
