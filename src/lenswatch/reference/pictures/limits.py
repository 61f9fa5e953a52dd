"""Limits of a picture: its bytes, its pixels, and the memory that decoding it takes."""

from __future__ import annotations

from lenswatch.config import UploadConfig
from lenswatch.errors import ImageError, ImageTooLarge

__all__ = ["check_memory", "check_pixels", "check_size", "fits"]

SMALLEST_SIDE = 16  # pixels; a smaller picture has too little to compare


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


def check_pixels(width: int, height: int, limits: UploadConfig) -> None:
    """Check the size of a picture in pixels.

    Raises:
        ImageTooLarge: There are more pixels than the limit.
        ImageError: A side is too short to compare.
    """
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"the picture has {width} x {height} = {width * height} pixels, the limit is "
            f"{limits.max_pixels}; send a smaller picture or raise upload.max_pixels"
        )
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"the picture has {width} x {height} pixels; it needs {SMALLEST_SIDE} on each side"
        )


def fits(needed: float, limits: UploadConfig) -> bool:
    """Return True when decoding may take that many bytes."""
    return needed <= limits.max_decode_bytes


def check_memory(needed: float, kind: str, width: int, height: int, limits: UploadConfig) -> None:
    """Check the memory that decoding takes, before it begins.

    Args:
        needed: Estimate in bytes.
        kind: Name of the format, for the message.
        width: Pixels.
        height: Pixels.
        limits: The limits.

    Raises:
        ImageTooLarge: It is more than the limit.
    """
    if not fits(needed, limits):
        raise ImageTooLarge(
            f"decoding this {kind} of {width} x {height} pixels takes about {needed / 2**20:.0f} MiB, "
            f"the limit is {limits.max_decode_bytes / 2**20:.0f} MiB; send a smaller picture or a "
            "baseline JPEG, or raise upload.max_decode_bytes"
        )
