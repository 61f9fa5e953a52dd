import io
import json
from functools import partial

import numpy as np
import pytest
from frouros.detectors import data_drift as frouros
from frouros.utils.kernels import rbf_kernel
from rich.console import Console
from scipy import stats

from lenswatch.config import EncoderConfig
from lenswatch.errors import InputError
from lenswatch.evaluate import RIVALS, encoding
from lenswatch.evaluate.ours import make_chart, make_detector, make_mmd
from lenswatch.evaluate.protocol import (
    Outcome,
    Plan,
    Progress,
    all_cases,
    evaluate,
    figures,
    halves,
    judge,
)
from lenswatch.evaluate.report import html_page, table
from lenswatch.evaluate.rivals import smallest_ks_p_value
from support.detectors import Brightness, brightness, contrast
from support.lens_footage import frames

PLAN = Plan(horizon=30, onsets=2, lead=12, corruptions=("brightness", "defocus"))


def outcome(make, plan=PLAN, count=200):
    *steps, last = evaluate(make, frames(count), plan, detector="mean", camera="test")
    assert isinstance(last, Outcome)
    assert all(isinstance(step, Progress) for step in steps)
    return last


@pytest.fixture(scope="module")
def judged():
    return outcome(lambda clean, ert, seed: Brightness(clean))


def test_the_detector_never_sees_the_second_half_before_it_is_judged():
    footage, seen = frames(200), []

    def make(clean, ert, seed):
        seen.extend(clean)
        return Brightness(clean)

    list(evaluate(make, footage, PLAN))
    assert len(seen) == (200 - PLAN.gap) // 2
    np.testing.assert_array_equal(seen[-1], footage[len(seen) - 1])


def test_every_corruption_is_tried_in_every_mode_from_every_start(judged):
    assert len(judged.trials) == 2 * 3 * 2
    assert {t.mode for t in judged.trials} == {"sudden 1", "sudden 3", "ramp to 5"}
    assert all(len(t.scores) == 30 for t in judged.trials)


def test_figures_count_false_alarms_and_detections(judged):
    found = figures([judged], PLAN)["own threshold"]
    assert found["false alarms"]["events"] == 0
    bright = found["detections"]["sudden 3"]["brightness"]
    assert (bright["share"], bright["median delay"]) == (1.0, 1.0)
    assert found["detections"]["sudden 3"]["defocus"]["share"] == 0.0
    assert found["detections"]["sudden 3"]["defocus"]["median delay"] is None
    ramp = found["detections"]["ramp to 5"]["brightness"]
    assert 1 < ramp["median delay"] <= 30


def test_false_alarms_are_events_and_not_images():
    noisy = Outcome("d", "c", 1.0, tuple([2.0] * 72 + [0.0] * 28), ())
    quiet = Outcome("d", "e", 1.0, (0.0,) * 100, ())
    found = figures([noisy, quiet], PLAN)
    assert found["own threshold"]["false alarms"]["events"] == 3
    assert found["own threshold"]["false alarms"]["per 1000"] == 15
    assert found["cameras"]["e"]["events"] == 0
    assert found["matched threshold"]["false alarms"]["events"] == 0


def test_figures_are_json(judged):
    found = json.loads(json.dumps(figures([judged], PLAN), allow_nan=False))
    assert found["detector"] == judged.detector


def test_footage_too_short_for_the_plan_is_refused():
    with pytest.raises(InputError, match="give at least 260"):
        list(evaluate(lambda clean, ert, seed: Brightness(clean), frames(100), Plan()))


