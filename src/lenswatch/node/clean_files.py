"""The files of a reference's clean pictures, which may have been moved or deleted since training."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from lenswatch.config import Config
from lenswatch.errors import InputError
from lenswatch.node.clean_footage import embed_picture
from lenswatch.reference.artefact import Reference
from lenswatch.reference.identity import file_digest
from lenswatch.reference.paths import kept_folder
from lenswatch.reference.pictures import SUFFIXES, read_picture_file

__all__ = ["clean_files", "pictures_below"]


def pictures_below(config: Config) -> Iterator[Path]:
    """Yield the pictures below the folder of pictures, but for kept originals: they are many, and go."""
    kept = kept_folder(config.storage_path)
    for file in config.image_folder.rglob("*"):
        if file.suffix.lower() in SUFFIXES and not file.is_relative_to(kept):
            yield file


def clean_files(config: Config, reference: Reference, rows: Iterable[int]) -> dict[int, Path]:
    """Return the files of some clean pictures that are still there, by the rows of their embeddings.

    Each is looked for at its path, then among the files of its name, so that only those are read.
    """
    found, missing = {}, []
    for row in rows:
        file = config.image_folder / reference.pictures[row].path
        if _is(config, reference, row, file):
            found[row] = file
        else:
            missing.append(row)
    named = _by_name(config) if missing else {}
    for row in missing:
        for file in named.get(Path(reference.pictures[row].path).name, ()):
            if _is(config, reference, row, file):
                found[row] = file
                break
    return dict(sorted(found.items()))


def _by_name(config: Config) -> dict[str, list[Path]]:
    named: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(pictures_below(config)):
        named[file.name].append(file)
    return named


def _is(config: Config, reference: Reference, row: int, file: Path) -> bool:
    """Return True if a file is the clean picture, by its content; by its embedding if no digest is listed."""
    sha256 = reference.pictures[row].sha256
    if sha256:
        return file_digest(file) == sha256
    transform = reference.transform
    with contextlib.suppress(InputError):
        picture = read_picture_file(file, transform.resize, config.upload, transform.sample_bits)
        embedding = embed_picture(reference, picture.pixels(transform.resize))
        return row in reference.same_pictures("", embedding)
    return False
