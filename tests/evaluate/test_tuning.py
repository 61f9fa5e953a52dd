"""The search for settings: split in time, shared out, and judged on footage that chose nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from conftest import small_config, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config, DetectorConfig
from lenswatch.errors import InputError
from lenswatch.evaluate.protocol import Plan
from lenswatch.evaluate.running import Pool
from lenswatch.evaluate.tuning import Candidate, Space, Trialled, Tuned, tune
from lenswatch.progress import no_progress
from support.lens_footage import frames

PLAN = Plan(horizon=14, onsets=1, lead=6, corruptions=("brightness",))
SPACE = Space(latent_dim=(4, 8), sparsity_weight=(1e-4,), window_size=(4, 6), width=(1.0, 1e-3))


class Serial:
    """A scheduler in this process, which anything else with `each` may replace."""

    def __init__(self) -> None:
        self.parts: list[int] = []

    def each(self, work: Any, arguments: Any) -> list[Any]:
        self.parts.append(len(arguments))
        return [work(*each) for each in arguments]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("reef")
    files = [folder / f"{i:03}.png" for i in range(104)]
    for file, image in zip(files, frames(104, 0), strict=True):
        Image.fromarray(image).save(file)
    return files


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return small_config(tmp_path, detector=DetectorConfig(window_size=5))


def test_the_grid_holds_all_combinations_and_a_random_choice_is_a_part_of_it() -> None:
    grid = SPACE.candidates()
    assert len(grid) == len(set(grid)) == 8
    chosen = SPACE.candidates(3, seed=1)
    assert len(chosen) == 3
    assert set(chosen) < set(grid)
    assert chosen == SPACE.candidates(3, seed=1)
    assert chosen != SPACE.candidates(3, seed=2)
    assert SPACE.candidates(100) == grid


@pytest.mark.slow
def test_the_best_is_tested_against_the_settings_in_use(
    pictures: list[Path], settings: Config
) -> None:
    serial = Serial()

    @contextlib.contextmanager
    def scheduler(_: Path) -> Iterator[Serial]:
        yield serial

    found = tune(pictures, settings, SPACE.candidates(), scheduler, PLAN)
    assert serial.parts[0] == 2  # candidates that share an encoder share its training
    assert found.in_use == Candidate(8, 1e-4, 5)
    assert {each.candidate for each in found.trials} == {*SPACE.candidates(), found.in_use}
    delays = [each.delay for each in found.trials]
    assert delays == sorted(delays)
    assert 1 <= delays[0] < PLAN.horizon
    assert found.trials[0].noticed > 0.5
    assert found.trials[0].delay == pytest.approx(np.mean(found.trials[0].delays))
    best, in_use = found.tested
    assert best.candidate == found.trials[0].candidate
    assert in_use.candidate == found.in_use
    # A thousandth of the median distance tells no two pictures apart.
    blind = {each.candidate for each in found.trials if each.blind}
    assert blind == {each for each in SPACE.candidates() if each.width == 1e-3}

    again = tune(
        pictures, settings, SPACE.candidates(), partial(Pool, 1, progress=no_progress), PLAN
    )
    measured = [(e.candidate, e.delay, e.noticed, e.false_alarms) for e in found.trials]
    assert [(e.candidate, e.delay, e.noticed, e.false_alarms) for e in again.trials] == measured
    sigmas = [[each.sigma for each in one.trials] for one in (found, again)]
    assert sigmas[0] == pytest.approx(sigmas[1], rel=1e-4, nan_ok=True)
    assert np.isfinite(sigmas[0]).sum() == 5


def test_too_few_pictures_are_said_before_anything_is_done(
    pictures: list[Path], settings: Config
) -> None:
    with pytest.raises(InputError, match="104 pictures are too few for a search; give 360 or more"):
        tune(pictures, settings, [], partial(Pool, 1, progress=no_progress))


@pytest.mark.parametrize(
    ("saved", "false_alarms", "better"),
    [
        ([3, 4, 3, 4, 3, 4], 0.0, True),
        ([30, -20, 3, -4, 0, 1], 0.0, False),  # chance
        ([3, 4, 3, 4, 3, 4], 12.0, False),  # by more false alarms
        ([0] * 6, 0.0, False),
    ],
)
def test_only_what_is_clearly_better_is_called_so(
    saved: list[int], false_alarms: float, better: bool
) -> None:
    in_use, best = Candidate(8, 0.0, 6), Candidate(16, 0.0, 6)
    delays = np.array([20, 30, 40, 50, 60, 60])
    tested = (
        Trialled(best, 0.0, 1.0, false_alarms, 1.0, tuple(delays - saved)),
        Trialled(in_use, 0.0, 1.0, 2.0, 1.0, tuple(delays)),
    )
    assert Tuned(tested, in_use, tested).better is better


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--latent-dim", "8,x", "give numbers with commas"),
        ("--window", "1", "each must be 2 or more"),
        ("--width", "nan", "each must be 0.01 or more"),
    ],
)
def test_values_that_cannot_be_tried_are_named(
    tmp_path: Path, option: str, value: str, complaint: str
) -> None:
    line = ["tune", "--config", str(write_settings(tmp_path)), option, value, str(tmp_path)]
    ended = CliRunner().invoke(main, line)
    assert ended.exit_code == 2
    assert complaint in " ".join(ended.output.split())
