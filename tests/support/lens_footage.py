"""A small camera for the tests: a textured scene, passers-by, and sensor noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.chart.features import measure, view

SHAPE = (128, 160)


def scene(seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(60, 190, (8, 10)), np.ones((16, 16)))
    fine = np.kron(rng.uniform(-25, 25, (64, 80)), np.ones((2, 2)))
    grey = np.clip(coarse + fine, 0, 255)
    stacked: NDArray[np.float64] = np.stack([grey, grey * 0.95, grey * 0.85], axis=-1)
    return stacked


def blocks() -> Any:
    """Return a picture with edges of every size, as real scenes have."""
    rng = np.random.default_rng(4)
    sizes = ((4, 5), (8, 10), (16, 20), (32, 40))
    layers = [np.kron(rng.uniform(0, 60, s), np.ones((128 // s[0], 160 // s[1]))) for s in sizes]
    return np.repeat(np.sum(layers, axis=0)[..., None], 3, axis=2).astype(np.uint8)


def frames(count: Any, seed: int = 0, light: float = 0.0) -> Any:
    """Return pictures in time order; `light` is the relative change of light over all of them."""
    rng = np.random.default_rng([seed, 1])
    back, found = scene(), []
    for i in range(count):
        picture = back * (1 + light * i / max(count - 1, 1))
        for k in range(3):
            row = int(20 + 30 * k + 5 * np.sin(i / 7 + k))
            column = int((i * (1.5 + k) + 50 * k) % SHAPE[1])
            picture[row : row + 12, column : column + 6] = (40 + 60 * k, 80, 60)
        noisy = picture + rng.normal(0, 2, picture.shape)
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
    return found


def run(fit: Any, pictures: Any, state: Any = None) -> tuple[Any, ...]:
    """Return the state and the scores after pictures."""
    state, scores = state or fit.chart.start(), []
    for picture in pictures:
        state = fit.chart.update(state, measure(view(picture)))
        scores.append(fit.chart.score(state))
    return state, scores
