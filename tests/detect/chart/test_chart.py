from __future__ import annotations

import dataclasses
import pickle
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import linalg

from lenswatch.detect.chart.causes import causes, deviation_map
from lenswatch.detect.chart.chart import ChartState, LensChart
from lenswatch.detect.chart.chart import scores as largest
from lenswatch.detect.chart.features import GRID, measure, measure_all, view
from lenswatch.detect.chart.fitting import FEWEST, fit_chart
from lenswatch.detect.chart.folds import folds_of
from lenswatch.detect.chart.parts import PARTS, Scales, parts
from lenswatch.detect.chart.prior import least_spread
from lenswatch.detect.chart.scene import SceneState, SceneWatch
from lenswatch.detect.chart.signatures import signatures
from lenswatch.errors import ArtefactError, InputError, StoreError
from lenswatch.evaluate.faults import FAULTS, fault
from support.lens_footage import frames, run


@pytest.fixture(scope="module")
def fit() -> Any:
    return fit_chart(measure_all(frames(300)), ert=240)


@pytest.fixture(scope="module")
def later() -> Any:
    return frames(400)[300:]


def first_cause(fit: Any, later: Any, corrupt: Any) -> Any:
    state, _ = run(fit, later[:20])
    state, scores = run(fit, [corrupt(picture) for picture in later[20:40]], state)
    assert max(scores) > fit.threshold.drift
    return causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)[0]


def blurred(picture: Any) -> Any:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))


def dark(picture: Any) -> Any:
    return (picture * 0.5).astype(np.uint8)


def bright(picture: Any) -> Any:
    return np.clip(picture.astype(int) + 50, 0, 255).astype(np.uint8)


def noisy(picture: Any) -> Any:
    noise = np.random.default_rng(int(picture.sum()) % 2**32).normal(0, 25, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def misty(picture: Any) -> Any:
    return (picture * 0.4 + picture.mean() * 0.6).astype(np.uint8)


def yellowed(picture: Any) -> Any:
    return (picture * np.array([1.0, 0.97, 0.7])).astype(np.uint8)


def smudged(picture: Any) -> Any:
    """Dirt before the cells of rows 2 and 3, columns 3 and 4 of the map."""
    spoiled = picture.copy().astype(float)
    spoiled[70:124, 100:156] = 0.45 * spoiled[70:124, 100:156] + 0.55 * 100
    return spoiled.astype(np.uint8)


def test_clean_footage_raises_no_alarm(fit: Any, later: Any) -> None:
    assert max(run(fit, later)[1]) <= fit.threshold.drift


def test_the_score_is_the_largest_excess() -> None:
    excesses = np.zeros((2, len(PARTS)))
    excesses[0, 3], excesses[0, 20], excesses[1, 41] = 1.5, -4.0, 0.5
    np.testing.assert_array_equal(largest(excesses), [4.0, 0.5])


def test_a_grey_level_of_light_is_not_drift(fit: Any, later: Any) -> None:
    darker = [np.maximum(picture, 1) - 1 for picture in later[:40]]
    assert max(run(fit, darker)[1]) <= fit.threshold.drift


def test_more_clean_pictures_allow_a_finer_unit() -> None:
    assert [least_spread(n) for n in (10, 60, 240, 1000)] == pytest.approx([1, 1, 0.35, 0.35])
    assert least_spread(60) > least_spread(120) > least_spread(240)


@pytest.mark.slow
def test_slow_light_is_followed() -> None:
    pictures = frames(700, light=0.05)
    fit = fit_chart(measure_all(pictures[:300]), ert=240)
    state, scores = run(fit, pictures[300:])
    assert max(scores) <= fit.threshold.drift
    away = np.asarray(state.away)
    assert np.abs(away - state.before).max() < np.abs(away).max()


def test_a_stream_has_a_score_from_its_first_image_on(fit: Any, later: Any) -> None:
    assert fit.chart.score(fit.chart.start()) is None
    clean, fouled = run(fit, later[:12])[1], run(fit, [dark(p) for p in later[:12]])[1]
    assert max(clean) <= fit.threshold.drift
    assert min(fouled) > fit.threshold.drift


def test_the_slow_score_begins_with_a_full_window(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:11])
    assert fit.chart.slow_score(state) is None
    state, _ = run(fit, later[11:12], state)
    assert fit.chart.slow_score(state) is not None


