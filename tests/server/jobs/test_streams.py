"""Streams of an experiment: their states, and what people say of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from support.samples import JOB

NOW = datetime.now(UTC)


def job(stream: str, minutes: float, *, drift: bool = False, **parameters: Any) -> dict[str, Any]:
    """Return a job of a picture that was taken so many minutes before now."""
    taken = (NOW - timedelta(minutes=minutes)).isoformat()
    parameters |= {"stream": stream, "captured_at": taken}
    return JOB | {"drift_detected": drift, "parameters": parameters}


def send(api: Any, experiment: Any, *jobs: Any) -> None:
    for start in range(0, len(jobs), 1000):
        path = f"/experiment/{experiment['id']}/drift/batch"
        results = api.post(path, json={"drifts": jobs[start : start + 1000]}).json()["results"]
        assert {result["status"] for result in results} <= {200, 201}


def streams(api: Any, experiment: Any, **params: Any) -> list[dict[str, Any]]:
    answer = api.get(f"/experiment/{experiment['id']}/streams", params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_of_1005_streams_the_one_that_drifts_comes_first(local: Any, pier: Any) -> None:
    send(local, pier, *(job(f"cam-{i:04}", 9, drift=i == 1004) for i in range(1005)))
    found = streams(local, pier)
    assert len(found) == 1005
    assert [s["stream"] for s in found[:3]] == ["cam-1004", "cam-0000", "cam-0001"]
    assert found[0]["state"] == "drift"
    assert found[0]["trouble"]
    assert found[0]["last"]["drift_detected"]
    seen = local.get("/overview", params={"limit": 2}).json()
    assert seen["trouble"] == 1
    assert seen["counts"]["clean"] == 1004
    assert [s["stream"] for s in seen["streams"]] == ["cam-1004", "cam-0000"]
    assert seen["experiments"][0]["counts"] == seen["counts"]


def test_a_stream_is_described_and_acknowledged(local: Any, pier: Any) -> None:
    send(local, pier, job("reef", 5), job("reef", 4, drift=True, causes=[{"name": "blurred"}]))
    [before] = streams(local, pier)
    assert (before["state"], before["trouble"], before["causes"]) == ("drift", True, ["blurred"])
    path = f"/experiment/{pier['id']}/stream/reef"
    said = {"title": "Reef 3", "place": "pier", "owner": "ann", "acknowledged": True}
    after = local.put(path, json=said).json()
    assert (after["name"], after["place"], after["trouble"]) == ("Reef 3", "pier", False)
    assert after["acknowledged_at"]
    assert after["state"] == "drift"
    [event] = local.get(f"/experiment/{pier['id']}/events").json()
    assert event["id"] == after["event"]
    assert (event["kind"], event["jobs"], event["ended_at"]) == ("drift", 1, None)
    assert event["causes"] == [{"name": "blurred", "jobs": 1, "place": ""}]
    assert local.get(f"/experiment/{pier['id']}/event/{event['id']}").json() == event
    send(local, pier, job("reef", 3))
    [ended] = streams(local, pier)
    assert (ended["state"], ended["acknowledged_at"], ended["event"]) == ("clean", None, None)
    assert local.put(path, json={"retired": True}).json()["state"] == "retired"
    assert local.put(path, json={"title": None, "retired": False}).json()["name"] == "reef"


def test_a_refused_picture_of_an_unknown_camera_makes_no_stream(local: Any, pier: Any) -> None:
    refused = job("typo", 5, error="not a picture", late=False) | {"job_status": "Failed"}
    send(local, pier, refused, job("reef", 4))
    assert [s["stream"] for s in streams(local, pier)] == ["reef"]
    assert len(local.search(pier, {}).json()) == 2
