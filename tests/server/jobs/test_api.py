"""/experiment/E/drift, its search, and /experiment/E/drift/D."""

from __future__ import annotations

import itertools
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from support.samples import JOB


def test_recording_answers_201_with_the_record(local: Any, pier: Any) -> None:
    body = JOB | {
        "tags": ["b", "a", "b"],
        "parameters": {"a.b": {"$c": [1, 2.5, None, True, "x", {}]}},
    }
    answer = local.post(f"/experiment/{pier['id'].upper()}/drift", json=body)
    record = answer.json()
    assert answer.status_code == 201
    assert record == body | {
        "id": record["id"],
        "created_at": record["created_at"],
        "schema_version": "1.0.0",
    }
    assert uuid.UUID(record["id"]).version == 4
    assert datetime.fromisoformat(record["created_at"]).utcoffset() == UTC.utcoffset(None)
    assert local.get(f"/experiment/{pier['id']}/drift/{record['id'].upper()}").json() == record


def test_tags_and_parameters_may_be_left_out(local: Any, pier: Any) -> None:
    record = local.drift(pier, model="")
    assert (record["tags"], record["parameters"], record["model"]) == ([], {}, "")


def test_all_complaints_come_at_once(local: Any, pier: Any) -> None:
    body = {
        "job_status": "Done",
        "drift_detected": "maybe",
        "tags": ["", "x" * 21, 3, "ok"],
        "parameters": None,
        "schema_version": "1.0.0",
    }
    answer = local.post(f"/experiment/{pier['id']}/drift", json=body, params={"page": 0})
    assert answer.status_code == 422
    assert answer.json()["errors"] == {
        "json": {
            "job_status": ["Must be one of: Running, Completed, Failed."],
            "model": ["Missing data for required field."],
            "drift_detected": ["Not a valid boolean."],
            "tags": {
                "0": ["Length must be between 1 and 20."],
                "1": ["Length must be between 1 and 20."],
                "2": ["Not a valid string."],
            },
            "parameters": ["Field may not be null."],
            "schema_version": ["Unknown field."],
        }
    }


def test_drift_detected_is_required(local: Any, pier: Any) -> None:
    answer = local.post(
        f"/experiment/{pier['id']}/drift", json={"job_status": "Failed", "model": "m"}
    )
    assert answer.json()["errors"] == {
        "json": {"drift_detected": ["Missing data for required field."]}
    }


@pytest.mark.slow
def test_a_status_may_change_to_any_other(local: Any, pier: Any) -> None:
    path = f"/experiment/{pier['id']}/drift/{local.drift(pier)['id']}"
    for pair in itertools.product(("Running", "Completed", "Failed"), repeat=2):
        for status in pair:
            answer = local.put(path, json=JOB | {"job_status": status})
            assert (answer.status_code, answer.json()["job_status"]) == (200, status)
            assert local.search(pier, {"job_status": status}).json() == [answer.json()]


def test_booleans_in_many_spellings(local: Any, pier: Any) -> None:
    for spelling in (True, "true", "t", "yes", "y", "on", "1", 1, "True", "ON", "Y"):
        assert local.drift(pier, drift_detected=spelling)["drift_detected"] is True
    for spelling in (False, "false", "f", "no", "n", "off", "0", 0, "False", "OFF"):
        assert local.drift(pier, drift_detected=spelling)["drift_detected"] is False
    assert len(local.search(pier, {"drift_detected": True}, page_size=100).json()) == 11
    assert len(local.search(pier, {"drift_detected": False}, page_size=100).json()) == 10


def test_there_may_be_any_number_of_tags_of_1_to_20_characters(local: Any, pier: Any) -> None:
    tags = [f"tag {number % 300:03}" for number in range(700)] + ["x", "é" * 20, "a,b", "$all"]
    record = local.drift(pier, tags=tags)
    assert record["tags"] == tags
    assert local.get(f"/experiment/{pier['id']}/drift/{record['id']}").json()["tags"] == tags
    for tag in ("tag 299", "x", "é" * 20, "a,b"):
        assert local.search(pier, {"tags": {"$all": [tag]}}).json() == [record]


