"""The dashboard's own files and plotly.js, each read and compressed once.

The addresses of files contain a digest of all of them, so that browsers may cache them indefinitely and
still load the new ones after an upgrade. plotly.js comes from the plotly wheel.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources

__all__ = ["PLOTLY", "Asset", "asset", "digest", "plotly_style_ids"]

PLOTLY = "plotly.min.js"
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file, stored only with gzip compression, which nearly every browser accepts."""

    compressed: bytes
    media_type: str

    @property
    def content(self) -> bytes:
        """The file, not compressed."""
        return gzip.decompress(self.compressed)


def asset(name: str) -> Asset | None:
    """Return the file of that name, or None if there is none."""
    return _asset(name) if name == PLOTLY or name in _own_files() else None


@cache
def _asset(name: str) -> Asset:
    content = _plotly_source() if name == PLOTLY else _own_files()[name]
    return Asset(gzip.compress(content, 6, mtime=0), _MEDIA_TYPES[_suffix(name)])


@cache
def digest() -> str:
    """Return 16 hexadecimal digits that change whenever a file does."""
    total = hashlib.sha256(metadata.version("plotly").encode())
    for name, content in _own_files().items():
        total.update(f"{name}:{len(content)}:".encode() + content)
    return total.hexdigest()[:16]


@cache
def plotly_style_ids() -> tuple[str, ...]:
    """Return the ids of the style elements that plotly.js adds for maps.

    It adds none if an element with that id exists. So a page without maps contains empty elements
    with these ids, and needs no `unsafe-inline` in its Content-Security-Policy.
    """
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', _plotly_source())
    return tuple(sorted({name.decode() for name in found}))


def _plotly_source() -> bytes:
    from plotly.offline import get_plotlyjs

    return bytes(get_plotlyjs().encode())


@cache
def _own_files() -> dict[str, bytes]:
    folder = resources.files("lenswatch.server.pages") / "static"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name: file.read_bytes() for file in files if _suffix(file.name) in _MEDIA_TYPES}


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
