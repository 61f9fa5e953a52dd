"""From a picture to a recorded verdict."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Camera, camera_pixels, jpeg
from lenswatch.config import AlarmConfig, Config, DetectorConfig, UploadConfig
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.errors import ArtefactError, ImageError, ImageTooLarge, InputError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.stream import StreamState
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.artefact import load_reference, save_reference


def jobs(store: Any) -> list[Any]:
    """Return the drift jobs in the outbox, oldest first."""
    return [row.job for row in OutboxRows(store).due(1000)]


def window_of(node: Node, stream: str) -> Window:
    """Return a stream's window as the store has it."""
    state = node.store.window(stream, node.reference.digest)
    assert state
    return StreamState.from_bytes(state).window


def observe_all(config: Config, frames: Any, stream: str = "default") -> list[Any]:
    node = Node(config)
    return [
        node.observe(jpeg(camera_pixels(i)), Request(stream=stream))["distance"] for i in frames
    ]


def _observe_one(config: Config, i: Any) -> Any:
    """Observe one picture in another process, as a DEEPaaS worker does."""
    return Node(config).observe(jpeg(camera_pixels(i)), Request(event_id=f"e{i}"))["distance"]


def test_the_answer_has_what_the_hooks_promise(trained: Config, camera: Camera) -> None:
    answer = Node(trained).observe(camera(70), Request(stream="reef", image_name="a/b/c.jpg"))
    assert answer["stream"] == "reef"
    assert answer["image_name"] == "c.jpg"
    assert answer["window"] == {"filled": 1, "size": 12}  # warm-start rows are no pictures
    assert answer["model"] == load_reference(trained.storage_path).model
    assert isinstance(answer["distance"], float)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


@pytest.mark.slow
def test_clean_pictures_are_clean_and_a_blurred_lens_is_drift(
    trained: Config, camera: Camera
) -> None:
    node = Node(trained)
    clean = [node.observe(camera(i), Request()) for i in range(60, 80)]
    blurred = [node.observe(camera(i, blurred=True), Request()) for i in range(80, 95)]
    assert not any(answer["drift"] for answer in clean)
    assert blurred[-1]["drift"]
    assert blurred[-1]["warning"]
    assert blurred[-1]["distance"] > 3 * max(abs(answer["distance"]) for answer in clean)


def test_without_a_warm_start_there_is_no_distance_until_the_window_is_full(
    trained: Config,
) -> None:
    cold = dataclasses.replace(trained, detector=DetectorConfig(warm_start=False))
    distances = observe_all(cold, range(14))
    assert distances[:11] == [None] * 11
    assert None not in distances[11:]


def test_a_warm_start_gives_the_first_picture_a_distance(trained: Config) -> None:
    assert observe_all(trained, [60])[0] is not None


def test_distances_are_those_of_the_detector(trained: Config, camera: Camera) -> None:
    reference = load_reference(trained.storage_path)
    node = Node(trained)
    fitted = FittedMMD.fit(reference.embeddings, 12, reference.sigma)
    window = fitted.warm()
    for i in range(60, 75):
        found = node.observe(camera(i), Request())["distance"]
        window = window_of(node, "default")
        assert found == fitted.distance(window)


@pytest.mark.slow
def test_a_restart_between_any_two_pictures_changes_nothing(
    trained: Config, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(trained.storage_path, elsewhere)
    restarted = dataclasses.replace(
        trained, storage=dataclasses.replace(trained.storage, path=str(elsewhere))
    )
    frames = range(60, 76)
    assert [observe_all(restarted, [i])[0] for i in frames] == observe_all(trained, frames)


@pytest.mark.slow
def test_two_processes_in_turn_share_one_window(trained: Config, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(trained.storage_path, elsewhere)
    alone = dataclasses.replace(
        trained, storage=dataclasses.replace(trained.storage, path=str(elsewhere))
    )
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as one, ProcessPoolExecutor(1, spawn) as two:
        shared = [
            (one, two)[i % 2].submit(_observe_one, trained, i).result() for i in range(60, 72)
        ]
    assert shared == observe_all(alone, range(60, 72))


def test_concurrent_pictures_are_all_in_the_window(trained: Config) -> None:
    node = Node(trained)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: node.observe(jpeg(camera_pixels(i)), Request()), range(60, 72)))
    window = window_of(node, "default")
    alone = Node(trained)
    for i in range(60, 72):
        alone.observe(jpeg(camera_pixels(i)), Request(stream="alone"))
    other = window_of(node, "alone")
    assert sorted(window.to_reference) == sorted(other.to_reference)