def test_a_chart_for_pictures_far_apart_decides_on_each_alone(later: Any) -> None:
    fit = fit_chart(measure_all(frames(30)), ert=200, spacing=86400)
    state, scores = run(fit, later[:5])
    state, fouled = run(fit, [blurred(later[5])], state)
    _, after = run(fit, later[6:7], state)
    assert max([*scores, *after]) <= fit.threshold.drift < fouled[0]
    assert len(state.cells) == 1


def test_the_time_since_the_last_picture_decides_whether_one_is_judged_alone(
    fit: Any, later: Any
) -> None:
    state, _ = run(fit, later[:5])
    measured = measure(view(later[5]))
    assert len(fit.chart.update(state, measured, far_apart=False).cells) == 6
    assert len(fit.chart.update(state, measured).cells) == 6
    alone = fit.chart.update(state, measured, far_apart=True)
    assert len(alone.cells) == 1
    assert fit.chart.slow_score(alone) is not None
    assert len(fit.chart.update(alone, measured).cells) == 2


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 12])
def test_parts_of_a_window_are_those_of_its_images_alone(fit: Any, later: Any, window: int) -> None:
    cells = np.stack([fit.chart.cells(measure(view(picture))) for picture in later[:20]])
    together = parts(fit.chart.scales, cells, window)
    assert together.shape == (21 - window, len(PARTS))
    for end in (window, 17, 20):
        alone = parts(fit.chart.scales, cells[end - window : end], window)[0]
        np.testing.assert_allclose(together[end - window], alone)


@pytest.mark.parametrize(
    ("corrupt", "name"),
    [
        (blurred, "blurred"),
        (dark, "darker"),
        (bright, "brighter"),
        (noisy, "noisier"),
        (misty, "less contrast"),
        (yellowed, "colour cast"),
        (smudged, "partly covered"),
    ],
)
def test_what_is_wrong_is_called_by_its_name(fit: Any, later: Any, corrupt: Any, name: str) -> None:
    assert first_cause(fit, later, corrupt).name == name


def test_a_smudge_is_found_where_it_is(fit: Any, later: Any) -> None:
    cells = set(first_cause(fit, later, smudged).cells)
    assert cells
    assert cells <= {(2, 3), (2, 4), (3, 3), (3, 4)}


def test_sudden_fouling_is_noticed_within_two_images(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:20])
    _, scores = run(fit, [blurred(picture) for picture in later[20:22]], state)
    assert max(scores) > fit.threshold.drift


@pytest.mark.slow
def test_what_grows_too_slowly_to_raise_drift_still_raises_the_slow_score(fit: Any) -> None:
    pictures = frames(900)[300:]
    chart, state, slow = fit.chart, fit.chart.start(), []
    for i, picture in enumerate(pictures):
        faded = (picture * (1 - 0.25 * i / len(pictures))).astype(np.uint8)
        state = chart.update(state, measure(view(faded)))
        slow.append(chart.slow_score(state))
    assert slow[-1] > fit.slow.drift


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda pictures: [pictures[0]] * 8, "frozen"),
        (lambda pictures: [np.zeros_like(p) for p in pictures], "black"),
        (lambda pictures: [np.full_like(p, 255) for p in pictures], "burnt out"),
        (lambda pictures: [np.roll(p, (6, 14), (0, 1)) for p in pictures], "camera moved"),
    ],
)
def test_what_is_plainly_wrong_is_named_as_such(
    fit: Any, later: Any, spoil: Any, name: str
) -> None:
    state, _ = run(fit, later[:20])
    state, _ = run(fit, spoil(later[20:28]), state)
    found = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    assert found[0].name == name


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "name", ["rotated", "zoomed", "mirrored", "upside down", "shifted", "pillar boxes", "damaged"]
)
def test_a_moved_camera_and_a_damaged_picture_have_one_cause(
    fit: Any, later: Any, name: str, seed: int
) -> None:
    state, _ = run(fit, later[:20])
    state, scores = run(fit, [fault(name, seed)(p, 3) for p in later[20:28]], state)
    assert scores[-1] > fit.threshold.drift
    (only,) = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    assert only.name in FAULTS[name].causes


