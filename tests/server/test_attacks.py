"""Hostile requests: none gives a 500, a leak or a hang.

Each attack has a test, here or in the file of what wards it off:

- tokens of an untrusted issuer: identity/test_identity.py::test_nothing_is_fetched_for_an_untrusted_token
- `alg` none, HS256 with the public key, unknown `kid`, expired, not yet valid:
  identity/test_identity.py::test_a_bad_token_is_401_and_counts_as_none
- missing claims: identity/test_identity.py::test_missing_claims_are_403_before_the_body_is_judged
- another user's private experiment:
  experiments/test_privacy.py::test_nobody_sees_or_changes_anything_by_any_path
- SQL injection through queries and JSON paths:
  test_attacks.py::test_injection_through_queries_finds_nothing_and_breaks_nothing,
  through sort fields, tags and keys: test_attacks.py::test_injection_through_sort_fields_tags_and_keys,
  through the other searches: test_attacks.py::test_injection_through_the_other_searches
- operator injection: test_attacks.py::test_operators_in_records_are_values_or_refused
- NaN and integers over 64 bits: jobs/test_api.py::test_what_no_database_can_keep_is_422,
  in queries: test_attacks.py::test_numbers_that_no_database_knows_are_refused_everywhere
- a body of 100 MB: http/test_reading.py::test_a_hundred_megabytes_are_413
- a slow body: http/test_reading.py::test_a_body_that_never_comes_is_given_up,
  a slow head: http/test_connections.py::test_who_sends_no_whole_head_is_cut_off
- path traversal: test_attacks.py::test_paths_do_not_lead_out,
  test_attacks.py::test_a_pictures_path_does_not_lead_out
- a scripted SVG as a picture: jobs/test_pictures.py::test_what_is_no_picture_is_422,
  a script in a picture: jobs/test_pictures.py::test_a_script_in_a_picture_does_not_come_back
- cross-site posts: http/test_guard.py::test_without_identity_other_sites_cannot_post,
  of forms: identity/test_keys.py::test_no_form_is_taken_from_another_site
- host-header rebinding: http/test_guard.py::test_without_identity_another_host_is_refused
"""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.server.http.services import Limits
from lenswatch.server.pages import assets
from support.samples import JOB

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


def test_every_attack_has_its_test() -> None:
    named = re.findall(r"([\w/]+\.py)::(test_\w+)", __doc__ or "")
    assert len(named) > 15
    for file, test in named:
        assert f"\ndef {test}(" in (Path(__file__).parent / file).read_text(), (file, test)


@pytest.fixture
def pier(local: Any) -> Any:
    """An experiment with a job."""
    experiment = local.experiment("pier")
    local.drift(experiment, parameters={"a": "b", "stream": "s"})
    return experiment


@pytest.mark.slow
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


@pytest.mark.slow
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
    jobs = f"/experiment/{pier['id']}/drift"
    for path, body in (
        ("/experiment", {"name": operator}),
        ("/experiment", {"name": "x", "description": operator}),
        ("/experiment", {"name": "x", "public": operator}),
        ("/experiment", {"name": "x", "permissions": [{"entity": operator, "level": "Read"}]}),
        ("/experiment", {"name": "x", "permissions": [{"entity": "x", "level": operator}]}),
        ("/experiment", {"name": "x"} | (operator if isinstance(operator, dict) else {"$set": 1})),
        *((jobs, JOB | {field: operator}) for field in JOB),
        (jobs, JOB | {"tags": [operator]}),
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
            lines = [f"{method} {here} HTTP/1.1", "Host: localhost", "Connection: close"]
            lines += ["Content-Type: image/png", "Content-Length: 9", "", "a picture"]
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
    "GET /experiment/E/series": (
        *("stream", "limit", "before", "from", "to", "points", "values", "models", "x", "y"),
    ),
    "GET /overview": ("state", "q", "limit", "after", "experiment", "order", "each"),
    "GET /experiment/E/streams": ("state", "q", "limit", "after"),
    "GET /experiment/E/events": ("stream", "kind", "to", "open", "limit", "after", "from"),
    "GET /experiment/E/export": ("format", "stream", "status", "drift", "tags", "from", "to"),
    "GET /experiment/E/annotation": ("stream", "kind", "from", "to", "limit"),
    "GET /experiment/E/baseline-request": ("stream", "state", "limit"),
    "GET /experiment/E/quality": ("stream", "from", "to"),
    "GET /experiment/E/deliveries": ("state", "channel", "event", "stream", "limit", "before"),
}
WORDS = ("stream", "q", "after", "tags")  # any text may be asked for


def test_every_operation_with_a_query_string_is_attacked(local: Any) -> None:
    found = {}
    for path, methods in local.get("/specification.json").json()["paths"].items():
        for method, operation in methods.items():
            names = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"]
            if names and path.count("{") <= 1:
                found[f"{method.upper()} {path.replace('{experiment_id}', 'E')}"] = tuple(names)
    assert found == PARAMETERS


@pytest.mark.parametrize("operation", PARAMETERS)
def test_bytes_in_a_query_string_break_nothing(local: Any, pier: Any, operation: str) -> None:
    method, path = operation.replace("/E/", f"/{pier['id']}/").split()
    for text in ("%00", "a%00", "%ed%a0%80", "%ff", "%", "%u0000", "%ef%bb%bf", "%0d%0a"):
        for name in PARAMETERS[operation]:
            answer = local(method, f"{path}?{name}={text}")
            codes = (200, 422) if name in WORDS else (422,)
            assert answer.status_code in codes, (name, text, answer.text)
        assert local(method, f"{path}?{text}={text}&{text}").status_code == 200


def test_names_of_files_that_do_not_exist_are_not_kept(local: Any) -> None:
    caches = [one for one in vars(assets).values() if hasattr(one, "cache_info")]
    assert local.client.get("/static/x/watch.js").status_code == 200
    before = [one.cache_info().currsize for one in caches]
    for number in range(5):
        assert local.client.get(f"/static/x/{number}" + "x" * 10_000).status_code == 404
    assert [one.cache_info().currsize for one in caches] == before


@pytest.mark.slow
@pytest.mark.parametrize("limits", [Limits(query_seconds=0.001)])
def test_a_slow_query_is_given_up(local: Any, pier: Any) -> None:
    local.post(
        f"/experiment/{pier['id']}/drift/batch",
        json={"drifts": [JOB | {"model": "a" * 2000}] * 1000},
    )
    query = {"$or": [{"model": {"$regex": f"(a*)*b{n}"}} for n in range(20)]}
    answer = local.search(pier, query)
    assert answer.status_code == 422
    assert answer.json()["errors"] == {"json": {"_schema": ["The query takes too long."]}}


@pytest.mark.slow
def test_large_queries_do_not_break_the_database(local: Any, pier: Any) -> None:
    path = "parameters." + ".".join("a1b2c")
    wide = {"$and": [{"$or": [{path: {"$gt": n}}, {"tags": {"$size": n}}]} for n in range(45)]}
    answer = local.search(pier, wide)
    assert answer.status_code == 422
    assert "The query is too large" in answer.text
    assert local.search(pier, {path: {"$in": list(range(200))}}).status_code == 200


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


@pytest.mark.slow
@settings(max_examples=30)
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
    fields = json.dumps(JOB)[:-1] + f', "parameters": {with_body}}}'
    answer = local.put(f"{jobs}/{job['id']}", content=fields, headers=JSON)
    assert answer.status_code in (200, 422)
    json.loads(local.get(f"{jobs}/{job['id']}").text, parse_constant=pytest.fail)
