"""Figure of a calibration: both out-of-sample runs, the thresholds and the events."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lenswatch.detect.arrays import Floats
from lenswatch.detect.thresholds import REFRACTORY, Threshold, decluster
from lenswatch.errors import InputError
from lenswatch.evaluate.page import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

__all__ = ["Panel", "save_figure"]

Panel = tuple[str, Threshold, Sequence[ArrayLike]]

_SCORE, _DRIFT, _WARNING, _TAIL = "#1f5f8b", "#c62828", "#b26a00", "#6b7280"
_TITLES = (
    "fitted to the first half, run over the second",
    "fitted to the second half, run over the first",
)
_HALVES = "Each half of the clean footage is scored by what was fitted to the other half."
_OWN = "The clean pictures are scored by what was fitted to those of the reference."
_EVENTS = (
    f"An event (shaded) starts above the level where the tail begins and lasts {REFRACTORY} images. "
    "How far the events' maxima exceed that level shows how fast the tail falls off, and so where the "
    "drift threshold is."
)


def save_figure(file: Path, panels: Sequence[Panel], title: str = "") -> None:
    """Draw one row for each statistic, one column for each run, into a PNG, SVG or PDF file.

    Args:
        file: Its suffix decides the format.
        panels: (name of the statistic, its thresholds, its runs) of each row.
        title: Title of the figure.

    Raises:
        InputError: the suffix names no format.
    """
    from matplotlib.figure import Figure

    if file.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{file}: name a .png, .svg or .pdf file for the figure")
    width = max(8.0, 5.5 * max(len(runs) for _, _, runs in panels))
    heights = [3.1] * len(panels) + [0.7]
    figure = Figure(figsize=(width, sum(heights) + 0.4), layout="constrained")
    figure.suptitle(title or "Calibration on clean footage, out of sample", fontweight="bold")
    *rows, foot = figure.subfigures(len(heights), 1, height_ratios=heights)
    for row, panel in zip(rows, panels, strict=True):
        _row(row, panel)
    handles, labels = rows[0].axes[0].get_legend_handles_labels()
    foot.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False, fontsize=9)
    scored = _HALVES if any(len(runs) == 2 for _, _, runs in panels) else _OWN
    words = textwrap.fill(f"{scored} {_EVENTS}", round(15 * width))
    foot.text(0.01, 0.02, words, fontsize=8, color="0.3", va="bottom")
    figure.savefig(file, dpi=130)


def _row(part: SubFigure, panel: Panel) -> None:
    name, threshold, runs = panel
    part.suptitle(f"{name}: {_found(threshold)}", fontsize=10, x=0.01, ha="left")
    axes = part.subplots(1, len(runs), squeeze=False, sharey=True)[0]
    for column, (axis, run) in enumerate(zip(axes, runs, strict=True)):
        _draw(axis, np.asarray(run, dtype=np.float64), threshold)
        if len(runs) == 2:
            axis.set_title(_TITLES[column], fontsize=9, color="0.3")
        axis.set_xlabel("image of the run", fontsize=9)
        axis.margins(x=0.01)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel(name)


def _found(threshold: Threshold) -> str:
    found = (
        f"drift above {threshold.drift:.3g}, exceeded in {counted(threshold.alarms, 'event')} "
        f"of {threshold.frames} images; asked for: one false alarm in {threshold.target_ert:g}"
    )
    provisional = "" if threshold.calibrated else "; provisional"
    return (
        found
        + provisional
        + ("" if threshold.votes else "; out of reach: excluded from the verdict")
    )


def _draw(axis: Axes, run: Floats, threshold: Threshold) -> None:
    for start, _ in decluster(run, threshold.level):
        span = run[start : start + REFRACTORY]
        axis.axvspan(start, start + len(span) - 1, color=_TAIL, alpha=0.13, linewidth=0)
        top = int(np.nanargmax(span))
        axis.plot(start + top, span[top], "v", color="0.25", markersize=6, label="_")
    axis.plot(run, color=_SCORE, linewidth=1.2, label="score")
    axis.axhline(threshold.drift, color=_DRIFT, linewidth=1.4, label="drift")
    axis.axhline(threshold.warning, color=_WARNING, linewidth=1.4, linestyle="--", label="warning")
    axis.axhline(
        threshold.level, color=_TAIL, linewidth=1, linestyle=":", label="where the tail begins"
    )
    axis.plot(
        [], [], "v", color="0.25", markersize=6, linestyle="none", label="maximum of an event"
    )
