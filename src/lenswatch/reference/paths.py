"""Paths in the storage folder, importable without torch."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "COLLECTED",
    "CURRENT",
    "SHADOW",
    "calibration_folder",
    "current_digest",
    "kept_folder",
    "model_version",
    "node_database",
    "reference_folder",
]

_DAMAGED = "damaged"
CURRENT, SHADOW = "current", "shadow"  # files that name the reference in use, and the one in shadow
COLLECTED = "collected"  # folder below that of all pictures, with a folder for each stream


def reference_folder(storage: Path) -> Path:
    """Return the folder of references: a folder for each, by digest, and the file `current`."""
    return storage / "reference"


def calibration_folder(storage: Path) -> Path:
    """Return the folder of calibrations: a folder for each reference, a file for each stream."""
    return storage / "calibration"


def kept_folder(storage: Path) -> Path:
    """Return the folder of kept originals: a folder for each stream."""
    return storage / "images" / "kept"


def node_database(storage: Path) -> Path:
    """Return the path of the node's database: windows, answers and outbox."""
    return storage / "node.db"


def current_digest(storage: Path, pointer: str = CURRENT) -> str | None:
    """Return the digest of the reference in use, or in shadow (`SHADOW`), or None when there is none.

    When the file that names it is damaged, the name of a reference that does not exist is returned.
    """
    try:
        named = (reference_folder(storage) / pointer).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    return _DAMAGED if named and not named.isalnum() else named or None


def model_version(digest: str | None) -> str:
    """Return the model version of drift jobs."""
    return f"lenswatch@{digest or 'none'}"
