"""A picture that shows people what an answer says: the image, the nearest clean one, and the map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lenswatch.detect.chart.causes import MAP, Cause

__all__ = ["draw_explanation"]

_WIDTH = 480  # pixels of each of the three panels
_MARGIN, _LINE = 12, 18
_FULL = 8.0  # deviations at which a cell is shown at full strength
_HEAT = (214, 40, 40)
_INK, _PAPER = (20, 24, 28), (255, 255, 255)


def draw_explanation(
    image: Image.Image,
    clean: Image.Image | None,
    deviations: NDArray[np.float64],
    causes: Sequence[Cause],
    caption: str = "",
) -> Image.Image:
    """The image, the nearest clean image (left out when it is not at hand), and the map laid over it.

    Args:
        image: RGB, of any size.
        clean: the clean image closest in embedding.
        deviations: (4, 5), of the image's cells.
        causes: strongest first.
        caption: a line above.
    """
    height = round(_WIDTH * image.height / image.width)
    panels = [("this picture", _fitted(image, height))]
    if clean is not None:
        panels.append(("nearest clean picture", _fitted(clean, height)))
    panels.append(("deviations from clean", _overlaid(_fitted(image, height), deviations)))
    lines = [caption] if caption else []
    lines += [f"{c.name}: {c.strength:.1f} times the threshold" for c in causes]
    top = _MARGIN + _LINE * len(lines)
    width = len(panels) * (_WIDTH + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, top + height + 2 * _LINE + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + i * _LINE), line, fill=_INK)
    for i, (title, panel) in enumerate(panels):
        left = _MARGIN + i * (_WIDTH + _MARGIN)
        draw.text((left, top + _MARGIN // 2), title, fill=_INK)
        sheet.paste(panel, (left, top + _LINE + _MARGIN // 2))
    return sheet


def _fitted(image: Image.Image, height: int) -> Image.Image:
    return image.convert("RGB").resize((_WIDTH, height), Image.Resampling.BILINEAR)


def _overlaid(panel: Image.Image, deviations: NDArray[np.float64]) -> Image.Image:
    """Cells in red, the stronger the farther from clean, with their numbers."""
    strength = np.clip(deviations / _FULL, 0, 1) * 0.7 * 255
    mask = Image.fromarray(strength.astype(np.uint8)).resize(panel.size, Image.Resampling.NEAREST)
    shown = Image.composite(Image.new("RGB", panel.size, _HEAT), panel, mask)
    draw = ImageDraw.Draw(shown)
    wide, high = panel.width / MAP[1], panel.height / MAP[0]
    for row in range(MAP[0]):
        for column in range(MAP[1]):
            text = f"{deviations[row, column]:.1f}"
            draw.text(
                (column * wide + 5, row * high + 4),
                text,
                fill=_PAPER,
                stroke_width=2,
                stroke_fill=_INK,
            )
    return shown
