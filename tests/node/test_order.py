"""Pictures in the order of their time: late ones, wrong clocks, names and zones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from conftest import Camera, camera_pixels, jpeg
from lenswatch.config import CameraConfig, Config
from lenswatch.errors import InputError
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.node.stream import StreamState
from lenswatch.outbox.rows import OutboxRows

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
DETAIL = ExifTags.IFD.Exif


class Clock:
    """The node's clock, which tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(tracked: Config, clock: Clock) -> Iterator[Node]:
    """A node in UTC, whose clock the test sets."""
    yield from node_in("UTC", tracked, clock)


def node_in(zone: str, config: Config, clock: Clock) -> Iterator[Node]:
    store = NodeStore(config.storage_path / "node.db", clock=clock)
    yield Node(dataclasses.replace(config, camera=CameraConfig(timezone=zone)), store)
    store.close()


def with_exif(i: int, text: str, *, blurred: bool = False) -> bytes:
    """Return frame `i` with a time of capture that has no offset."""
    exif = Image.Exif()
    exif.get_ifd(DETAIL)[0x9003] = text
    return jpeg(camera_pixels(i, blurred=blurred), exif=exif)


def state_of(node: Node, stream: str = "default") -> StreamState:
    state = node.store.window(stream, node.reference.digest)
    assert state is not None
    return StreamState.from_bytes(state)


def verdicts(answer: dict[str, Any]) -> dict[str, Any]:
    """Return all of an answer but what names the call."""
    return {key: value for key, value in answer.items() if key not in ("event_id", "stream")}


@pytest.mark.slow
def test_pictures_of_yesterday_do_not_raise_todays_alarm(node: Node, camera: Camera) -> None:
    """A memory card is read out late: it holds pictures from before the lens was cleaned."""
    for i in range(13):
        node.observe(camera(60 + i), Request(captured_at=NOW - (13 - i) * MINUTE))
    before = node.store.window("default", node.reference.digest)
    for i in range(12):
        taken = NOW - DAY + i * MINUTE
        late = node.observe(camera(73 + i, blurred=True), Request(captured_at=taken))
        assert late["late"] is True
        assert late["window"]["filled"] == 1
        assert late["alarm"] is False
    assert node.store.window("default", node.reference.digest) == before
    live = [
        node.observe(camera(85 + i), Request(captured_at=NOW + timedelta(seconds=i)))
        for i in range(24)
    ]
    assert [answer["drift"] or answer["alarm"] or answer["late"] for answer in live] == [False] * 24


def test_a_late_picture_carries_the_alarm_of_now(node: Node, camera: Camera) -> None:
    assert node.observe(camera(60), Request(captured_at=NOW, drift_distance=-2.0))["alarm"]
    late = node.observe(camera(61), Request(captured_at=NOW - DAY, drift_distance=2.0))
    assert (late["late"], late["drift"], late["alarm"]) == (True, False, True)
    other = node.observe(camera(61), Request(captured_at=NOW - DAY, stream="other"))
    assert (other["late"], other["alarm"]) == (False, False)


def test_the_drift_job_says_what_the_answer_says_of_time(node: Node, camera: Camera) -> None:
    answers = [
        node.observe(camera(60), Request(captured_at=NOW)),
        node.observe(camera(61), Request(captured_at=NOW - DAY)),
        node.observe(camera(62), Request(captured_at=datetime(2000, 1, 1, tzinfo=UTC))),
    ]
    sent = [row.job["parameters"] for row in OutboxRows(node.store).due(9)]
    for name in ("captured_at", "late", "camera_time", "causes", "warning"):
        assert [job.get(name) for job in sent] == [answer.get(name) for answer in answers]
    assert [job["late"] for job in sent] == [False, True, False]


