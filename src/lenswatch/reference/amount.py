"""Number of clean pictures that training needs, importable without torch."""

from __future__ import annotations

from lenswatch.config import Config
from lenswatch.detect.chart.fitting import FEWEST

__all__ = ["fewest_pictures"]


def fewest_pictures(config: Config) -> int:
    """Return the fewest clean pictures to train on.

    Where the distance alone decides, that is a window in each half, and one between them.
    """
    return 3 * config.detector.window_size + 4 if config.alarm.verdict == "mmd" else FEWEST
