"""JPEG: the structure of a file, and decoding that hears the decoder's warnings.

Pillow drops the warnings of libjpeg: a JPEG whose half is missing comes out with a grey half, and without
an error if it ends with an end marker (findings/pillow-decodes-half-a-jpeg-without-a-word.sh). simplejpeg
has the same decoder and reports them, and makes the same pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from PIL import Image, ImageChops

from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError
from lenswatch.reference.pictures.formats import open_image

__all__ = ["Structure", "decode", "examine", "without_metadata"]

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS, _PROGRESSIVE, _SCAN, _RESTARTS, _LS = 0xC3, (0xC2, 0xCA), 0xDA, 0xDD, 0xF7
_METADATA = (*range(0xE1, 0xEE), 0xEF, 0xFE)  # not JFIF and Adobe's, which tell the colours
_ALONE = (0x01, 0xD8)  # markers without a length
_END = b"\xff\xd9"

# The end of coded data: a marker that is neither a stuffed FF, a restart nor a fill byte.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_MARKER_OR_RESTART = re.compile(rb"\xff[\x01-\xfe]")
# Coded data that a decoder may miss at the very end: the last bytes that a camera did not write.
_FILLER = bytes(128)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
# Warnings on metadata, and on bytes that some cameras put before a restart marker.
_HARMLESS = re.compile(r"JFIF|Adobe|thumbnail|extraneous bytes before marker 0xd[0-7]")


@dataclass
class Structure:
    """Parts of a JPEG file up to its end marker.

    Attributes:
        frame: Marker of the frame, which tells the kind of coding.
        precision: Bits of a sample.
        width: Pixels.
        height: Pixels.
        sampling: Sampling factors (horizontal, vertical) of each component, by its identifier.
        scans: Number of scans.
        end: Position of the end marker; the length of the data if it is missing.
        missing: Coefficients that no scan brings in full, by component; only components with some.
        interval: Units of coded data between two restart markers; 0 without such markers.
        damage: What is wrong with the restart markers; "" if nothing is.
    """

    frame: int = 0
    precision: int = 8
    width: int = 0
    height: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    scans: int = 0
    end: int = 0
    missing: dict[int, set[int]] = field(default_factory=dict)
    interval: int = 0
    damage: str = ""

    @property
    def progressive(self) -> bool:
        """Each scan brings a part of the coefficients."""
        return self.frame in _PROGRESSIVE

    @property
    def lossless(self) -> bool:
        """There are no coefficients, and nothing can be decoded at a reduced scale."""
        return self.frame == _LOSSLESS

    def coefficient_bytes(self) -> float:
        """Return the bytes of the coefficients, which a decoder holds if there are several scans."""
        if not self.progressive and self.scans < 2:
            return 0
        across, down = self._most()
        shares = sum(h * v / (across * down) for h, v in self.sampling.values())
        return 2.1 * shares * self.width * self.height  # 2 bytes each, whole blocks at the edges

    def _most(self) -> tuple[int, int]:
        """Return the largest sampling factors, horizontal and vertical."""
        across, down = zip(*self.sampling.values(), strict=True)
        return max(across), max(down)

    def units(self, components: Sequence[int]) -> int:
        """Return the number of units of coded data (MCUs) in a scan of some components."""
        across, down = self._most()
        width, height = self.width / (8 * across), self.height / (8 * down)
        if len(components) == 1:
            h, v = self.sampling[components[0]]
            width, height = (
                math.ceil(self.width * h / across) / 8,
                math.ceil(self.height * v / down) / 8,
            )
        return math.ceil(width) * math.ceil(height)


def examine(data: bytes) -> Structure:
    """Return the structure of a JPEG file.

    Raises:
        ImageError: It is of a kind that is not read, or ends before its pixels.
    """
    found, at = Structure(), 2
    try:
        while (marker := _MARKER.search(data, at)) is not None and marker[0] != _END:
            at = _take_segment(found, data, marker.end())
    except IndexError:
        raise ImageError("the picture is damaged or cut off: it ends in its header") from None
    if not found.scans or not found.sampling:
        raise ImageError("the picture is damaged or cut off: it ends before its pixels")
    found.end = len(data) if marker is None else marker.start()
    return found


def decode(
    data: bytes, found: Structure, size: tuple[int, int], space: str
) -> Image.Image | Pixels:
    """Decode a JPEG file.

    Args:
        data: The file.
        found: Its structure.
        size: Width and height at which to decode: those of the picture divided by 1, 2, 4 or 8.
        space: "RGB" or "CMYK".

    Returns:
        (height, width, 3 or 4) uint8; of a lossless JPEG an image.

    Raises:
        ImageError: A part of the picture is missing or damaged.
    """
    if found.damage:
        raise ImageError(f"the picture is damaged or cut off: {found.damage}")
    for component, missing in found.missing.items():
        raise ImageError(
            f"the picture is damaged or cut off: {len(missing)} of the 64 coefficients of component "
            f"{component} are missing"
        )
    body = data[: found.end].rstrip(b"\xff")
    if found.lossless:
        return _decode_lossless(body)
    pixels, warning = _decode(body + _END, size, space)
    if "premature end" in warning:
        pixels, warning = _decode(body + _FILLER + _END, size, space)
        warning = "" if _before_the_end(warning) else warning
    elif count := _before_the_end(warning):  # it hides what was said before it
        _, warning = _decode(body[:-count] + _END, size, space)
    if warning and not _HARMLESS.search(warning):
        raise ImageError(f"the picture is damaged or cut off: {warning}")
    return pixels


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG without the segments that Pillow may stumble over and its pixels do not need."""
    kept, at = [data[:2]], 2
    while (marker := _MARKER.search(data, at)) is not None and data[marker.end() - 1] != _SCAN:
        end = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
        if data[marker.end() - 1] not in _METADATA:
            kept.append(data[marker.start() : end])
        at = end
    return b"".join(kept) + (b"" if marker is None else data[marker.start() :])


