"""Hostile requests: none gives a 500, a leak or a hang."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx2 as httpx
import pytest

from lenswatch.server import reading

INJECTIONS = [
    "' OR '1'='1",
    '"; DROP TABLE drifts; --',
    "$.a'",
    "a') UNION SELECT 1 --",
    '$."a"',
    "%",
    "_",
    "\\",
    'a"b',
    "[0]",
    "#-1",
]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def pier(local: Any) -> Any:
    experiment = local.experiment("pier")
    local.drift(experiment, parameters={"a": "b", "stream": "s"})
    return experiment


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_through_queries_finds_nothing_and_breaks_nothing(
    local: Any, pier: Any, text: str
) -> None:
    queries = [
        {"model": text},
        {"tags": text},
        {"tags": {"$all": [text]}},
        {"_id": text},
        {"parameters.a": text},
        {"parameters.stream": text},
        {"parameters.event_id": {"$in": [text]}},
        {"model": {"$regex": text.replace("\\", "x")}},
        {"parameters.a": {"$regex": f"[{text[:1]}]x"}},
        {f"parameters.{text.replace('$', 'x').replace('.', 'x')}": 1},
        {text.replace("$", "x").replace(".", "x"): {"$gt": "a"}},
    ]
    for query in queries:
        answer = local.search(pier, query)
        assert answer.status_code in (200, 422), answer.text
        assert answer.status_code == 422 or answer.json() == []
    assert len(local.search(pier, {}).json()) == 1


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_through_sort_fields_tags_and_keys(local: Any, pier: Any, text: str) -> None:
    assert local.search(pier, {}, sort_by=text).status_code == 422
    assert local.search(pier, {}, order_by=text).status_code == 422
    record = local.drift(pier, tags=[text[:20]], parameters={text: {text: text}}, model=text)
    [found] = local.search(pier, {"tags": text[:20], "model": text}).json()
    assert found == record
    assert local.search(pier, {"parameters": {"$eq": {text: {text: text}}}}).json() == [record]


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", str(2**64), "-" + "9" * 4000]
)
def test_numbers_that_no_database_knows_are_refused_everywhere(
    local: Any, pier: Any, text: str
) -> None:
    path = f"/experiment/{pier['id']}/drift/search"
    for query in (
        '{"parameters.a": %s}',
        '{"parameters.a": {"$gt": %s}}',
        '{"parameters.a": {"$in": [%s]}}',
        '{"parameters": {"a": [%s]}}',
    ):
        answer = local.post(path, content=query % text, headers=JSON)
        assert answer.status_code == 422, answer.text
        json.loads(answer.text, parse_constant=pytest.fail)
    assert local.search(pier, {}, page=text).status_code in (200, 422)


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


def test_a_hundred_megabytes_are_413(serve: Any) -> None:
    served = serve()

    def chunks() -> Any:
        for _ in range(100):
            yield b" " * 2**20

    started = time.monotonic()
    with httpx.Client(base_url=f"{served.address}/api/latest", timeout=30) as client:
        known = client.post("/experiment/search", content=b" " * 100 * 2**20, headers=JSON)
        streamed = client.post("/experiment/search", content=chunks(), headers=JSON)
    for answer in (known, streamed):
        assert answer.status_code == 413
        assert answer.json()["code"] == 413
    assert time.monotonic() - started < 20


def test_the_limit_is_configured(make_app: Any) -> None:
    from starlette.testclient import TestClient

    with TestClient(make_app(max_body_bytes=100), base_url="http://127.0.0.1") as client:
        path = "/api/latest/experiment"
        assert client.post(path, json={"name": "x" * 80}).status_code == 201
        assert client.post(path, json={"name": "x" * 90}).status_code == 413


def test_a_body_that_never_comes_is_given_up(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.3)

    async def run() -> tuple[int, float]:
        import asyncio

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/latest/experiment/search",
            "raw_path": b"",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }
        sent: list[Any] = []
        first = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def receive() -> Any:
            if first:
                return first.pop()
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        started = time.monotonic()
        await local.client.app(scope, receive, send)
        return sent[0]["status"], time.monotonic() - started

    import asyncio

    status, seconds = asyncio.run(run())
    assert status == 408
    assert seconds < 5


def test_slow_senders_do_not_hold_up_others(serve: Any) -> None:
    served = serve()
    head = b"POST /api/latest/experiment/search HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(60)]
    for connection in slow:
        connection.sendall(head)
    started = time.monotonic()
    assert httpx.post(f"{served.address}/api/latest/experiment/search").status_code == 200
    assert time.monotonic() - started < 5
    for connection in slow:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.db",
        "/static/x/..%2f..%2fapp.py",
        "/static/x/%2e%2e/pages.py",
        "/api/latest/../../etc/passwd",
        "/experiment/..%2f..",
        "/static//etc/passwd",
    ],
)
def test_paths_do_not_lead_out(serve_once: Any, path: str) -> None:
    with socket.create_connection(("127.0.0.1", serve_once.port), timeout=10) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        reply = connection.makefile("rb").read()
    assert reply.split(b" ")[1] in (b"400", b"404")
    assert b"import" not in reply
    assert b"root:" not in reply


@pytest.fixture
def serve_once(serve: Any, database_url: str) -> Any:
    if not database_url.startswith("sqlite"):
        pytest.skip("the same on every database")
    return serve()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:5001",
        "192.168.1.5",
        "",
        "[::2]",
        "0.0.0.0",
        "a@b",
    ],
)
def test_without_identity_another_host_is_refused(local: Any, host: str) -> None:
    answer = local.get("/user/self", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["message"] == "Without server.auth this server answers only to localhost."


@pytest.mark.parametrize(
    "host", ["localhost:5001", "127.0.0.1", "127.8.8.8:80", "[::1]:5001", "LOCALHOST"]
)
def test_without_identity_loopback_hosts_are_served(local: Any, host: str) -> None:
    assert local.get("/user/self", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://localhost.evil.example",
        "file://",
    ],
)
def test_without_identity_other_sites_cannot_post(local: Any, origin: str) -> None:
    form = {"Content-Type": "text/plain", "Origin": origin}
    assert local.post("/experiment", content=b'{"name": "x"}', headers=form).status_code == 403
    assert (
        local.post("/experiment", json={"name": "x"}, headers={"Origin": origin}).status_code == 403
    )
    assert local.get("/user/self", headers={"Origin": origin}).status_code == 403
    fetch = {"Sec-Fetch-Site": "cross-site"}
    assert local.post("/experiment", json={"name": "x"}, headers=fetch).status_code == 403
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert local.post("/experiment", json={"name": "x"}, headers=own).status_code == 201


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/latest"])
def test_unknown_paths_and_methods(local: Any, prefix: str) -> None:
    experiment = local.experiment()
    api = local.client
    for path in (
        "/nope",
        "/experiment/",
        f"/experiment/{experiment['id']}/",
        "/user",
        "/user/self/",
        "/experiment/search/",
    ):
        answer = api.get(prefix + path)
        code = 405 if path == "/user" else 404
        assert answer.status_code == code
        assert answer.json()["code"] == code
    for method, path in (
        ("PATCH", f"/experiment/{experiment['id']}"),
        ("GET", "/experiment"),
        ("DELETE", "/user/self"),
        ("PUT", "/entitlement"),
    ):
        answer = api.request(method, prefix + path)
        assert answer.status_code == 405
        assert answer.json() == {"code": 405, "status": "Method Not Allowed"}
        assert answer.headers["Allow"]


def test_errors_have_the_contracts_shape_and_a_request_id(local: Any) -> None:
    answer = local.get("/nope", headers={"X-Request-ID": "abc-1"})
    assert answer.json() == {"code": 404, "status": "Not Found", "message": "Not found."}
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert len(local.get("/nope", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"]) == 32


def test_a_crash_is_a_500_without_details(
    capfd: Any, local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lenswatch.server import search

    def crash(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(search, "page", crash)
    answer = local.search(local.experiment(), {})
    assert answer.status_code == 500
    assert answer.json() == {"code": 500, "status": "Internal Server Error"}
    logged = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert any("secret detail" in line.get("exception", "") for line in logged)
    assert {line["request_id"] for line in logged} == {answer.headers["X-Request-ID"]}


def test_a_slow_query_is_given_up(local: Any, pier: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lenswatch.server import operations

    local.post(
        f"/experiment/{pier['id']}/drift/batch",
        json={
            "drifts": [{"job_status": "Failed", "model": "a" * 2000, "drift_detected": False}]
            * 1000
        },
    )
    monkeypatch.setattr(operations, "QUERY_SECONDS", 0.001)
    query = {"$or": [{"model": {"$regex": f"(a*)*b{n}"}} for n in range(20)]}
    answer = local.search(pier, query)
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"json": {"_schema": ["The query takes too long."]}}


def test_the_largest_query_that_is_taken_does_not_break_the_database(local: Any, pier: Any) -> None:
    path = "parameters." + ".".join("a1b2c")
    wide = {"$and": [{"$or": [{f"{path}": {"$gt": n}}, {"tags": {"$size": n}}]} for n in range(45)]}
    deep: Any = {"x": {"$gt": 1}}
    for _ in range(3):
        deep = {"a": {"$elemMatch": deep}}
    for query in (wide, {"parameters.a": {"$elemMatch": deep}}, {path: {"$in": list(range(200))}}):
        assert local.search(pier, query).status_code in (200, 422)
