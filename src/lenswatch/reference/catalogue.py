"""The references in a storage folder, listed from their manifests without loading them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lenswatch.errors import InputError
from lenswatch.reference.paths import current_digest, reference_folder

__all__ = ["Listed", "find_reference", "list_references"]


@dataclass(frozen=True)
class Listed:
    """One reference.

    Attributes:
        digest: Digest, which names the reference.
        created_at: Time in UTC, ISO 8601; empty if it is not known.
        pictures: Number of clean pictures; None for an adopted pair.
        current: The reference is the one in use.
        readable: The manifest can be read.
    """

    digest: str
    created_at: str
    pictures: int | None
    current: bool
    readable: bool


def list_references(storage: Path) -> list[Listed]:
    """Return all references, the newest last."""
    folder, current = reference_folder(storage), current_digest(storage)
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    found = [_listed(folder, name, current) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda each: (each.created_at, each.digest))


def find_reference(storage: Path, beginning: str) -> str:
    """Return the digest of the only reference whose digest begins so.

    Raises:
        InputError: There is none, or more than one, or the beginning is empty.
    """
    if not beginning.strip():
        raise InputError(
            f"{beginning!r}: a digest is missing; give one, or its beginning; "
            "`lenswatch references` lists them"
        )
    digests = [each.digest for each in list_references(storage)]
    matching = [digest for digest in digests if digest.startswith(beginning)]
    if len(matching) == 1:
        return matching[0]
    number = "more than one reference begins so" if matching else "there is no such reference"
    known = ", ".join(matching or digests) or "none"
    raise InputError(f"{beginning!r}: {number}; `lenswatch references` lists them: {known}")


def _listed(folder: Path, digest: str, current: str | None) -> Listed:
    try:
        manifest = json.loads((folder / digest / "manifest.json").read_text(encoding="utf-8"))
        created_at, pictures = str(manifest.get("created_at", "")), manifest.get("pictures") or ()
        return Listed(digest, created_at, len(pictures) or None, digest == current, readable=True)
    except (OSError, ValueError, AttributeError, TypeError):
        return Listed(digest, "", None, digest == current, readable=False)
