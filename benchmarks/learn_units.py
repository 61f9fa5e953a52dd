"""Learn the units of the chart's parts anew: `python -m benchmarks.learn_units FOLDER ...`.

Each folder holds clean pictures of one fixed camera. Charts are fitted to the first half of each, and to a
few pictures of it, in a row and spread over it. How far the parts then move in the second half, in units of
their spreads, is averaged over the cameras. Nothing is corrupted: a unit says what to expect of clean footage
that is still to come.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenswatch.config import UploadConfig
from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.features import VIEW, Measured, measure_all
from lenswatch.detect.chart.fitting import fit_chart
from lenswatch.detect.chart.parts import AREA, LEVEL, PARTS, VEILED, WINDOW, parts
from lenswatch.detect.chart.prior import units
from lenswatch.reference.footage import read_pictures
from lenswatch.reference.training import find_pictures

GAP = 12  # pictures between the halves
WINDOWS = (1, 2, 3, 6, 12)
FEW = (10, 12, 20, 30, 45, 60)  # pictures
LEAST_MOVE = 0.5  # spreads: parts that hardly move in the footage at hand may move more elsewhere
# Factors of the units of areas: one that hides the scene is often an object, one that veils it is seldom.
_CAUTION = {LEVEL: 1.0, AREA: 1.5, VEILED: 0.85}
CAUTION = np.log([_CAUTION[kind] for kind, _ in PARTS])


def main(folders: list[str]) -> None:
    few, many = [], []
    for folder in folders:
        measured = _measured(Path(folder))
        half = (len(measured) - GAP) // 2
        clean, later = measured[:half], measured[len(measured) - half :]
        few.append(np.mean([_moves(some, later) for some in _small_sets(clean)], axis=0))
        many.append(_usual_move(clean, later, WINDOW, followed=True) + CAUTION)
        print(f"{folder}: {half} clean pictures")
    _show("few", few)
    _show("many", many)


def _measured(folder: Path) -> Measured:
    pictures = find_pictures(folder, ["*"], key="FOLDER")
    return measure_all(read_pictures(pictures, VIEW, UploadConfig()).pixels)


def _small_sets(clean: Measured) -> Iterator[Measured]:
    for n in FEW:
        spread = np.linspace(0, len(clean) - 1, n).round().astype(int)
        yield Measured(clean.cells[spread], clean.thumbs[spread])
        yield clean[:n]
        yield clean[len(clean) - n :]


def _moves(clean: Measured, later: Measured) -> NDArray[np.float64]:
    """Return the mean of `_usual_move` over windows that the clean pictures fill: (42,)."""
    fitting = [window for window in WINDOWS if window <= len(clean)]
    return np.asarray(np.mean([_usual_move(clean, later, w) for w in fitting], axis=0))


def _usual_move(
    clean: Measured, later: Measured, window: int, *, followed: bool = False
) -> NDArray[np.float64]:
    """Return the logarithm of each part's usual move in later footage, in spreads without units: (42,).

    Args:
        clean: Pictures that the chart is fitted to.
        later: Pictures of the same camera.
        window: Images of a full window.
        followed: Whether the centres follow.
    """
    chart = fit_chart(clean, ert=200, window=window).chart
    spread = chart.spread[-1] / units(len(clean))
    away: Floats = parts(chart.scales, chart.cells(later), window) - chart.centre[-1]
    shift, moves = np.zeros(len(PARTS)), []
    for row in away:
        moves.append(np.abs(row - shift) / spread)
        if followed:
            shift = chart.follow(shift, row)
    return np.asarray(np.log(np.maximum(np.percentile(moves, 95, axis=0), LEAST_MOVE)))


def _show(name: str, moves: list[NDArray[np.float64]]) -> None:
    print(f"units of {name}:")
    for row in np.exp(np.mean(moves, axis=0)).reshape(6, 7):
        print("        [" + ", ".join(f"{value:.2f}" for value in row) + "],")


if __name__ == "__main__":
    main(sys.argv[1:])