@pytest.mark.parametrize("severity", [3, 5])
def test_growth_is_called_covered_and_a_colour_cast(fit: Any, later: Any, severity: float) -> None:
    spoil = fault("algae", 1)
    state, _ = run(fit, later[:20])
    state, _ = run(fit, [spoil(p, severity) for p in later[20:28]], state)
    found = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    assert [cause.name for cause in found[:2]] == ["covered", "colour cast"]
    assert len(found[0].cells) >= 8


@pytest.mark.parametrize(
    ("kind", "severity", "name"),
    [
        ("film", 3, "partly covered"),  # it blurs what is behind it, and nothing else
        ("defocus", 3, "blurred"),
        ("fog", 5, "less contrast"),  # its clouds have a structure of their own
        ("darker", 5, "darker"),
    ],
)
def test_a_fault_of_the_whole_picture_shows_in_all_cells(
    fit: Any, later: Any, kind: str, severity: float, name: str
) -> None:
    spoil = fault(kind, 1)
    assert first_cause(fit, later, lambda p: spoil(p, severity)).name == name


def test_nothing_is_plainly_wrong_with_clean_footage(fit: Any, later: Any) -> None:
    state = fit.chart.start()
    for picture in later:
        state = fit.chart.update(state, measure(view(picture)))
        watch = fit.chart.watch
        assert not watch.frozen(state.scene)
        assert not watch.moved(state.scene)
        assert not watch.black(state.scene)
        assert not watch.burnt_out(state.scene)


def test_a_picture_in_alarm_that_comes_again_is_frozen(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:20])
    state, _ = run(fit, [blurred(p) for p in later[20:24]], state)
    again, _ = run(fit, [blurred(later[23])], state)
    other, _ = run(fit, [blurred(later[24])], state)
    names = [
        causes(fit.chart, s, fit.threshold.drift, fit.slow.drift)[0].name for s in (again, other)
    ]
    assert names == ["frozen", "blurred"]


def test_pictures_that_are_usually_shown_twice_are_not_frozen() -> None:
    thumbs = np.repeat(np.random.default_rng(3).integers(60, 180, (50, 64, 80)), 2, axis=0)
    watch = SceneWatch.fit(thumbs[0].astype(np.uint8), thumbs.astype(np.uint8))
    state = SceneState()
    for thumb in thumbs[:2].astype(np.uint8):
        state = watch.update(state, watch.look(thumb))
    assert state.same == 1
    assert not watch.repeated(state)


def test_light_that_saturates_a_part_is_no_growth(fit: Any, later: Any) -> None:
    assert first_cause(fit, later, lambda p: fault("brightness", 1)(p, 5)).name == "brighter"


def test_a_quiet_scene_is_frozen_only_when_its_pictures_are_exactly_the_same() -> None:
    rng = np.random.default_rng(3)
    thumbs = rng.integers(60, 180, (200, 64, 80)).astype(np.uint8)
    for start in range(0, 200, 10):  # four in ten hardly change
        thumbs[start : start + 5] = thumbs[start]
        thumbs[start : start + 5, 0, 0] = range(5)
    watch = SceneWatch.fit(thumbs[0], thumbs)
    still = state = SceneState()
    for k in range(6):
        nearly = thumbs[0].copy()
        nearly[0, 0] = k
        still = watch.update(still, watch.look(nearly))
        state = watch.update(state, watch.look(thumbs[0]))
    assert not watch.frozen(still)
    assert watch.frozen(state)


