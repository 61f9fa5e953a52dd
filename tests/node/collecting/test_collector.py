"""A node that collects clean pictures, trains and goes live by itself."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Camera, camera_pixels, jpeg
from lenswatch.config import CameraConfig, Config
from lenswatch.errors import ArtefactError, ImageError
from lenswatch.node.calibration_file import Calibration, save_calibration
from lenswatch.node.collecting.collection import Collection
from lenswatch.node.collecting.collector import Incoming, keep
from lenswatch.node.collecting.finish import finish_due, is_due
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.store import collections as rows
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.amount import fewest_pictures
from lenswatch.reference.paths import calibration_folder, current_digest, node_database

LEAST = fewest_pictures(Config())
START = datetime(2026, 6, 1, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def collecting(config: Config) -> Config:
    """Settings of a node without a reference that collects for two days."""
    return dataclasses.replace(config, camera=CameraConfig(collect="2 days"))


def node_of(config: Config, clock: Clock) -> Node:
    return Node(config, NodeStore(node_database(config.storage_path), clock=clock))


def send(node: Node, clock: Clock, picture: bytes, after: timedelta, **request: Any) -> Any:
    clock.now += after
    return node.observe(picture, Request(**request))


def files(config: Config) -> list[Path]:
    return sorted(path for path in config.image_folder.rglob("*") if path.is_file())


def test_without_a_reference_a_picture_is_kept_and_not_judged(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    answer = send(node_of(collecting, clock), clock, camera(0), timedelta(), stream="reef")
    assert (answer["drift"], answer["calibrated"], answer["can_alarm"]) == (False, False, False)
    assert (answer["distance"], answer["score"], answer["nearest"]) == (None, None, None)
    assert answer["model"] == "lenswatch@none"
    assert answer["collecting"] == {
        "kept": 1,
        "wanted": 400,
        "least": LEAST,
        "left_out": 0,
        "until": "2026-06-03T00:00:00.000Z",
    }
    assert answer["calibration_notes"] == [
        "Collecting clean pictures: 1 of at most 400 kept, still missing: 2 days with pictures, "
        "until 2026-06-03 00:00 UTC if they keep coming. Nothing can alarm until then."
    ]
    (kept,) = files(collecting)
    assert kept.read_bytes() == camera(0)
    assert kept.parent == collecting.image_folder / "collected" / "reef"
    assert kept.name.startswith("20260601T000000Z-reef-")
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_each_picture_is_a_drift_job(tracked: Config, clock: Clock, camera: Camera) -> None:
    for path in (tracked.storage_path / "reference").glob("current"):
        path.unlink()
    config = dataclasses.replace(tracked, camera=CameraConfig(collect="2 days"))
    node = node_of(config, clock)
    for i in range(3):
        send(node, clock, camera(i), timedelta(hours=1))
    jobs = [row.job for row in OutboxRows(node.store).due(10)]
    assert [job["job_status"] for job in jobs] == ["Completed"] * 3
    assert [job["parameters"]["can_alarm"] for job in jobs] == [False] * 3
    assert [job["parameters"]["collecting"]["kept"] for job in jobs] == [1, 2, 3]


def test_without_the_setting_a_picture_is_refused_as_before(config: Config) -> None:
    with pytest.raises(ArtefactError, match="lenswatch train"):
        Node(config)


def test_what_cannot_be_decoded_is_refused_and_not_kept(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    with pytest.raises(ImageError):
        send(node, clock, camera(0)[:200], timedelta())
    assert files(collecting) == []


def test_a_frozen_camera_is_kept_once(collecting: Config, clock: Clock, camera: Camera) -> None:
    node = node_of(collecting, clock)
    kept = [
        send(node, clock, camera(0), timedelta(hours=1))["collecting"]["kept"] for _ in range(5)
    ]
    assert kept == [1] * 5
    assert len(files(collecting)) == 1


def test_a_camera_whose_clock_stands_still_is_kept_by_arrival(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(10):
        answer = send(node, clock, camera(i), timedelta(hours=1), captured_at=START)
    assert answer["collecting"]["kept"] == 10


@given(
    sent=st.lists(
        st.tuples(st.integers(0, 5), st.integers(-300, 300), st.integers(0, 300)), max_size=25
    )
)
@settings(max_examples=25)
def test_files_and_rows_agree_whatever_is_sent(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int, int]]
) -> None:
    """Pictures are few, far apart and different, in any order of capture times, with any repeats."""
    folder = tmp_path_factory.mktemp("collected")
    store = NodeStore(folder / "node.db")
    collection = Collection.begin(600, 4, 1, judged=False)
    arrival = START
    for frame, taken, gap in sent:
        arrival += timedelta(seconds=gap)
        data = jpeg(camera_pixels(frame))
        incoming = Incoming("reef", data, START + timedelta(seconds=taken), arrival)
        with store.begin() as transaction:
            collection = keep(transaction.connection, folder / "images", collection, incoming)
    with store.read() as connection:
        kept = rows.kept_of(connection, "reef")
    found = {path for path in (folder / "images").rglob("*") if path.is_file()}
    assert found == {folder / "images" / picture.file for picture in kept}
    assert len({picture.digest for picture in kept}) == len(kept) <= 4
    assert all(b.taken - a.taken >= collection.step for a, b in pairwise(kept))


def test_a_crash_before_the_commit_loses_and_doubles_nothing(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    incoming = Incoming("default", camera(0), START, START)
    collection = Collection.begin(60, 400, LEAST, judged=False)

    def crash() -> None:
        with node.store.begin() as transaction:
            keep(transaction.connection, collecting.image_folder, collection, incoming)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert len(files(collecting)) == 1
    answer = send(node, clock, camera(0), timedelta(), captured_at=START)
    assert answer["collecting"]["kept"] == 1
    assert len(files(collecting)) == 1


def test_a_retry_is_kept_once(collecting: Config, clock: Clock, camera: Camera) -> None:
    node = node_of(collecting, clock)
    first = send(node, clock, camera(0), timedelta(), event_id="e1")
    assert send(node, clock, camera(1), timedelta(hours=1), event_id="e1") == first
    assert len(files(collecting)) == 1


def test_pictures_close_in_time_are_not_all_kept(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(20):
        send(node, clock, camera(i), timedelta(minutes=1))
    assert 2 <= len(files(collecting)) <= 3  # one in 7.2 minutes


def test_at_the_end_it_trains_and_the_same_node_goes_on_judging(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(60):
        answer = send(node, clock, camera(i), timedelta(hours=1), stream="reef")
    assert is_due(node.store)
    assert answer["calibration_notes"][0].startswith("Training with ")
    said: list[str] = []
    assert finish_due(collecting, node.store, said.append)
    assert str(current_digest(collecting.storage_path)) in said[0]
    assert "stream reef: calibrated from " in said[1]
    live = send(node, clock, camera(61), timedelta(hours=1), stream="reef")
    assert live["distance"] is not None
    assert "collecting" not in live
    assert live["nearest"] is not None
    blurred = [
        send(node, clock, camera(i, blurred=True), timedelta(hours=1), stream="reef")
        for i in range(62, 77)
    ]
    assert blurred[-1]["drift"]


def test_one_picture_a_day_is_enough_after_as_many_days_as_are_needed(
    config: Config, clock: Clock, camera: Camera
) -> None:
    config = dataclasses.replace(config, camera=CameraConfig(collect="3 days"))
    node = node_of(config, clock)
    answers = [send(node, clock, camera(i), timedelta(days=1)) for i in range(LEAST)]
    assert [answer["collecting"]["kept"] for answer in answers] == list(range(1, LEAST + 1))
    (note,) = answers[6]["calibration_notes"]
    assert note == (
        f"Collecting clean pictures until there are {LEAST}: 7 kept. Nothing can alarm until then."
    )
    assert answers[6]["collecting"]["until"] is None
    assert is_due(node.store)


def test_two_streams_make_one_reference_and_a_calibration_each(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(60):
        send(node, clock, camera(i), timedelta(minutes=30), stream="reef")
        send(node, clock, camera(200 + i), timedelta(minutes=30), stream="pier")
    assert finish_due(collecting, node.store)
    digest = current_digest(collecting.storage_path)
    folder = collecting.storage_path / f"calibration/{digest}"
    found = {path.stem for path in folder.glob("*.json")}
    assert found == {"default", "reef", "pier"}
    with node.store.read() as connection:
        assert rows.all_collections(connection) == {}


def test_a_stream_that_began_late_goes_on_collecting_unjudged(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(60):
        send(node, clock, camera(i), timedelta(hours=1), stream="reef")
    send(node, clock, camera(300), timedelta(hours=1), stream="late")
    finish_due(collecting, node.store)
    answer = send(node, clock, camera(301), timedelta(hours=1), stream="late")
    assert answer["collecting"]["kept"] == 2
    assert answer["can_alarm"] is False
    assert send(node, clock, camera(70), timedelta(hours=1), stream="reef")["can_alarm"]


def test_pictures_that_cannot_be_trained_on_let_it_go_on_and_say_so(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    for i in range(60):
        send(node, clock, camera(i), timedelta(hours=1))
    for path in files(collecting)[2:]:
        path.write_bytes(b"spoilt")
    said: list[str] = []
    finish_due(collecting, node.store, said.append)
    assert "the collection goes on, because" in said[0]
    assert not is_due(node.store)
    (note,) = send(node, clock, camera(70), timedelta(hours=1))["calibration_notes"]
    assert "are too few to learn from" in note
    assert "Nothing can alarm" in note


def test_a_full_disk_keeps_no_picture_and_says_so(
    collecting: Config, clock: Clock, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenswatch.node.collecting.collector.FREE_BYTES", 2**60)
    answer = send(node_of(collecting, clock), clock, camera(0), timedelta())
    assert answer["collecting"]["kept"] == 0
    assert "free some space" in answer["calibration_notes"][0]
    assert files(collecting) == []


@pytest.fixture
def asked(trained: Config) -> Config:
    """Settings of a node with a reference, which is asked to collect for "reef" beside judging it."""
    with open_store(trained).begin() as transaction:
        collection = Collection.begin(2 * 86_400, 400, LEAST, judged=True)
        rows.put(transaction.connection, "reef", collection)
    return trained


def test_a_judged_stream_collects_beside_and_leaves_out_drift(
    asked: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(asked, clock)
    clean = [send(node, clock, camera(i), timedelta(hours=1), stream="reef") for i in range(60, 70)]
    assert clean[-1]["collecting"]["kept"] == 10
    assert clean[-1]["can_alarm"]
    assert clean[-1]["distance"] is not None
    fouled = [
        send(node, clock, camera(i, blurred=True), timedelta(hours=1), stream="reef")
        for i in range(70, 85)
    ]
    in_drift = [answer for answer in fouled if answer["drift"] or answer["alarm"]]
    assert in_drift
    assert fouled[-1]["collecting"]["left_out"] == len(in_drift)
    assert fouled[-1]["collecting"]["kept"] == 25 - len(in_drift)
    only_alarm = sum(not answer["drift"] for answer in in_drift)
    assert told_of(fouled[-1]) == (len(in_drift) - only_alarm, only_alarm)


def told_of(answer: dict[str, Any]) -> tuple[int, ...]:
    """Return how many pictures the note says were left out because of drift, and of an alarm."""
    note = answer["calibration_notes"][-1]
    drift = re.search(r", (\d+) left out because of drift", note)
    alarm = re.search(r", (\d+) left out because of an alarm", note)
    return tuple(0 if each is None else int(each[1]) for each in (drift, alarm))


DRIFT = {"stream": "reef", "drift_distance": -2.0}  # whatever the picture shows
CLEAN = {"stream": "reef", "drift_distance": 0.9}


def test_what_was_left_out_is_told_by_reason(asked: Config, clock: Clock, camera: Camera) -> None:
    node = node_of(asked, clock)
    one = send(node, clock, camera(60), timedelta(hours=1), **DRIFT)
    assert told_of(one) == (1, 0)
    two = [send(node, clock, camera(i), timedelta(hours=1), **CLEAN) for i in (61, 62)][-1]
    assert (two["drift"], two["alarm"]) == (False, True)
    assert told_of(two) == (1, 2)
    assert (two["collecting"]["kept"], two["collecting"]["left_out"]) == (0, 3)


def test_a_stream_in_alarm_that_nothing_judges_collects_and_then_ends_its_alarm(
    asked: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(asked, clock)
    send(node, clock, camera(60), timedelta(hours=1), **DRIFT)
    folder, digest = calibration_folder(asked.storage_path), str(current_digest(asked.storage_path))
    save_calibration(folder, "reef", Calibration.missing(digest, "reef", "the pictures are gone"))
    for i in range(61, 125):
        answer = send(node, clock, camera(i), timedelta(hours=1), stream="reef")
        assert (answer["alarm"], answer["can_alarm"]) == (True, False)
    assert answer["collecting"]["left_out"] == 1
    assert is_due(node.store)
    assert finish_due(asked, node.store)
    judged = [
        send(node, clock, camera(i), timedelta(hours=1), stream="reef") for i in range(125, 140)
    ]
    assert all(answer["can_alarm"] for answer in judged)
    assert (judged[0]["alarm"], judged[-1]["alarm"]) == (True, False)


def test_a_judged_stream_is_calibrated_at_the_end(
    asked: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(asked, clock)
    before = current_digest(asked.storage_path)
    for i in range(60, 115):
        send(node, clock, camera(i), timedelta(hours=1), stream="reef")
    assert finish_due(asked, node.store)
    assert current_digest(asked.storage_path) == before
    assert (asked.storage_path / f"calibration/{before}/reef.json").exists()
    after = send(node, clock, camera(115), timedelta(hours=1), stream="reef")
    assert "collecting" not in after
    assert after["can_alarm"]


def test_a_folder_that_cannot_be_written_keeps_no_picture_and_says_so(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    collecting.storage_path.mkdir(parents=True)
    collecting.image_folder.write_text("a file where the folder should be")
    answer = send(node_of(collecting, clock), clock, camera(0), timedelta())
    assert answer["collecting"]["kept"] == 0
    assert str(collecting.image_folder) in answer["calibration_notes"][0]


def test_a_wrong_camera_clock_is_named_and_its_pictures_are_kept_by_arrival(
    collecting: Config, clock: Clock, camera: Camera
) -> None:
    node = node_of(collecting, clock)
    wrong = datetime(2000, 1, 1, tzinfo=UTC)
    for i in range(5):
        taken = wrong + timedelta(seconds=i)
        answer = send(node, clock, camera(i), timedelta(hours=1), captured_at=taken)
    assert answer["collecting"]["kept"] == 5
    assert answer["captured_at"] == "2026-06-01T05:00:00.000Z"
    assert answer["camera_time"] == "2000-01-01T00:00:04.000Z"
    assert [cause["name"] for cause in answer["causes"]] == ["camera clock"]
    assert all(path.name.startswith("20260601T") for path in files(collecting))
