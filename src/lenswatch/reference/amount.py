"""Number of clean pictures that training needs, importable without torch."""

from __future__ import annotations

from lenswatch.config import Config
from lenswatch.detect.chart.fitting import FEWEST
from lenswatch.errors import InputError

__all__ = ["check_amount", "fewest_for_distance", "fewest_pictures"]


def fewest_pictures(config: Config) -> int:
    """Return the fewest clean pictures to train on or to calibrate from."""
    return fewest_for_distance(config) if config.alarm.verdict == "mmd" else FEWEST


def fewest_for_distance(config: Config) -> int:
    """Return the fewest for thresholds of the distance: a window in each half, and one between them."""
    return 3 * config.detector.window_size + 4


def check_amount(count: int, fewest: int) -> None:
    """Refuse too few clean pictures.

    Raises:
        InputError: There are fewer than `fewest`.
    """
    if count < fewest:
        pictures = "picture is" if count == 1 else "pictures are"
        raise InputError(
            f"{count} clean {pictures} too few to learn from; give {fewest} or more "
            "(pictures spread over some days are better)"
        )
