"""The lens chart on real frames: vtest.avi of Debian's package opencv-doc, taken out with ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lenswatch.detect.chart.causes import causes
from lenswatch.detect.chart.features import measure, measure_all, view
from lenswatch.detect.chart.fitting import fit_chart
from lenswatch.detect.thresholds import decluster
from lenswatch.evaluate.corruptions import corruption, smudge_mask
from support.lens_footage import run

VIDEO = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
MISSING = not VIDEO.is_file() or shutil.which("ffmpeg") is None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        MISSING, reason="needs vtest.avi and ffmpeg: apt-get install opencv-doc ffmpeg"
    ),
]

FITTED, START = 391, 500


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("vtest")
    command = ["ffmpeg", "-loglevel", "error", "-i", str(VIDEO), "-vf", "scale=384:288"]
    subprocess.run([*command, "-q:v", "3", str(folder / "%05d.jpg")], check=True)
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.jpg"))]


@pytest.fixture(scope="module")
def fit(footage: Any) -> Any:
    return fit_chart(measure_all(footage[:FITTED]), ert=240)


def spoilt(fit: Any, footage: Any, spoil: Any) -> tuple[Any, ...]:
    """Causes after 20 clean and 20 spoilt frames, and how many frames it took to drift."""
    state, _ = run(fit, footage[START - 20 : START])
    state, scores = run(fit, [spoil(picture) for picture in footage[START : START + 20]], state)
    delay = int(np.argmax(np.array(scores) > fit.threshold.drift)) + 1
    return causes(fit.chart, state, fit.threshold.drift, fit.slow.drift), delay


@pytest.mark.slow
def test_clean_footage_stays_under_the_false_alarms_asked_for(fit: Any, footage: Any) -> None:
    _, scores = run(fit, footage[FITTED + 12 :])
    assert len(decluster(scores, fit.threshold.drift)) <= 0.008 * len(scores)


@pytest.mark.slow
def test_clean_starts_raise_no_alarm_and_a_severe_fault_is_seen_at_once(
    fit: Any, footage: Any
) -> None:
    clean = footage[FITTED + 12 :]
    measured = measure_all(clean)
    for start in range(0, len(clean) - 11, 16):
        state, scores = fit.chart.start(), []
        for i in range(start, start + 11):
            state = fit.chart.update(state, measured[i])
            scores.append(fit.chart.score(state))
        assert max(scores) <= fit.threshold.drift, f"clean start at {start}"
    for name in ("motion blur", "brightness", "defocus", "fog", "gaussian noise"):
        _, scores = run(fit, [corruption(name, 1)(clean[0], 3)])
        assert scores[0] > fit.threshold.drift, name


@pytest.mark.parametrize(
    ("name", "severity", "cause"),
    [
        ("motion blur", 3, "blurred"),
        ("defocus", 1, "blurred"),
        ("gaussian noise", 1, "noisier"),
        ("brightness", 2, "brighter"),
        ("fog", 2, "less contrast"),
        ("pixelate", 2, "blurred"),
    ],
)
def test_a_corruption_is_called_by_its_name_at_once(
    fit: Any, footage: Any, name: str, severity: int, cause: str
) -> None:
    found, delay = spoilt(fit, footage, lambda p: corruption(name, 1)(p, severity))
    assert found[0].name == cause
    assert delay <= 2


def test_a_dark_frame_is_called_darker(fit: Any, footage: Any) -> None:
    found, delay = spoilt(fit, footage, lambda p: (p * 0.6).astype(np.uint8))
    assert found[0].name == "darker"
    assert delay <= 2


@pytest.mark.slow
def test_most_smudges_are_found_and_those_in_the_right_cells(fit: Any, footage: Any) -> None:
    found = 0
    for seed in range(8):
        mask = smudge_mask(np.random.default_rng(seed), footage[0].shape[:2], 0.09)
        dirt = 0.45 * mask[..., None]
        what, _ = spoilt(fit, footage, lambda p, d=dirt: (p - d * (p - 95.0)).astype(np.uint8))
        covered = mask[:288, :380].reshape(4, 72, 5, 76).mean(axis=(1, 3))
        cells = {cause.name: cause.cells for cause in what}.get("partly covered", ())
        assert all(covered[cell] > 0.1 for cell in cells)
        found += bool(cells)
    assert found >= 6


def test_a_blue_filter_is_called_a_colour_cast(fit: Any, footage: Any) -> None:
    blue = np.array([0.85, 1.0, 1.2])
    found, delay = spoilt(fit, footage, lambda p: np.clip(p * blue, 0, 255).astype(np.uint8))
    assert found[0].name == "colour cast"
    assert delay <= 2


@pytest.mark.parametrize("shift", [(0, 16), (10, -24), (0, 48)])
def test_a_shifted_camera_is_called_moved(fit: Any, footage: Any, shift: tuple[Any, ...]) -> None:
    found, _ = spoilt(fit, footage, lambda p: np.roll(p, shift, (0, 1)))
    assert found[0].name == "camera moved"


def test_a_frozen_camera_is_called_frozen(fit: Any, footage: Any) -> None:
    state, _ = run(fit, footage[START - 20 : START])
    state, _ = run(fit, [footage[START]] * 4, state)
    found = causes(fit.chart, state, fit.threshold.drift, fit.slow.drift)
    assert found[0].name == "frozen"


@pytest.mark.slow
def test_nothing_plain_is_seen_on_clean_footage(fit: Any, footage: Any) -> None:
    state, watch = fit.chart.start(), fit.chart.watch
    for picture in footage[FITTED + 12 :]:
        state = fit.chart.update(state, measure(view(picture)))
        seen = watch.frozen(state.scene), watch.moved(state.scene), watch.black(state.scene)
        assert not any(seen)
