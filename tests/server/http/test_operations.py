"""Every operation of the contract: who may call it, what it answers, and the order of its checks.

The table below is the contract's own. What an operation does beyond that is in the file of its endpoint.
"""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest

from lenswatch.server.http.services import SEARCHES
from lenswatch.server.jobs import search
from support.samples import JOB, picture
from support.waiting import until

PREFIXES = ("/api/v1", "/api/latest")
UNKNOWN = str(uuid.UUID(int=7))
USER = {"id", "created_at", "subject", "issuer", "email"}
EXPERIMENT = {"id", "created_at", "name", "public", "permissions"}
DRIFT = {
    *("id", "created_at", "schema_version", "job_status", "model"),
    *("drift_detected", "tags", "parameters"),
}
FIELDS = {"User": USER, "Experiment": EXPERIMENT, "Drift": DRIFT, "Entitlements": {"items"}}


@dataclass(frozen=True)
class Row:
    """One line of the contract's table."""

    who: str  # anybody, token, registered, admin, or the level that is needed
    success: int
    answers: str
    refusals: str
    body: Any = None  # a good one; None where none is read


TABLE = {
    "POST /user": Row("token", 201, "User", "401 403 409"),
    "GET /user/self": Row("registered", 200, "User", "401 403"),
    "PUT /user/self": Row("registered", 200, "User", "401 403"),
    "POST /user/search": Row("admin", 200, "User[]", "401 403 422", {}),
    "GET /entitlement": Row("registered", 200, "Entitlements", "401 403"),
    "GET /entitlements": Row("registered", 200, "Entitlements", "401 403"),
    "POST /experiment/search": Row("anybody", 200, "Experiment[]", "422", {}),
    "POST /experiment": Row("registered", 201, "Experiment", "401 403 409 422", {"name": "new"}),
    "GET /experiment/E": Row("anybody", 200, "Experiment", "404"),
    "PUT /experiment/E": Row(
        "Manage", 200, "Experiment", "401 403 404 409 422", {"name": "renamed"}
    ),
    "DELETE /experiment/E": Row("Manage", 204, "", "401 403 404"),
    "POST /experiment/E/drift/search": Row("Read", 200, "Drift[]", "403 404 422", {}),
    "POST /experiment/E/drift": Row("Edit", 201, "Drift", "401 403 404 422", JOB),
    "GET /experiment/E/drift/D": Row("Read", 200, "Drift", "403 404"),
    "PUT /experiment/E/drift/D": Row("Edit", 200, "Drift", "401 403 404 422", JOB),
    "DELETE /experiment/E/drift/D": Row("Edit", 204, "", "401 403 404"),
}
VERDICT = {"verdict": "true drift"}
PICTURES = {"pictures": [{"id": UNKNOWN, "data": ""}]}
OURS = {
    "POST /experiment/E/drift/batch": Row("Edit", 200, "", "401 403 404 422", {"drifts": [JOB]}),
    "POST /experiment/E/drift/images": Row("Edit", 200, "", "401 403 404 422", PICTURES),
    "PUT /experiment/E/drift/D/image": Row("Edit", 200, "", "401 403 404", b"image"),
    "GET /experiment/E/drift/D/image": Row("Read", 200, "", "403 404"),
    "GET /experiment/E/streams": Row("Read", 200, "", "403 404"),
    "GET /experiment/E/series": Row("Read", 200, "", "403 404"),
    "GET /experiment/E/drift/live": Row("Read", 200, "", "403 404"),
    "GET /experiment/E/annotation": Row("Read", 200, "", "403 404 422"),
    "POST /experiment/E/annotation": Row("Edit", 201, "", "401 403 404 422", {"kind": "note"}),
    "PUT /experiment/E/drift/D/feedback": Row("Edit", 200, "", "401 403 404 422", VERDICT),
}
BELOW = {"Read": None, "Edit": "Read", "Manage": "Edit"}