WRONG: dict[str, list[Any]] = {
    "job_status": ["completed", "", None, 1, ["Failed"], "Done"],
    "model": [None, 5, ["m"], {"a": 1}],
    "drift_detected": [None, "maybe", 2, []],
    "tags": [None, "a", {"a": 1}, [None], [["a"]], [5]],
}


@pytest.mark.parametrize("field", WRONG)
def test_other_types_are_422(local: Any, pier: Any, field: str) -> None:
    record = local.drift(pier)
    path = f"/experiment/{pier['id']}/drift"
    for value in WRONG[field]:
        for answer in (
            local.post(path, json=JOB | {field: value}),
            local.put(f"{path}/{record['id']}", json=JOB | {field: value}),
        ):
            assert answer.status_code == 422, value
            assert list(answer.json()["errors"]["json"]) == [field]
    assert local.search(pier, {}).json() == [record]


@pytest.mark.parametrize("value", [[], "x", 3, None])
def test_parameters_are_an_object(local: Any, pier: Any, value: Any) -> None:
    answer = local.post(f"/experiment/{pier['id']}/drift", json=JOB | {"parameters": value})
    assert list(answer.json()["errors"]["json"]) == ["parameters"]


def test_a_fetched_record_cannot_be_sent_back(local: Any, pier: Any) -> None:
    record = local.drift(pier)
    answer = local.put(f"/experiment/{pier['id']}/drift/{record['id']}", json=record)
    assert answer.status_code == 422
    assert set(answer.json()["errors"]["json"]) == {"id", "created_at", "schema_version"}


def test_putting_replaces_and_keeps_what_is_given_once(local: Any, pier: Any) -> None:
    before = local.drift(pier, tags=["a"], parameters={"x": 1, "stream": "s"})
    body = {"job_status": "Running", "model": "n", "drift_detected": "yes"}
    answer = local.put(f"/experiment/{pier['id']}/drift/{before['id']}", json=body)
    assert answer.status_code == 200
    assert answer.json() == before | body | {"drift_detected": True, "tags": [], "parameters": {}}
    assert local.get(f"/experiment/{pier['id']}/drift/{before['id']}").json() == answer.json()
    assert local.search(pier, {"tags": "a"}).json() == []


def test_tags_in_another_order_are_found_as_before(local: Any, pier: Any) -> None:
    record = local.drift(pier, tags=["a", "b", "c"])
    path = f"/experiment/{pier['id']}/drift/{record['id']}"
    assert local.put(path, json=JOB | {"tags": ["c", "a", "b", "a"]}).status_code == 200
    for tag in ("a", "b", "c"):
        [found] = local.search(pier, {"tags": tag}).json()
        assert found["tags"] == ["c", "a", "b", "a"]


@pytest.mark.parametrize("missing", ["job_status", "model", "drift_detected"])
def test_putting_needs_the_same_fields(local: Any, pier: Any, missing: str) -> None:
    path = f"/experiment/{pier['id']}/drift/{local.drift(pier)['id']}"
    answer = local.put(path, json={key: value for key, value in JOB.items() if key != missing})
    assert answer.json()["errors"] == {"json": {missing: ["Missing data for required field."]}}


def test_deleting(local: Any, pier: Any) -> None:
    record = local.drift(pier, tags=["a"])
    path = f"/experiment/{pier['id']}/drift/{record['id']}"
    answer = local.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for again in (local.get(path), local.delete(path), local.put(path, json=JOB)):
        assert again.status_code == 404
        assert again.json()["message"] == "Drift not found."
    assert local.search(pier, {"tags": "a"}).json() == []


def test_a_drift_is_found_in_its_own_experiment_only(local: Any, pier: Any) -> None:
    record, other = local.drift(pier), local.experiment()
    answer = local.get(f"/experiment/{other['id']}/drift/{record['id']}")
    assert answer.json()["message"] == "Drift not found."
    unknown = local.get(f"/experiment/{uuid.uuid4()}/drift/{record['id']}")
    assert unknown.json()["message"] == "Experiment not found."


