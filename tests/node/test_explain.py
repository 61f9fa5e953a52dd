from __future__ import annotations

import numpy as np
from PIL import Image

from lenswatch.detect.chart.causes import Cause
from lenswatch.node.explain import draw_explanation


def test_the_map_is_laid_over_the_picture_where_it_deviates() -> None:
    image = Image.new("RGB", (320, 180), (0, 0, 255))
    deviations = np.zeros((4, 5))
    deviations[3, 4] = 20
    sheet = draw_explanation(image, None, deviations, [Cause("blurred", 3.0, ((3, 4),))])
    panel = sheet.crop(
        (
            sheet.width - 12 - 480,
            sheet.height - 12 - 18 - 270 + 0,
            sheet.width - 12,
            sheet.height - 18,
        )
    )
    red = np.asarray(panel)[..., 0].astype(int)
    assert red[-60:, -60:].mean() > 100
    assert red[100:160, 100:160].mean() < 60


def test_the_nearest_clean_picture_has_a_panel_of_its_own() -> None:
    image = Image.new("RGB", (320, 180))
    alone = draw_explanation(image, None, np.zeros((4, 5)), [])
    beside = draw_explanation(image, image, np.zeros((4, 5)), [])
    assert beside.width > alone.width


def test_words_on_the_sheet_are_apart() -> None:
    """At 10 points Pillow's own font joined them: "nearestclean picture"."""
    image = Image.new("RGB", (320, 180))
    sheet = draw_explanation(image, image, np.zeros((4, 5)), [], "nearest clean")
    line = np.asarray(sheet.crop((0, 0, 200, 30)).convert("L"))
    inked = np.flatnonzero((line < 128).any(axis=0))
    assert np.diff(inked).max() >= 4  # columns of paper between the words
