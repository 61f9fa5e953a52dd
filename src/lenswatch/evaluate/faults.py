"""Faults of a camera that are named rather than measured: moved, covered, overgrown, damaged or dirty.

They are made like the corruptions (`evaluate.corruptions`) and have the same severities, but they are not
among those of the protocol: they show whether a fault gets the right name. `FAULTS` also says which causes
count as right for a fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.evaluate.corruptions import CORRUPTIONS, Corruption, Maker, corruption, to_bytes
from lenswatch.evaluate.fouling import FAULTS as FOULING

__all__ = ["FAULTS", "Fault", "fault"]

_MOVED = frozenset({"camera moved"})
_COVERED = frozenset({"covered", "partly covered"})
_BARS = (0.06, 0.09, 0.125, 0.17, 0.22)  # share of the picture that each of the two bars takes


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        make: Returns the fault of one camera from a random generator.
        causes: Names that are right as the first cause.
        freezes: True if the pictures stay the same from then on.
    """

    make: Maker
    causes: frozenset[str]
    freezes: bool = False


def fault(name: str, seed: int = 0) -> Corruption:
    """Return a fault of one camera: `spoil(image, severity) -> image`, for severities above 0 to 5.

    >>> spoil = fault("mirrored")
    >>> spoil(np.arange(6, dtype=np.uint8).reshape(1, 2, 3), 1).tolist()
    [[[3, 4, 5], [0, 1, 2]]]

    Args:
        name: One of `FAULTS`.
        seed: Seed of what stays the same from picture to picture.

    Raises:
        InputError: the name is unknown; or, from `spoil`, the severity is not from 0 to 5.
    """
    return corruption(name, seed, {known: each.make for known, each in FAULTS.items()})


def _at(severity: float, *levels: float) -> float:
    return float(np.interp(severity, range(1, len(levels) + 1), levels))


def _warped(image: Pixels, matrix: tuple[float, ...], mirrored: bool) -> Pixels:
    """Sample a picture at an affine map about its middle; what lies outside is mirrored, or black."""
    height, width = image.shape[:2]
    margin = max(height, width) // 2 if mirrored else 0
    rows, columns = (margin, margin), (margin, margin)
    padded = np.pad(image, (rows, columns, (0, 0)), mode="symmetric")
    a, b, c, d, e, f = matrix
    x, y = width / 2, height / 2
    moved = (a, b, x + margin + c - a * x - b * y, d, e, y + margin + f - d * x - e * y)
    picture = Image.fromarray(padded)
    bilinear = Image.Resampling.BILINEAR
    return np.asarray(
        picture.transform((width, height), Image.Transform.AFFINE, moved, resample=bilinear)
    )


def _rotated(rng: np.random.Generator) -> Corruption:
    sign, mirrored = rng.choice((-1, 1)), bool(rng.integers(2))

    def spoil(image: Pixels, severity: float) -> Pixels:
        angle = sign * np.deg2rad(_at(severity, 2, 3.5, 5, 8, 12))
        c, s = float(np.cos(angle)), float(np.sin(angle))
        return _warped(image, (c, -s, 0, s, c, 0), mirrored)

    return spoil


def _zoomed(rng: np.random.Generator) -> Corruption:
    away = rng.uniform(-0.1, 0.1, 2)

    def spoil(image: Pixels, severity: float) -> Pixels:
        scale = 1 / _at(severity, 1.05, 1.1, 1.18, 1.3, 1.5)
        reach = (1 - scale) / 2
        down, right = np.clip(away, -reach, reach) * image.shape[:2]
        return _warped(image, (scale, 0, right, 0, scale, down), mirrored=True)

    return spoil


def _displaced(*levels: float) -> Maker:
    """Return a fault that displaces the picture by shares of its width."""

    def make(rng: np.random.Generator) -> Corruption:
        angle, mirrored = rng.uniform(0, 2 * np.pi), bool(rng.integers(2))

        def spoil(image: Pixels, severity: float) -> Pixels:
            far = _at(severity, *levels) * image.shape[1]
            right, down = far * np.cos(angle), far * np.sin(angle)
            return _warped(image, (1, 0, right, 0, 1, down), mirrored)

        return spoil

    return make


