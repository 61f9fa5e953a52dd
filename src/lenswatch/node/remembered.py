"""The clean pictures of a calibration, remembered so that it can be made again for another reference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from lenswatch.reference.identity import file_digest, find_contents
from lenswatch.reference.pictures import SUFFIXES

__all__ = ["Found", "Remembered"]


class Found(NamedTuple):
    """Remembered pictures that are still there, and the paths of those that are not."""

    files: tuple[Path, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Remembered:
    """Clean pictures by path and content.

    Attributes:
        folder: The folder that holds them all; relative to the storage folder if it is in there.
        pictures: SHA-256 of each picture by its path below the folder, in time order.
    """

    folder: str
    pictures: Mapping[str, str]

    @classmethod
    def of(cls, storage: Path, files: Sequence[Path], digests: Sequence[str]) -> Self:
        """Return the memory of some files with these contents; there must be one at least."""
        paths = [file.parent.resolve() / file.name for file in files]
        folder = Path(os.path.commonpath([path.parent for path in paths]))
        names = [path.relative_to(folder).as_posix() for path in paths]
        above = storage.resolve()
        kept = folder.relative_to(above) if folder.is_relative_to(above) else folder
        return cls(kept.as_posix(), dict(zip(names, digests, strict=True)))

    @classmethod
    def from_json(cls, document: Any) -> Self | None:
        """Return the memory that `to_json` wrote; None if there is none."""
        if not isinstance(document, Mapping):
            return None
        folder, pictures = document.get("folder"), document.get("pictures")
        if not isinstance(folder, str) or not isinstance(pictures, Mapping) or not pictures:
            return None
        return cls(folder, {str(path): str(digest) for path, digest in pictures.items()})

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return {"folder": self.folder, "pictures": dict(self.pictures)}

    def path(self, storage: Path) -> Path:
        """Return the folder as a path."""
        return storage / self.folder

    def find(self, storage: Path) -> Found:
        """Find the pictures again by their content: at their paths, else under another name beside them."""
        folder = self.path(storage)
        there = {
            digest: folder / path
            for path, digest in self.pictures.items()
            if file_digest(folder / path) == digest
        }
        gone = set(self.pictures.values()) - set(there)
        if gone:
            there |= find_contents(gone, _beside(folder, self.pictures))
        missing = tuple(path for path, digest in self.pictures.items() if digest not in there)
        ordered = (there[digest] for digest in self.pictures.values() if digest in there)
        return Found(tuple(dict.fromkeys(ordered)), missing)


def _beside(folder: Path, paths: Mapping[str, str]) -> list[Path]:
    """Return all pictures in the folders of the paths."""
    folders = sorted({(folder / path).parent for path in paths})
    found = [sorted(each.iterdir()) for each in folders if each.is_dir()]
    return [file for files in found for file in files if file.suffix.lower() in SUFFIXES]
