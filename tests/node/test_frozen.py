"""A frozen camera is a warning, or drift if a setting says so."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from conftest import Camera
from lenswatch.config import AlarmConfig, Config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request


@pytest.mark.parametrize("frozen", ["warning", "drift"])
def test_a_frozen_camera_is_what_the_setting_says(
    trained: Config, camera: Camera, frozen: Literal["warning", "drift"]
) -> None:
    alarm = AlarmConfig(frozen=frozen)
    node = Node(dataclasses.replace(trained, alarm=alarm))
    answers = [node.observe(camera(60), Request(stream="reef")) for _ in range(4)]
    last = answers[-1]
    assert last["causes"][0]["name"] == "frozen"
    assert last["warning"] is True
    assert last["drift"] is (frozen == "drift" or last["score"] > last["drift_score"])
    assert answers[0]["drift"] is False
    assert last["alarm"] is last["drift"]


def test_a_picture_in_alarm_that_comes_again_is_named_frozen_and_no_drift_by_that(
    trained: Config, camera: Camera
) -> None:
    alarm = AlarmConfig(verdict="mmd", frozen="drift")
    node = Node(dataclasses.replace(trained, alarm=alarm))
    picture = camera(60, blurred=True)
    answers = [node.observe(picture, Request(stream="reef")) for _ in range(2)]
    assert [answer["causes"][0]["name"] for answer in answers] == ["blurred", "frozen"]
    assert not any(answer["drift"] for answer in answers)
