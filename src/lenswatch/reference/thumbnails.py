"""Thumbnails of a reference's clean pictures, for people who compare; importable without torch.

They are in one file in the reference's folder, as JPEGs named after the rows of their embeddings. The digest
of the reference does not cover them: judging works without them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.reference.paths import reference_folder

__all__ = [
    "MOST",
    "SIDE",
    "THUMBNAILS",
    "have_thumbnails",
    "name_of",
    "read_thumbnail",
    "save_thumbnails",
    "thumbnail_names",
]

MOST = 200  # of one reference
SIDE = 320  # pixels
THUMBNAILS = "clean_pictures.zip"
_BROKEN = (OSError, zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError)


def name_of(row: int) -> str:
    """Return the name of the picture with the embedding `row`."""
    return f"{row:05}"


def have_thumbnails(storage: Path, digest: str) -> bool:
    """Return True if thumbnails of a reference were made."""
    return _path(storage, digest).is_file()


def save_thumbnails(storage: Path, digest: str, thumbnails: Mapping[int, bytes]) -> None:
    """Write the thumbnails of a reference, which replace earlier ones.

    Args:
        storage: The storage folder.
        digest: The reference.
        thumbnails: JPEGs by the rows of their embeddings.

    Raises:
        WriteError: The file cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for row, jpeg in sorted(thumbnails.items()):
            archive.writestr(zipfile.ZipInfo(f"{name_of(row)}.jpg"), jpeg)
    write_atomically(_path(storage, digest), buffer.getvalue())


def thumbnail_names(storage: Path, digest: str) -> tuple[str, ...]:
    """Return the names of a reference's thumbnails, in the order of their rows; none if none were made.

    Raises:
        ArtefactError: The file is damaged.
    """
    try:
        with zipfile.ZipFile(_path(storage, digest)) as archive:
            return tuple(name.removesuffix(".jpg") for name in archive.namelist())
    except FileNotFoundError:
        return ()
    except _BROKEN as error:
        raise _damaged(storage, digest, error) from None


def read_thumbnail(storage: Path, digest: str, name: str) -> bytes:
    """Return a thumbnail, a JPEG.

    Raises:
        ArtefactError: There is none of this name, or the file is damaged.
    """
    try:
        with zipfile.ZipFile(_path(storage, digest)) as archive:
            return archive.read(f"{name}.jpg")
    except _BROKEN as error:
        raise _damaged(storage, digest, error) from None


def _path(storage: Path, digest: str) -> Path:
    return reference_folder(storage) / digest / THUMBNAILS


def _damaged(storage: Path, digest: str, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"{_path(storage, digest)}: cannot be read ({error}); delete it, and it is made again"
    )
