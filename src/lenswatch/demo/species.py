"""The fish of the reef: size, outline, colours and markings of each kind.

Lengths are parts of the whole fish, from nose 0 to tail tip 1; heights are measured from its
middle line. In markings, `s` is the place along the fish and `q` runs from -1 (belly) to 1 (back).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lenswatch.demo.noise import Array, smoothstep

__all__ = ["SPECIES", "STATIONS", "Colour", "Species"]

Colour: TypeAlias = tuple[float, float, float]
Outline: TypeAlias = tuple[tuple[float, float], ...]
Markings: TypeAlias = Callable[[Array, Array, Array], Array]

STATIONS = (0.0, 0.05, 0.12, 0.25, 0.40, 0.55, 0.70, 0.79, 0.84)
"""Where along the fish the heights of `back` and `belly` are given."""


@dataclass(frozen=True)
class Species:
    """One kind of fish."""

    metres: float
    back: tuple[float, ...]
    belly: tuple[float, ...]
    base: float
    """Where the body ends and the tail fin begins."""
    colours: tuple[Colour, Colour, Colour]
    """Back, flank and belly."""
    markings: Markings
    dorsal: Outline
    anal: Outline
    tail: Outline
    fin: Colour
    eye: tuple[float, float, float]
    """Place along the length, height above the middle line, radius."""


def _bands(centres: tuple[float, ...], width: float, dark: float) -> Markings:
    """Dark upright bands, like a two-banded bream's."""

    def paint(s: Array, q: Array, rgb: Array) -> Array:
        band = np.zeros_like(s)
        for centre in centres:
            band = np.maximum(band, np.exp(-(((s - centre - 0.012 * q * q) / width) ** 4)))
        return np.asarray(rgb * (1.0 - dark * band)[..., None])

    return paint


def _stripes(count: float, colour: Colour, strength: float) -> Markings:
    """Stripes along the body, like a salema's."""

    def paint(s: Array, q: Array, rgb: Array) -> Array:
        wave = 0.5 + 0.5 * np.cos(np.pi * count * (q + 0.04 * np.sin(9.0 * s)))
        stripe = strength * smoothstep(0.55, 0.95, wave)
        stripe = (stripe * smoothstep(0.2, 0.28, s) * (np.abs(q) < 0.85))[..., None]
        return np.asarray(rgb * (1.0 - stripe) + np.array(colour, np.float32) * stripe)

    return paint


def _sideline(low: float, high: float, colour: Colour, ragged: float) -> Markings:
    """One broad stripe, its lower edge ragged like a rainbow wrasse's."""

    def paint(s: Array, q: Array, rgb: Array) -> Array:
        edge = ragged * np.sin(58.0 * s) * (s < 0.7)
        line = smoothstep(low - 0.06, low + 0.06, q + edge) * (1 - smoothstep(high, high + 0.12, q))
        line = (line * smoothstep(0.03, 0.1, s))[..., None]
        return np.asarray(rgb * (1.0 - line) + np.array(colour, np.float32) * line)

    return paint


