"""The clean pictures that a reference is trained on."""

from __future__ import annotations

from lenswatch.config import Config
from lenswatch.errors import ConfigError
from lenswatch.reference.order import Ordered, find_in_order
from lenswatch.reference.paths import COLLECTED, kept_folder

__all__ = ["find_clean"]


def find_clean(config: Config) -> Ordered:
    """Return the pictures that `camera_state.clean` names, else all that were collected, in time order.

    Raises:
        ConfigError: There are neither.
    """
    zone, kept = config.camera.zone, kept_folder(config.storage_path)
    try:
        return find_in_order(config.image_folder, config.camera_state.clean, zone, but=kept)
    except ConfigError:
        if not any((config.image_folder / COLLECTED).glob("*/*")):
            raise
    return find_in_order(config.image_folder, [f"{COLLECTED}/*/*"], zone)
