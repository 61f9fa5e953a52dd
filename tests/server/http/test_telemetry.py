"""Request ids, and what is logged of requests and crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from lenswatch.server.jobs import search
from support.servers import served


def test_errors_have_the_contracts_shape_and_a_request_id(local: Any) -> None:
    answer = local.get("/nope", headers={"X-Request-ID": "abc-1"})
    assert answer.json() == {"code": 404, "status": "Not Found", "message": "Not found."}
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert len(local.get("/nope", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"]) == 32


def test_a_crash_is_a_500_without_details(
    capfd: Any, local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(search, "page", crash)
    answer = local.search(local.experiment(), {})
    assert answer.status_code == 500
    assert answer.json() == {"code": 500, "status": "Internal Server Error"}
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert any("secret detail" in line.get("exception", "") for line in logged)
    assert {line["request_id"] for line in logged} == {answer.headers["X-Request-ID"]}


def test_a_path_is_logged_in_short(make_app: Any, capfd: Any) -> None:
    with TestClient(make_app(log_level="info"), base_url="http://127.0.0.1") as client:
        client.get("/healthz")
        client.get("/" + "x" * 10_000)
    short, long = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert short["path"] == "/healthz"
    assert long["path"] == "/" + "x" * 199


def test_requests_are_logged_with_their_ids(capfd: Any, make_app: Any) -> None:
    with TestClient(make_app(log_level="info"), base_url="http://127.0.0.1") as client:
        client.get("/api/latest/user/self", headers={"X-Request-ID": "r-1"})
    [line] = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {k: line[k] for k in ("event", "level", "request_id", "method", "path", "status")} == {
        "event": "request",
        "level": "info",
        "request_id": "r-1",
        "method": "GET",
        "path": "/api/latest/user/self",
        "status": 200,
    }


@pytest.mark.slow
def test_what_uvicorn_complains_of_is_a_line_of_json_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        served(tmp_path, stderr=stderr, app="breaking off") as running,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        httpx.get(f"{running.address}/broken", timeout=60)
    crash, complaint = (json.loads(line) for line in log.read_text().splitlines())
    assert crash["event"] == "crash"
    assert {k: complaint[k] for k in ("event", "level", "logger", "message")} == {
        "event": "library",
        "level": "error",
        "logger": "uvicorn.error",
        "message": "ASGI callable returned without completing response.",
    }
