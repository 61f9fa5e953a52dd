"""A small detector: whatever differs from the median picture, in blocks that touch each other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

__all__ = ["Detector"]

SIZE = (192, 108)  # width and height at which it looks
BLOCK = 3  # pixels
THRESHOLD = 0.6  # standard deviations of the picture
LARGE = 12  # blocks
FILE = "fish_background.npy"


class Detector:
    """The detector.

    Args:
        background: (108, 192) float32, the normalised median picture.
    """

    def __init__(self, background: np.ndarray) -> None:
        self._background = background

    @classmethod
    def learn(cls, pictures: Iterable[Path]) -> Self:
        """Return a detector for the scene of some pictures."""
        return cls(np.median([_read(picture) for picture in pictures], axis=0).astype(np.float32))

    @classmethod
    def load(cls, storage: Path) -> Self:
        """Return the detector that `save` wrote."""
        return cls(np.load(storage / FILE))

    def save(self, storage: Path) -> None:
        """Write the detector into the storage folder."""
        np.save(storage / FILE, self._background)

    def detect(self, picture: Path) -> list[dict[str, Any]]:
        """Return class, score from 0 to 1 and box (left, top, right, bottom from 0 to 1) of each find."""
        difference = np.abs(_read(picture) - self._background)
        height, width = difference.shape
        blocks = difference.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3))
        found = []
        for cells in _touching(blocks > THRESHOLD):
            rows, columns = zip(*cells, strict=True)
            strength = float(np.mean([blocks[cell] for cell in cells]))
            box = (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
            scale = (blocks.shape[1], blocks.shape[0]) * 2
            found.append(
                {
                    "class": "large fish" if len(cells) >= LARGE else "small fish",
                    "score": round(strength / (strength + THRESHOLD), 3),
                    "box": [round(side / whole, 3) for side, whole in zip(box, scale, strict=True)],
                }
            )
        return found


def _read(picture: Path) -> np.ndarray:
    with Image.open(picture) as image:
        grey = np.asarray(image.convert("L").resize(SIZE), np.float32)
    return (grey - grey.mean()) / max(float(grey.std()), 1.0)


def _touching(marked: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the groups of two or more marked cells that touch."""
    left = {(int(row), int(column)) for row, column in np.argwhere(marked)}
    groups = []
    while left:
        group, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            group.append((row, column))
            around = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)}
            edge += around & left
            left -= around
        if len(group) > 1:
            groups.append(group)
    return groups
