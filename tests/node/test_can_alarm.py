"""An answer says whether a picture of the stream can be called drift at all."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Camera
from lenswatch.config import AlarmConfig, Config, DetectorConfig
from lenswatch.detect.notes import ALL_EXCLUDED, NO_THRESHOLDS
from lenswatch.detect.thresholds import Threshold
from lenswatch.detect.verdict import VOTING, Rule, Statistic, combine
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration_file import Calibration, load_calibration, save_calibration
from lenswatch.node.observe import Node
from lenswatch.node.recalibrate import take_up
from lenswatch.node.request import Request
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.artefact import load_reference, save_reference
from lenswatch.reference.paths import calibration_folder, current_digest
from support.second_camera import write_frames

Thresholds = Mapping[str, Threshold]


def with_thresholds(config: Config, change: Callable[[Thresholds], Thresholds]) -> Config:
    """Replace the thresholds of the default stream."""
    folder, digest = calibration_folder(config.storage_path), current_digest(config.storage_path)
    assert digest
    found = load_calibration(folder, digest, "default")
    assert found
    save_calibration(
        folder, "default", dataclasses.replace(found, thresholds=change(found.thresholds))
    )
    return config


def excluded(thresholds: Thresholds) -> Thresholds:
    return {
        name: dataclasses.replace(each, votes=False, reach=each.drift / 2)
        for name, each in thresholds.items()
    }


def without_chart(thresholds: Thresholds) -> Thresholds:
    return {"mmd": thresholds["mmd"]}


def answer_of(config: Config, camera: Camera, **request: Any) -> dict[str, Any]:
    return Node(config).observe(camera(60), Request(**request))


def test_a_calibrated_stream_can_alarm(tracked: Config, camera: Camera) -> None:
    node = Node(tracked)
    assert node.observe(camera(60), Request())["can_alarm"] is True
    (row,) = OutboxRows(node.store).due(10)
    assert row.job["parameters"]["can_alarm"] is True


def test_when_every_statistic_is_excluded_nothing_can_alarm(
    trained: Config, camera: Camera
) -> None:
    answer = answer_of(with_thresholds(trained, excluded), camera)
    assert answer["can_alarm"] is False
    assert ALL_EXCLUDED in answer["calibration_notes"]


def test_without_thresholds_nothing_can_alarm(trained: Config, camera: Camera) -> None:
    answer = answer_of(with_thresholds(trained, lambda _: {}), camera)
    assert answer["can_alarm"] is False
    assert answer["calibration_notes"] == [NO_THRESHOLDS]


def test_a_verdict_of_a_chart_that_does_not_exist_cannot_alarm(
    trained: Config, camera: Camera
) -> None:
    config = dataclasses.replace(trained, alarm=AlarmConfig(verdict="chart"))
    assert answer_of(config, camera)["can_alarm"] is True
    answer = answer_of(with_thresholds(config, without_chart), camera)
    assert answer["can_alarm"] is False
    assert NO_THRESHOLDS in answer["calibration_notes"]


def test_a_fixed_distance_can_alarm_without_thresholds(trained: Config, camera: Camera) -> None:
    shutil.rmtree(calibration_folder(trained.storage_path))
    fixed = dataclasses.replace(trained, alarm=AlarmConfig(drift_distance=0.3))
    assert answer_of(fixed, camera)["can_alarm"] is True
    assert answer_of(trained, camera, drift_distance=0.3)["can_alarm"] is True


@pytest.mark.parametrize("rule", VOTING)
@given(
    value=st.floats(0, 1e6), votes=st.sets(st.sampled_from(["mmd", "chart"])), there=st.booleans()
)
def test_a_stream_that_cannot_alarm_has_no_drift_at_any_value(
    rule: Rule, value: float, votes: set[str], there: bool
) -> None:
    calibration = Calibration("ab", {name: threshold(name in votes) for name in _named(there)})
    mmd, chart = (
        Statistic.of(value, calibration.thresholds.get(name)) for name in ("mmd", "chart")
    )
    drift = combine(rule, mmd, chart).drift
    assert drift == (calibration.can_alarm(VOTING[rule]) and value > 1.0)


def _named(there: bool) -> list[str]:
    return ["mmd", "chart"] if there else ["mmd"]


def threshold(votes: bool) -> Threshold:
    """Thresholds of 1, whatever they were found from."""
    numbers: dict[str, Any] = {
        each.name: 0 for each in dataclasses.fields(Threshold) if each.name not in ("notes",)
    }
    return Threshold(
        **{**numbers, "drift": 1.0, "warning": 1.0, "votes": votes, "tail": "additive"}
    )


def test_a_stream_whose_thresholds_belong_to_another_reference_cannot_alarm(
    trained: Config, camera: Camera, tmp_path: Path
) -> None:
    before = load_reference(trained.storage_path)
    files = write_frames(tmp_path / "clean", [f"{i:03}.jpg" for i in range(30)])
    calibrate_stream(trained, before, "reef", files)
    for file in files:
        file.unlink()
    moved = dataclasses.replace(before, sigma=before.sigma * 1.01)
    take_up(trained, save_reference(trained.storage_path, moved, {}, make_current=False))
    answer = answer_of(trained, camera, stream="reef")
    assert answer["can_alarm"] is False
    assert answer["calibration_notes"][0].startswith("Not calibrated under this reference, since ")
    assert answer_of(trained, camera, stream="pier")["can_alarm"] is True


def test_nothing_can_alarm_before_a_window_without_warm_start_is_full(
    trained: Config, camera: Camera
) -> None:
    alarm, cold = AlarmConfig(verdict="mmd"), DetectorConfig(warm_start=False)
    node = Node(dataclasses.replace(trained, alarm=alarm, detector=cold))
    calibrate_stream(node.config, node.reference)
    answers = [node.observe(camera(i), Request()) for i in range(60, 73)]
    assert [answer["can_alarm"] for answer in answers] == [False] * 11 + [True] * 2
    assert "The window holds 3 of 12 pictures; until it is full" in str(answers[2])
    assert "The window holds" not in str(answers[12])


def test_a_warm_started_window_where_the_distance_decides_is_said_to_rise_late(
    trained: Config, camera: Camera
) -> None:
    node = Node(dataclasses.replace(trained, alarm=AlarmConfig(verdict="mmd")))
    calibrate_stream(node.config, node.reference)
    answer = node.observe(camera(60), Request())
    assert answer["can_alarm"]
    assert "rises late" in answer["calibration_notes"][-1]


def test_a_fixed_distance_beyond_all_distances_cannot_alarm(
    trained: Config, camera: Camera
) -> None:
    answer = Node(trained).observe(camera(60), Request(drift_distance=100))
    assert not answer["can_alarm"]
    assert "no picture is called drift with a drift distance of 100" in str(answer)
