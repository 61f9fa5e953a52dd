"""A figure of a calibration: both out-of-sample runs, the thresholds, and the events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lenswatch.calibration import Threshold, decluster
from lenswatch.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panel", "save_figure"]

Floats = NDArray[np.float64]
Panel = tuple[str, Threshold, Sequence[ArrayLike]]

_SCORE, _DRIFT, _WARNING = "#1f5f8b", "#c62828", "#e08a00"
_TITLES = ("run over the second half", "run over the first half")


def save_figure(file: Path, panels: Sequence[Panel], title: str = "") -> None:
    """Draw one row for each statistic, one column for each run, into a PNG, SVG or PDF file.

    Args:
        file: its suffix decides the format.
        panels: (name of the statistic, its thresholds, its runs).
        title: above the figure.

    Raises:
        InputError: a suffix that names no format.
    """
    from matplotlib.figure import Figure

    if file.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{file}: name a .png, .svg or .pdf file for the figure")
    columns = max(len(runs) for _, _, runs in panels)
    figure = Figure(figsize=(5.5 * columns, 2.9 * len(panels) + 0.6), layout="constrained")
    axes = figure.subplots(len(panels), columns, squeeze=False, sharey="row")
    for row, (name, threshold, runs) in zip(axes, panels, strict=True):
        for column, (axis, run) in enumerate(zip(row, runs, strict=False)):
            _draw(axis, np.asarray(run, dtype=np.float64), threshold)
            axis.set_title(f"{name}: {_TITLES[column]}" if len(runs) == 2 else name, fontsize=10)
        row[0].set_ylabel(name)
    for axis in axes[-1]:
        axis.set_xlabel("image")
    axes[0, 0].legend(loc="upper left", fontsize=8)
    figure.suptitle(title or "Calibration on clean footage, out of sample")
    figure.savefig(file, dpi=130)


def _draw(axis: Axes, run: Floats, threshold: Threshold) -> None:
    events = decluster(run, threshold.level)
    axis.plot(run, color=_SCORE, linewidth=1, label="score")
    axis.axhline(threshold.drift, color=_DRIFT, linewidth=1.2, label="drift")
    axis.axhline(threshold.warning, color=_WARNING, linewidth=1.2, label="warning")
    axis.axhline(threshold.level, color="0.6", linewidth=0.8, linestyle=":", label="tail begins")
    if events:
        starts, maxima = zip(*events, strict=True)
        axis.plot(starts, maxima, "v", color="0.3", markersize=5, label="events of the tail")
