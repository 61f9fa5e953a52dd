"""A raised alarm stays until pictures that were judged have ended it."""

from __future__ import annotations

import dataclasses
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.clock import Newest
from lenswatch.node.observe import Node
from lenswatch.node.recalibrate import alarm_lines, take_up
from lenswatch.node.request import Request
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference, load_reference, save_reference
from support.second_camera import write_frames

IN_ALARM = ["stream reef: in alarm; it stays so until clean pictures end it"]
DRIFT = Request(stream="reef", drift_distance=-2.0)  # whatever the picture shows
CLEAN = Request(stream="reef", drift_distance=1.9)


@pytest.fixture
def node(trained: Config, camera: Camera) -> Node:
    """A node whose stream reef is in alarm."""
    node = Node(trained)
    assert node.observe(camera(60), DRIFT)["alarm"] is True
    assert alarm_lines(trained) == IN_ALARM
    return node


def another(config: Config, factor: float = 2.0) -> Reference:
    """Take up another reference, as training does."""
    old = load_reference(config.storage_path)
    wider = dataclasses.replace(old, sigma=old.sigma * factor)
    new = save_reference(config.storage_path, wider, {}, make_current=False)
    take_up(config, new)
    return new


def state(node: Node) -> StreamState:
    stored = node.store.window("reef", node.reference.digest)
    assert stored is not None
    return StreamState.from_bytes(stored)


def test_a_new_reference_does_not_end_it_and_a_full_window_of_clean_pictures_does(
    trained: Config, node: Node, camera: Camera
) -> None:
    node.observe(camera(61), CLEAN)  # the pictures before do not count
    new = another(trained)
    answers = [node.observe(camera(i), CLEAN) for i in range(62, 74)]
    assert {answer["model"] for answer in answers} == {new.model}
    assert [answer["alarm"] for answer in answers] == [True] * 11 + [False]
    assert [answer["window"]["filled"] for answer in answers] == list(range(1, 13))
    assert alarm_lines(trained) == []


def test_it_stays_across_two_references_and_back(
    trained: Config, node: Node, camera: Camera
) -> None:
    old = node.reference
    another(trained, 2)
    assert node.observe(camera(61), CLEAN)["alarm"] is True
    another(trained, 3)
    take_up(trained, old, again=False)
    answer = node.observe(camera(62), CLEAN)
    assert (answer["model"], answer["alarm"]) == (old.model, True)
    assert answer["window"]["filled"] == 1  # not the window of long ago


def test_an_alarm_that_ended_under_a_newer_reference_is_over_under_the_old_one(
    trained: Config, node: Node, camera: Camera
) -> None:
    old = node.reference
    another(trained)
    for i in range(61, 73):
        node.observe(camera(i), CLEAN)
    take_up(trained, old, again=False)
    assert node.observe(camera(73), CLEAN)["alarm"] is False


def test_a_picture_half_way_through_the_old_reference_does_not_end_a_new_alarm(
    trained: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may still judge by the old reference when another one has taken up the new."""
    late = Node(trained)
    before = late._current().fitted_reference()
    late.observe(camera(60), CLEAN)
    another(trained)
    assert Node(trained).observe(camera(61), DRIFT)["alarm"] is True
    with monkeypatch.context() as patched:
        patched.setattr(late._current(), "fitted_reference", lambda: before)
        assert late.observe(camera(62), CLEAN)["model"] == before.reference.model
    assert late.observe(camera(63), CLEAN)["alarm"] is True


def test_new_thresholds_do_not_end_it(
    trained: Config, node: Node, camera: Camera, tmp_path: Path
) -> None:
    files = write_frames(tmp_path / "clean", [f"{i:03}.jpg" for i in range(30)])
    calibrate_stream(trained, node.reference, "reef", files)
    assert node.observe(camera(61), CLEAN)["alarm"] is True


def test_pictures_that_no_threshold_judges_do_not_end_it(
    trained: Config, node: Node, camera: Camera, tmp_path: Path
) -> None:
    files = write_frames(tmp_path / "clean", [f"{i:03}.jpg" for i in range(30)])
    calibrate_stream(trained, node.reference, "reef", files)
    for file in files:
        file.unlink()
    another(trained)
    answers = [node.observe(camera(i), Request(stream="reef")) for i in range(61, 75)]
    assert all(answer["alarm"] for answer in answers)
    assert not any(answer["drift"] or answer["warning"] for answer in answers)


def test_a_reset_ends_it_also_under_a_new_reference(
    trained: Config, node: Node, camera: Camera
) -> None:
    node.reset("reef")
    another(trained)
    assert node.observe(camera(61), CLEAN)["alarm"] is False


def test_the_time_of_the_newest_picture_goes_on(
    trained: Config, node: Node, camera: Camera
) -> None:
    newest = Newest(datetime(2026, 6, 1, 8, 0, tzinfo=UTC))
    put = dataclasses.replace(state(node), newest=newest)
    with node.store.begin() as transaction:
        transaction.put_window("reef", node.reference.digest, put.to_bytes())
    another(trained)
    node.observe(camera(61), dataclasses.replace(CLEAN, captured_at=newest.at))
    kept = state(node).newest
    assert kept is not None
    assert kept.at >= newest.at


def store_bytes(node: Node, digest: str, data: bytes) -> None:
    with node.store.begin() as transaction:
        transaction.delete_windows("reef")
        transaction.put_window("reef", digest, data)


@pytest.mark.parametrize("upgraded", ["with its reference", "with a new reference"])
def test_an_earlier_versions_alarm_is_kept(trained: Config, camera: Camera, upgraded: str) -> None:
    node = Node(trained)
    node.observe(camera(60), CLEAN)
    rows = state(node).window.to_bytes()
    header = struct.pack("<4sBIQ", b"LWS1", True, 0, len(rows))
    store_bytes(node, node.reference.digest, header + rows + b"a chart of that version")
    if upgraded == "with a new reference":
        another(trained)
    answers: list[Any] = [node.observe(camera(i), CLEAN) for i in range(61, 73)]
    assert [answer["alarm"] for answer in answers] == [True] * 11 + [False]


def test_a_damaged_state_of_another_reference_is_one_line_in_the_log(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(trained)
    store_bytes(node, node.reference.digest, b"rubbish")
    another(trained)
    for i in range(60, 63):
        assert node.observe(camera(i), CLEAN)["alarm"] is False
    assert caplog.text.count("stream reef: its state under reference") == 1
    assert alarm_lines(trained) == []


def test_a_stream_whose_state_is_damaged_is_named_when_alarms_are_listed(trained: Config) -> None:
    node = Node(trained)
    store_bytes(node, node.reference.digest, b"rubbish")
    (line,) = alarm_lines(trained)
    assert line.startswith("stream reef: a stream's stored state cannot be read")


def test_without_a_database_no_stream_is_in_alarm(config: Config) -> None:
    assert alarm_lines(config) == []
    assert not config.storage_path.exists()


def test_a_stream_whose_state_is_damaged_starts_anew_and_says_so(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(trained)
    node.observe(camera(60), Request(stream="reef"))
    with node.store.begin() as transaction:
        transaction.put_window("reef", node.reference.digest, b"damaged")
    first = node.observe(camera(61), Request(stream="reef"))
    assert first["window"]["filled"] == 1
    assert any("an alarm is forgotten" in note for note in first["calibration_notes"])
    assert sum("its window starts anew" in message for message in caplog.messages) == 1
    second = node.observe(camera(62), Request(stream="reef"))
    assert second["window"]["filled"] == 2
    assert not any("forgotten" in note for note in second["calibration_notes"])
