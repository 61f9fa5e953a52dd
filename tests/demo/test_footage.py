"""The sample footage: repeatable, lively but the same scene, and a lens that fouls step by step."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from lenswatch.demo import Footage, draw, draw_frame, draw_parallel
from lenswatch.demo.life import meadow, swimmers
from lenswatch.demo.reef import render
from lenswatch.demo.water import Light, veil
from lenswatch.errors import InputError

MORNING = datetime(2026, 6, 1, 8, tzinfo=UTC)
CLEAN = Footage(frames=400, start=MORNING, interval=timedelta(minutes=2), size=(320, 180))
DEGREES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8)


def pixels(picture: Any, *, stamped: bool = False) -> Any:
    """(h, w, 3) float64; without the rows of the time stamp, unless asked for."""
    values = np.asarray(picture, np.float64)
    return values if stamped else values[20:]


def fouled(degree: Any, i: int = 30) -> Any:
    return draw_frame(replace(CLEAN, fouling=(degree, degree)), i)


def change(one: Any, other: Any) -> Any:
    return np.abs(pixels(one) - pixels(other)).mean(axis=2)


@pytest.mark.slow
def test_a_frame_depends_on_nothing_but_the_footage_and_its_number() -> None:
    again = draw_frame(CLEAN, 3)
    for i in (7, 3):
        last = draw_frame(CLEAN, i)
    assert last.tobytes() == again.tobytes()
    assert draw_frame(replace(CLEAN, seed=8), 3).tobytes() != again.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(320, 180), (333, 187)])
def test_frames_have_the_size_that_was_asked_for(size: tuple[Any, ...]) -> None:
    frame = draw_frame(replace(CLEAN, size=size, fouling=(0.4, 0.4)), 0)
    assert (frame.size, frame.mode) == (size, "RGB")


@pytest.mark.slow
def test_stretches_continue_each_other() -> None:
    later = replace(CLEAN, frames=10, start=CLEAN.captured_at(5), first=5)
    assert draw_frame(later, 1).tobytes() == draw_frame(CLEAN, 6).tobytes()


def test_files_are_dated_and_sort_by_time(tmp_path: Path) -> None:
    footage = replace(CLEAN, frames=3, interval=timedelta(hours=9))
    paths = list(draw(footage, tmp_path / "clean"))
    assert [path.name for path in paths] == [
        "20260601T080000Z.jpg",
        "20260601T170000Z.jpg",
        "20260602T020000Z.jpg",
    ]
    assert sorted(paths) == paths
    with Image.open(paths[1]) as picture:
        details = picture.getexif().get_ifd(ExifTags.IFD.Exif)
        assert (picture.format, picture.size) == ("JPEG", (320, 180))
    assert details[ExifTags.Base.DateTimeOriginal] == "2026:06:01 17:00:00"
    assert details[ExifTags.Base.OffsetTimeOriginal] == "+00:00"


def test_a_start_in_another_zone_is_the_same_moment() -> None:
    summer = MORNING.astimezone(timezone(timedelta(hours=2)))
    assert draw_frame(replace(CLEAN, start=summer), 0).tobytes() == draw_frame(CLEAN, 0).tobytes()


def test_paths_come_as_the_files_are_written(tmp_path: Path) -> None:
    paths = draw(replace(CLEAN, frames=3), tmp_path)
    first = next(paths)
    assert list(tmp_path.iterdir()) == [first]


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    footage = replace(CLEAN, frames=14, size=(160, 90), fouling=(0.0, 0.9), first=3)
    alone = {path.name: path.read_bytes() for path in draw(footage, tmp_path / "alone")}
    shared = list(draw_parallel(footage, tmp_path / "shared", processes=2))
    assert {path.name: path.read_bytes() for path in shared} == alone
    assert len(shared) == 14


def test_footage_crosses_a_process_boundary() -> None:
    assert pickle.loads(pickle.dumps(CLEAN)) == CLEAN


def test_every_frame_shows_its_own_time() -> None:
    early, late = draw_frame(CLEAN, 0), draw_frame(CLEAN, 1)
    corner = (slice(0, 14), slice(0, 230))
    assert (np.abs(pixels(early, stamped=True) - pixels(late, stamped=True))[corner] > 60).any()


@pytest.mark.slow
def test_neighbouring_frames_are_more_alike_than_distant_ones() -> None:
    def coarse(i: Any) -> Any:
        return pixels(draw_frame(CLEAN, i).resize((32, 18), Image.Resampling.BOX), stamped=True)

    starts = (0, 60, 120, 180, 240)
    near = np.mean([np.abs(coarse(i) - coarse(i + 1)).mean() for i in starts])
    far = np.mean([np.abs(coarse(i) - coarse(i + 75)).mean() for i in starts])
    assert far > 1.5 * near


def test_clean_frames_are_lively_but_stay_the_same_scene() -> None:
    frames = [draw_frame(CLEAN, i) for i in (0, 90, 180, 270)]
    clean = [change(one, other).mean() for one in frames for other in frames if one is not other]
    dirty = [change(one, draw_frame(replace(CLEAN, fouling=(1, 1)), 0)).mean() for one in frames]
    assert 2.0 < np.mean(clean) < 0.5 * np.mean(dirty)
    grey = [pixels(frame.convert("L")).ravel() for frame in frames]
    assert np.corrcoef(grey).min() > 0.75


def sprites(things: Any, minutes: Any) -> Any:
    scene, noon = render(*CLEAN.size, CLEAN.seed), Light(1.0, 0.0, 1.0, 0.0)
    now = (MORNING + timedelta(minutes=minutes)).timestamp()
    return list(things(scene, noon, CLEAN.seed, now))


def test_fish_are_elsewhere_in_the_next_frame() -> None:
    places = [{corner for _, _, corner, _ in sprites(swimmers, m)} for m in (0, 2, 4, 6)]
    assert all(len(each) >= 5 for each in places)
    assert all(len(one & next_one) <= 1 for one, next_one in pairwise(places))


def test_seagrass_sways_about_its_roots() -> None:
    early, late = sprites(meadow, 0), sprites(meadow, 2)
    assert [corner for _, _, corner, _ in early] == [corner for _, _, corner, _ in late]
    for (_, one, _, _), (_, other, _, _) in zip(early, late, strict=True):
        moved = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).any(axis=(1, 2))
        top, foot = moved[: len(moved) // 2], moved[int(0.9 * len(moved)) :]
        assert top.any()
        assert not foot.any()


def test_distance_takes_the_red_first() -> None:
    scene = render(*CLEAN.size, CLEAN.seed)
    near, far = (np.array(veil(scene, 0.0, metres, 0.5)).reshape(4, 256) for metres in (1.0, 8.0))
    contrast_left = (far[:3, 200] - far[:3, 0]) / (near[:3, 200] - near[:3, 0])
    assert contrast_left[0] < 0.7 * contrast_left[1]
    assert (contrast_left < 1.0).all()


def blocks(picture: Any, size: Any) -> Any:
    """The grey picture below the stamp, cut into squares: (rows, size, columns, size)."""
    grey = np.asarray(picture.convert("L"), np.float64)[20:]
    return grey.reshape(160 // size, size, 320 // size, size)


def contrast_and_sharpness(degree: Any) -> tuple[Any, ...]:
    """Deviation within squares of 16 pixels, and the mean step between squares of 4 pixels."""
    frames = [fouled(degree, i) for i in (10, 100, 250)]
    contrast = np.mean([blocks(frame, 16).std((1, 3)).mean() for frame in frames])
    steps = [np.diff(blocks(frame, 4).mean((1, 3)), axis=1) for frame in frames]
    return contrast, np.abs(steps).mean()


@pytest.mark.slow
def test_fouling_takes_contrast_and_sharpness_step_by_step() -> None:
    contrast, sharpness = zip(*(contrast_and_sharpness(degree) for degree in DEGREES), strict=True)
    assert np.all(np.diff(contrast) < 0)
    assert np.all(np.diff(sharpness) < 0)
    full_contrast, full_sharpness = contrast_and_sharpness(1.0)
    assert full_contrast < 0.5 * contrast[0]
    assert full_sharpness < 0.6 * sharpness[0]


@pytest.mark.slow
def test_growth_never_goes_back() -> None:
    changes = [change(fouled(0.0), fouled(degree)).mean() for degree in (0.1, *DEGREES[1:], 1.0)]
    assert changes[0] > 0.05
    assert np.all(np.diff(changes) > 0.0)


def test_growth_begins_in_a_corner_and_ends_everywhere() -> None:
    little, much = change(fouled(0.0), fouled(0.15)), change(fouled(0.0), fouled(1.0))
    corner, opposite = (slice(-40, None), slice(0, 60)), (slice(0, 60), slice(-120, None))
    assert little[corner].mean() > 6.0
    assert little[opposite].mean() < 0.2 * little[corner].mean()
    assert much[opposite].mean() > 5.0 > little[opposite].mean()


def test_fouling_runs_from_the_first_to_the_last_frame() -> None:
    footage = replace(CLEAN, frames=5, fouling=(0.2, 0.6))
    assert [footage.fouling_at(i) for i in (0, 2, 4)] == pytest.approx([0.2, 0.4, 0.6])
    assert replace(footage, fouling=lambda i: i / 10).fouling_at(3) == pytest.approx(0.3)


@pytest.mark.slow
def test_without_nights_the_light_changes_but_never_goes() -> None:
    hourly = replace(CLEAN, interval=timedelta(hours=1))
    light = [pixels(draw_frame(hourly, i)).mean() for i in range(0, 24, 2)]
    assert 0.6 * max(light) < min(light) < 0.93 * max(light)


def test_nights_are_dark_but_for_the_lamp() -> None:
    around = replace(CLEAN, interval=timedelta(hours=4), night=True)
    noon, midnight = pixels(draw_frame(around, 1)), pixels(draw_frame(around, 4))
    assert midnight.mean() < 0.5 * noon.mean()
    water, sand = midnight[:30], midnight[-30:, 100:220]
    assert sand.mean() > 2.0 * water.mean()


def test_a_start_without_time_zone_is_refused() -> None:
    with pytest.raises(InputError, match="time zone"):
        Footage(frames=1, start=datetime(2026, 6, 1), interval=timedelta(minutes=1))  # noqa: DTZ001


@pytest.mark.parametrize("wrong", [{"frames": -1}, {"size": (10, 10)}])
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot draw"):
        replace(CLEAN, **wrong)