class Scene:
    """An experiment of ann's with one job, and all sorts of callers."""

    def __init__(self, anonymous: Any, issuer: Any) -> None:
        self.nobody = anonymous
        self.unclaimed = anonymous.as_(issuer.account("una", "user", email_verified=False))
        self.visitor = anonymous.as_(issuer.account("vic", "visitor"))
        self.unregistered = anonymous.as_(issuer.account("eve", "user"))
        self.admin = anonymous.as_(issuer.account("chief", "admin"))
        self.ann, self.bob = (anonymous.as_(issuer.account(n, "user")) for n in ("ann", "bob"))
        for api in (self.ann, self.bob):
            assert api.post("/user").status_code == 201
        self.bob_id = self.bob.get("/user/self").json()["id"]
        self.ann.experiment("taken")
        self.experiment = self.ann.experiment("pier")
        self.drift = self.ann.drift(self.experiment)["id"]

    def bob_holds(self, level: str | None) -> Any:
        """bob, with a level on the experiment."""
        entries = [{"entity": self.bob_id, "level": level}] if level else []
        path, body = f"/experiment/{self.experiment['id']}", {"name": "pier"}
        assert self.ann.put(path, json=body | {"permissions": entries}).status_code == 200
        return self.bob

    def send(self, api: Any, operation: str, **given: Any) -> Any:
        """A request that is good but for what is `given`: `experiment`, `drift`, `body`, `params`."""
        method, path = operation.split()
        row = (TABLE | OURS)[operation]
        parts = {"E": given.get("experiment", self.experiment["id"])}
        parts["D"] = given.get("drift", self.drift)
        path = "/".join(parts.get(part, part) for part in path.split("/"))
        body = given.get("body", row.body)
        options: dict[str, Any] = {"params": given.get("params")}
        if isinstance(body, bytes):
            options |= {"content": body, "headers": {"Content-Type": "application/json"}}
            if path.endswith("/image"):
                options["headers"] = {"Content-Type": "image/png"}
        elif body is not None:
            options["json"] = body
        return api(method, path, **options)


@pytest.fixture
def scene(anonymous: Any, issuer: Any) -> Scene:
    return Scene(anonymous, issuer)


def check(answer: Any, code: int, message: str | None = None, operation: str = "") -> None:
    """The contract's error shapes."""
    assert answer.status_code == code, (operation, answer.text)
    shown = answer.json()
    status = {"code": code, "status": HTTPStatus(code).phrase}
    if code in (401, 403, 404, 409):
        assert shown == status | {"message": shown["message"]}
        assert message in (None, shown["message"]), operation
    if code == 422:
        assert shown == status | {"errors": shown["errors"]}
        assert set(shown["errors"]) <= {"json", "query", "image"}
    if code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def refused(scene: Scene, operation: str) -> dict[int, list[Any]]:
    """A request for each refusal that the table tells of: caller, what is wrong, the answer's message."""
    row, method = TABLE[operation], operation.split()[0]
    nothing = "Insufficient permissions."
    found: dict[int, list[Any]] = {
        401: [
            (scene.nobody, {}, "No authorization header"),
            (scene.nobody.as_("x.y.z" * 9), {}, "User identity could not be determined"),
        ]
    }
    unclaimed: Any = (
        scene.unclaimed,
        {},
        "The token lacks sub, email or a verified e-mail address.",
    )
    unregistered: Any = (scene.unregistered, {}, "User not registered.")
    found[403] = {
        "token": [unclaimed, (scene.visitor, {}, nothing)],
        "registered": [unclaimed, unregistered],
        "admin": [unclaimed, (scene.ann, {}, nothing), (scene.visitor, {}, nothing)],
    }.get(row.who, [])
    if row.who in BELOW:
        found[403] += [(scene.bob_holds(BELOW[row.who]), {}, nothing)]
        found[403] += [(scene.nobody, {}, "Resource is not public.")] if row.who == "Read" else []
        found[403] += [unclaimed, unregistered] if row.who != "Read" else []
    found[404] = [(scene.ann, {"experiment": UNKNOWN}, "Experiment not found.")]
    if "/D" in operation:
        found[404] += [(scene.ann, {"drift": UNKNOWN}, "Drift not found.")]
    taken = {"body": {"name": "taken"}}
    message = "User already exists." if operation == "POST /user" else "Name conflict."
    found[409] = [(scene.ann, {} if message[0] == "U" else taken, message)]
    caller = scene.admin if row.who == "admin" else scene.ann
    found[422] = [(caller, {"body": b"[]"}, None)]
    if operation.endswith("/search"):
        found[422] += [(caller, {"params": {"page_size": 0}}, None), (caller, BAD_QUERY, None)]
    elif method != "GET":
        found[422] += [(caller, {"body": {"nmae": 1}}, None)]
    return found


BAD_QUERY = {"body": {"$where": "1"}}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_refusals_of_the_table(scene: Scene, prefix: str) -> None:
    for operation, row in TABLE.items():
        ways = refused(scene, operation)
        for code in map(int, row.refusals.split()):
            assert ways[code]
            for caller, wrong, message in ways[code]:
                answer = scene.send(caller.under(prefix), operation, **wrong)
                check(answer, code, message, operation)


