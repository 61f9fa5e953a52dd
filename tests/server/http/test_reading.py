"""Bodies that are too large, or do not come."""

from __future__ import annotations

import socket
import time
from typing import Any

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from lenswatch.server.http.services import DEFAULT_LIMITS, Limits
from support.servers import Served

JSON = {"Content-Type": "application/json"}
HEAD = b"POST /api/latest/experiment/search HTTP/1.1\r\nHost: localhost\r\n"
HEAD += b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"


def test_a_hundred_megabytes_are_413(shared: Served) -> None:
    def chunks() -> Any:
        for _ in range(100):
            yield b" " * 2**20

    with shared.client() as client:
        known = client.post("/experiment/search", content=b" " * 100 * 2**20, headers=JSON)
        streamed = client.post("/experiment/search", content=chunks(), headers=JSON)
    for answer in (known, streamed):
        assert answer.status_code == 413
        assert answer.json()["code"] == 413


def test_the_limit_is_configured(make_app: Any) -> None:
    with TestClient(make_app(max_body_bytes=100), base_url="http://127.0.0.1") as client:
        path = "/api/latest/experiment"
        assert client.post(path, json={"name": "x" * 80}).status_code == 201
        assert client.post(path, json={"name": "x" * 90}).status_code == 413


def test_unless_configured_the_limit_is_8_mib(local: Any) -> None:
    def post(size: int) -> Any:
        head, end = b'{"name": "x", "description": "', b'"}'
        body = head + b"x" * (size - len(head + end)) + end
        return local.post("/experiment", content=body, headers=JSON)

    assert post(8 * 2**20 + 1).status_code == 413
    assert post(8 * 2**20).status_code == 201


@pytest.mark.slow
@pytest.mark.parametrize("limits", [Limits(body_seconds=0.4)])
@pytest.mark.parametrize("drip", [0, 0.05])
def test_a_body_that_never_comes_is_given_up(local: Any, port: int, drip: float) -> None:
    end = time.monotonic() + 60
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD)
        connection.settimeout(drip or 60)
        reply = b""
        while not reply and time.monotonic() < end:
            try:
                reply = connection.recv(4096)
            except TimeoutError:
                connection.sendall(b" ")  # a byte now and then does not help
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert local.post("/experiment/search").status_code == 200


def test_slow_senders_do_not_hold_up_others(shared: Served) -> None:
    slow = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(60)]
    for connection in slow:
        connection.sendall(HEAD)
    seconds = DEFAULT_LIMITS.body_seconds / 2  # before any of them is given up
    answer = httpx.post(f"{shared.address}/api/latest/experiment/search", timeout=seconds)
    assert answer.status_code == 200
    for connection in slow:
        connection.close()
