"""The clean pictures that a reference is trained on."""

from __future__ import annotations

from pathlib import Path

from lenswatch.config import Config
from lenswatch.errors import ConfigError
from lenswatch.reference.paths import COLLECTED
from lenswatch.reference.training import find_pictures

__all__ = ["find_clean"]


def find_clean(config: Config) -> list[Path]:
    """Return the pictures that `camera_state.clean` names, else all that were collected.

    Raises:
        ConfigError: There are neither.
    """
    try:
        return find_pictures(config.image_folder, config.camera_state.clean)
    except ConfigError:
        if not any((config.image_folder / COLLECTED).glob("*/*")):
            raise
    found = find_pictures(config.image_folder, [f"{COLLECTED}/*/*"])
    return sorted(
        found, key=lambda path: path.name
    )  # the names of collected pictures begin with the time