@pytest.mark.slow
def test_streams_have_windows_of_their_own(trained: Config, camera: Camera) -> None:
    node = Node(trained)
    before = node.observe(camera(60), Request(stream="a"))["distance"]
    for i in range(20):
        node.observe(camera(i, blurred=True), Request(stream="b"))
    node.reset("a")
    assert node.observe(camera(60), Request(stream="a"))["distance"] == before


def test_every_observation_is_a_drift_job_with_its_parameters(
    tracked: Config, camera: Camera
) -> None:
    node = Node(tracked)
    moment = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
    answer = node.observe(camera(60), Request(stream="reef", captured_at=moment))
    (job,) = jobs(node.store)
    assert job["job_status"] == "Completed"
    assert job["model"] == answer["model"]
    assert job["drift_detected"] is answer["drift"]
    assert job["tags"] == []
    assert job["parameters"]["captured_at"] == "2026-06-01T08:00:00.000Z"
    assert job["parameters"]["stream"] == "reef"
    assert job["parameters"]["event_id"] == answer["event_id"]
    assert job["parameters"]["distance"] == answer["distance"]


def test_a_picture_goes_with_the_job_unless_it_is_not_wanted(
    tracked: Config, camera: Camera
) -> None:
    Node(tracked).observe(camera(60), Request())
    without = dataclasses.replace(
        tracked, storage=dataclasses.replace(tracked.storage, keep_images=False)
    )
    node = Node(without)
    node.observe(camera(61), Request())
    assert [row.has_picture for row in OutboxRows(node.store).due(9)] == [True, False]


def test_an_event_counts_once_and_its_retry_gets_the_first_answer(
    tracked: Config, camera: Camera
) -> None:
    node = Node(tracked)
    first = node.observe(camera(60), Request(event_id="once"))
    window = node.store.window("default", node.reference.digest)
    again = node.observe(camera(61), Request(event_id="once"))
    assert again == first
    assert node.store.window("default", node.reference.digest) == window
    assert len(jobs(node.store)) == 1


def test_simultaneous_retries_count_once(tracked: Config, camera: Camera) -> None:
    node, data = Node(tracked), camera(60)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: node.observe(data, Request(event_id="once")), range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert len(jobs(node.store)) == 1


@pytest.mark.parametrize(
    ("data", "kind"), [(b"", ImageError), (b"rubbish", ImageError), (bytes(5000), ImageTooLarge)]
)
def test_a_refused_picture_is_a_failed_job_and_leaves_the_window(
    tracked: Config, camera: Camera, data: Any, kind: Any
) -> None:
    small = dataclasses.replace(tracked, upload=UploadConfig(max_bytes=4000))
    node = Node(small)
    node.observe(camera(60), Request())
    window = node.store.window("default", node.reference.digest)
    with pytest.raises(kind) as refusal:
        node.observe(data, Request(event_id="bad", stream="reef", image_name="x.jpg"))
    failed = jobs(node.store)[-1]
    assert failed["job_status"] == "Failed"
    assert failed["drift_detected"] is False
    assert failed["parameters"]["error"] == str(refusal.value)
    assert failed["parameters"]["stream"] == "reef"
    assert node.store.window("default", node.reference.digest) == window
    assert node.store.window("reef", node.reference.digest) is None


def test_the_retry_of_a_refusal_gets_the_same_refusal_and_one_record(
    tracked: Config, camera: Camera
) -> None:
    node, said = Node(tracked), []
    for data in (b"rubbish", camera(60)):
        with pytest.raises(InputError) as refusal:
            node.observe(data, Request(event_id="bad"))
        said.append(str(refusal.value))
    assert said[0] == said[1]
    assert len(jobs(node.store)) == 1


