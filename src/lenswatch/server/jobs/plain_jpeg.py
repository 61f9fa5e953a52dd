"""Small JPEGs that may be stored as they are, since encoding them again would change nothing that matters.

A node sends such ones. They have what pixels need and nothing else: no metadata, no comment, no profile, no
second picture, and no byte after the end.
"""

from __future__ import annotations

import re

__all__ = ["plain_size"]

_START, _END = b"\xff\xd8", b"\xff\xd9"
_JFIF = 0xE0
_FRAME = 0xC0  # baseline
_SCAN = 0xDA
_TABLES = frozenset((0xDB, 0xC4, 0xDD))  # quantisation, Huffman codes, restart interval
_JFIF_BODY = re.compile(rb"JFIF\0\x01.{6}\0\0\Z", re.DOTALL)  # without a thumbnail of its own
# Three components of 8 bits.
_FRAME_BODY = re.compile(rb"\x08(..)(..)\x03(\x01..\x02..\x03..)\Z", re.DOTALL)
_SCAN_BODY = re.compile(rb"\x03\x01.\x02.\x03.\x00\x3f\x00\Z", re.DOTALL)  # all of them together
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)  # that ends the coded data


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG that holds nothing but its pixels; None for any other file."""
    if not data.startswith(_START):
        return None
    at, seen, size = 2, set[int](), None
    while data[at : at + 1] == b"\xff" and len(data) > at + 4:
        kind, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        body, at = data[at + 4 : at + 2 + length], at + 2 + length
        if len(body) != length - 2:
            return None
        if kind == _SCAN:
            whole = _SCAN_BODY.match(body) and {_JFIF, _FRAME} <= seen and _ends_there(data, at)
            return size if whole else None
        if kind == _JFIF and not seen and _JFIF_BODY.match(body):
            seen.add(kind)
        elif kind == _FRAME and kind not in seen and (frame := _FRAME_BODY.match(body)):
            seen.add(kind)
            size = int.from_bytes(frame[2]), int.from_bytes(frame[1])
        elif kind not in _TABLES:
            return None
    return None


def _ends_there(data: bytes, at: int) -> bool:
    """Return True if coded data from a position on goes up to an end marker, the last bytes of the file."""
    marker = _MARKER.search(data, at)
    return marker is not None and marker[0] == _END and marker.end() == len(data)
