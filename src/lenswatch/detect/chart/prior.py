"""Knowledge from other cameras: the units of a chart's parts, and its thresholds.

A camera's own clean footage is too short to show how far each part moves in footage that is still to come.
Footage of other cameras shows it: on their later clean halves, light and the busiest cells move by more of
their spreads than the sharpness or the noise of the whole picture. The units were learnt from clean footage
alone, without a corruption; `docs/design/alarms.md` says from which, how, and how they do on cameras that had
no part in it. `benchmarks/learn_units.py` learns them again.
"""

from __future__ import annotations

import numpy as np

from lenswatch.detect.arrays import Floats
from lenswatch.detect.thresholds import USUAL_RUN_TIME

__all__ = ["ALONE", "FIRST", "least_spread", "own_share", "prior_threshold", "units"]

_TAIL = 0.25  # by which the threshold's logarithm grows with that of the run time
_FEW, _MANY = 60.0, 240.0  # clean images: with fewer, and with more, nothing changes

# Units (6, 7) of the parts, in the order of PARTS, of charts fitted to few and to many images.
_UNITS_OF_FEW = np.array(
    [
        [0.88, 0.69, 0.70, 0.70, 0.76, 0.76, 0.59],
        [0.86, 0.68, 0.67, 0.68, 0.75, 0.76, 0.58],
        [1.77, 1.92, 1.92, 1.64, 1.24, 1.25, 1.84],
        [1.52, 1.37, 1.34, 1.12, 0.91, 0.96, 1.31],
        [1.58, 1.56, 1.49, 1.38, 1.04, 1.08, 1.53],
        [1.29, 1.06, 1.03, 0.88, 0.78, 0.81, 1.02],
    ]
)
_UNITS_OF_MANY = np.array(
    [
        [0.70, 0.62, 0.68, 0.65, 0.64, 0.67, 0.64],
        [0.77, 0.63, 0.66, 0.63, 0.63, 0.65, 0.60],
        [1.37, 1.61, 1.82, 1.60, 1.20, 1.24, 1.56],
        [0.69, 0.69, 0.72, 0.71, 0.59, 0.57, 0.61],
        [1.46, 1.66, 1.71, 1.68, 1.15, 1.13, 1.51],
        [0.67, 0.63, 0.64, 0.61, 0.55, 0.58, 0.61],
    ]
)
_LEAST_OF_FEW, _LEAST_OF_MANY = 1.0, 0.35  # deviations
_THRESHOLD_OF_FEW, _THRESHOLD_OF_MANY = 2.0, 2.7
ALONE = 1.25  # factor of the threshold of an image that is judged alone
FIRST = 1.6  # factor of the threshold before the window is full: about 5 % of clean starts raise an alarm


def units(n: int) -> Floats:
    """Return the unit (42,) of each part, in its spreads, of a chart that is fitted to n clean images."""
    few, many = np.log(_UNITS_OF_FEW), np.log(_UNITS_OF_MANY)
    return np.asarray(np.exp(few + _share_of_many(n) * (many - few)).ravel())


def least_spread(n: int) -> float:
    """Return the smallest spread of a part, in deviations: few clean images do not show how much it moves."""
    return _between(n, _LEAST_OF_FEW, _LEAST_OF_MANY)


def prior_threshold(n: int, ert: float) -> float:
    """Return the drift threshold that other cameras suggest.

    Args:
        n: Clean images.
        ert: Expected run time in images; the constants stand for `USUAL_RUN_TIME`.
    """
    usual = _between(n, _THRESHOLD_OF_FEW, _THRESHOLD_OF_MANY)
    return float(usual * (ert / USUAL_RUN_TIME) ** _TAIL)


def own_share(n: int) -> float:
    """Return the share of the footage's own threshold beside the prior's: 0 of few images, 0.5 of many."""
    return 0.5 * _share_of_many(n)


def _between(n: int, few: float, many: float) -> float:
    return float(few * (many / few) ** _share_of_many(n))


def _share_of_many(n: int) -> float:
    """Return 0 for few images, 1 for many, and between them in proportion to the logarithm."""
    return float(np.clip(np.log(n / _FEW) / np.log(_MANY / _FEW), 0, 1))