@pytest.mark.parametrize("n", [60, 700])  # fewer and more than there are cells and channels
def test_the_modes_are_the_principal_components(n: int) -> None:
    rng = np.random.default_rng(n)
    cells = rng.normal(0, 3, (n, 7, 8, 10)).astype(np.float32)
    common = rng.normal(0, 30, (n, 3)) @ rng.normal(0, 1, (3, 560))
    cells += common.reshape(cells.shape)
    scales = Scales.fit(cells, folds_of(n))
    flat = scales.deviations(cells).reshape(n, -1)
    _, expected = linalg.eigh(flat.T @ flat, subset_by_index=(554, 559))
    assert scales.modes.shape == (6, 560)
    assert np.allclose(scales.modes.T @ scales.modes, expected @ expected.T, rtol=0, atol=1e-9)


def test_a_scene_that_never_changes_has_no_modes() -> None:
    cells = np.full((80, 7, *GRID), 5.0, np.float32)
    scales = Scales.fit(cells, folds_of(80))
    assert scales.modes.shape == (0, 560)
    dirty = cells[:12] - np.eye(7, dtype=np.float32)[0][:, None, None] * 9
    assert scales.residuals(dirty)[:, 0].max() < -3


def test_light_that_changes_many_cells_together_hides_no_dirt() -> None:
    """A lamp that lights one side of the scene at times is a mode; dirt on a lit cell is not."""
    rng = np.random.default_rng(5)
    lamp = np.zeros((7, *GRID))
    lamp[0, :, :5] = np.linspace(20, 40, 5)
    lit = np.repeat(rng.uniform(0, 1, 20), 20)[:, None, None, None]
    cells = np.zeros((400, 8, *GRID), np.float32)
    cells[:, :7] = 100 + lit * lamp + rng.normal(0, 0.5, (400, 7, *GRID))
    scales = Scales.fit(cells[:, :7], folds_of(400))
    dirty = cells[-12:].copy()
    dirty[:, 0, 2, 2] -= 12
    assert abs(scales.deviations(dirty)[:, 0, 2, 2].mean()) < 2
    assert scales.residuals(dirty)[:, 0, 2, 2].mean() < -3
    assert np.abs(scales.residuals(cells)).mean() < 1


@pytest.fixture(scope="module")
def nights() -> tuple[Any, ...]:
    """Pictures of several days and nights; the light falls to a third."""
    gain = 0.65 + 0.35 * np.cos(np.arange(480) * 2 * np.pi / 60)
    days = [(p * g).astype(np.uint8) for p, g in zip(frames(480), gain, strict=True)]
    return fit_chart(measure_all(days[:400]), ert=240), days[400:]


@pytest.mark.parametrize("hour", [20, 50])  # in the dark, and in full daylight
@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda p: np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(2))), "blurred"),
        (lambda p: smudged(p), "partly covered"),
    ],
)
def test_a_fault_has_its_own_name_by_day_and_by_night(
    nights: Any, hour: int, spoil: Any, name: str
) -> None:
    fit, later = nights
    state, _ = run(fit, later[hour - 20 : hour])
    state, scores = run(fit, [spoil(p) for p in later[hour : hour + 14]], state)
    assert scores[-1] > fit.threshold.drift
    assert causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)[0].name == name


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (lambda p: p * 0.7, "darker"),
        (lambda p: np.clip(p + 25.0, 0, 255), "brighter"),
        (lambda p: 0.6 * p + 0.4 * p.mean(), "less contrast"),
        (lambda p: Image.fromarray(p).filter(ImageFilter.GaussianBlur(1.5)), "blurred"),
        (lambda p: p + np.random.default_rng(1).normal(0, 10, p.shape), "noisier"),
        (lambda p: p * np.array([0.9, 1.0, 1.15]), "colour cast"),
    ],
)
def test_a_signature_is_what_its_fault_does_to_a_picture(fault: Any, name: str) -> None:
    clean = frames(1)[0]
    spoilt = np.clip(np.asarray(fault(clean), np.float64), 0, 255).astype(np.uint8)
    before, after = (measure(view(p)).cells.astype(np.float64) for p in (clean, spoilt))
    unit = np.array([8, 0.3, 0.3, 0.3, 3, 3, 0.15])[:, None, None]  # of each channel's scatter
    seen = ((after - before) / unit).ravel()
    best: dict[str, float] = {}
    for other, change in signatures(before):
        sized = (change / unit).ravel()
        cosine = float(seen @ sized / np.linalg.norm(seen) / np.linalg.norm(sized))
        best[other] = max(best.get(other, -1), cosine)
    assert max(best, key=best.__getitem__) == name
    assert best[name] > 0.8


