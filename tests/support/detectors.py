"""Detectors for the tests of `lenswatch evaluate`, which other processes import from here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.errors import InputError

Images = Sequence[NDArray[Any]]


class Brightness:
    """Drift when an image's mean is 20 over that of the clean ones."""

    threshold = 20.0

    def __init__(self, clean: Images) -> None:
        self.clean = float(np.mean([image.mean() for image in clean]))
        self.seen: list[float] = []

    def update(self, image: NDArray[Any]) -> tuple[float, bool, bool]:
        self.seen.append(float(image.mean()) - self.clean)
        score = max(self.seen[-3:])
        return score, score > 10, score > self.threshold

    def reset(self) -> None:
        self.seen = []


def brightness(clean: Images, ert: float, seed: int) -> Brightness:
    return Brightness(clean)


def contrast(clean: Images, ert: float, seed: int) -> Brightness:
    detector = Brightness([image.max() - image for image in clean])
    detector.threshold = 5.0
    return detector


def broken(clean: Images, ert: float, seed: int) -> Brightness:
    raise InputError("these images will not do")


def encoded(clean: Any, ert: Any, seed: int, encoder: Any = None) -> Brightness:
    """A detector that requires the shared encoder."""
    np.testing.assert_allclose(encoder(clean[3]), encoder.embeddings[3], atol=1e-5)
    return Brightness(clean)
