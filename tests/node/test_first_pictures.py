"""Verdicts before a stream's window is full, and of cameras that take few pictures."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Camera, camera_pixels, jpeg
from lenswatch.config import AlarmConfig, Config, DetectorConfig
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.training import build_reference, find_pictures

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def observed(node: Node, pictures: list[bytes], stream: str = "reef") -> list[dict[str, Any]]:
    return [node.observe(picture, Request(stream=stream)) for picture in pictures]


def daily(config: Config, days: int) -> Config:
    """Train on one picture a day, dated by its name."""
    folder = config.image_folder / "clean"
    folder.mkdir(parents=True)
    for day in range(days):
        name = f"{NOON + timedelta(days=day):%Y%m%d-%H%M%S}.jpg"
        (folder / name).write_bytes(jpeg(camera_pixels(day)))
    pictures = find_pictures(config.image_folder, config.camera_state.clean)
    calibrate_stream(config, build_reference(config, pictures))
    return config


def test_a_fouled_lens_is_drift_at_the_first_picture(trained: Config, camera: Camera) -> None:
    (answer,) = observed(Node(trained), [camera(70, blurred=True)])
    assert answer["drift"]
    assert answer["alarm"]
    assert answer["window"]["filled"] == 1
    assert answer["score"] > answer["drift_score"]
    assert answer["causes"][0]["name"] == "blurred"


def test_a_clean_lens_is_clean_from_the_first_picture_on(trained: Config, camera: Camera) -> None:
    answers = observed(Node(trained), [camera(i) for i in range(60, 75)])
    assert not any(answer["drift"] for answer in answers)
    assert all(0 < answer["score"] <= answer["drift_score"] for answer in answers)
    assert [answer["window"]["filled"] for answer in answers] == [*range(1, 13), 12, 12, 12]


def test_a_reset_does_not_hide_that_the_lens_is_still_fouled(
    trained: Config, camera: Camera
) -> None:
    node = Node(trained)
    observed(node, [camera(i, blurred=True) for i in range(60, 75)])
    node.reset("reef")
    assert observed(node, [camera(75, blurred=True)])[0]["drift"]


def test_a_score_and_a_distance_that_do_not_exist_are_null(trained: Config, camera: Camera) -> None:
    cold = dataclasses.replace(
        trained, alarm=AlarmConfig(verdict="mmd"), detector=DetectorConfig(warm_start=False)
    )
    node = Node(cold)
    calibrate_stream(cold, node.reference)
    answers = observed(node, [camera(i) for i in range(60, 72)])
    assert [answer["score"] for answer in answers] == [None] * 12
    assert [answer["distance"] is None for answer in answers] == [True] * 11 + [False]


@pytest.mark.slow
def test_a_camera_with_one_picture_a_day_is_judged_picture_by_picture(
    config: Config, camera: Camera
) -> None:
    node = Node(daily(config, 10))
    clean = observed(node, [camera(i) for i in range(10, 16)])
    assert not any(answer["drift"] for answer in clean)
    (fouled,) = observed(node, [camera(16, blurred=True)])
    assert fouled["drift"]
    after = observed(node, [camera(i) for i in range(17, 20)])
    assert not any(answer["drift"] for answer in after)
    assert [answer["alarm"] for answer in after] == [True, True, False]


@pytest.mark.slow
def test_the_notes_of_few_pictures_say_over_what_time_they_were_taken(
    config: Config, camera: Camera
) -> None:
    (answer,) = observed(Node(daily(config, 12)), [camera(12)])
    assert not answer["calibrated"]
    assert "from 12 clean pictures over 11 days" in answer["calibration_notes"][0]