@pytest.mark.slow
@pytest.mark.parametrize("operation", TABLE)
def test_the_successes_of_the_table(scene: Scene, operation: str) -> None:
    row, prefix = TABLE[operation], "/api/v1"  # all other files ask under /api/latest
    caller = {"token": scene.unregistered, "admin": scene.admin}.get(row.who, scene.ann)
    if row.who in BELOW:
        caller = scene.bob_holds(row.who)
    answer = scene.send(caller.under(prefix), operation, params={"unheard-of": "x"})
    assert answer.status_code == row.success, answer.text
    if row.success == 204:
        assert answer.content == b""
        return
    assert answer.headers["Content-Type"] == "application/json"
    shown = answer.json()
    if row.answers.endswith("[]"):
        assert "X-Pagination" in answer.headers
        assert shown
        shown = shown[0]
    assert set(shown) == FIELDS[row.answers.removesuffix("[]")]
    if "id" in shown:
        assert uuid.UUID(shown["id"]).version == 4
        assert shown["id"] == str(uuid.UUID(shown["id"]))


@pytest.mark.slow
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_order_of_checks(scene: Scene, prefix: str) -> None:
    for operation, row in (TABLE if prefix == "/api/v1" else TABLE | OURS).items():
        for caller, wrong, code, message in faults_in_order(scene, operation, row):
            answer = scene.send(caller.under(prefix), operation, **wrong)
            check(answer, code, message, operation)


Fault = tuple[Any, dict[str, Any], int, str | None]


def faults_in_order(scene: Scene, operation: str, row: Row) -> list[Fault]:
    """Each request has its fault and all that would be found later; the first one is answered."""
    bad = b"[]" if row.body is not None else None
    lost = {"experiment": UNKNOWN, "drift": UNKNOWN}
    here = {"experiment": scene.experiment["id"], "drift": UNKNOWN}
    faults: list[Fault] = []
    if row.who not in ("anybody", "Read"):
        faults += [(scene.nobody, lost | {"body": bad}, 401, None)]
        faults += [(scene.unclaimed, lost | {"body": bad}, 403, None)]
    if row.who == "admin":
        faults += [(scene.ann, {"body": bad}, 403, "Insufficient permissions.")]
    if row.body is not None and not isinstance(row.body, bytes):
        caller = scene.admin if row.who == "admin" else scene.unregistered
        faults += [(caller, lost | {"body": b"[]"}, 422, None)]
        faults += [(caller, lost | {"body": b"{"}, 400, None)]
    if operation.endswith("/search"):
        caller = scene.admin if row.who == "admin" else scene.unregistered
        faults += [(caller, lost | {"params": {"page": 0}}, 422, None)]
    good = picture("PNG") if operation.endswith("/image") else row.body
    if row.who in ("registered", "Edit", "Manage"):
        faults += [(scene.unregistered, lost | {"body": good}, 403, "User not registered.")]
    if "/E" in operation:
        body = {"body": {"name": "taken"} if row.who == "Manage" and row.body else good}
        faults += [(scene.bob, lost | body, 404, "Experiment not found.")]
        if row.who in BELOW:
            faults += [(scene.bob, here | body, 403, "Insufficient permissions.")]
        if "/D" in operation:
            faults += [(scene.ann, here | body, 404, "Drift not found.")]
        if operation == "PUT /experiment/E":
            faults += [(scene.ann, here | body, 409, "Name conflict.")]
    return faults


@pytest.mark.parametrize("prefix", PREFIXES)
def test_other_methods_are_405_and_other_paths_404(scene: Scene, prefix: str) -> None:
    api = scene.ann.under(prefix)
    methods: dict[str, set[str]] = {}
    for operation in TABLE:
        method, path = operation.split()
        methods.setdefault(path, set()).add(method)
    for path, known in methods.items():
        here = path.replace("/E", f"/{scene.experiment['id']}").replace("/D", f"/{scene.drift}")
        others = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - known
        for method in others | (set() if "GET" in known else {"HEAD"}):
            answer = api(method, here)
            assert answer.status_code == 405, (method, path)
            assert method == "HEAD" or answer.json() == {
                "code": 405,
                "status": "Method Not Allowed",
            }
            assert known <= set(answer.headers["Allow"].split(", "))
        for method in known:
            answer = api(method, f"{here}/", json={})
            assert answer.status_code == 404, (method, path)
            assert answer.json()["code"] == 404
    for path in ("/nope", "/users", "/drift", "/experiment//drift", "/specification"):
        check(api.get(path), 404)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_ids_are_uuids_in_any_letter_case(scene: Scene, prefix: str) -> None:
    api, known = scene.ann.under(prefix), scene.experiment["id"]
    for operation in TABLE:
        places = [p for p in ("experiment", "drift") if f"/{p[0].upper()}" in operation]
        for place in places:
            good = {"experiment": known, "drift": scene.drift}[place]
            for wrong in ("7", "x" * 36, good.replace("-", ""), f"{{{good}}}", good + "0"):
                check(scene.send(api, operation, **{place: wrong}), 404)
        if places and not operation.startswith("DELETE"):
            upper = {"experiment": known.upper(), "drift": scene.drift.upper()}
            answer = scene.send(api, operation, **upper)
            assert answer.status_code == TABLE[operation].success
            shown = answer.json()
            assert answer.text == answer.text.replace(known.upper(), known)
            if operation.startswith(("GET", "PUT")):
                assert shown["id"] in (known, scene.drift)
    for operation in ("DELETE /experiment/E/drift/D", "DELETE /experiment/E"):
        assert scene.send(api, operation, **upper).status_code == 204


