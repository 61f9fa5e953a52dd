from __future__ import annotations

import dataclasses
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frouros.detectors import data_drift as frouros
from frouros.utils.kernels import rbf_kernel
from rich.console import Console
from scipy import stats

from lenswatch.config import EncoderConfig
from lenswatch.errors import InputError
from lenswatch.evaluate import RIVALS
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.makers import with_encoder
from lenswatch.evaluate.protocol import (
    Outcome,
    Plan,
    all_cases,
    assess,
    evaluate,
    figures,
    halves,
)
from lenswatch.evaluate.report import html_page, table
from lenswatch.evaluate.rivals import smallest_ks_p_value
from support.detectors import Brightness, brightness, contrast
from support.lens_footage import frames

PLAN = Plan(horizon=30, onsets=2, lead=12, corruptions=("brightness", "defocus"))


@pytest.fixture(scope="module")
def outcome() -> Any:
    return evaluate(brightness, frames(200), PLAN, detector="mean", camera="test")


@pytest.fixture(scope="module")
def encoder() -> Any:
    """One epoch is enough to see that everything fits together."""
    return Encoder.train(frames(60), 0, EncoderConfig(epochs=1))


@pytest.mark.slow
def test_the_detector_never_sees_the_second_half_before_it_is_tested() -> None:
    footage, seen = frames(200), []

    def make(clean: Any, ert: Any, seed: int) -> Brightness:
        seen.extend(clean)
        return Brightness(clean)

    evaluate(make, footage, PLAN)
    assert len(seen) == (200 - PLAN.gap) // 2
    np.testing.assert_array_equal(seen[-1], footage[len(seen) - 1])


def test_every_corruption_is_tried_in_every_mode_from_every_start(outcome: Any) -> None:
    assert len(outcome.trials) == 2 * 3 * 2
    assert {t.mode for t in outcome.trials} == {"sudden 1", "sudden 3", "ramp to 5"}
    assert all(len(t.scores) == 30 for t in outcome.trials)


def test_figures_count_false_alarms_and_detections(outcome: Any) -> None:
    found = figures([outcome], PLAN)["own threshold"]
    assert found["false alarms"]["events"] == 0
    bright = found["detections"]["sudden 3"]["brightness"]
    assert (bright["share"], bright["median delay"]) == (1.0, 1.0)
    assert found["detections"]["sudden 3"]["defocus"]["share"] == 0.0
    assert found["detections"]["sudden 3"]["defocus"]["median delay"] is None
    ramp = found["detections"]["ramp to 5"]["brightness"]
    assert 1 < ramp["median delay"] <= 30


def test_false_alarms_are_events_and_not_images() -> None:
    noisy = Outcome("d", "c", 1.0, tuple([2.0] * 72 + [0.0] * 28), ())
    quiet = Outcome("d", "e", 1.0, (0.0,) * 100, ())
    found = figures([noisy, quiet], PLAN)
    assert found["own threshold"]["false alarms"]["events"] == 3
    assert found["own threshold"]["false alarms"]["per 1000"] == 15
    assert found["cameras"]["e"]["events"] == 0
    assert found["matched threshold"]["false alarms"]["events"] == 0


def test_figures_are_json(outcome: Any) -> None:
    found = json.loads(json.dumps(figures([outcome], PLAN), allow_nan=False))
    assert found["detector"] == outcome.detector


def test_footage_too_short_for_the_plan_is_refused() -> None:
    with pytest.raises(InputError, match="give at least 260"):
        evaluate(brightness, frames(100), Plan())


@pytest.mark.slow
def test_progress_is_told_of_every_image_and_every_case() -> None:
    steps: list[Any] = []
    evaluate(brightness, frames(200), PLAN, progress=steps.append)
    totals = {step.task: step.total for step in steps}
    assert totals == {"configuring": 1, "clean footage": 94, "corrupted footage": 12}
    for task, total in totals.items():
        assert [s.done for s in steps if s.task == task] == list(range(1, total + 1))


@pytest.mark.slow
def test_detectors_side_by_side_score_as_each_does_alone() -> None:
    footage = frames(200)
    first, second = halves(footage, PLAN)
    makers = (brightness, contrast)
    runs = assess([make(first, 200, 0) for make in makers], second, PLAN, all_cases(94, PLAN))
    for make, together in zip(makers, runs, strict=True):
        alone = evaluate(make, footage, PLAN)
        assert (together.clean, together.trials) == (alone.clean, alone.trials)


def test_an_encoder_that_was_saved_encodes_as_before(encoder: Any, tmp_path: Path) -> None:
    encoder.save(tmp_path / "encoder")
    found, image = Encoder.load(tmp_path / "encoder"), frames(3)[2]
    np.testing.assert_array_equal(found.embeddings, encoder.embeddings)
    np.testing.assert_array_equal(found(image), encoder(image))


def test_only_makers_that_take_an_encoder_are_given_the_shared_one(encoder: Any) -> None:
    def own(clean: Any, ert: Any, seed: int, encoder: Any = None) -> Any:
        return encoder

    made: Any = with_encoder(own, encoder)([], 200, 0)
    assert made is encoder
    made = with_encoder(own, None)([], 200, 0)
    assert made is None
    made = with_encoder(brightness, encoder)(frames(3), 200, 0)
    assert isinstance(made, Brightness)


def test_an_image_that_was_written_over_is_encoded_again(encoder: Any) -> None:
    clean = frames(60)
    image = clean[0].copy()
    before = encoder(image)
    image[:] = clean[20]
    np.testing.assert_array_equal(encoder(image), encoder.embeddings[20])
    assert (encoder(image) != before).any()


def test_the_smallest_p_value_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=(90, 6)).round(1), rng.normal(0.3, 1, (30, 6)).round(1)
    found = smallest_ks_p_value(np.sort(reference, axis=0), window)
    pairs = zip(reference.T, window.T, strict=True)
    assert found == min(stats.ks_2samp(a, b, method="asymp").pvalue for a, b in pairs)


def test_the_tutorials_score_is_that_of_a_frouros_detector_that_saw_these_images(
    encoder: Any,
) -> None:
    footage = frames(80)
    detector = frouros.MMDStreaming(window_size=12, kernel=partial(rbf_kernel, sigma=0.3))
    detector.fit(X=encoder.embeddings.astype(np.float64))
    rival = with_encoder(RIVALS["tutorial"], encoder)(footage[:60], 200, 0)
    for image in footage[60:]:
        expected, _ = detector.update(value=encoder(image).astype(np.float64))
        score = rival.update(image)[0]
        assert score == (None if expected is None else pytest.approx(expected.distance, abs=1e-12))


@pytest.mark.slow
def test_the_table_and_the_page_show_every_detector(outcome: Any) -> None:
    found = figures([outcome], PLAN)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table([found, {**found, "detector": "second"}]))
    text = console.export_text()
    assert "mean" in text
    assert "second" in text
    assert "50 %" in text  # brightness is noticed, defocus is not
    page = html_page([found, {**found, "detector": "<second>"}], [outcome])
    assert "sudden, severity 3" in page
    assert "asked for one false alarm in 200 images, which is 5 per 1,000" in page
    assert "from 2 starts for each corruption" in page
    assert "&lt;second&gt;" in page
    assert ">100 %, 1</td>" in page  # brightness, by corruption
    assert '<script src="' not in page


def test_a_page_of_one_start_says_start(outcome: Any) -> None:
    plan = dataclasses.replace(PLAN, onsets=1)
    page = html_page([figures([outcome], plan)], [outcome])
    assert "from 1 start for each corruption" in page
