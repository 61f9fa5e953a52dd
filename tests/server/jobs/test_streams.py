"""Streams of an experiment: their states, and what people say of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from support.samples import JOB, picture

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


def test_streams_have_their_numbers_and_their_newest_job(local: Any, pier: Any) -> None:
    send(local, pier, job("south", 9), job("north", 8, n=1), job("south", 7, drift=True))
    send(local, pier, job("south", 6, n=2) | {"job_status": "Failed"}, JOB | {"parameters": {}})
    found = streams(local, pier)
    numbers = [(s["stream"], s["total"], s["drifted"], s["failed"], s["state"]) for s in found]
    assert numbers == [
        ("south", 3, 1, 1, "drift"),
        (None, 1, 0, 0, "clean"),
        ("north", 1, 0, 0, "clean"),
    ]
    assert [s["last"]["parameters"].get("n") for s in found] == [2, None, 1]
    assert [s["recent"] for s in found] == [["c", "d", "f"], ["c"], ["c"]]


def test_streams_follow_changes_and_deletions(local: Any, pier: Any) -> None:
    send(local, pier, *(job(name, 9 - n) for n in range(3) for name in ("north", "south")))
    path = f"/experiment/{pier['id']}/drift"
    for record in local.search(pier, {"parameters.stream": "north"}).json():
        body = job("west", 5) | {"job_status": "Failed"}
        assert local.put(f"{path}/{record['id']}", json=body).status_code == 200
    for record in local.search(pier, {"parameters.stream": "south"}).json():
        local.delete(f"{path}/{record['id']}")
    shown = [(s["stream"], s["total"], s["failed"], s["state"]) for s in streams(local, pier)]
    assert shown == [("west", 3, 3, "failing")]


@pytest.mark.slow
def test_many_streams_are_few_questions(local: Any, pier: Any, statements: Any) -> None:
    send(local, pier, *(job(f"s{number:04}", 9) for number in range(1100)))
    statements.clear()
    assert len(streams(local, pier)) == 1100
    ours = ("shown_since", "tallies.experiment IN", "drifts.number IN")  # chores ask too
    assert len([sql for sql, _ in statements if any(word in sql for word in ours)]) == 3


def test_streams_are_listed_by_state_by_words_and_in_parts(local: Any, pier: Any) -> None:
    send(local, pier, *(job(name, 9, drift=name == "d") for name in ("c", "b", "a", "d", "e_1")))
    path = f"/experiment/{pier['id']}/stream"
    local.put(f"{path}/b", json={"title": "Zoo", "owner": "Ann at the pier"})
    names = [s["stream"] for s in streams(local, pier)]
    assert names == ["d", "a", "c", "e_1", "b"]
    in_parts: list[str] = []
    after: dict[str, str] = {}
    while part := streams(local, pier, limit=2, **after):
        in_parts += [s["stream"] for s in part]
        after = {"after": in_parts[-1]}
    assert in_parts == names
    assert [s["stream"] for s in streams(local, pier, state="drift,failing")] == ["d"]
    assert [s["stream"] for s in streams(local, pier, q="AT THE")] == ["b"]
    assert [s["stream"] for s in streams(local, pier, q="_")] == ["e_1"]
    wrong = local.get(f"/experiment/{pier['id']}/streams", params={"state": "fine"})
    assert wrong.status_code == 422
    parts = local.get("/overview", params={"limit": 3}).json()["streams"]
    after = {"after": f"{parts[-1]['experiment']}/{parts[-1]['stream']}"}
    parts += local.get("/overview", params=after).json()["streams"]
    assert [s["stream"] for s in parts] == names


def test_a_list_does_not_go_on_after_what_is_not_there(ann: Any, anonymous: Any) -> None:
    hidden, pier = ann.experiment("hidden", public=False), ann.experiment("pier", public=True)
    for experiment in (hidden, pier):
        ann.drift(experiment, drift_detected=True, parameters={"stream": "reef"})
    [event] = ann.get(f"/experiment/{hidden['id']}/events").json()
    root = f"/experiment/{pier['id']}"
    for path, cursor in (
        (f"{root}/streams", {"after": "nowhere"}),
        (f"{root}/events", {"after": event["id"]}),
        (f"{root}/deliveries", {"before": event["id"]}),
        ("/overview", {"after": f"{pier['id']}/nowhere"}),
        ("/overview", {"after": "rubbish"}),
    ):
        answer = ann.get(path, params=cursor)
        assert answer.status_code == 422, path
        assert list(answer.json()["errors"]["query"]) == list(cursor)
    # Nobody learns from it which streams a private experiment has.
    known = {"after": f"{hidden['id']}/reef"}
    assert ann.get("/overview", params=known).status_code == 200
    assert anonymous.get("/overview", params=known).status_code == 422


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Reef Nord/2", "Reef Nord/2"),
        ("Küste", "Küste"),
        ("CAM_1", "CAM_1"),
        (7, "7"),
        ("-", "-~ab950709"),
        ("a,b", "a_b~9c7bdf1e"),
        ("x" * 65, "x" * 55 + "~dc05afb2"),
        ("a\nb", "a_b~59900c43"),
        ("", None),
        ({"a": 1}, None),
    ],
)
def test_cameras_of_other_clients_keep_their_names(
    local: Any, pier: Any, given: Any, name: str | None
) -> None:
    root = f"/experiment/{pier['id']}"
    made = local.drift(pier, drift_detected=True, parameters={"stream": given})
    local.drift(pier, parameters={"stream": "another"})
    [first, _] = streams(local, pier)
    assert (first["stream"], first["total"]) == (name, 1)
    path = f"{root}/stream/{quote(name or '-', safe='')}"
    assert local.get(path).json()["state"] == "drift"
    assert local.put(path, json={"place": "pier"}).json()["place"] == "pier"
    assert local.get(f"{root}/series", params={"stream": name or ""}).json()["id"] == [made["id"]]
    found = local.post(f"{root}/drift/search", json={"parameters.stream": given}).json()
    assert [job["id"] for job in found] == [made["id"]]
    rule = {"name": "r", "on": ["drift"], "stream": name}
    assert local.post(f"{root}/rule", json=rule).status_code == 201
    note = {"kind": "note", "text": "seen", "stream": name or ""}
    assert local.post(f"{root}/annotation", json=note).status_code == 201
    page = local.client.get(root, params={"stream": name or ""})
    assert page.status_code == 200
    heading = page.text.replace("<wbr>", "")
    assert f'<h1 id="name">{name or "(no name)"}</h1>' in heading
    assert made["id"] in page.text


def test_jobs_without_a_stream_are_one_that_is_called_a_dash(local: Any, pier: Any) -> None:
    local.drift(pier)
    path = f"/experiment/{pier['id']}/stream/-"
    assert local.put(path, json={"title": "Notebook"}).json()["stream"] is None
    assert local.get(path).json()["name"] == "Notebook"
    assert local.get(f"/experiment/{pier['id']}/stream/none").status_code == 404
    assert local.put(path, json={"link": "javascript:x"}).status_code == 422


def test_who_may_read_sees_and_who_may_edit_describes(ann: Any, bob: Any, anonymous: Any) -> None:
    secret = ann.experiment("secret", permissions=[{"entity": "crew", "level": "Read"}])
    public = ann.experiment("public", public=True)
    for experiment in (secret, public):
        send(ann, experiment, job("reef", 9, drift=True))
    path = f"/experiment/{secret['id']}/stream/reef"
    assert bob.put(path, json={"acknowledged": True}).status_code == 403
    assert ann.put(path, json={"acknowledged": True}).json()["acknowledged_by"] == "ann@example.org"
    assert bob.get(path).json()["acknowledged_at"]
    assert anonymous.get(path).status_code == 403
    assert {e["name"] for e in bob.get("/overview").json()["experiments"]} == {"secret", "public"}
    seen = anonymous.get("/overview").json()
    assert [e["name"] for e in seen["experiments"]] == ["public"]
    assert [s["experiment_name"] for s in seen["streams"]] == ["public"]
    ann.put(f"/experiment/{public['id']}/stream/reef", json={"acknowledged": True})
    [shown] = anonymous.get("/overview").json()["streams"]
    assert (shown["trouble"], shown["acknowledged_by"]) == (False, None)


def test_the_newest_picture_of_a_stream_is_known(local: Any, pier: Any) -> None:
    records = [
        local.drift(pier, **job("reef", minutes, late=minutes == 8)) for minutes in (9, 8, 7)
    ]
    path = f"/experiment/{pier['id']}/drift"
    for record in records[:2]:
        sent = {"content": picture(), "headers": {"Content-Type": "image/jpeg"}}
        assert local.put(f"{path}/{record['id']}/image", **sent).status_code == 200
    assert streams(local, pier)[0]["picture"] == records[0]["id"]
    local.delete(f"{path}/{records[0]['id']}")
    assert streams(local, pier)[0]["picture"] is None


def test_a_name_with_a_null_character_names_nothing(local: Any, pier: Any) -> None:
    path = f"/experiment/{pier['id']}/stream/%00"
    assert local.get(path).status_code == 404
    assert local.put(path, json={"title": "x"}).status_code == 404
