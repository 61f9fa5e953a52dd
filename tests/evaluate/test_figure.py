from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lenswatch.detect.thresholds import calibrate_scores
from lenswatch.errors import InputError
from lenswatch.evaluate.figure import save_figure

# matplotlib 3.9 with the newest pyparsing
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


@pytest.fixture
def panel() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    runs = [rng.exponential(size=200), rng.exponential(size=200)]
    return "distance", calibrate_scores(runs, ert=200, tail="additive"), runs


@pytest.mark.slow
def test_the_figure_shows_both_runs_and_the_thresholds(tmp_path: Path, panel: Any) -> None:
    save_figure(tmp_path / "one.png", [panel])
    save_figure(tmp_path / "two.png", [panel, panel])
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.height > one.height
        counted = one.convert("RGB").getcolors(2**20)
    assert counted is not None
    colours = {colour for _, colour in counted}
    assert {(198, 40, 40), (178, 106, 0)} <= colours  # drift and warning


@pytest.mark.slow
def test_the_figure_marks_the_events(tmp_path: Path, panel: Any) -> None:
    save_figure(tmp_path / "figure.svg", [panel])
    assert "maximum of an event" in (tmp_path / "figure.svg").read_text()


@pytest.mark.slow
def test_the_figure_says_in_words_what_was_asked_for_and_found(tmp_path: Path, panel: Any) -> None:
    save_figure(tmp_path / "figure.svg", [panel])
    drawn = (tmp_path / "figure.svg").read_text()
    assert "events of 400 images; asked for: one false alarm in 200" in drawn
    assert "scored by what was fitted to the other half" in drawn
    name, threshold, runs = panel
    save_figure(tmp_path / "own.svg", [(name, threshold, runs[:1])])
    assert "fitted to those of the reference" in (tmp_path / "own.svg").read_text()


def test_a_file_of_no_known_format_is_refused(tmp_path: Path, panel: Any) -> None:
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        save_figure(tmp_path / "figure.txt", [panel])