def _mirrored(_: np.random.Generator) -> Corruption:
    return lambda image, _: np.ascontiguousarray(image[:, ::-1])


def _upside_down(_: np.random.Generator) -> Corruption:
    return lambda image, _: np.ascontiguousarray(image[::-1, ::-1])


def _pillar_boxes(rng: np.random.Generator) -> Corruption:
    squeezed = bool(rng.integers(2))

    def spoil(image: Pixels, severity: float) -> Pixels:
        height, width = image.shape[:2]
        bar = round(_at(severity, *_BARS) * width)
        boxed = np.zeros_like(image)
        if squeezed:
            inner = Image.fromarray(image).resize((width - 2 * bar, height))
            boxed[:, bar : width - bar] = np.asarray(inner)
        else:
            boxed[:, bar : width - bar] = image[:, bar : width - bar]
        return boxed

    return spoil


def _hand(rng: np.random.Generator) -> Corruption:
    """Return an unsharp hand that reaches in from a side, close to the lens; it trembles a little."""
    seed, skin = int(rng.integers(2**32)), rng.uniform((90, 60, 45), (190, 140, 120))
    turn, tremble = int(rng.integers(4)), np.random.default_rng(int(rng.integers(2**32)))

    def spoil(image: Pixels, severity: float) -> Pixels:
        height, width = image.shape[:2]
        size = _at(severity, 0.45, 0.6, 0.75, 0.9, 1.1)
        mask = _fingers(np.random.default_rng(seed), size, tremble.normal(0, 0.01, 2), turn)
        picture = Image.fromarray((255 * mask).astype(np.uint8)).resize((width, height))
        soft = picture.filter(ImageFilter.GaussianBlur(0.012 * height))
        opaque = np.asarray(soft, np.float32)[..., None] / 255
        shade = np.linspace(0.75, 1.15, width, dtype=np.float32)[None, :, None]
        colour = skin.astype(np.float32) * shade * (0.8 + 0.2 * opaque)
        return to_bytes(image * (1 - opaque) + colour * opaque)

    return spoil


def _fingers(
    rng: np.random.Generator, size: float, tremble: NDArray[np.float64], turn: int
) -> Floats32:
    """Return a hand, (200, 200), 0 to 1: a palm at the lower edge, and four fingers."""
    y, x = np.mgrid[0:1:200j, 0:1:200j].astype(np.float32)
    middle = rng.uniform(0.4, 0.6) + tremble[0]
    top = 1 - 0.55 * size + tremble[1]
    mask = np.hypot((x - middle) / (0.42 * size), (y - 1) / (0.6 * size)) < 1
    for k in range(4):
        lean, length = 0.25 * (k - 1.5) + rng.uniform(-0.05, 0.05), rng.uniform(0.8, 1)
        along = np.clip(1 - y, 0, (1 - top) * (0.8 + 0.75 * length))
        centre = middle + size * 0.17 * (k - 1.5) + lean * along
        mask |= (np.abs(x - centre) < 0.075 * size) & (1 - y < (1 - top) * (0.8 + 0.75 * length))
    return np.rot90(mask, turn).astype(np.float32)


