"""Number of clean pictures that training needs, importable without torch."""

from __future__ import annotations

__all__ = ["fewest_pictures"]


def fewest_pictures(window_size: int) -> int:
    """Return the fewest clean pictures to train on: a window in each half, and one between them."""
    return 3 * window_size + 4
