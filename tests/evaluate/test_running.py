"""Evaluations shared out among processes: the same figures, whatever their number."""

from __future__ import annotations

import multiprocessing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lenswatch.config import Config, EncoderConfig
from lenswatch.errors import InputError
from lenswatch.evaluate.protocol import Plan, evaluate
from lenswatch.evaluate.running import run
from support.detectors import brightness, contrast
from support.lens_footage import frames

PLAN = Plan(horizon=20, onsets=2, lead=6, gap=4, corruptions=("brightness", "fog"))
DETECTORS = {"support.detectors:brightness": brightness, "support.detectors:contrast": contrast}


@pytest.fixture
def cameras(tmp_path: Path) -> Any:
    """Two cameras of 80 pictures each, as files."""
    found = {}
    for seed, name in enumerate(("harbour", "reef")):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = [folder / f"{i:03}.png" for i in range(80)]
        for path, image in zip(found[name], frames(80, seed), strict=True):
            Image.fromarray(image).save(path)
    return found


@pytest.mark.slow
def test_two_processes_find_what_one_detector_at_a_time_finds(cameras: Any) -> None:
    """One more detector gets the encoder that is trained for all that ask for one."""
    steps: list[Any] = []
    names, quick = [*DETECTORS, "support.detectors:encoded"], EncoderConfig(epochs=2)
    found = run(names, cameras, Config(), PLAN, 2, steps.append, quick)
    assert [(o.detector, o.camera) for o in found] == [
        (name, camera) for name in names for camera in cameras
    ]
    for outcome in found[:4]:
        images = [np.asarray(Image.open(path)) for path in cameras[outcome.camera]]
        alone = evaluate(
            DETECTORS[outcome.detector],
            images,
            PLAN,
            detector=outcome.detector,
            camera=outcome.camera,
        )
        assert outcome == alone
    corrupted = [s for s in steps if s.task == "reef: corrupted footage"]
    assert all(a.done < b.done for a, b in pairwise(corrupted))
    assert (corrupted[-1].done, corrupted[-1].total) == (12, 12)
    training = [s for s in steps if s.task == "reef: training the encoder"]
    assert training[-1].done == training[-1].total


@pytest.mark.slow
def test_an_error_in_a_process_ends_them_all(cameras: Any) -> None:
    before = multiprocessing.active_children()
    with pytest.raises(InputError, match="these images will not do"):
        run(["support.detectors:broken"], cameras, Config(), PLAN, 2)
    assert multiprocessing.active_children() == before


@pytest.mark.slow
def test_an_evaluation_that_is_given_up_leaves_no_process(cameras: Any) -> None:
    before = multiprocessing.active_children()

    def give_up(step: Any) -> None:
        if "clean footage" in step.task:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(["support.detectors:brightness"], cameras, Config(), PLAN, 2, give_up)
    assert multiprocessing.active_children() == before


def test_pictures_of_two_sizes_are_refused_by_name(cameras: Any) -> None:
    Image.new("RGB", (200, 100)).save(cameras["reef"][7])
    with pytest.raises(
        InputError, match=r"reef/007\.png: 200 x 100 pixels, where 000\.png has 160"
    ):
        run(["support.detectors:brightness"], cameras, Config(), PLAN, 2)


def test_too_few_pictures_are_refused_before_anything_is_read(cameras: Any) -> None:
    with pytest.raises(InputError, match="too few"):
        run(["support.detectors:brightness"], {"reef": cameras["reef"][:30]}, Config(), PLAN, 2)
