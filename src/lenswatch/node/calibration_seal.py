"""The contents of a calibration file and their digest, importable without numpy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenswatch.errors import ArtefactError

__all__ = ["FORMAT", "check_made_for", "digest_of", "read_sealed", "sealed"]

FORMAT = 3
AGAIN = "run `lenswatch calibrate` for this stream"


def sealed(document: Mapping[str, Any]) -> bytes:
    """Return a file that `read_sealed` reads: the document with its digest."""
    text = json.dumps({**document, "sha256": digest_of(document)}, indent=1, allow_nan=False)
    return text.encode()


def digest_of(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document, whatever the order of its keys."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_sealed(file: Path) -> dict[str, Any]:
    """Return the contents of a calibration file whose digest is right.

    Raises:
        ArtefactError: They are not what was written.
        FileNotFoundError: There is no such file.
    """
    try:
        document: dict[str, Any] = json.loads(_bytes(file))
        claimed = document.pop("sha256")
        whole = claimed == digest_of(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtefactError(f"{file}: truncated, or not a calibration; {AGAIN}") from None
    if not whole:
        raise ArtefactError(f"{file}: its contents do not match its digest; {AGAIN}")
    return document


def check_made_for(digest: str, document: Mapping[str, Any], file: Path) -> None:
    """Raise ArtefactError unless a calibration has this format and belongs to the reference `digest`."""
    if document["format"] != FORMAT:
        raise ArtefactError(
            f"{file}: calibration format {document['format']!r}, expected {FORMAT}; calibrate again"
        )
    if document["digest"] != digest:
        raise ArtefactError(
            f"{file}: made for reference {document['digest']}, not {digest}; calibrate again"
        )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArtefactError(
            f"{file}: cannot be read: {error.strerror}; make it readable, or {AGAIN}"
        ) from None
