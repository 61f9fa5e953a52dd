"""ICC profiles."""

from __future__ import annotations

import struct
from typing import Any


def profile(primaries: Any, gamma: float, space: bytes = b"RGB ") -> bytes:
    """An ICC profile (version 2) of a display: colorants in XYZ under D50, and a power curve."""
    xyz = {
        name: b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)
        for name, values in primaries.items()
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"Test\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78) + b"\0"
    curves = (b"rTRC", b"gTRC", b"bTRC") if space == b"RGB " else (b"kTRC",)
    tags = {b"desc": desc, **xyz, **dict.fromkeys(curves, curve)}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(body), 0x02100000, b"mntr", space, b"XYZ ", b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


WHITE = {b"wtpt": (0.9642, 1.0, 0.8249)}
DISPLAY_P3 = profile(
    WHITE
    | {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2920, 0.6922, 0.0419),
       b"bXYZ": (0.1571, 0.0666, 0.7841)},
    2.2,
)  # fmt: skip
ADOBE_RGB = profile(
    WHITE
    | {b"rXYZ": (0.6097, 0.3111, 0.0195), b"gXYZ": (0.2053, 0.6257, 0.0609),
       b"bXYZ": (0.1492, 0.0632, 0.7446)},
    2.2,
)  # fmt: skip
DARK_GREY = profile(WHITE, 1.0, b"GRAY")
