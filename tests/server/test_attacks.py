"""Hostile requests: none gives a 500, a leak or a hang."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from lenswatch.server import assets, reading

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


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_through_the_other_searches(local: Any, pier: Any, text: str) -> None:
    for what, names in (
        ("experiment", ("name", "description", "permissions.entity", "permissions")),
        ("user", ("email", "subject", "issuer")),
    ):
        path = f"/{what}/search"
        for query in (
            *({name: text} for name in names),
            *({name: {"$in": [text]}} for name in names),
            *({f"{name}.{text.replace('$', 'x').replace('.', 'x')}": text} for name in names),
            {"_id": text},
            {"created_at": text},
            {text: 1},
        ):
            answer = local.post(path, json=query)
            assert answer.status_code in (200, 422), answer.text
            assert answer.status_code == 422 or answer.json() == []
        for option in ("sort_by", "order_by", "page", "page_size"):
            answer = local.post(path, json={}, params={option: text})
            assert answer.status_code == 422
            assert list(answer.json()["errors"]["query"]) == [option]
        assert len(local.post(path, json={}).json()) == 1
    answer = local.get(f"/experiment/{quote(text, safe='')}")
    assert answer.status_code == 404


OPERATORS: list[Any] = [
    {"$ne": None},
    {"$gt": ""},
    {"$where": "sleep(9000)"},
    {"$regex": "."},
    {"$function": {"body": "f"}},
    [{"$ne": 1}],
    {"__proto__": 1},
]


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_in_records_are_values_or_refused(local: Any, pier: Any, operator: Any) -> None:
    job = {"job_status": "Failed", "model": "m", "drift_detected": False}
    jobs = f"/experiment/{pier['id']}/drift"
    for path, body in (
        ("/experiment", {"name": operator}),
        ("/experiment", {"name": "x", "description": operator}),
        ("/experiment", {"name": "x", "public": operator}),
        ("/experiment", {"name": "x", "permissions": [{"entity": operator, "level": "Read"}]}),
        ("/experiment", {"name": "x", "permissions": [{"entity": "x", "level": operator}]}),
        ("/experiment", {"name": "x"} | (operator if isinstance(operator, dict) else {"$set": 1})),
        *((jobs, job | {field: operator}) for field in job),
        (jobs, job | {"tags": [operator]}),
    ):
        answer = local.post(path, json=body)
        assert answer.status_code == 422, (path, body)
    record = local.drift(pier, parameters={"a": operator, "$where": operator, "x.y": operator})
    found = local.search(pier, {"tags": [], "parameters.a": {"$exists": True}}).json()
    assert record in found
    assert record["parameters"] == {"a": operator, "$where": operator, "x.y": operator}
    assert local.search(pier, {"tags": operator}).status_code in (200, 422)


def test_a_field_that_is_no_unicode_is_refused_by_name(local: Any, pier: Any) -> None:
    for path in ("/experiment", "/experiment/search", f"/experiment/{pier['id']}/drift"):
        answer = local.post(path, content=b'{"\\ud800": {"$\\udfff": 1}}', headers=JSON)
        assert answer.status_code == 422
        assert "?" in answer.text
    bad = b'{"drifts": [{"\\ud800": 1}]}'
    answer = local.post(f"/experiment/{pier['id']}/drift/batch", content=bad, headers=JSON)
    assert answer.json()["results"][0]["errors"]["json"]["?"] == ["Unknown field."]


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


JOB = {"job_status": "Failed", "model": "m", "drift_detected": False}
EXPERIMENT = {"name": "x"}
BAD = {
    "tags": JOB | {"tags": [1] * 1_000_000},
    "long tags": JOB | {"tags": ["x" * 21] * 100_000},
    "fields": JOB | {f"x{n}": 1 for n in range(200_000)},
    "parameters": JOB | {"parameters": {"a": [math.inf] * 500_000}},
    "nested parameters": JOB | {"parameters": {"a": [[[math.inf] * 100] * 100] * 20}},
    "permissions": EXPERIMENT | {"permissions": [{}] * 1000},
    "fields of permissions": EXPERIMENT
    | {"permissions": [{f"x{n}": 1 for n in range(200)}] * 1000},
    "too many permissions": EXPERIMENT | {"permissions": [{}] * 500_000},
    "jobs": {"drifts": [1] * 1_000_000},
}


@pytest.mark.parametrize("what", BAD)
def test_complaints_are_a_hundred_at_most_and_cost_little(local: Any, pier: Any, what: str) -> None:
    path = f"/experiment/{pier['id']}/drift" if "name" not in BAD[what] else "/experiment"
    path += "/batch" if "drifts" in BAD[what] else ""
    body = json.dumps(BAD[what]).encode()
    started = time.monotonic()
    answer = local.post(path, content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert time.monotonic() - started < 5
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
    made = local.experiment("x", permissions=entries[:1000])
    assert made["permissions"][:1000] == entries[:1000]


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
    with TestClient(make_app(max_body_bytes=100), base_url="http://127.0.0.1") as client:
        path = "/api/latest/experiment"
        assert client.post(path, json={"name": "x" * 80}).status_code == 201
        assert client.post(path, json={"name": "x" * 90}).status_code == 413


@pytest.fixture
def port(local: Any) -> Iterator[int]:
    """Where `local` listens, in a thread."""
    server = uvicorn.Server(uvicorn.Config(local.client.app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("drip", [0, 0.05])
def test_a_body_that_never_comes_is_given_up(
    local: Any, port: int, drip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.4)
    head = b"POST /api/latest/experiment/search HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        connection.settimeout(drip or 10)
        reply = b""
        while not reply and time.monotonic() < started + 10:
            try:
                reply = connection.recv(4096)
            except TimeoutError:
                connection.sendall(b" ")  # a byte now and then does not help
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 5
    assert local.post("/experiment/search").status_code == 200


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
        "/static/x/..\\..\\app.py",
        "/static/x/%00",
        "/api/latest/../../etc/passwd",
        "/api/latest/experiment/..%2f..%2f..%2fetc%2fpasswd",
        "/experiment/..%2f..",
        "/static//etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_paths_do_not_lead_out(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        reply = connection.makefile("rb").read()
    assert reply.split(b" ")[1] in (b"400", b"404")
    assert b"import" not in reply
    assert b"root:" not in reply


OUTWARDS = ["../../../etc/passwd", "..", "../../drift", "/etc/passwd", r"..\..\x", "%00", "%"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_pictures_path_does_not_lead_out(port: int, pier: Any, method: str) -> None:
    for path in OUTWARDS:
        once = quote(path, safe="")
        for written in (path, once, quote(once, safe="")):
            here = f"/api/latest/experiment/{pier['id']}/drift/{written}/image"
            lines = (f"{method} {here} HTTP/1.1", "Host: localhost", "Connection: close")
            lines += ("Content-Type: image/png", "Content-Length: 9", "", "a picture")
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall("\r\n".join(lines).encode())
                reply = connection.makefile("rb").read()
            assert reply.split(b" ")[1] == b"404", here
            assert b"root:" not in reply


SEARCHES = ("page", "page_size", "order_by", "sort_by")
PARAMETERS = {
    "POST /experiment/search": SEARCHES,
    "POST /user/search": SEARCHES,
    "POST /experiment/E/drift/search": SEARCHES,
    "GET /experiment/E/series": ("stream", "limit", "before"),
}


def test_every_operation_with_a_query_string_is_attacked(local: Any) -> None:
    found = {}
    for path, methods in local.get("/specification.json").json()["paths"].items():
        for method, operation in methods.items():
            names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            if names:
                found[f"{method.upper()} {path.replace('{experiment_id}', 'E')}"] = tuple(names)
    assert found == PARAMETERS


@pytest.mark.parametrize("operation", PARAMETERS)
def test_bytes_in_a_query_string_break_nothing(local: Any, pier: Any, operation: str) -> None:
    method, path = operation.replace("/E/", f"/{pier['id']}/").split()
    for text in ("%00", "a%00", "%ed%a0%80", "%ff", "%", "%u0000", "%ef%bb%bf", "%0d%0a"):
        for name in PARAMETERS[operation]:
            answer = local(method, f"{path}?{name}={text}")
            codes = (200, 422) if name == "stream" else (422,)
            assert answer.status_code in codes, (name, text, answer.text)
        assert local(method, f"{path}?{text}={text}&{text}").status_code == 200


def test_names_of_files_that_do_not_exist_are_not_kept(local: Any) -> None:
    caches = [one for one in vars(assets).values() if hasattr(one, "cache_info")]
    assert local.client.get("/static/x/overview.js").status_code == 200
    before = [one.cache_info().currsize for one in caches]
    for number in range(5):
        assert local.client.get(f"/static/x/{number}" + "x" * 10_000).status_code == 404
    assert [one.cache_info().currsize for one in caches] == before


def test_a_path_is_logged_in_short(make_app: Any, capfd: Any) -> None:
    with TestClient(make_app(log_level="info"), base_url="http://127.0.0.1") as client:
        client.get("/healthz")
        client.get("/" + "x" * 10_000)
    short, long = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert short["path"] == "/healthz"
    assert long["path"] == "/" + "x" * 199


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


nasty = st.sampled_from(
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "-0.0", "5e-324", str(2**63), str(-(2**63))),
        *(str(2**64), "9" * 30, '"\\u0000"', '"\\ud800"', '"$where"', "null", "true", "{}", "[]"),
        *('"Failed"', '"Read"', '"2025-13-45"', '"' + "x" * 300 + '"', "[" * 40 + "]" * 40),
    ]
)
names = st.sampled_from(
    [
        *("name", "description", "public", "permissions", "entity", "level", "job_status", "model"),
        *("drift_detected", "tags", "parameters", "parameters.a", "created_at", "_id", "", "a.0"),
        *("$and", "$or", "$in", "$gt", "$not", "$size", "$all", "$elemMatch", "$regex", "$exists"),
        *("drifts", "\\u0000", "\\ud800", "0"),
    ]
)
bodies = st.recursive(
    nasty,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(names, inner, max_size=4).map(
            lambda d: "{" + ",".join(f'"{key}":{value}' for key, value in d.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bodies)
def test_no_body_breaks_the_server_or_comes_back_as_invalid_json(
    local: Any, pier: Any, body: str
) -> None:
    jobs = f"/experiment/{pier['id']}/drift"
    [job] = local.search(pier, {"parameters.a": "b"}).json()
    for method, path in (
        *(("POST", f"/{what}/search") for what in ("user", "experiment", jobs[1:])),
        *(("POST", path) for path in ("/user", "/experiment", jobs, f"{jobs}/batch")),
        *(("PUT", path) for path in ("/user/self", f"/experiment/{pier['id']}")),
    ):
        answer = local(method, path, content=body, headers=JSON)
        assert answer.status_code < 500, (method, path, body)
        json.loads(answer.text, parse_constant=pytest.fail)
    with_body = json.dumps(job["parameters"])[:-1] + f', "x": {body}}}'
    fields = (
        f'{{"job_status":"Failed","model":"m","drift_detected":false,"parameters":{with_body}}}'
    )
    answer = local.put(f"{jobs}/{job['id']}", content=fields, headers=JSON)
    assert answer.status_code in (200, 422)
    json.loads(local.get(f"{jobs}/{job['id']}").text, parse_constant=pytest.fail)