def test_complaints_about_body_and_query_string_come_together(scene: Scene) -> None:
    for operation in TABLE:
        if operation.endswith("/search"):
            caller = scene.admin if "user" in operation else scene.nobody
            params = {"page": 0, "page_size": "x", "order_by": "up", "sort_by": "colour"}
            answer = scene.send(caller, operation, body=b"[]", params=params)
            check(answer, 422)
            assert answer.json()["errors"]["json"] == {"_schema": ["Invalid input type."]}
            assert set(answer.json()["errors"]["query"]) == set(params)


def test_an_unknown_operator_and_a_bad_page_are_complained_of_together(scene: Scene) -> None:
    for operation in TABLE:
        if operation.endswith("/search"):
            caller = scene.admin if "user" in operation else scene.nobody
            answer = scene.send(caller, operation, **BAD_QUERY, params={"page": 0})
            check(answer, 422)
            assert list(answer.json()["errors"]["json"]) == ["$where"]
            assert list(answer.json()["errors"]["query"]) == ["page"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (BAD_QUERY["body"], "$where"),
        ({"created_at": {"$gt": "yesterday"}}, "created_at"),
        ({"model": {"$regex": "(a"}}, "$regex"),
    ],
)
def test_a_bad_query_is_422_before_the_experiment_is_looked_for(
    scene: Scene, query: Any, name: str
) -> None:
    for experiment in (UNKNOWN, scene.experiment["id"]):  # which bob may not read
        for api in (scene.nobody, scene.unregistered, scene.bob):
            operation = "POST /experiment/E/drift/search"
            answer = scene.send(api, operation, experiment=experiment, body=query)
            check(answer, 422)
            assert list(answer.json()["errors"]["json"]) == [name]


def test_slow_searches_hold_up_nobody_else(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searchers, go_on = local.client.app.state.services.searchers, threading.Event()
    experiment = local.experiment()
    real = search.page

    def slow(*given: Any) -> Any:
        assert go_on.wait(60)
        return real(*given)

    monkeypatch.setattr(search, "page", slow)
    with ThreadPoolExecutor(SEARCHES + 1) as pool:
        searching = [pool.submit(local.search, experiment, {}) for _ in range(SEARCHES + 1)]
        until(lambda: searchers.statistics().tasks_waiting == 1)
        assert local.get(f"/experiment/{experiment['id']}").json() == experiment
        assert local.drift(experiment)
        assert not any(one.done() for one in searching)
        go_on.set()
        assert [one.result().status_code for one in searching] == [200] * (SEARCHES + 1)


def test_a_body_that_is_no_json_is_400_everywhere(scene: Scene) -> None:
    for operation, row in TABLE.items():
        if row.body is None:
            continue
        caller = scene.admin if row.who == "admin" else scene.ann
        answer = scene.send(caller, operation, body=b'{"a":')
        assert answer.status_code == 400
        assert answer.json() == {
            "code": 400,
            "status": "Bad Request",
            "errors": {"json": ["Invalid JSON body."]},
        }


def test_no_operation_that_takes_no_body_reads_one(scene: Scene) -> None:
    for operation, row in TABLE.items():
        if row.body is None and operation.split()[0] != "DELETE" and "self" in operation:
            assert scene.send(scene.ann, operation, body=b"\xff{").status_code == row.success
    before = scene.ann.get("/user/self").json()
    given = json.dumps({"email": "other@example.org", "id": UNKNOWN}).encode()
    assert scene.send(scene.ann, "PUT /user/self", body=given).json() == before