def test_a_camera_that_starts_at_2000_is_ordered_by_arrival_and_its_clock_is_named(
    node: Node, clock: Clock, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(3):
        clock.now += MINUTE
        node.observe(camera(60 + i), Request())
    caplog.clear()
    for i in range(3):
        clock.now += MINUTE
        answer = node.observe(with_exif(63 + i, f"2000:01:01 00:0{i}:00"), Request())
        assert answer["captured_at"] == f"2026-11-28T12:0{4 + i}:00.000Z"
        assert answer["camera_time"] == f"2000-01-01T00:0{i}:00.000Z"
        assert answer["causes"][-1] == {"name": "camera clock", "strength": 1.0, "cells": []}
        assert (answer["warning"], answer["late"], answer["window"]["filled"]) == (
            True,
            False,
            4 + i,
        )
    said = [line for line in caplog.messages if "clock" in line]
    assert len(said) == 1
    assert "2000-01-01T00:00:00.000Z" in said[0]
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_wrong_clock_does_not_keep_the_alarm_up(node: Node, clock: Clock, camera: Camera) -> None:
    node.observe(camera(60), Request(drift_distance=-2.0))
    for i in range(12):
        clock.now += MINUTE
        frame = with_exif(61 + i, "2000:01:01 00:00:00")
        answer = node.observe(frame, Request(drift_distance=2.0))
        assert answer["warning"] is False  # the caller's rule is the distance alone
        assert answer["causes"][-1]["name"] == "camera clock"
    assert answer["alarm"] is False


def test_the_first_source_that_has_a_time_is_taken(node: Node, camera: Camera) -> None:
    named, exif = "20261127-083036-IPC608_8B64_165.jpg", with_exif(61, "2026:11:28 10:00:00")
    times = [
        node.observe(camera(60), Request(stream="a", image_name=named)),
        node.observe(exif, Request(stream="b", image_name=named)),
        node.observe(exif, Request(stream="c", image_name=named, captured_at=NOW)),
        node.observe(camera(60), Request(stream="d", image_name="frame.jpg")),
    ]
    assert [answer["captured_at"][:16] for answer in times] == [
        *("2026-11-27T08:30", "2026-11-28T10:00", "2026-11-28T12:00", "2026-11-28T12:00"),
    ]


def test_a_stamp_without_offset_is_in_the_cameras_zone(tracked: Config, clock: Clock) -> None:
    (node,) = node_in("Asia/Kathmandu", tracked, clock)
    answer = node.observe(with_exif(60, "2026:11:28 17:00:00"), Request())
    assert answer["captured_at"] == "2026-11-28T11:15:00.000Z"


def test_in_the_repeated_hour_of_autumn_no_picture_is_late(tracked: Config, clock: Clock) -> None:
    (node,) = node_in("Europe/Berlin", tracked, clock)
    found = []
    for step in range(4):  # 2:00, 2:30, and the same again
        clock.now = datetime(2026, 10, 25, tzinfo=UTC) + step * 30 * MINUTE
        text = f"2026:10:25 02:{30 * (step % 2):02}:00"
        found.append(node.observe(with_exif(60 + step, text), Request()))
    assert [answer["late"] for answer in found] == [False] * 4
    assert [answer["captured_at"][11:16] for answer in found] == [
        "00:00",
        "00:30",
        "01:00",
        "01:30",
    ]


def test_after_the_nodes_clock_was_a_month_ahead_pictures_are_not_late(
    node: Node, clock: Clock, camera: Camera
) -> None:
    clock.now = NOW + 30 * DAY
    node.observe(camera(60), Request())
    clock.now = NOW
    assert not node.observe(camera(61), Request())["late"]
    assert not node.observe(camera(62), Request(captured_at=NOW - MINUTE))["late"]
    assert state_of(node).pictures == 3


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00"])
def test_a_time_beyond_the_calendar_is_refused(node: Node, camera: Camera, text: str) -> None:
    with pytest.raises(InputError, match="beyond the years 1 to 9999"):
        node.observe(camera(60), Request(captured_at=datetime.fromisoformat(text)))
    assert node.store.streams() == []
    (job,) = [row.job for row in OutboxRows(node.store).due(9)]
    assert (job["job_status"], job["parameters"]["late"]) == ("Failed", False)


def test_a_picture_at_the_calendars_end_is_one_with_a_wrong_clock(node: Node) -> None:
    answer = node.observe(with_exif(60, "9999:12:31 23:59:59"), Request())
    assert answer["camera_time"] == "9999-12-31T23:59:59.000Z"


def test_workers_at_the_same_time_agree_on_the_newest_picture(node: Node) -> None:
    def observe(i: int) -> dict[str, Any]:
        taken = NOW - (7 * i % 12) * MINUTE
        return node.observe(jpeg(camera_pixels(60 + i)), Request(captured_at=taken))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(observe, range(12)))
    state = state_of(node)
    assert state.newest is not None
    assert state.newest.at == NOW
    assert state.pictures == sum(not answer["late"] for answer in answers)
    sent = [row.job["parameters"] for row in OutboxRows(node.store).due(20)]
    times = [job["captured_at"] for job in sent]
    assert [job["late"] for job in sent] == [
        time < max(times[: i + 1]) for i, time in enumerate(times)
    ]


def test_pictures_without_a_time_are_never_late_to_workers_at_the_same_time(
    trained: Config,
) -> None:
    node = Node(trained)
    with ThreadPoolExecutor(4) as pool:
        frames = [jpeg(camera_pixels(60 + i)) for i in range(12)]
        answers = list(pool.map(lambda frame: node.observe(frame, Request()), frames))
    assert not any(answer["late"] for answer in answers)
    assert state_of(node).pictures == 12


OFFSETS = st.timedeltas(timedelta(days=-3000), timedelta(days=30)) | st.sampled_from(
    [timedelta(0), -MINUTE, -DAY, 20 * DAY]
)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.none() | OFFSETS, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_live_verdicts_are_those_without_the_late_pictures(
    node: Node, clock: Clock, offsets: Any, random: Any
) -> None:
    live = []
    node.reset("all")
    node.reset("alone")
    for i, offset in enumerate(offsets):
        clock.now = NOW + i * MINUTE
        frame = jpeg(camera_pixels(60 + i, blurred=random.random() < 0.5))
        taken = None if offset is None else clock.now + offset
        answer = node.observe(frame, Request("all", captured_at=taken))
        if not answer["late"]:
            live.append((clock.now, frame, taken, answer))
    for now, frame, taken, answer in live:
        clock.now = now
        again = node.observe(frame, Request("alone", captured_at=taken))
        assert verdicts(again) == verdicts(answer)
    assert state_of(node, "alone").to_bytes() == state_of(node, "all").to_bytes()