@pytest.fixture
def quick_encoder(monkeypatch):
    """One epoch is enough to see that everything fits together."""
    monkeypatch.setattr(encoding, "EncoderConfig", lambda: EncoderConfig(epochs=1))


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize("make", [make_detector, make_chart, make_mmd])
def test_ours_keeps_to_the_interface(make):
    footage = frames(90)
    detector = make(footage[:80], 200, 0)
    first = [detector.update(image) for image in footage[80:]]
    for score, warning, drift in first:
        assert drift == (score > detector.threshold)
        assert warning or not drift
    detector.reset()
    assert [detector.update(image) for image in footage[80:]] == first


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize("name", RIVALS)
def test_rivals_keep_to_the_interface(name):
    footage = frames(100)
    detector = RIVALS[name](footage[:60], 200, 0)
    answers = [detector.update(image) for image in footage[60:]]
    assert answers[0] == (None, False, False)
    score, _, drift = answers[-1]
    assert np.isfinite(score)
    assert drift == (score > detector.threshold)


def test_detectors_side_by_side_say_what_each_says_alone():
    footage = frames(200)
    first, second = halves(footage, PLAN)
    makers = (brightness, contrast)
    steps = judge([make(first, 200, 0) for make in makers], second, PLAN, all_cases(94, PLAN))
    runs = returned(steps)
    for make, together in zip(makers, runs, strict=True):
        *_, alone = evaluate(make, footage, PLAN)
        assert (together.clean, together.trials) == (alone.clean, alone.trials)


def returned(generator):
    while True:
        try:
            next(generator)
        except StopIteration as stop:
            return stop.value


@pytest.mark.usefixtures("quick_encoder")
def test_an_encoder_is_trained_once_for_all_processes(tmp_path, monkeypatch):
    clean = frames(40)
    monkeypatch.setattr(encoding, "_kept", {})
    monkeypatch.setattr(encoding, "_shared", [])
    encoding.share_encoders(tmp_path)
    trained = encoding.encoder_for(clean, 0)
    encoding._kept.clear()  # as in another process
    monkeypatch.setattr(encoding, "train", lambda *_: pytest.fail("trained again"))
    found = encoding.encoder_for(clean, 0)
    np.testing.assert_array_equal(found.embeddings, trained.embeddings)
    np.testing.assert_array_equal(found(clean[3]), trained(clean[3]))


@pytest.mark.usefixtures("quick_encoder")
def test_an_image_that_was_written_over_is_encoded_again():
    clean = frames(40)
    encoder, image = encoding.encoder_for(clean, 0), clean[0].copy()
    before = encoder(image)
    image[:] = clean[20]
    np.testing.assert_array_equal(encoder(image), encoder.embeddings[20])
    assert (encoder(image) != before).any()


def test_the_smallest_p_value_is_that_of_scipy():
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=(90, 6)).round(1), rng.normal(0.3, 1, (30, 6)).round(1)
    found = smallest_ks_p_value(np.sort(reference, axis=0), window)
    pairs = zip(reference.T, window.T, strict=True)
    assert found == min(stats.ks_2samp(a, b, method="asymp").pvalue for a, b in pairs)


@pytest.mark.usefixtures("quick_encoder")
def test_the_tutorials_score_is_that_of_a_frouros_detector_that_saw_these_images():
    footage = frames(80)
    encoder = encoding.encoder_for(footage[:60], 0)
    detector = frouros.MMDStreaming(window_size=12, kernel=partial(rbf_kernel, sigma=0.3))
    detector.fit(X=encoder.embeddings.astype(np.float64))
    judged = RIVALS["tutorial"](footage[:60], 200, 0)
    for image in footage[60:]:
        expected, _ = detector.update(value=encoder(image).astype(np.float64))
        score = judged.update(image)[0]
        assert score == (None if expected is None else pytest.approx(expected.distance, abs=1e-12))


def test_the_table_and_the_page_show_every_detector(judged):
    found = figures([judged], PLAN)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table([found, {**found, "detector": "second"}]))
    text = console.export_text()
    assert "mean" in text
    assert "second" in text
    assert "50 %" in text  # brightness is noticed, defocus is not
    page = html_page([found, {**found, "detector": "<second>"}], [judged])
    assert "sudden, severity 3" in page
    assert "asked for one false alarm in 200 images (5 per 1,000)" in page
    assert "&lt;second&gt;" in page
    assert ">100 %, 1</td>" in page  # brightness, by corruption
    assert '<script src="' not in page