SPECIES = {
    "bream": Species(
        metres=0.30,
        back=(0.012, 0.066, 0.12, 0.182, 0.194, 0.155, 0.078, 0.034, 0.034),
        belly=(0.010, 0.046, 0.085, 0.14, 0.165, 0.135, 0.066, 0.034, 0.034),
        base=0.84,
        colours=((0.42, 0.45, 0.42), (0.80, 0.82, 0.80), (0.93, 0.94, 0.93)),
        markings=_bands((0.235, 0.735), 0.035, 0.88),
        dorsal=((0.27, 0), (0.31, 0.05), (0.42, 0.052), (0.56, 0.048), (0.68, 0.04), (0.725, 0)),
        anal=((0.53, 0.0), (0.56, 0.055), (0.65, 0.045), (0.72, 0.0)),
        tail=((0.81, 0.03), (0.90, 0.095), (1.0, 0.165), (0.955, 0.07), (0.925, 0.0)),
        fin=(0.36, 0.37, 0.34),
        eye=(0.105, 0.045, 0.022),
    ),
    "salema": Species(
        metres=0.32,
        back=(0.012, 0.052, 0.086, 0.124, 0.137, 0.112, 0.060, 0.030, 0.028),
        belly=(0.010, 0.042, 0.071, 0.108, 0.123, 0.10, 0.055, 0.030, 0.028),
        base=0.84,
        colours=((0.36, 0.42, 0.40), (0.72, 0.76, 0.72), (0.90, 0.92, 0.90)),
        markings=_stripes(9.0, (0.88, 0.66, 0.18), 0.8),
        dorsal=((0.25, 0.0), (0.30, 0.05), (0.45, 0.052), (0.62, 0.034), (0.72, 0.0)),
        anal=((0.53, 0.0), (0.57, 0.038), (0.66, 0.03), (0.72, 0.0)),
        tail=((0.81, 0.026), (0.90, 0.075), (1.0, 0.13), (0.95, 0.05), (0.93, 0.0)),
        fin=(0.45, 0.46, 0.36),
        eye=(0.085, 0.028, 0.020),
    ),
    "damselfish": Species(
        metres=0.12,
        back=(0.014, 0.064, 0.107, 0.155, 0.168, 0.12, 0.045, 0.042, 0.042),
        belly=(0.012, 0.050, 0.090, 0.142, 0.155, 0.112, 0.045, 0.042, 0.042),
        base=0.76,
        colours=((0.16, 0.13, 0.12), (0.27, 0.21, 0.17), (0.36, 0.30, 0.24)),
        markings=_stripes(8.0, (0.11, 0.09, 0.09), 0.4),
        dorsal=((0.24, 0.0), (0.30, 0.05), (0.46, 0.08), (0.56, 0.085), (0.62, 0.0)),
        anal=((0.42, 0.0), (0.50, 0.085), (0.56, 0.07), (0.61, 0.0)),
        tail=((0.73, 0.038), (0.85, 0.13), (1.0, 0.20), (0.92, 0.08), (0.83, 0.0)),
        fin=(0.14, 0.12, 0.12),
        eye=(0.10, 0.045, 0.026),
    ),
    "wrasse": Species(
        metres=0.20,
        back=(0.008, 0.029, 0.048, 0.068, 0.078, 0.072, 0.052, 0.038, 0.038),
        belly=(0.008, 0.027, 0.044, 0.062, 0.070, 0.065, 0.048, 0.038, 0.038),
        base=0.86,
        colours=((0.20, 0.34, 0.24), (0.55, 0.62, 0.46), (0.88, 0.88, 0.80)),
        markings=_sideline(-0.15, 0.32, (0.93, 0.48, 0.12), 0.10),
        dorsal=((0.22, 0), (0.26, 0.045), (0.32, 0.032), (0.6, 0.036), (0.76, 0.034), (0.80, 0)),
        anal=((0.48, 0.0), (0.52, 0.03), (0.74, 0.028), (0.79, 0.0)),
        tail=((0.83, 0.036), (0.93, 0.062), (0.985, 0.06), (1.0, 0.03), (1.0, 0.0)),
        fin=(0.62, 0.45, 0.24),
        eye=(0.085, 0.012, 0.015),
    ),
    "amberjack": Species(
        metres=0.85,
        back=(0.012, 0.041, 0.073, 0.108, 0.117, 0.092, 0.045, 0.016, 0.014),
        belly=(0.010, 0.040, 0.070, 0.099, 0.107, 0.085, 0.041, 0.016, 0.014),
        base=0.85,
        colours=((0.27, 0.36, 0.42), (0.70, 0.74, 0.75), (0.93, 0.94, 0.93)),
        markings=_sideline(0.08, 0.17, (0.80, 0.68, 0.30), 0.02),
        dorsal=((0.38, 0), (0.43, 0.072), (0.47, 0.046), (0.6, 0.028), (0.76, 0.018), (0.78, 0)),
        anal=((0.54, 0.0), (0.58, 0.055), (0.62, 0.03), (0.76, 0.015), (0.78, 0.0)),
        tail=((0.82, 0.013), (0.90, 0.085), (1.0, 0.165), (0.935, 0.055), (0.90, 0.0)),
        fin=(0.34, 0.38, 0.36),
        eye=(0.085, 0.022, 0.014),
    ),
}
