"""Identity of a picture: the digest of its content, and its path below a folder of pictures.

A bare file name is not enough: cameras that share a schedule give their pictures the same names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from lenswatch.errors import ArtefactError

__all__ = ["PictureFile", "content_digest", "file_digest", "find_contents", "path_below"]


@dataclass(frozen=True)
class PictureFile:
    """A picture that a reference was trained on.

    Attributes:
        path: Path below the folder of pictures, with "/". References of earlier versions have its name.
        sha256: Digest of the file's content, hexadecimal. Empty in references of earlier versions.
        taken: Time of capture with its zone; None where nothing tells.
    """

    path: str
    sha256: str = ""
    taken: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """Return a JSON object that `from_json` reads."""
        document = {"path": self.path, "sha256": self.sha256}
        return document if self.taken is None else document | {"taken": self.taken.isoformat()}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return the picture that `to_json` wrote; earlier versions wrote the name alone.

        Raises:
            ArtefactError: The document is neither.
        """
        if isinstance(document, str):
            return cls(document)
        if isinstance(document, Mapping):
            path, sha256 = document.get("path"), document.get("sha256")
            if isinstance(path, str) and isinstance(sha256, str):
                return cls(path, sha256, _time(document.get("taken")))
        raise ArtefactError(
            f"a picture is listed as {document!r}, without path and sha256; train again"
        )

    @classmethod
    def all_from_json(cls, documents: Any) -> tuple[Self, ...]:
        """Return the pictures of a list.

        Raises:
            ArtefactError: It is no list, or holds something else.
        """
        if not isinstance(documents, list):
            raise ArtefactError(f"{documents!r:.40} is no list of pictures; train again")
        return tuple(map(cls.from_json, documents))


def _time(text: Any) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ArtefactError(f"a picture is said to be taken at {text!r}; train again") from None


def content_digest(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_digest(file: Path) -> str | None:
    """Return the SHA-256 of a file's bytes, hexadecimal; None if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def path_below(folder: Path, file: Path) -> str:
    """Return the path of a file below a folder, with "/"; the file's name if it is elsewhere."""
    for above, below in ((folder, file), (folder.resolve(), file.resolve())):
        if below.is_relative_to(above):
            return below.relative_to(above).as_posix()
    return file.name


def find_contents(wanted: Collection[str], files: Iterable[Path]) -> dict[str, Path]:
    """Return the first file with each wanted content, by digest.

    The search ends when all are found.

    Args:
        wanted: Digests, hexadecimal.
        files: Where to look, in this order.
    """
    missing, found = set(wanted), {}
    for file in files:
        if not missing:
            break
        digest = file_digest(file)
        if digest in missing:
            missing.discard(digest)
            found[digest] = file
    return found
