"""/experiment/E/drift/batch."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event

from support.samples import JOB


def job(event: str | None = None, **fields: Any) -> dict[str, Any]:
    return JOB | {"parameters": {"event_id": event} if event else {}} | fields


def send(api: Any, experiment: Any, jobs: Any) -> Any:
    return api.post(f"/experiment/{experiment['id']}/drift/batch", json={"drifts": jobs})


def test_each_job_is_answered_by_its_position(local: Any, pier: Any) -> None:
    known = local.drift(pier, parameters={"event_id": "known"})
    jobs = [
        job("a"),
        {"model": 1, "extra": 1},
        job("known"),
        5,
        job("a"),
        job(),
        job("b", tags=["x" * 21]),
    ]
    answer = send(local, pier, jobs)
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [result["position"] for result in results] == list(range(7))
    assert [result["status"] for result in results] == [201, 422, 200, 422, 200, 201, 422]
    assert results[2]["id"] == known["id"]
    assert results[0]["id"] == results[4]["id"]
    assert results[0]["event_id"] == "a"
    assert results[1]["errors"]["json"]["extra"] == ["Unknown field."]
    assert results[3]["errors"] == {"json": {"_schema": ["Invalid input type."]}}
    assert results[6]["errors"] == {"json": {"tags": {"0": ["Length must be between 1 and 20."]}}}
    assert len(local.search(pier, {}).json()) == 3


def test_a_batch_keeps_its_order(local: Any, pier: Any) -> None:
    assert send(local, pier, [job(f"e{n:03}") for n in range(100)]).status_code == 200
    found = local.search(pier, {}, order_by="asc", page_size=100).json()
    assert [record["parameters"]["event_id"] for record in found] == [
        f"e{n:03}" for n in range(100)
    ]
    stamps = [record["created_at"] for record in found]
    assert stamps == sorted(set(stamps))


@pytest.mark.slow
def test_a_thousand_jobs_twice_are_a_thousand_jobs(local: Any, pier: Any) -> None:
    jobs = [job(f"e{n}", tags=["t"]) for n in range(1000)]
    first, second = send(local, pier, jobs).json(), send(local, pier, jobs).json()
    assert {result["status"] for result in first["results"]} == {201}
    assert {result["status"] for result in second["results"]} == {200}
    assert [r["id"] for r in first["results"]] == [r["id"] for r in second["results"]]
    for query in ({}, {"tags": "t"}, {"job_status": "Completed"}):
        assert json.loads(local.search(pier, query).headers["X-Pagination"])["total"] == 1000


def test_any_number_of_tags_is_few_statements(local: Any, pier: Any) -> None:
    many = []
    engine = local.client.app.state.services.database.engine

    def note(_c: Any, _u: Any, statement: str, _p: Any, _x: Any, executemany: bool) -> None:
        many.extend([statement] if executemany else [])

    event.listen(engine, "before_cursor_execute", note)
    first = local.drift(pier, tags=[f"t{n}" for n in range(3000)] * 2)
    second = local.drift(pier, tags=["t0", "t2999"])
    event.remove(engine, "before_cursor_execute", note)
    assert not [statement for statement in many if "tag" in statement]

    def totals() -> list[int]:
        answers = [local.search(pier, {"tags": tag}) for tag in ("t0", "t1", "t2999")]
        return [json.loads(answer.headers["X-Pagination"])["total"] for answer in answers]

    assert totals() == [2, 1, 2]
    path = f"/experiment/{pier['id']}/drift"
    changed = {"job_status": "Completed", "model": "m", "drift_detected": False, "tags": ["t1"]}
    assert local.put(f"{path}/{second['id']}", json=changed).status_code == 200
    assert totals() == [1, 2, 1]
    assert local.delete(f"{path}/{first['id']}").status_code == 204
    assert totals() == [0, 1, 0]


def test_the_same_batch_from_many_at_once_is_stored_once(local: Any, pier: Any) -> None:
    jobs = [job(f"e{n}") for n in range(50)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: send(local, pier, jobs).json()["results"], range(6)))
    statuses = [result["status"] for results in answers for result in results]
    assert (statuses.count(201), statuses.count(200)) == (50, 250)
    assert json.loads(local.search(pier, {}).headers["X-Pagination"])["total"] == 50


@pytest.mark.parametrize("jobs", [[], [job()] * 1001, "x", None])
def test_an_empty_or_huge_batch_is_422(local: Any, pier: Any, jobs: Any) -> None:
    answer = send(local, pier, jobs)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]["json"]) == ["drifts"]


def test_nothing_but_bad_jobs_stores_nothing(local: Any, pier: Any) -> None:
    answer = send(local, pier, [{}, {}])
    assert [result["status"] for result in answer.json()["results"]] == [422, 422]
    assert local.search(pier, {}).json() == []


def test_what_is_no_job_spoils_its_own_position_only(local: Any, pier: Any) -> None:
    answer = send(local, pier, [None, 1, "x", [], job("good"), True])
    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [result["position"] for result in results] == list(range(6))
    assert [result["status"] for result in results] == [422, 422, 422, 422, 201, 422]
    for result in results[:4]:
        assert result["errors"] == {"json": {"_schema": ["Invalid input type."]}}
    [stored] = local.search(pier, {}).json()
    assert stored["id"] == results[4]["id"]


def test_a_bad_number_spoils_its_own_job_only(local: Any, pier: Any) -> None:
    body = json.dumps({"drifts": [job("a"), job("b", parameters={"x": float("nan")})]})
    headers = {"Content-Type": "application/json"}
    answer = local.post(f"/experiment/{pier['id']}/drift/batch", content=body, headers=headers)
    assert [result["status"] for result in answer.json()["results"]] == [201, 422]


def test_it_needs_edit(ann: Any, bob: Any, anonymous: Any) -> None:
    experiment = ann.experiment(public=True)
    assert send(anonymous, experiment, [job()]).status_code == 401
    assert send(bob, experiment, [job()]).status_code == 403
    assert send(ann, experiment, [job()]).status_code == 200


def test_it_is_not_part_of_v1(local: Any, pier: Any) -> None:
    answer = local.client.post(
        f"/api/v1/experiment/{pier['id']}/drift/batch", json={"drifts": [job()]}
    )
    assert answer.status_code == 404