def _take_segment(found: Structure, data: bytes, at: int) -> int:
    """Take in the segment whose marker ends at a position; return the position behind it."""
    kind = data[at - 1]
    if kind in _ALONE:
        return at
    length = int.from_bytes(data[at : at + 2])
    body = data[at + 2 : at + length]
    if length < 2 or len(body) < length - 2:
        raise IndexError
    if kind in _FRAMES:
        _take_frame(found, kind, body)
    elif kind == _RESTARTS:
        found.interval = int.from_bytes(body[:2])
    elif kind == _SCAN:
        _take_scan(found, body)
        if found.interval:
            return _take_restarts(found, data, at + length, body[1 : 1 + 2 * body[0] : 2])
    elif kind == _LS:
        raise ImageError("the picture is a JPEG-LS, which is not read; send JPEG, PNG or TIFF")
    return at + length


def _take_frame(found: Structure, kind: int, body: bytes) -> None:
    if found.frame:
        raise ImageError("the picture is damaged: a JPEG with two frames")
    found.frame, found.precision = kind, body[0]
    found.height, found.width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
    for i in range(body[5]):
        component, factors, _ = body[6 + 3 * i : 9 + 3 * i]
        found.sampling[component] = (max(factors >> 4, 1), max(factors & 15, 1))
        found.missing[component] = set(range(64))
    if found.precision != 8:
        raise ImageError(
            f"the picture is a JPEG with {found.precision} bits per sample, which is not read; send "
            "8 bits, or PNG or TIFF with 16"
        )


def _take_scan(found: Structure, body: bytes) -> None:
    """Take in the header of a scan: which coefficients it brings in full, and of which components."""
    found.scans += 1
    count = body[0]
    first, last, approximation = body[1 + 2 * count : 4 + 2 * count]
    brought = range(first, last + 1) if found.progressive else range(64)
    for component in body[1 : 1 + 2 * count : 2]:
        if not (found.progressive and approximation & 15):  # bits that a later scan refines
            found.missing.get(component, set()).difference_update(brought)
        if not found.missing.get(component):
            found.missing.pop(component, None)


def _take_restarts(found: Structure, data: bytes, start: int, components: bytes) -> int:
    """Note restart markers of a scan that are missing or out of order, as where packets were lost.

    A camera may write one more behind the last unit. Return the position behind the coded data.
    """
    numbers, end = [], len(data)
    for match in _MARKER_OR_RESTART.finditer(data, start):
        if not 0xD0 <= data[match.end() - 1] <= 0xD7:
            end = match.start()
            break
        numbers.append(data[match.end() - 1] & 7)
    if found.lossless or not set(components) <= set(found.sampling):
        return end
    wanted = (found.units(components) - 1) // found.interval
    if numbers != [i % 8 for i in range(len(numbers))] or not 0 <= len(numbers) - wanted <= 1:
        found.damage = f"it has {len(numbers)} of {wanted} restart markers, or in another order"
    return end


def _decode(data: bytes, size: tuple[int, int], space: str) -> tuple[Pixels, str]:
    """Return the pixels and the decoder's last warning; "" if it gave none."""
    width, height = size
    pixels = np.zeros((height, width, len(space)), np.uint8)
    warning = ""
    try:
        decoded = simplejpeg.decode_jpeg(
            data, space, min_height=height, min_width=width, min_factor=1, buffer=pixels
        )
        if decoded.shape != pixels.shape:
            raise ImageError(f"the picture is damaged: its decoder makes {decoded.shape}")
    except ValueError as error:  # what it decoded nevertheless is in the buffer
        warning = str(error)
    return (~pixels if space == "CMYK" else pixels), warning  # CMYK as Adobe writes it


def _before_the_end(warning: str) -> int:
    """Return the number of bytes between the coded data and the end marker, by a warning."""
    found = _EXTRANEOUS.search(warning)
    return int(found[1]) if found and found[2] == "d9" else 0


def _decode_lossless(body: bytes) -> Image.Image:
    """Decode a lossless JPEG by Pillow, twice: where its data is missing, what follows it is shown."""
    shown = [open_image(body + filler + _END) for filler in (_FILLER, b"\x55" * len(_FILLER))]
    for image in shown:
        image.load()
    if ImageChops.difference(*shown).getbbox() is not None:
        raise ImageError("the picture is damaged or cut off: a part of its data is missing")
    return shown[0]
