from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from conftest import camera_pixels, jpeg
from lenswatch.config import Config
from lenswatch.detect.chart.causes import Cause
from lenswatch.node.explain import draw_explanation, explain
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from support.second_camera import list_names_only, write_frames


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


def nearest_of(config: Config, number: int) -> Any:
    """Explain clean picture `number`, whose nearest clean picture is itself."""
    file = config.root / "asked.jpg"
    file.write_bytes(jpeg(camera_pixels(number)))
    return explain(config, file, "reef")


def has_clean_panel(explained: Any) -> bool:
    return bool(explained.sheet.width > 2 * (480 + 12) + 12)


def test_another_cameras_picture_of_the_same_name_is_never_shown(trained: Config) -> None:
    images = trained.image_folder
    (other,) = write_frames(images / "a1", ["0007.jpg"])
    explained = nearest_of(trained, 7)
    assert explained.nearest == "nearest clean picture: clean/0007.jpg"
    assert has_clean_panel(explained)
    (images / "clean" / "0007.jpg").unlink()
    explained = nearest_of(trained, 7)
    assert not has_clean_panel(explained)
    gone = f"nearest clean picture: clean/0007.jpg, which is not below {images} any more"
    assert explained.nearest == gone
    (images / "clean" / "0007.jpg").write_bytes(other.read_bytes())
    assert nearest_of(trained, 7).nearest == gone


def test_a_clean_picture_that_was_moved_is_found(trained: Config) -> None:
    images = trained.image_folder
    (images / "archive").mkdir()
    (images / "clean" / "0007.jpg").rename(images / "archive" / "another name.jpg")
    explained = nearest_of(trained, 7)
    assert explained.nearest == "nearest clean picture: archive/another name.jpg"
    assert has_clean_panel(explained)


def test_a_reference_that_lists_names_only_shows_the_picture_that_looks_right(
    trained: Config,
) -> None:
    images = trained.image_folder
    list_names_only(trained)
    write_frames(images / "a1", ["0007.jpg"])
    (images / "a2").mkdir()
    (images / "a2" / "0007.jpg").write_bytes(b"no picture")
    assert nearest_of(trained, 7).nearest == "nearest clean picture: clean/0007.jpg"
    (images / "clean" / "0007.jpg").unlink()
    explained = nearest_of(trained, 7)
    assert "0007.jpg, which is not below" in explained.nearest
    assert not has_clean_panel(explained)


def test_the_answer_names_the_nearest_picture_by_its_path(trained: Config) -> None:
    answer = Node(trained).observe(jpeg(camera_pixels(7)), Request())
    assert answer["nearest"] == "clean/0007.jpg"
