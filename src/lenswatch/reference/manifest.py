"""The files of a reference that are checked by their digests, importable without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenswatch.errors import ArtefactError

__all__ = [
    "BANDWIDTH",
    "EMBEDDINGS",
    "MANIFEST",
    "TRANSFORM",
    "WEIGHTS",
    "digest_of",
    "file_digest",
    "read_json",
    "verified_manifest",
]

WEIGHTS, EMBEDDINGS = "autoencoder.pth", "clean_embeddings.pth"
TRANSFORM, BANDWIDTH, MANIFEST = "transform.json", "bandwidth.json", "manifest.json"
COVERED = (WEIGHTS, EMBEDDINGS, TRANSFORM, BANDWIDTH)
DIGEST_LENGTH = 16  # hexadecimal digits of a SHA-256


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ArtefactError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read: {error.strerror}; train again") from None


def digest_of(files: Mapping[str, str]) -> str:
    """Return the digest of a reference whose files have these digests, by name."""
    text = "".join(f"{name} {files[name]}\n" for name in COVERED)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def verified_manifest(folder: Path, digest: str) -> dict[str, Any]:
    """Return the manifest of a reference whose files are those that were saved.

    Args:
        folder: The reference's folder.
        digest: The digest that its files must have together.

    Raises:
        ArtefactError: A file is missing, cut off or not the one that was saved.
    """
    manifest = read_json(folder / MANIFEST)
    stated = manifest.get("files")
    if not isinstance(stated, dict):
        raise ArtefactError(f"{folder / MANIFEST}: lists no files; train again")
    files = {name: file_digest(folder / name) for name in {*COVERED, *stated}}
    for name, found in files.items():
        if found != stated.get(name):
            raise ArtefactError(
                f"{folder / name}: is not the file that was saved (SHA-256 {found[:12]}…, the manifest "
                f"says {str(stated.get(name))[:12]}…); restore it or train again"
            )
    if digest_of(files) != digest:
        raise ArtefactError(f"{folder}: its files have the digest {digest_of(files)}; train again")
    return manifest


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a reference.

    Raises:
        ArtefactError: It cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(f"{path}: cannot be read: {error.strerror}; train again") from None
    except ValueError as error:
        raise ArtefactError(f"{path}: is damaged: {error}; restore it or train again") from None
    if not isinstance(document, dict):
        raise ArtefactError(f"{path}: is damaged: no JSON object; restore it or train again")
    return document
