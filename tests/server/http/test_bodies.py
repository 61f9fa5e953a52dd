"""Bodies: what the operations that take one do with those that are missing, of another kind, or too large."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.api import Api
from support.samples import JOB

REQUIRED = "Missing data for required field."
SEARCHES = ("/user/search", "/experiment/search", "{e}/drift/search")
DRIFT = {"job_status": [REQUIRED], "model": [REQUIRED], "drift_detected": [REQUIRED]}
WRITES = {  # and what is missing in an empty object
    "POST /experiment": {"name": [REQUIRED]},
    "PUT {e}": {"name": [REQUIRED]},
    "POST {e}/drift": DRIFT,
    "PUT {e}/drift/{d}": DRIFT,
}
JSON = {"Content-Type": "application/json"}
PREFIXES = ["/api/v1", "/api/latest"]


@pytest.fixture
def places(local: Api) -> dict[str, str]:
    experiment = local.experiment("pier")
    return {"e": f"/experiment/{experiment['id']}", "d": local.drift(experiment)["id"]}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"content": b""},
        {"content": b"{}"},
        {"content": b"name=x", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"content": b'{"name": "x"}', "headers": {"Content-Type": "text/plain"}},
    ],
)
def test_a_body_that_is_missing_or_no_json_is_an_empty_object(
    local: Api, places: dict[str, str], prefix: str, options: dict[str, Any]
) -> None:
    api = local.under(prefix)
    for path in SEARCHES:
        answer = api.post(path.format(**places), **options)
        assert answer.status_code == 200, (path, answer.text)
    for operation, missing in WRITES.items():
        method, path = operation.split()
        answer = api(method, path.format(**places), **options)
        assert answer.status_code == 422, (operation, answer.text)
        assert answer.json()["errors"] == {"json": missing}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_body_over_the_limit_is_413(make_app: Any, prefix: str) -> None:
    with TestClient(make_app(max_body_bytes=1000), base_url="http://127.0.0.1") as client:
        api = Api(client, prefix=prefix)
        experiment = api.experiment()
        places = {"e": f"/experiment/{experiment['id']}", "d": api.drift(experiment)["id"]}
        operations = [f"POST {path}" for path in SEARCHES] + list(WRITES)
        if prefix == "/api/latest":
            operations += [
                "POST {e}/drift/batch",
                "POST {e}/drift/images",
                "PUT {e}/drift/{d}/image",
            ]
        for operation in operations:
            method, path = operation.split()
            answer = api(method, path.format(**places), json={"name": "x" * 1000})
            assert answer.status_code == 413, operation
            assert answer.json()["code"] == 413
        assert api.get(places["e"]).json() == experiment


@pytest.mark.parametrize("spelling", ["true", "t", "yes", "y", "on", "1", 1, True, "True", "YES"])
def test_booleans_may_be_spelt_in_many_ways_when_replacing_too(local: Api, spelling: Any) -> None:
    experiment = local.experiment("pier")
    path = f"/experiment/{experiment['id']}"
    assert local.put(path, json={"name": "pier", "public": spelling}).json()["public"] is True
    drift = local.drift(experiment)
    body = JOB | {"drift_detected": spelling}
    assert local.put(f"{path}/drift/{drift['id']}", json=body).json()["drift_detected"] is True


@pytest.mark.parametrize("name", DRIFT)
def test_a_jobs_required_fields(local: Api, places: dict[str, str], name: str) -> None:
    body = {field: value for field, value in JOB.items() if field != name}
    for method, path in (("POST", "{e}/drift"), ("PUT", "{e}/drift/{d}")):
        answer = local(method, path.format(**places), json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"] == {"json": {name: [REQUIRED]}}


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b'{"a":1}x', b"nul", b"[" * 100_000, b'{"a":' * 5000, b"'a'"]
)
def test_what_is_no_json_is_400(local: Any, body: bytes) -> None:
    answer = local.post("/experiment/search", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "status": "Bad Request",
        "errors": {"json": ["Invalid JSON body."]},
    }


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"5", b"null", b"true", b"[{}]"])
def test_a_body_that_is_no_object_is_422(local: Any, pier: Any, body: bytes) -> None:
    for path in ("/experiment/search", "/experiment", f"/experiment/{pier['id']}/drift"):
        answer = local.post(path, content=body, headers=JSON)
        assert answer.status_code == 422
        assert answer.json()["errors"] == {"json": {"_schema": ["Invalid input type."]}}


BAD = {
    "tags": JOB | {"tags": [1] * 1_000_000},
    "long tags": JOB | {"tags": ["x" * 21] * 100_000},
    "fields": JOB | {f"x{n}": 1 for n in range(200_000)},
    "parameters": JOB | {"parameters": {"a": [math.inf] * 500_000}},
    "nested parameters": JOB | {"parameters": {"a": [[[math.inf] * 100] * 100] * 20}},
    "permissions": {"name": "x"} | {"permissions": [{}] * 1000},
    "fields of permissions": {"name": "x"}
    | {"permissions": [{f"x{n}": 1 for n in range(200)}] * 1000},
    "too many permissions": {"name": "x"} | {"permissions": [{}] * 500_000},
    "jobs": {"drifts": [1] * 1_000_000},
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD)
def test_complaints_are_a_hundred_at_most_and_cost_little(local: Any, pier: Any, what: str) -> None:
    path = f"/experiment/{pier['id']}/drift" if "name" not in BAD[what] else "/experiment"
    path += "/batch" if "drifts" in BAD[what] else ""
    body = json.dumps(BAD[what]).encode()
    started = time.monotonic()
    answer = local.post(path, content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert time.monotonic() - started < 60
    assert 1 <= count(answer.json()["errors"]) <= 100
    assert len(answer.content) < 10_000


def count(errors: Any) -> int:
    return sum(map(count, errors.values())) if isinstance(errors, dict) else len(errors)


def test_complaints_of_all_fields_still_come_together(local: Any, pier: Any) -> None:
    body = {
        "model": 1,
        "tags": ["", 5, None, "ok", "x" * 21],
        "x": 1,
        "parameters": {"a": [1, 2**64]},
    }
    answer = local.post(f"/experiment/{pier['id']}/drift", json=body)
    length = ["Length must be between 1 and 20."]
    too_large = ["Number too large: a whole number must fit into 64 bits."]
    assert answer.json()["errors"]["json"] == {
        "job_status": ["Missing data for required field."],
        "drift_detected": ["Missing data for required field."],
        "model": ["Not a valid string."],
        "tags": {
            "0": length,
            "1": ["Not a valid string."],
            "2": ["Field may not be null."],
            "4": length,
        },
        "parameters": {"a": {"1": too_large}},
        "x": ["Unknown field."],
    }


def test_a_job_may_have_any_number_of_tags_and_an_experiment_a_thousand_permissions(
    local: Any, pier: Any
) -> None:
    assert len(local.drift(pier, tags=["a", "b"] * 1000)["tags"]) == 2000
    entries = [{"entity": f"group {n}", "level": "Read"} for n in range(1001)]
    answer = local.post("/experiment", json={"name": "x", "permissions": entries})
    assert answer.json()["errors"]["json"] == {"permissions": ["Longer than maximum length 1000."]}
    made = local.experiment("x", permissions=entries[:999])
    assert made["permissions"][:999] == entries[:999]


@pytest.mark.parametrize("digits", ["9" * 20, "9" * 21, "-" + "9" * 4000, str(2**63)])
def test_a_number_beyond_64_bits_is_called_that(local: Any, pier: Any, digits: str) -> None:
    body = f'{{"name": "x", "description": {digits}, "parameters": {{"a": {digits}}}}}'
    for path in (f"/experiment/{pier['id']}/drift", f"/experiment/{pier['id']}/drift/search"):
        answer = local.post(path, content=body, headers=JSON)
        assert answer.status_code == 422
        assert "64 bits" in answer.text
        assert "infinity" not in answer.text


def test_a_missing_or_other_body_is_an_empty_object(local: Any) -> None:
    assert local.post("/experiment/search").status_code == 200
    assert (
        local.post(
            "/experiment/search", content=b"x", headers={"Content-Type": "text/plain"}
        ).status_code
        == 200
    )
    answer = local.post(
        "/experiment", content=b'{"name": "x"}', headers={"Content-Type": "text/plain"}
    )
    assert answer.json()["errors"] == {"json": {"name": ["Missing data for required field."]}}
    vendor = {"Content-Type": "application/vnd.x+json; charset=utf-8"}
    assert local.post("/experiment", content=b'{"name": "x"}', headers=vendor).status_code == 201