EVENTS = ["e1", "a b", "ä", "", "x" * 65, "x" * 5000, 5, 0.5, True, ["e"], {"e": 1, "f": None}]


@pytest.mark.slow
@pytest.mark.parametrize("event_id", EVENTS)
def test_an_event_is_recorded_once(local: Any, pier: Any, event_id: Any) -> None:
    first = local.drift(pier, parameters={"event_id": event_id, "x": 1})
    body = JOB | {"parameters": {"event_id": event_id, "x": 2}}
    for prefix in ("/api/v1", "/api/latest"):
        answer = local.under(prefix).post(f"/experiment/{pier['id']}/drift", json=body)
        assert answer.status_code == 201
        assert answer.json() == first
    assert local.search(pier, {"parameters.event_id": {"$eq": event_id}}).json() == [first]
    others = [local.drift(pier, parameters={"event_id": other}) for other in EVENTS]
    assert len({job["id"] for job in others}) == len(EVENTS)
    assert local.drift(local.experiment(), parameters=first["parameters"])["id"] != first["id"]


@pytest.mark.parametrize(("whole", "point"), [(1, 1.0), ([0, {"n": 2}], [0.0, {"n": 2.0}])])
def test_numbers_of_one_size_name_one_event(local: Any, pier: Any, whole: Any, point: Any) -> None:
    first = local.drift(pier, parameters={"event_id": whole})
    assert local.drift(pier, parameters={"event_id": point}) == first
    assert local.search(pier, {}).json() == [first]


def test_an_event_is_recorded_once_by_many_at_once(local: Any, pier: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(
            pool.map(lambda _: local.drift(pier, parameters={"event_id": "e"})["id"], range(24))
        )
    assert len(ids) == 1
    assert json.loads(local.search(pier, {}).headers["X-Pagination"])["total"] == 1


def test_an_event_id_that_is_taken_cannot_be_put(local: Any, pier: Any) -> None:
    local.drift(pier, parameters={"event_id": "e1"})
    other = local.drift(pier, parameters={"event_id": "e2"})
    path = f"/experiment/{pier['id']}/drift/{other['id']}"
    answer = local.put(path, json=JOB | {"parameters": {"event_id": "e1"}})
    assert answer.status_code == 422
    assert set(answer.json()["errors"]["json"]["parameters"]) == {"event_id"}
    assert local.get(path).json() == other
    assert local.put(path, json=JOB | {"parameters": {"event_id": "e2"}}).status_code == 200


def test_null_is_no_event_id(local: Any, pier: Any) -> None:
    jobs = [local.drift(pier, parameters={"event_id": None}) for _ in range(2)]
    assert jobs[0]["id"] != jobs[1]["id"]


@pytest.mark.parametrize("value", [5, None, ["e"], {"e": 1}, "", "x" * 65, "ä", "a b"])
def test_what_is_no_stream_is_any_parameter(local: Any, pier: Any, value: Any) -> None:
    records = [local.drift(pier, parameters={"stream": value}) for _ in range(2)]
    assert records[0]["id"] != records[1]["id"]
    assert records[0]["parameters"] == {"stream": value}
    found = local.search(pier, {"parameters.stream": {"$eq": value}}).json()
    assert [record["id"] for record in found] == [record["id"] for record in records[::-1]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("NaN", ["parameters", "x"]),
        ("Infinity", ["parameters", "x"]),
        ("-Infinity", ["parameters", "x"]),
        ("1e999", ["parameters", "x"]),
        (str(2**63), ["parameters", "x"]),
        (str(-(2**63) - 1), ["parameters", "x"]),
        ("9" * 5000, ["parameters", "x"]),
        ('"\\u0000"', ["parameters", "x"]),
        ('"\\ud800"', ["parameters", "x"]),
        ('[1,{"y":NaN}]', ["parameters", "x", "1", "y"]),
        ("[" * 80 + "]" * 80, ["parameters"]),
    ],
)
def test_what_no_database_can_keep_is_422(
    local: Any, pier: Any, text: str, place: list[str]
) -> None:
    body = json.dumps(JOB)[:-1] + ', "parameters": {"x": ' + text + "}}"
    headers = {"Content-Type": "application/json"}
    answer = local.post(f"/experiment/{pier['id']}/drift", content=body, headers=headers)
    assert answer.status_code == 422
    complaint = answer.json()["errors"]["json"]
    for key in place:
        complaint = complaint[key]
    assert local.search(pier, {}).json() == []


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        -(2**63),
        0.1,
        1e300,
        -1e-300,
        5e-324,
        1.0,
        123456789.123456789,
        "é\n😀",
        {"": 1},
        "x" * 100_000,
    ],
)
def test_values_come_back_as_they_went(local: Any, pier: Any, value: Any) -> None:
    record = local.drift(pier, parameters={"x": value})
    got = local.get(f"/experiment/{pier['id']}/drift/{record['id']}").json()["parameters"]["x"]
    assert got == value
    assert type(got) is type(value)


