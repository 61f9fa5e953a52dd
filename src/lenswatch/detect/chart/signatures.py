"""Signatures of faults: the change of the lens chart's channels that each fault brings.

A fault multiplies a cell's structure, or adds noise, light or colour to it. The change of each channel
follows from that and the cell's clean values. A change is named after the signature with the most similar
direction, not after the channel that changes most: less light, a veil and a blur all reduce contrast and
sharpness, but in different proportions to each other and to light and colour.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lenswatch.detect.arrays import Floats

__all__ = ["signatures"]

Signature = tuple[str, Floats]

_FOG = 200.0  # luma
_DIM = 0.6  # of the scene's own luma: a veil in the shade
_DENSE = 0.7  # share of the contrast that dense fog takes, which has a structure of its own
_CLOUDS = (2.0, 6.0)  # standard deviations of that, in grey levels
_SLIGHT, _STRONG = 0.12, 0.4  # shares of light or contrast that are lost
_BLURS = (0.3, 0.6, 0.85)  # of the fine structure
# Shares of Laplacian, gradient and contrast that a blur removes, relative to _BLURS: from one that is hardly
# visible, over an unsharp lens, to one that smears objects into each other.
_KERNELS = ((0.3, 0.1, 0.05), (1.0, 0.5, 0.2), (0.8, 0.7, 0.5))
_PIXELS = (
    (0.7, 1.25, 0.95),
    (0.8, 1.05, 0.82),
)  # shares of noise, Laplacian and gradient left by larger ones
_NOISES = (3.0, 10.0, 25.0)  # standard deviations, in grey levels
_CAST = 6.0  # levels of Cb and Cr


def signatures(median: Floats) -> Iterator[Signature]:
    """Yield (name, change) of faults: the change, (7, 8, 10), of the channels of a clean scene.

    Args:
        median: (7, 8, 10), clean channels: luma, log contrast, log sharpness, log noise, Cb and Cr about
            0, blur ratio.
    """
    luma, blue, red = median[0], median[4], median[5]
    for share in (_SLIGHT, _STRONG):
        less = _scaled(median, 1 - share)
        faded = {"blue": -share * blue, "red": -share * red}
        yield "darker", _change(less, -share * luma, **faded)
        yield "darker", _change(_same(median), -80 * share)
        more = _scaled(median, 1 + share)
        yield "brighter", _change(more, share * luma, blue=share * blue, red=share * red)
        yield "brighter", _change(_same(median), 100 * share)
        yield "brighter", _change(less, 100 * share)
        raised = 100 * share / np.maximum(luma, 20)
        yield (
            "brighter",
            _change(_same(median), 100 * share, blue=raised * blue, red=raised * red),
        )
        for veil in (float(luma.mean()), _FOG):
            yield "less contrast", _change(less, share * (veil - luma), **faded)
    share = _DENSE
    faded = {"blue": -share * blue, "red": -share * red}
    for clouds in _CLOUDS:
        cloudy = _scaled(median, 1 - share, clouds)
        for veil in (_DIM * float(luma.mean()), float(luma.mean()), _FOG):
            yield "less contrast", _change(cloudy, share * (veil - luma), **faded)
    for share in _BLURS:
        for kernel in _KERNELS:
            laplacian, gradient, contrast = (1 - k * share for k in kernel)
            blurred = _structure(median, laplacian, gradient, contrast, 1 - share)
            yield "blurred", _change(blurred)
        coarse = _structure(
            median, 1 - 0.5 * share, 1 - 0.3 * share, 1 - 0.1 * share, max(1 - 1.5 * share, 0.0)
        )
        yield "blurred", _change(coarse)  # large pixels: the fine noise goes first
    for noise, laplacian, gradient in _PIXELS:
        yield "blurred", _change(_structure(median, laplacian, gradient, 0.93, noise))
    for deviation in _NOISES:
        yield "noisier", _change(_structure(median, added=deviation))
    for one, other in ((1, 0), (0, 1), (1, 1), (1, -1)):
        for sign in (-_CAST, _CAST):
            yield "colour cast", _change(_same(median), blue=sign * one, red=sign * other)


def _structure(
    median: Floats,
    laplacian: float = 1.0,
    gradient: float = 1.0,
    contrast: float = 1.0,
    noise: float = 1.0,
    added: float = 0.0,
) -> Floats:
    """Return changes, (4, 8, 10), of contrast, sharpness, noise and blur ratio.

    Laplacian, gradient, contrast and noise are multiplied by the factors. White noise of standard deviation
    `added` is added: its Laplacian has 20 times its variance, its gradient about its own.
    """
    _, spread, sharp, rough, _, _, blur = median
    kept = (
        np.hypot(contrast * (np.exp(spread) - 1), added),
        np.hypot(laplacian * (np.exp(sharp) - 0.5), np.sqrt(20) * added),
        np.hypot(noise * (np.exp(rough) - 0.5), added),
        np.hypot(gradient * (np.exp(sharp - blur) - 0.5), added),
    )
    logs = [np.log(k + offset) for k, offset in zip(kept, (1, 0.5, 0.5, 0.5), strict=True)]
    ratio = logs[1] - logs[3]
    return np.stack([logs[0] - spread, logs[1] - sharp, logs[2] - rough, ratio - blur])


def _scaled(median: Floats, factor: float, added: float = 0.0) -> Floats:
    return _structure(median, factor, factor, factor, factor, added)


def _same(median: Floats) -> Floats:
    return np.zeros((4, *median.shape[1:]))


def _change(
    structure: Floats,
    luma: Floats | float = 0.0,
    blue: Floats | float = 0.0,
    red: Floats | float = 0.0,
) -> Floats:
    """Return the changes of all seven channels in their order."""
    plain = np.zeros(structure.shape[1:])
    spread, sharp, rough, ratio = structure
    return np.stack([plain + luma, spread, sharp, rough, plain + blue, plain + red, ratio])
