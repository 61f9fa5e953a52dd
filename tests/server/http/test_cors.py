"""Browsers on pages of other origins: those that the settings name may ask, and read the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

LISTED, OTHER = "https://watch.example", "https://evil.example"
PATH = "/api/latest/experiment/search"


@pytest.fixture(params=["none", "keys"])
def client(request: Any, make_app: Any) -> Iterator[TestClient]:
    """A server, with and without identity, that lets one origin in."""
    app = make_app(cors_origins=(LISTED,), auth={"mode": request.param})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def preflight(client: TestClient, origin: str, method: str) -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(PATH, headers=asked)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_page_of_a_listed_origin_may_do_everything(client: TestClient, method: str) -> None:
    answer = preflight(client, LISTED, method)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")


def test_a_page_of_a_listed_origin_may_read_the_headers_that_are_ours(client: TestClient) -> None:
    answer = client.post(PATH, headers={"Origin": LISTED})
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert exposed >= {"X-Pagination", "X-Request-ID", "ETag"}


def test_a_page_of_another_origin_may_neither_ask_nor_read(client: TestClient) -> None:
    for answer in (
        *(preflight(client, OTHER, method) for method in ("GET", "POST", "DELETE")),
        client.post(PATH, headers={"Origin": OTHER}),
        client.get("/healthz", headers={"Origin": OTHER}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
