"""Where things lie in the storage folder, for the parts that need no more than that."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "calibration_folder",
    "current_digest",
    "model_version",
    "node_database",
    "reference_folder",
]


def reference_folder(storage: Path) -> Path:
    """One folder for each reference, named by its digest, and the file `current`."""
    return storage / "reference"


def calibration_folder(storage: Path) -> Path:
    """One folder for each reference, one file in it for each stream."""
    return storage / "calibration"


def node_database(storage: Path) -> Path:
    """Windows, answers and outbox."""
    return storage / "node.db"


def current_digest(storage: Path) -> str | None:
    """The digest of the reference in use, or None when nothing was trained yet."""
    try:
        return (reference_folder(storage) / "current").read_text().strip() or None
    except FileNotFoundError:
        return None


def model_version(digest: str | None) -> str:
    """What drift jobs carry as their model."""
    return f"lenswatch@{digest or 'none'}"
