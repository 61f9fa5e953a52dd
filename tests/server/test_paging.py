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
            {"total": 7, "total_pages": 3, "first_page": 1, "last_page": 3, "previous_page": 8},
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