def _algae(rng: np.random.Generator) -> Corruption:
    """Return growth: green and brown patches that are dense but let some of the scene through."""
    seed = int(rng.integers(2**32))
    tint = rng.uniform((45, 75, 25), (85, 115, 50)).astype(np.float32)

    def spoil(image: Pixels, severity: float) -> Pixels:
        own = np.random.default_rng(seed)
        height, width = image.shape[:2]
        grains = [
            np.asarray(
                Image.fromarray(own.random((n, n)).astype(np.float32)).resize(
                    (width, height), Image.Resampling.BICUBIC
                )
            )
            for n in (5, 11, 40)
        ]
        growth = 0.5 * grains[0] + 0.35 * grains[1] + 0.15 * grains[2]
        share = _at(severity, 0.15, 0.35, 0.55, 0.75, 0.95)
        edge = float(np.quantile(growth, 1 - share))
        opaque = np.clip((growth - edge) / 0.08 + 0.5, 0, 1)[..., None] * np.float32(0.85)
        colour = tint * (0.7 + 0.6 * grains[2][..., None])
        return to_bytes(image * (1 - opaque) + colour * opaque)

    return spoil


def _damaged(rng: np.random.Generator) -> Corruption:
    """Return what is left of a broken transmission: below a line, grey, smeared or displaced blocks."""
    kind, line = int(rng.integers(3)), rng.uniform(0.35, 0.6)
    offset, cast = rng.uniform(0.2, 0.7), rng.uniform(-50, 50, 3)

    def spoil(image: Pixels, severity: float) -> Pixels:
        height, width = image.shape[:2]
        row = round((line + 0.1 * (1 - severity / 3)) * height) // 16 * 16
        broken = image.copy()
        if kind == 0:
            broken[row:] = 128
        elif kind == 1:
            broken[row:] = image[row - 1]
        else:
            below = np.roll(image[row:], round(offset * width), axis=1)
            broken[row:] = to_bytes(below.astype(np.float32) + cast.astype(np.float32))
        return broken

    return spoil


def _frozen(_: np.random.Generator) -> Corruption:
    return lambda image, _: image


def _darker(_: np.random.Generator) -> Corruption:
    return lambda image, severity: to_bytes(
        image * np.float32(_at(severity, 0.8, 0.65, 0.5, 0.35, 0.2))
    )


def _colour_cast(rng: np.random.Generator) -> Corruption:
    sign = rng.choice((-1, 1))

    def spoil(image: Pixels, severity: float) -> Pixels:
        more = sign * _at(severity, 0.08, 0.14, 0.2, 0.28, 0.36)
        return to_bytes(image * np.array([1 + more, 1, 1 - more], np.float32))

    return spoil


def _plain(name: str, *causes: str) -> Fault:
    return Fault(CORRUPTIONS[name], frozenset(causes))


FAULTS: dict[str, Fault] = {
    "rotated": Fault(_rotated, _MOVED),
    "zoomed": Fault(_zoomed, _MOVED),
    "mirrored": Fault(_mirrored, _MOVED),
    "upside down": Fault(_upside_down, _MOVED),
    "nudged": Fault(_displaced(0.015, 0.02, 0.02, 0.03, 0.04), _MOVED),
    "shifted": Fault(_displaced(0.05, 0.08, 0.12, 0.18, 0.25), _MOVED),
    "pillar boxes": Fault(_pillar_boxes, _MOVED),
    "hand": Fault(_hand, _COVERED),
    "algae": Fault(_algae, _COVERED),
    "damaged": Fault(_damaged, frozenset({"damaged"})),
    "frozen": Fault(_frozen, frozenset({"frozen"}), freezes=True),
    "film": Fault(
        FOULING["film"], frozenset({"less contrast", "partly covered", "covered", "colour cast"})
    ),
    "drops": Fault(FOULING["drops"], _COVERED | {"blurred"}),
    "darker": Fault(_darker, frozenset({"darker"})),
    "colour cast": Fault(_colour_cast, frozenset({"colour cast"})),
    "smudge": _plain("smudge", "partly covered", "covered"),
    "gaussian noise": _plain("gaussian noise", "noisier"),
    "motion blur": _plain("motion blur", "blurred"),
    "defocus": _plain("defocus", "blurred"),
    "pixelate": _plain("pixelate", "blurred"),
    "brightness": _plain("brightness", "brighter", "burnt out"),  # as a bright scene becomes
    "fog": _plain("fog", "less contrast", "brighter"),
}
