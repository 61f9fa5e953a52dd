"""Pages and the X-Pagination header."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def seven(local: Any) -> Any:
    """An experiment with seven jobs."""
    experiment = local.experiment()
    for number in range(7):
        local.drift(experiment, model=f"m{number}", job_status=["Failed", "Running"][number % 2])
    return experiment


@pytest.mark.parametrize(
    ("params", "models", "header"),
    [
        ({}, "6543210", {"total": 7, "total_pages": 1, "first_page": 1, "last_page": 1, "page": 1}),
        (
            {"page_size": 3},
            "654",
            {
                "total": 7,
                "total_pages": 3,
                "first_page": 1,
                "last_page": 3,
                "page": 1,
                "next_page": 2,
            },
        ),
        (
            {"page": 2, "page_size": 3, "order_by": "asc"},
            "345",
            {
                "total": 7,
                "total_pages": 3,
                "first_page": 1,
                "last_page": 3,
                "page": 2,
                "previous_page": 1,
                "next_page": 3,
            },
        ),
        (
            {"page": 3, "page_size": 3},
            "0",
            {
                "total": 7,
                "total_pages": 3,
                "first_page": 1,
                "last_page": 3,
                "page": 3,
                "previous_page": 2,
            },
        ),
        (
            {"page": 9, "page_size": 3},
            "",
            {"total": 7, "total_pages": 3, "first_page": 1, "last_page": 3},
        ),
        ({"sort_by": "model", "order_by": "asc", "page_size": 2}, "01", None),
        ({"sort_by": "job_status", "page_size": 4}, "5316", None),
        ({"sort_by": "schema_version", "page_size": 2}, "65", None),
        ({"sort_by": "drift_detected", "page_size": 2}, "65", None),
        ({"unknown": "x"}, "6543210", None),
    ],
)
def test_pages(local: Any, seven: Any, params: Any, models: str, header: Any) -> None:
    answer = local.search(seven, {}, **params)
    assert answer.status_code == 200
    assert [record["model"] for record in answer.json()] == [f"m{digit}" for digit in models]
    if header:
        assert json.loads(answer.headers["X-Pagination"]) == header


def expected(total: int, page: int, size: int) -> dict[str, int]:
    """Return the header that flask-smorest 0.44 sends."""
    last = (total + size - 1) // size
    header = {"total": total, "total_pages": last}
    if total == 0:
        return header
    header |= {"first_page": 1, "last_page": last}
    if page > last:
        return header
    header |= {"page": page} | ({"previous_page": page - 1} if page > 1 else {})
    return header | ({"next_page": page + 1} if page < last else {})


@pytest.mark.slow
@pytest.mark.parametrize("what", ["user", "experiment", "drift"])
def test_every_search_tells_where_one_is(root: Any, ann: Any, bob: Any, what: str) -> None:
    """Five records, asked for in every way."""
    names = [f"e{number}" for number in range(5)]
    experiments = [root.experiment(name, description="five") for name in names]
    for number in range(5):
        root.drift(experiments[0], model=f"m{number}")
    path = f"/experiment/{experiments[0]['id']}/drift/search"
    path = path if what == "drift" else f"/{what}/search"
    everything, nothing = {}, {"_id": "none"}
    if what == "user":
        everything = {"subject": {"$in": ["ann", "bob", "root"]}}
    for query, total in ((everything, 3 if what == "user" else 5), (nothing, 0)):
        whole = root.post(path, json=query).json()
        assert len(whole) == total
        for size in (1, 2, 3, 5, 100):
            for page in (1, 2, 3, 5, 6, 99):
                params = {"page": page, "page_size": size}
                answer = root.post(path, json=query, params=params)
                assert answer.json() == whole[(page - 1) * size : page * size]
                assert json.loads(answer.headers["X-Pagination"]) == expected(total, page, size)


SORTED_BY = {
    "user": ("created_at", "email", "subject", "issuer"),
    "experiment": ("created_at", "name", "public"),
    "drift": ("created_at", "job_status", "model", "drift_detected", "schema_version"),
}


@pytest.mark.parametrize("what", SORTED_BY)
def test_every_search_sorts_by_what_the_contract_names(
    root: Any, ann: Any, bob: Any, what: str
) -> None:
    names = ("b", "", "B", "a", "ä", "a", "Z", "aa")
    experiments = [
        root.experiment(f"{name} {number}", public=number % 3 == 0)
        for number, name in enumerate(names)
    ]
    for number, name in enumerate(names):
        status = ("Running", "Failed", "Completed")[number % 3]
        root.drift(experiments[0], model=name, job_status=status, drift_detected=number % 2 == 0)
    path = f"/experiment/{experiments[0]['id']}/drift/search"
    path = path if what == "drift" else f"/{what}/search"
    default = root.post(path).json()
    for field in SORTED_BY[what]:
        for order in ("asc", "desc"):
            found = root.post(path, params={"sort_by": field, "order_by": order}).json()
            assert sorted(r["id"] for r in found) == sorted(r["id"] for r in default)
            values = [record[field] for record in found]
            assert values == sorted(values, reverse=order == "desc")
        assert root.post(path, params={"sort_by": field}).json() == found  # desc unless told
    assert root.post(path, params={"sort_by": "created_at"}).json() == default
    for field in ("id", "_id", "permissions", "parameters", "tags", "colour", "", "NAME"):
        answer = root.post(path, params={"sort_by": field})
        assert answer.status_code == 422
        message = f"Must be one of: {', '.join(SORTED_BY[what])}."
        assert answer.json()["errors"] == {"query": {"sort_by": [message]}}
    for params in ({"page": 0}, {"page": 1.5}, {"page_size": 0}, {"page_size": 101}):
        answer = root.post(path, params=params)
        assert list(answer.json()["errors"]["query"]) == list(params)
    assert len(root.post(path, params={"page_size": 100}).json()) == len(default)


def test_nothing_found(local: Any, seven: Any) -> None:
    answer = local.search(seven, {"model": "none"}, page=2)
    assert answer.json() == []
    assert json.loads(answer.headers["X-Pagination"]) == {"total": 0, "total_pages": 0}


def test_a_page_number_beyond_all_reason_is_an_empty_page(local: Any, seven: Any) -> None:
    answer = local.search(seven, {}, page=10**30)
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"page": 0}, {"page": ["Must be greater than or equal to 1."]}),
        ({"page": "x"}, {"page": ["Not a valid integer."]}),
        (
            {"page_size": 101},
            {"page_size": ["Must be greater than or equal to 1 and less than or equal to 100."]},
        ),
        ({"order_by": "up"}, {"order_by": ["Must be one of: asc, desc."]}),
        (
            {"sort_by": "id"},
            {
                "sort_by": [
                    "Must be one of: created_at, job_status, model, drift_detected, schema_version."
                ]
            },
        ),
    ],
)
def test_a_bad_query_string_is_422(local: Any, seven: Any, params: Any, complaint: Any) -> None:
    answer = local.search(seven, {}, **params)
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"query": complaint}


def test_pages_can_be_read_from_other_origins(make_app: Any) -> None:
    from starlette.testclient import TestClient

    origin = "https://watch.example"
    with TestClient(make_app(cors_origins=(origin,)), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/latest/experiment/search", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "X-Pagination" in answer.headers["Access-Control-Expose-Headers"]
        asked = {
            "Origin": origin,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,content-type,accept",
        }
        preflight = client.options("/api/latest/experiment/search", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Max-Age"] == "100"


@pytest.mark.slow
def test_the_total_of_a_span_of_time_is_exact(local: Any) -> None:
    pier = local.experiment()
    stamps = [local.drift(pier)["created_at"] for _ in range(12)]

    def total(query: Any) -> int:
        answer = local.search(pier, query, page_size=1)
        return int(json.loads(answer.headers["X-Pagination"])["total"])

    for low in range(12):
        assert total({"created_at": {"$gte": stamps[low]}}) == 12 - low
        assert total({"created_at": {"$gt": stamps[low]}}) == 11 - low
        assert total({"created_at": {"$lt": stamps[low]}}) == low
        for high in range(0, 12, 3):
            within = {"$gt": stamps[low], "$lte": stamps[high]}
            assert total({"created_at": within}) == max(0, high - low)
            within = {"$gte": stamps[low], "$lt": stamps[high]}
            assert total({"created_at": within}) == max(0, high - low)
    assert total({"created_at": {"$gt": "2020", "$lt": "2100"}}) == 12
    assert total({"created_at": {"$gt": "2100", "$lt": "2020"}}) == 0
    assert total({"$and": [{"created_at": {"$gte": stamps[n]}} for n in (3, 1)]}) == 9
    assert total({"created_at": {"$gt": "2020", "$ne": stamps[2]}}) == 11
