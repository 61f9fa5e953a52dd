"""The monitor inside another program: pictures, feature vectors and predictions."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Camera
from lenswatch import Monitor
from lenswatch.config import Config
from lenswatch.errors import ArtefactError, InputError
from lenswatch.node.request import open_store
from lenswatch.node.states import stream_states

DIMENSIONS = 6


@pytest.fixture
def monitor(tracked: Config) -> Iterator[Monitor]:
    with Monitor(config=tracked) as made:
        yield made


def vectors(n: int, seed: int = 0, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, 1, (n, DIMENSIONS))


def fish(n: int, seed: int, *, few: bool = False, other: bool = False) -> list[Any]:
    """Return the predictions on n pictures; with a dirty lens there are fewer, and less sure ones."""
    random = np.random.default_rng(seed)
    names = ("bream", "wrasse") if not other else ("jellyfish", "wrasse")
    return [
        [
            {"score": random.uniform(0.3, 0.5) if few else random.uniform(0.6, 1), "class": name}
            for name in random.choice(names, random.poisson(1 if few else 6))
        ]
        for _ in range(n)
    ]


def jobs(config: Config) -> list[dict[str, Any]]:
    with open_store(config).read() as connection:
        rows = connection.exec_driver_sql("SELECT job FROM outbox ORDER BY id").scalars().all()
    return [json.loads(row) for row in rows]


def test_a_picture_may_come_in_any_form(
    trained: Config, monitor: Monitor, camera: Camera, tmp_path: Path
) -> None:
    data = camera(60)
    path = tmp_path / "20260601-080000.jpg"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    with path.open("rb") as file:
        forms = [data, path, str(path), file, image, np.asarray(image), memoryview(data)]
        answers = [monitor.observe(form, stream=f"s{i}") for i, form in enumerate(forms)]
    assert len({round(answer["distance"], 9) for answer in answers}) == 1
    assert answers[1]["image_name"] == answers[3]["image_name"] == path.name
    assert answers[1]["captured_at"] == "2026-06-01T08:00:00.000Z"


@pytest.mark.parametrize("image", [None, np.zeros((4, 4)), 3.5])
def test_what_is_no_picture_is_named(monitor: Monitor, image: Any) -> None:
    with pytest.raises(InputError, match="give"):
        monitor.observe(image)


def test_without_a_reference_it_says_how_to_make_one(config: Config, camera: Camera) -> None:
    with Monitor(config=config) as monitor, pytest.raises(ArtefactError, match="lenswatch train"):
        monitor.observe(camera(60))


def test_vectors_drift_when_they_come_from_elsewhere(tracked: Config, monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(200), stream="reef")
    clean = [monitor.observe_vector(row, stream="reef") for row in vectors(24, seed=1)]
    assert not any(answer["drift"] for answer in clean)
    assert [a["window"]["filled"] for a in clean[:3]] == [1, 2, 3]
    assert clean[5]["distance"] is None
    assert clean[-1]["distance"] < clean[-1]["drift_distance"]
    away = [monitor.observe_vector(row, stream="reef") for row in vectors(24, 2, shift=1.5)]
    assert away[-1]["drift"] is away[-1]["alarm"] is True
    sent = jobs(tracked)
    assert len(sent) == 48
    assert {job["parameters"]["stream"] for job in sent} == {"reef.vectors"}
    assert [job["drift_detected"] for job in sent] == [a["drift"] for a in clean + away]


def test_a_monitor_in_another_process_goes_on_with_the_window(
    tracked: Config, monitor: Monitor
) -> None:
    monitor.fit_vectors(vectors(100))
    rows = vectors(16, seed=1)
    for row in rows[:-1]:
        monitor.observe_vector(row)
    second = Monitor(config=tracked)
    last = second.observe_vector(rows[-1])
    second.close(0)
    from lenswatch.detect.mmd import FittedMMD

    size = tracked.detector.window_size
    assert last["distance"] == pytest.approx(FittedMMD.fit(vectors(100), size).distances(rows)[-1])
    states = {state.stream: state for state in stream_states(tracked, open_store(tracked), NOW)}
    assert states["default.vectors"].pictures == 16


NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_repeated_event_counts_once(tracked: Config, monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(100))
    first = monitor.observe_vector(vectors(1)[0], event_id="e1")
    assert monitor.observe_vector(vectors(1)[0] + 9, event_id="e1") == first
    assert len(jobs(tracked)) == 1


def test_threads_share_a_window(tracked: Config, monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(100))
    rows = vectors(40, seed=3)

    def half(part: Any) -> None:
        for row in part:
            monitor.observe_vector(row)

    threads = [threading.Thread(target=half, args=(rows[i::2],)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(jobs(tracked)) == 40
    (state,) = [s for s in open_store(tracked).streams() if s.stream == "default.vectors"]
    assert state.images == 40


@pytest.mark.parametrize(
    ("change", "statistic"),
    [({"few": True}, "number"), ({"few": True}, "confidence"), ({"other": True}, "classes")],
)
def test_predictions_drift_by_number_confidence_and_classes(
    monitor: Monitor, change: dict[str, bool], statistic: str
) -> None:
    monitor.fit_outputs(fish(240, 0), stream="reef")
    clean = [monitor.outputs(each, stream="reef") for each in fish(40, 1)]
    assert not any(answer["drift"] for answer in clean)
    changed = [monitor.outputs(each, stream="reef") for each in fish(40, 2, **change)]
    last = changed[-1]
    assert last["drift"] is last["alarm"] is True
    found = last["statistics"][statistic]
    assert found["value"] > found["drift"] > 0
    assert last["distance"] > last["drift_distance"] == 1


def test_pictures_without_predictions_count_too(monitor: Monitor) -> None:
    monitor.fit_outputs(fish(240, 0))
    answers = [monitor.outputs([]) for _ in range(30)]
    assert answers[-1]["drift"] is True
    assert set(answers[-1]["statistics"]) == {"number"}


def test_one_prediction_may_come_alone(monitor: Monitor) -> None:
    monitor.fit_outputs([[{"class": "fish", "score": 0.9}]] * 60, window=12)
    assert monitor.outputs({"class": "fish", "score": 0.9})["window"] == {"filled": 1, "size": 12}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.observe_vector([1.0]), r"call Monitor\.fit_vectors first"),
        (lambda m: m.outputs([]), r"call Monitor\.fit_outputs first"),
        (lambda m: m.fit_vectors(vectors(10)), "10 clean ones are too few for windows of 12"),
        (lambda m: m.fit_vectors([[np.nan]] * 99), "give finite numbers"),
        (lambda m: m.fit_outputs([[{"score": "high"}]] * 99), "give numbers"),
        (lambda m: m.observe_vector([1.0], stream="Bad"), "use 1 to 64"),
        (lambda m: m.observe(b"", stream=None), "stream None: use 1 to 64"),
        (lambda m: m.observe_vector([1.0], stream=3), "stream 3: use 1 to 64"),
        (lambda m: m.outputs([], stream=None), "stream None: use 1 to 64"),
        (lambda m: m.fit_vectors(vectors(100), stream=3), "stream 3: use 1 to 64"),
        (lambda m: m.fit_outputs([[]] * 99, stream=None), "stream None: use 1 to 64"),
        (lambda m: m.observe(b"", event_id=3), "event_id 3"),
        (lambda m: m.fit_vectors([["a"] * 6] * 99), "no numbers.*'a'"),
        (lambda m: m.fit_vectors([[1.0], [1.0, 2.0]] * 50), "several lengths"),
    ],
)
def test_what_cannot_be_used_is_named(monitor: Monitor, call: Any, says: str) -> None:
    with pytest.raises((InputError, ArtefactError), match=says):
        call(monitor)


def test_a_vector_of_another_length_is_refused(tracked: Config, monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(100))
    with pytest.raises(InputError):
        monitor.observe_vector([1.0, 2.0])
    assert jobs(tracked) == []


def test_another_clean_span_is_taken_up_by_a_running_monitor(
    tracked: Config, monitor: Monitor
) -> None:
    monitor.fit_vectors(vectors(100))
    before = monitor.observe_vector(vectors(1)[0])["model"]
    second = Monitor(config=tracked)
    second.fit_vectors(vectors(120, seed=5))
    second.close(0)
    assert monitor.observe_vector(vectors(1)[0])["model"] != before


def test_a_stream_without_a_clean_span_of_its_own_has_that_of_default(monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(100))
    monitor.fit_vectors(vectors(100, shift=5), stream="deep")
    models = {
        stream: monitor.observe_vector(vectors(1)[0], stream=stream)["model"]
        for stream in ("default", "reef", "deep")
    }
    assert models["default"] == models["reef"] != models["deep"]


@pytest.mark.parametrize("decoded", [False, True])
def test_a_pillow_image_is_judged_as_its_file(
    trained: Config, monitor: Monitor, camera: Camera, decoded: bool
) -> None:
    exif = Image.Exif()
    exif[274], exif[36867] = 6, "2026:06:01 08:00:00"
    upright = Image.open(io.BytesIO(camera(60)))
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    image = Image.open(buffer)
    if decoded:
        image.load()
    wanted, found = (
        monitor.observe(buffer.getvalue(), stream="a"),
        monitor.observe(image, stream="b"),
    )
    for name in ("distance", "score", "captured_at"):
        assert found[name] == wanted[name]
    assert found["captured_at"] == "2026-06-01T08:00:00.000Z"


def test_an_image_that_cannot_be_used_is_a_failed_job(tracked: Config, monitor: Monitor) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="floating-point"):
            monitor.observe(Image.new("F", (96, 64)), event_id="e1")
    assert [job["job_status"] for job in jobs(tracked)] == ["Failed"]


def test_a_vector_of_text_is_refused(monitor: Monitor) -> None:
    monitor.fit_vectors(vectors(100))
    with pytest.raises(InputError, match="no numbers"):
        monitor.observe_vector(["a"] * DIMENSIONS)


def test_provisional_thresholds_say_what_is_missing(monitor: Monitor) -> None:
    monitor.fit_outputs(fish(200, 0))
    answer = monitor.outputs(fish(1, 1)[0])
    assert answer["calibrated"] is False
    (note,) = answer["calibration_notes"]
    assert "of number, confidence, classes are provisional: the clean span has 154 windows" in note
    needed = int(note.split("about ")[1].split()[0])
    monitor.fit_outputs(fish(200 + needed, 0))
    answer = monitor.outputs(fish(1, 1)[0])
    assert answer["calibrated"] is True
    assert "calibration_notes" not in answer
