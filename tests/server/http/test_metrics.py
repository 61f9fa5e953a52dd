"""/metrics: what Prometheus reads. Who may read it: test_keys.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from support.samples import picture

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(local: Any) -> Samples:
    """All samples by name and labels, each of which there is once."""
    text = local.client.get("/metrics").text
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"lenswatch_{name}", frozenset(labels.items())))


def labels_of(samples: Samples, name: str) -> list[dict[str, str]]:
    return [dict(labels) for sample, labels in samples if sample == f"lenswatch_{name}"]


def judged(local: Any, experiment: Any, stream: str, **parameters: Any) -> Any:
    drift = parameters.pop("drift", False)
    about = {"stream": stream, "can_alarm": True, "warning": False, "alarm": drift, **parameters}
    return local.drift(experiment, drift_detected=drift, parameters=about)


def test_the_jobs_are_those_that_are_stored_now(local: Any, pier: Any) -> None:
    def jobs() -> list[str]:
        lines = local.client.get("/metrics").text.splitlines()
        assert "# TYPE lenswatch_jobs gauge" in lines
        return [line.split()[-1] for line in lines if line.startswith("lenswatch_jobs{")]

    path = f"/experiment/{pier['id']}"
    first, *_ = (local.drift(pier) for _ in range(3))
    assert jobs() == ["3.0"]
    assert local.delete(f"{path}/drift/{first['id']}").status_code == 204
    assert jobs() == ["2.0"]
    assert local.delete(path).status_code == 204
    assert jobs() == []


@pytest.mark.slow
def test_metrics_name_the_first_hundred_streams_of_an_experiment(local: Any, pier: Any) -> None:
    for number in range(103):
        judged(local, pier, f"s{number:03}", drift=number == 102)
    samples = read(local)
    named = labels_of(samples, "jobs")
    assert len({labels["stream"] for labels in named}) == 101
    assert of(samples, "jobs", experiment="pier", stream="(others)", verdict="clean") == 2
    assert of(samples, "streams", experiment="pier", state="clean") == 102
    assert of(samples, "streams", experiment="pier", state="drift") == 1
    assert of(samples, "streams_in_trouble", experiment="pier") == 1
    assert of(samples, "streams_left_out", experiment="pier") == 3
    shown = [labels["stream"] for labels in labels_of(samples, "stream_trouble")]
    assert len(shown) == 100
    assert "s102" in shown  # the one in trouble, though it is the last by name
    assert "s099" not in shown


def test_a_stream_has_gauges_under_its_shown_name(local: Any, pier: Any) -> None:
    values = {
        "distance": 0.75,
        "warning_distance": 0.5,
        "drift_distance": 0.625,
        "score": 2.5,
        "warning_score": 1.0,
        "drift_score": 1.25,
    }
    taken = "2026-06-03T06:00:00.000Z"
    judged(local, pier, "cam-1", drift=True, captured_at=taken, **values)
    path = f"/experiment/{pier['id']}/stream/cam-1"
    assert (
        local.put(path, json={"title": 'North "reef"\\1', "interval_seconds": 600}).status_code
        == 200
    )
    samples = read(local)
    here = {"experiment": "pier", "stream": 'North "reef"\\1'}
    for name, value in values.items():
        assert of(samples, f"stream_{name}", **here) == value
    states = {
        labels["state"]: of(samples, "stream_state", **labels)
        for labels in labels_of(samples, "stream_state")
    }
    assert states.pop("drift") == 1
    assert set(states.values()) == {0}
    assert {"clean", "silent", "retired", "failing", "frozen"} <= set(states)
    assert of(samples, "stream_trouble", **here) == 1
    assert of(samples, "stream_interval_seconds", **here) == 600
    moment = datetime(2026, 6, 3, 6, tzinfo=UTC).timestamp()
    assert of(samples, "stream_last_taken_timestamp_seconds", **here) == moment
    seen = of(samples, "stream_last_seen_timestamp_seconds", **here)
    assert abs(datetime.now(UTC).timestamp() - (seen or 0)) < 600
    assert of(samples, "experiment_info", experiment="pier", id=pier["id"]) == 1
    assert of(samples, "jobs", verdict="drift", **here) == 1


def test_an_acknowledged_stream_is_in_its_state_but_not_in_trouble(local: Any, pier: Any) -> None:
    judged(local, pier, "cam-1", drift=True)
    path = f"/experiment/{pier['id']}/stream/cam-1"
    assert local.put(path, json={"acknowledged": True}).status_code == 200
    samples, here = read(local), {"experiment": "pier", "stream": "cam-1"}
    assert of(samples, "stream_trouble", **here) == 0
    assert of(samples, "streams_in_trouble", experiment="pier") == 0
    assert of(samples, "stream_state", state="drift", **here) == 1


def test_streams_of_one_title_stay_apart(local: Any, pier: Any) -> None:
    for stream in ("a", "b", "c", "pier-cam"):
        judged(local, pier, stream, score=1.5)
    for stream in ("a", "b", "c"):
        path = f"/experiment/{pier['id']}/stream/{stream}"
        assert local.put(path, json={"title": "pier-cam"}).status_code == 200
    shown = {labels["stream"] for labels in labels_of(read(local), "stream_score")}
    assert shown == {"pier-cam", "pier-cam (b)", "pier-cam (c)", "pier-cam (pier-cam)"}


def test_names_of_experiments_are_cut_off_and_stay_apart(local: Any) -> None:
    ids = {local.experiment("x" * 200 + end)["id"] for end in "abc"}
    shown = labels_of(read(local), "experiment_info")
    assert {labels["id"] for labels in shown} == ids
    assert len({labels["experiment"] for labels in shown}) == 3
    assert max(len(labels["experiment"]) for labels in shown) < 120


def test_values_that_are_no_numbers_are_left_out(local: Any, pier: Any) -> None:
    judged(local, pier, "cam-1", distance="far", score=None, drift_score=True, drift_distance=[1])
    judged(local, pier, "cam-2", distance=-0.25)
    samples = read(local)
    assert [labels["stream"] for labels in labels_of(samples, "stream_distance")] == ["cam-2"]
    for name in ("score", "drift_score", "drift_distance"):
        assert labels_of(samples, f"stream_{name}") == []


def test_openmetrics_when_asked_for(local: Any, pier: Any) -> None:
    judged(local, pier, "cam-1", score=0.5)
    plain = local.client.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = local.client.get("/metrics", headers=wanted)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics_families(answer.text)}  # type: ignore[no-untyped-call]
    assert {"lenswatch_requests", "lenswatch_stream_score", "lenswatch_jobs"} <= names


def test_the_storage_of_each_experiment_is_told(local: Any, pier: Any) -> None:
    def used(kind: str) -> float:
        found = of(read(local), "storage_bytes", experiment="pier", kind=kind)
        assert found is not None
        return found

    kinds = ("jobs", "pictures", "clean pictures")
    assert [used(kind) for kind in kinds] == [0, 0, 0]
    job = judged(local, pier, "cam-1")
    path, jpeg = f"/experiment/{pier['id']}", {"Content-Type": "image/jpeg"}
    local.put(f"{path}/drift/{job['id']}/image", content=picture(), headers=jpeg)
    sizes = [
        local.put(f"{path}/reference/ab/picture/{name}", content=picture(), headers=jpeg).json()
        for name in "xy"
    ]
    stored = local.get(f"{path}/storage").json()
    assert used("jobs") == stored["job_bytes"] > 0
    assert used("pictures") == stored["picture_bytes"] > 0
    assert used("clean pictures") == sum(size["bytes"] for size in sizes) > 0