def test_levels(ann: Any, bob: Any, anonymous: Any, issuer: Any) -> None:
    for level, may_edit in (("Read", False), ("Edit", True), ("Manage", True)):
        record = ann.experiment(permissions=[{"entity": bob.me(), "level": level}])
        drift = ann.drift(record)
        path = f"/experiment/{record['id']}/drift"
        assert bob.get(f"{path}/{drift['id']}").json() == drift
        assert bob.search(record, {}).json() == [drift]
        assert bob.post(path, json=JOB).status_code == (201 if may_edit else 403)
        assert bob.put(f"{path}/{drift['id']}", json=JOB).status_code == (200 if may_edit else 403)
        assert bob.delete(f"{path}/{drift['id']}").status_code == (204 if may_edit else 403)


def test_a_private_experiments_jobs_are_refused(
    ann: Any, bob: Any, anonymous: Any, issuer: Any
) -> None:
    record = ann.experiment()
    drift = ann.drift(record)
    stranger = anonymous.as_(issuer.account("eve", "user"))
    for api, message in (
        (anonymous, "Resource is not public."),
        (bob, "Insufficient permissions."),
        (stranger, "Insufficient permissions."),
    ):
        for answer in (
            api.get(f"/experiment/{record['id']}/drift/{drift['id']}"),
            api.get(f"/experiment/{record['id']}/drift/{uuid.uuid4()}"),
            api.search(record, {}),
        ):
            assert answer.status_code == 403
            assert answer.json()["message"] == message


def test_a_public_experiments_jobs_are_anybodys_to_read(
    ann: Any, anonymous: Any, issuer: Any
) -> None:
    record = ann.experiment(public=True)
    drift = ann.drift(record)
    unregistered = anonymous.as_(issuer.account("eve", "user"))
    lapsed = anonymous.as_(issuer.account("una"))
    for api in (anonymous, unregistered, lapsed, anonymous.as_("x" * 40)):
        assert api.get(f"/experiment/{record['id']}/drift/{drift['id']}").json() == drift
        assert api.search(record, {}).json() == [drift]
    assert anonymous.post(f"/experiment/{record['id']}/drift", json=JOB).status_code == 401
    answer = unregistered.post(f"/experiment/{record['id']}/drift", json=JOB)
    assert (answer.status_code, answer.json()["message"]) == (403, "User not registered.")


def test_an_administrator_may_everything_once_registered(
    ann: Any, root: Any, anonymous: Any, issuer: Any
) -> None:
    record = ann.experiment()
    drift = root.drift(record)
    assert ann.search(record, {}).json() == [drift]
    unregistered = anonymous.as_(issuer.account("boss", "user", "admin"))
    assert unregistered.search(record, {}).status_code == 403
    roleless = anonymous.as_(issuer.account("chief", "admin"))
    roleless.post("/user")
    assert roleless.search(record, {}).status_code == 403