def test_the_map_shows_where_the_picture_deviates(fit: Any, later: Any) -> None:
    state, _ = run(fit, [smudged(picture) for picture in later[:20]])
    deviations = deviation_map(fit.chart, state)
    assert deviations.shape == (4, 5)
    assert deviations[2:, 3:].min() > 2
    assert np.median(deviations) < 1.5


def test_a_chart_survives_json(fit: Any) -> None:
    chart = LensChart.from_json(fit.chart.to_json())
    assert chart.digest == fit.chart.digest
    np.testing.assert_array_equal(chart.spread, fit.chart.spread)


def test_a_tampered_chart_is_refused(fit: Any) -> None:
    document = fit.chart.to_json() | {"digest": "0" * 16}
    with pytest.raises(ArtefactError, match="calibrate again"):
        LensChart.from_json(document)
    with pytest.raises(ArtefactError, match="cannot be read"):
        LensChart.from_json({"arrays": "AAAA", "digest": ""})


def test_a_state_survives_bytes_and_goes_on_alike(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:30])
    copy = ChartState.from_bytes(state.to_bytes())
    assert run(fit, later[30:40], copy)[1] == run(fit, later[30:40], state)[1]


def test_a_state_stays_small(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:30])
    assert len(state.to_bytes()) < 48 * 1024


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_a_damaged_state_is_refused(fit: Any, later: Any, keep: int) -> None:
    data = run(fit, later[:13])[0].to_bytes()[:keep]
    with pytest.raises(StoreError, match="lenswatch reset"):
        ChartState.from_bytes(data)


def test_a_state_of_another_chart_is_begun_anew(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:30])
    other = dataclasses.replace(fit.chart, centre=fit.chart.centre + 1)
    assert len(other.update(state, measure(view(later[30]))).cells) == 1


def test_a_picture_does_not_change_the_state_it_is_added_to(fit: Any, later: Any) -> None:
    state, _ = run(fit, later[:13])
    before = state.to_bytes()
    fit.chart.update(state, measure(view(later[13])))
    assert state.to_bytes() == before


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(InputError, match=f"give {FEWEST}"):
        fit_chart(measure_all(frames(FEWEST - 1)), ert=240)


@pytest.mark.slow
def test_little_footage_gives_a_provisional_threshold() -> None:
    assert not fit_chart(measure_all(frames(FEWEST)), ert=240).threshold.calibrated


@pytest.mark.slow
def test_fitting_and_judging_are_quick(fit: Any, later: Any) -> None:
    clean = measure_all(frames(100))
    started = time.thread_time()  # of the processor: other programs do not count
    fit_chart(clean, ert=240)
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    "pixels", [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((10, 10, 4), np.uint8)]
)
def test_what_is_no_rgb_picture_is_refused(pixels: Any) -> None:
    with pytest.raises(InputError, match="RGB"):
        view(pixels)


def test_a_chart_that_was_prepared_has_the_same_states(fit: Any, later: Any) -> None:
    plain, ahead = (dataclasses.replace(fit.chart) for _ in range(2))
    one, other = plain.start(), ahead.start()
    pictures = [measure(view(each)) for each in (*later[:14], *map(blurred, later[14:18]))]
    for number, measured in enumerate(pictures):
        ahead.prepare(
            pictures[(number * 7) % len(pictures)]
        )  # another stream's, now and then its own
        if number % 3:
            ahead.prepare(measured)
        one, other = plain.update(one, measured), ahead.update(other, measured)
        assert other.to_bytes() == one.to_bytes()
    assert pickle.loads(pickle.dumps(ahead)).digest == ahead.digest