@pytest.mark.parametrize(
    "request_",
    [
        Request(stream="Reef"),
        Request(stream=""),
        Request(stream="a" * 65),
        Request(stream="a\n"),
        Request(event_id=""),
        Request(event_id="ä"),
        Request(event_id="x" * 65),
        Request(drift_distance=float("nan")),
        Request(warning_distance=0.3, drift_distance=0.2),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_at_once(
    trained: Config, camera: Camera, request_: Any
) -> None:
    node = Node(trained)
    with pytest.raises(InputError):
        node.observe(camera(60), request_)
    assert node.store.streams() == []


def test_a_callers_distances_are_the_rule_for_that_call(trained: Config, camera: Camera) -> None:
    node = Node(trained)
    fixed = node.observe(camera(60), Request(drift_distance=-1.0))
    assert (fixed["drift"], fixed["warning"], fixed["drift_distance"]) == (True, True, -1.0)
    both = node.observe(camera(61), Request(drift_distance=1.9, warning_distance=-1.0))
    assert (both["drift"], both["warning"]) == (False, True)
    assert node.observe(camera(62), Request())["drift_distance"] not in (-1.0, 1.9)


def test_configured_distances_are_the_rule_for_all(trained: Config, camera: Camera) -> None:
    fixed = dataclasses.replace(
        trained, alarm=AlarmConfig(warning_distance=-0.9, drift_distance=0.8)
    )
    answer = Node(fixed).observe(camera(60), Request())
    assert (answer["warning_distance"], answer["drift_distance"]) == (-0.9, 0.8)
    assert (answer["drift"], answer["warning"]) == (False, True)


def test_a_streams_own_thresholds_are_used_as_soon_as_they_are_there(
    trained: Config, camera: Camera
) -> None:
    node = Node(trained)
    before = node.observe(camera(60), Request(stream="reef"))["drift_distance"]
    own = trained.storage_path / "reef"
    own.mkdir()
    for i in range(40):  # twenty by day, twenty by night
        light = 1 - 0.8 * (i // 20)
        dimmed = (camera_pixels(100 + i) * light).astype(np.uint8)
        (own / f"{i:03}-own.jpg").write_bytes(jpeg(dimmed))
    calibrate_stream(trained, node.reference, "reef", sorted(own.iterdir()))
    after = node.observe(camera(61), Request(stream="reef"))["drift_distance"]
    other = node.observe(camera(61), Request(stream="else"))["drift_distance"]
    assert after != before
    assert other == before


def test_thresholds_are_no_lower_than_a_picture_that_stays(trained: Config, camera: Camera) -> None:
    """Calm clean footage says little about how far clean pictures may be from each other."""
    node = Node(trained)
    fitted = node.reference.detector(trained.detector.window_size)
    answer = node.observe(camera(60), Request(stream="reef"))
    assert answer["drift_distance"] >= answer["warning_distance"] >= fitted.one_picture_distance


def test_a_new_reference_is_taken_up_without_a_restart(trained: Config, camera: Camera) -> None:
    node = Node(trained)
    old = node.observe(camera(60), Request())["model"]
    save_reference(
        trained.storage_path,
        dataclasses.replace(node.reference, sigma=node.reference.sigma * 2),
        {},
    )
    answer = node.observe(camera(61), Request())
    assert answer["model"] != old
    assert answer["window"]["filled"] == 1  # warm: embeddings of two references never meet
    assert [state.digest for state in node.store.streams()] == [answer["model"][-16:]]


def test_nothing_is_recorded_when_the_answer_could_not_be(
    tracked: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tracked)

    def broken(*_: Any) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(node, "_job", broken)
    with pytest.raises(RuntimeError):
        node.observe(camera(60), Request(event_id="once"))
    monkeypatch.undo()
    assert node.store.window("default", node.reference.digest) is None
    assert node.store.answer("once") is None
    assert node.observe(camera(60), Request(event_id="once"))["event_id"] == "once"


def test_without_a_reference_the_error_says_what_to_do(config: Config) -> None:
    with pytest.raises(ArtefactError, match="lenswatch train"):
        Node(config)


def test_a_reset_stream_starts_anew(trained: Config, camera: Camera) -> None:
    node = Node(trained)
    first = node.observe(camera(60), Request())["distance"]
    node.observe(camera(61, blurred=True), Request())
    assert node.reset("default") == 1
    assert node.observe(camera(60), Request())["distance"] == first
    assert node.reset("nobody") == 0


def test_the_job_on_the_wire_holds_only_plain_values(tracked: Config, camera: Camera) -> None:
    node = Node(tracked)
    node.observe(camera(60), Request())
    assert json.dumps(jobs(node.store), allow_nan=False)
    assert open_store(tracked).window("default", node.reference.digest)
    assert np.isfinite(jobs(node.store)[0]["parameters"]["distance"])


@pytest.mark.slow
def test_provisional_thresholds_are_said_in_the_log_once_and_in_every_job(
    tracked: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(tracked)
    answers = [node.observe(camera(i), Request()) for i in range(60, 63)]
    short = "What is missing is time rather than number"
    assert [line.count(short) for line in caplog.messages] == [1]
    assert caplog.messages[0].startswith("stream default: The thresholds are provisional")
    for answer, job in zip(answers, jobs(node.store), strict=True):
        assert short in answer["calibration_notes"][0]
        assert job["parameters"]["calibration_notes"] == answer["calibration_notes"]
    node.observe(camera(63), Request(stream="reef"))
    assert [line.split(":")[0] for line in caplog.messages] == ["stream default", "stream reef"]
    calibrate_stream(tracked, node.reference, "reef")
    node.observe(camera(64), Request())  # its own calibration is the one it was
    assert len(caplog.messages) == 2


def test_a_fixed_distance_needs_no_notes_on_thresholds(
    trained: Config, camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    notes = (
        Node(trained).observe(camera(60), Request(drift_distance=0.1)).get("calibration_notes", ())
    )
    assert [note.split(";")[0] for note in notes] == ["The window holds 1 of 12 pictures"]
    caplog.clear()
    fixed = dataclasses.replace(trained, alarm=AlarmConfig(drift_distance=0.1))
    notes = Node(fixed).observe(camera(61), Request()).get("calibration_notes", ())
    assert [note.split(";")[0] for note in notes] == ["The window holds 2 of 12 pictures"]
    assert caplog.messages == []


def test_too_few_embeddings_for_thresholds_leave_the_callers_rule(
    trained: Config, camera: Camera
) -> None:
    """For example a pair from another program with a dozen clean embeddings."""
    node = Node(trained)
    few = dataclasses.replace(node.reference, embeddings=node.reference.embeddings[:14])
    save_reference(trained.storage_path, few, {})
    answer = node.observe(camera(60), Request())
    assert (answer["drift"], answer["drift_distance"], answer["calibrated"]) == (False, None, False)
    assert node.observe(camera(60), Request(drift_distance=-2.0))["drift"] is True


def test_a_job_that_has_no_place_in_the_outbox_is_not_recorded_but_the_window_is(
    tracked: Config, camera: Camera
) -> None:
    storage = dataclasses.replace(tracked.storage, max_bytes=1)
    node = Node(dataclasses.replace(tracked, storage=storage))
    answers = [node.observe(camera(i), Request(event_id=f"e{i}")) for i in range(3)]
    assert [answer["window"]["filled"] for answer in answers] == [1, 2, 3]
    assert not any(answer["recorded"] for answer in answers)
    assert "storage.max_bytes = 1 is reached" in answers[0]["not_recorded_because"]
    assert node.observe(camera(0), Request(event_id="e0")) == answers[0]
    node.store.shedder.max_bytes = None
    answer = node.observe(camera(3), Request(event_id="e3"))
    assert answer["recorded"]
    assert "not_recorded_because" not in answer
    (job,) = jobs(node.store)
    assert job["parameters"]["shed"]["jobs"] == 3
    assert "recorded" not in job["parameters"]


@pytest.mark.slow
def test_only_a_job_without_a_verdict_may_be_given_up(tracked: Config, camera: Camera) -> None:
    node = Node(tracked)
    for i in range(60, 130):
        node.observe(camera(i, blurred=70 <= i < 80), Request())
    with pytest.raises(InputError):
        node.observe(b"", Request())
    with node.store.read() as connection:
        rows = connection.exec_driver_sql("SELECT clean, job FROM outbox ORDER BY id").all()
    alarm = False
    told = set()
    for clean, text in rows:
        job = json.loads(text)
        parameters = job["parameters"]
        now = parameters.get("alarm", alarm)
        verdict = job["job_status"] == "Failed" or job["drift_detected"] or parameters["warning"]
        assert bool(clean) is not bool(verdict or now or alarm)
        told.add((bool(verdict), alarm, now))
        alarm = now
    assert {(False, False, False), (True, False, True), (False, True, False)} <= told
