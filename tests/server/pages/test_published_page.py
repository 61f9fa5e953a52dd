"""Requests of the published DriftWatch page, word for word, as a browser on another origin asks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.api import Api, registered

PAGE = "https://drift.example"


@pytest.fixture
def anonymous(make_app: Any, oidc_settings: dict[str, Any]) -> Iterator[Api]:
    """A server that lets the page's origin in."""
    app = make_app(auth=oidc_settings, cors_origins=(PAGE,))
    with TestClient(app, base_url="http://lens.example") as client:
        yield Api(client, headers={"Origin": PAGE, "Accept": "*/*"})


def seen_by_the_page(answer: Any, code: int = 200) -> Any:
    """Return the body of an answer, all of which the page may read."""
    assert answer.status_code == code, answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "X-Pagination" in answer.headers["Access-Control-Expose-Headers"]
    return answer.json()


def pages(answer: Any) -> Any:
    return json.loads(answer.headers["X-Pagination"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/experiment/search"),
        ("PUT", "/experiment/00000000-0000-4000-8000-000000000000"),
        ("PUT", "/user/self"),
    ],
)
def test_a_browser_may_ask_first(anonymous: Api, method: str, path: str) -> None:
    asked = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = anonymous("OPTIONS", path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "content-type"} <= set(allowed.replace(" ", "").split(","))


def test_the_list_of_experiments(anonymous: Api, ann: Api) -> None:
    names = [f"reef {number:02}" for number in range(12)]
    for name in names:
        ann.experiment(name, public=True)
    first = anonymous.post("/experiment/search?page=1&order_by=asc", json={})
    assert [e["name"] for e in seen_by_the_page(first)] == names[:10]
    assert pages(first) == {
        "total": 12,
        "total_pages": 2,
        "first_page": 1,
        "last_page": 2,
        "page": 1,
        "next_page": 2,
    }
    for sort_by in ("name", "created_at"):
        for order_by, expected in (("asc", names[10:]), ("desc", names[1::-1])):
            query = f"page=2&sort_by={sort_by}&order_by={order_by}"
            found = anonymous.post(f"/experiment/search?{query}", json={})
            assert [e["name"] for e in seen_by_the_page(found)] == expected
    found = anonymous.post("/experiment/search?page=1&sort_by=public&order_by=desc", json={})
    assert len(seen_by_the_page(found)) == 10


def test_an_experiment_that_is_not_there(anonymous: Api, ann: Api) -> None:
    private = ann.experiment()["id"]
    for name in (private, "00000000-0000-4000-8000-000000000000", "not-a-uuid"):
        body = seen_by_the_page(anonymous.get(f"/experiment/{name}"), 404)
        assert (body["code"], body["status"]) == (404, "Not Found")


def test_the_table_of_jobs_and_its_filters(anonymous: Api, ann: Api) -> None:
    experiment = ann.experiment(public=True)
    statuses = ("Running", "Completed", "Failed", "Completed")
    jobs = [
        ann.drift(experiment, job_status=status, tags=["pier", f"t{number}"])
        for number, status in enumerate(statuses)
    ]
    path = f"/experiment/{experiment['id']}/drift/search"

    def found(query: str, body: Any) -> list[int]:
        records = seen_by_the_page(anonymous.post(f"{path}?{query}", json=body))
        return [jobs.index(record) for record in records]

    assert found("page=1&order_by=asc", {}) == [0, 1, 2, 3]
    for sort_by in ("created_at", "job_status", "drift_detected", "schema_version"):
        assert len(found(f"page=1&order_by=desc&sort_by={sort_by}", {})) == 4
    assert found("page=1&order_by=asc", {"tags": {"$all": ["pier", "t1"]}}) == [1]
    assert found("page=1&order_by=asc", {"tags": {"$all": ["pier", ""]}}) == []
    assert found("page=1&order_by=asc", {"job_status": "Completed"}) == [1, 3]
    day = {"$lt": "2100-01-01T22:59:59.000Z", "$gt": "2026-01-01T23:00:00.000Z"}
    assert found("page=1&order_by=asc", {"created_at": day}) == [0, 1, 2, 3]
    assert found("page=1&order_by=asc", {"created_at": {"$lt": day["$gt"]}}) == []
    everything = {"tags": {"$all": ["pier"]}, "job_status": "Failed", "created_at": day}
    assert found("page=1&order_by=asc", everything) == [2]
    beyond = anonymous.post(f"{path}?page=14&order_by=asc", json={"job_status": "Failed"})
    assert seen_by_the_page(beyond) == []
    assert "page" not in pages(beyond)
    assert pages(beyond)["total_pages"] == 1


def test_logging_in_registers(anonymous: Api, issuer: Any) -> None:
    """Without a body and without its type, as all of the page's calls about users."""
    api = anonymous.as_(issuer.account("ann", "user"))
    assert seen_by_the_page(api.put("/user/self"), 403)["message"] == "User not registered."
    user = seen_by_the_page(api.post("/user"), 201)
    assert seen_by_the_page(api.get("/user/self")) == user
    assert seen_by_the_page(api.put("/user/self")) == user
    stranger = anonymous.as_(issuer.account("eve"))
    seen_by_the_page(stranger.put("/user/self"), 403)
    seen_by_the_page(stranger.post("/user"), 403)
    broken = replace(api, token="not a token of anybody")
    seen_by_the_page(broken.put("/user/self"), 401)


def test_editing_an_experiment(anonymous: Api, issuer: Any) -> None:
    ann = registered(anonymous, issuer.account("ann", "user"))
    me = ann.get("/user/self").json()["id"]
    experiment = ann.experiment("pier", public=False)  # it has no description, so none is sent
    path = f"/experiment/{experiment['id']}"
    crew = {"entity": "crew", "level": "Read"}
    mine = {"entity": me, "level": "Manage"}
    for permissions, kept in (([mine, crew], [mine, crew]), ([], [mine])):
        body = {"name": "pier", "public": True, "permissions": permissions}
        assert seen_by_the_page(ann.put(path, json=body)) == experiment | body | {
            "permissions": kept
        }
    body = {"name": "pier", "description": "a camera", "permissions": [mine], "public": False}
    assert seen_by_the_page(ann.put(path, json=body)) == experiment | body
    bob = registered(anonymous, issuer.account("bob", "user", "crew"))
    seen_by_the_page(ann.put(path, json=body | {"permissions": [mine, crew]}))
    refused = bob.put(path, json=body)
    assert seen_by_the_page(refused, 403)["message"] == "Insufficient permissions."
