"""Bodies: what the operations that take one do with those that are missing, of another kind, or too large."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from server.conftest import Api

REQUIRED = "Missing data for required field."
SEARCHES = ("/user/search", "/experiment/search", "{e}/drift/search")
DRIFT = {"job_status": [REQUIRED], "model": [REQUIRED], "drift_detected": [REQUIRED]}
WRITES = {  # and what is missing in an empty object
    "POST /experiment": {"name": [REQUIRED]},
    "PUT {e}": {"name": [REQUIRED]},
    "POST {e}/drift": DRIFT,
    "PUT {e}/drift/{d}": DRIFT,
}
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
            operations += ["POST {e}/drift/batch", "PUT {e}/drift/{d}/image"]
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
    body = {"job_status": "Completed", "model": "m", "drift_detected": spelling}
    assert local.put(f"{path}/drift/{drift['id']}", json=body).json()["drift_detected"] is True


@pytest.mark.parametrize("name", DRIFT)
def test_a_jobs_required_fields(local: Api, places: dict[str, str], name: str) -> None:
    body = {"job_status": "Failed", "model": "m", "drift_detected": False}
    del body[name]
    for method, path in (("POST", "{e}/drift"), ("PUT", "{e}/drift/{d}")):
        answer = local(method, path.format(**places), json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"] == {"json": {name: [REQUIRED]}}
