"""Another's private experiment: every path that there is, tried by everybody who may not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import BaseRoute, Mount, Route

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.identity.keys import create_key
from support.forms import form_token
from support.samples import JOB, picture

NOTE = {"kind": "note", "text": "x"}
CHANNEL = {"name": "x", "kind": "webhook", "url": "https://hooks.example/x"}
RULE = {"name": "x", "on": ["drift"]}
ASK = {"stream": "secret-stream", "kind": "accept"}
THINGS: dict[str, dict[str, Any]] = {"annotation": NOTE, "channel": CHANNEL, "rule": RULE}
BODIES = {
    "/experiment": {"name": "x"},
    "/experiment/{experiment_id}": {"name": "x", "public": True},
    "/experiment/{experiment_id}/drift": JOB,
    "/experiment/{experiment_id}/drift/{drift_id}": JOB,
    "/experiment/{experiment_id}/drift/batch": {"drifts": [JOB]},
    "/experiment/{experiment_id}/drift/images": {"pictures": [{"id": "x", "data": ""}]},
    "/experiment/{experiment_id}/annotation": NOTE,
    "/experiment/{experiment_id}/annotation/{annotation_id}": NOTE,
    "/experiment/{experiment_id}/event/{event_id}/feedback": {"verdict": "false alarm"},
    "/experiment/{experiment_id}/drift/{drift}/feedback": {"verdict": "false alarm"},
    "/experiment/{experiment_id}/channel": CHANNEL,
    "/experiment/{experiment_id}/channel/{channel_id}": CHANNEL,
    "/experiment/{experiment_id}/rule": RULE,
    "/experiment/{experiment_id}/rule/{rule_id}": RULE,
    "/experiment/{experiment_id}/rule-preview": RULE,
    "/experiment/{experiment_id}/stream/{stream}": {"title": "x"},
    "/experiment/{experiment_id}/retention": {"jobs_days": 1},
    "/experiment/{experiment_id}/baseline-request": ASK,
    "/experiment/{experiment_id}/baseline-request/{request_id}/answer": {"state": "done"},
}
REFERENCE = "0123456789abcdef"
PARTS = ("stream/secret-stream", "events", "annotation", "channel", "rule", "retention")
PROBES: list[Any] = [
    {},
    {"name": "secret-name"},
    {"name": {"$regex": "^secret"}},
    {"name": {"$gt": ""}},
    {"description": {"$ne": None}},
    {"description": {"$exists": True}},
    {"permissions.entity": "secret-crew"},
    {"permissions": {"$size": 2}},
    {"permissions": {"$elemMatch": {"level": "Manage"}}},
    {"$or": [{"public": False}, {"public": True}]},
    {"$nor": [{"name": "other"}]},
    {"name": {"$not": {"$regex": "^x"}}},
    {"created_at": {"$gt": "2000"}},
]


def routes(found: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers."""
    for route in found:
        if isinstance(route, Mount):
            yield from routes(route.routes, prefix + route.path)
        else:
            assert isinstance(route, Route)
            path = re.sub(r":\w+}", "}", route.path)
            yield from ((method, prefix + path) for method in sorted(route.methods or ()))


@pytest.fixture
def secret(ann: Any) -> dict[str, Any]:
    """ann's experiment with a job and a picture, and all that can be known of them."""
    crew = [{"entity": entity, "level": "Manage"} for entity in ("secret-crew", "crew-2")]
    experiment = ann.experiment(
        "secret-name", description="secret-description", permissions=crew, public=False
    )
    parameters = {"secret": "secret-value", "stream": "secret-stream"}
    fields = {"model": "secret-model", "tags": ["secret-tag"], "drift_detected": True}
    drift = ann.drift(experiment, parameters=parameters, **fields)
    base = f"/experiment/{experiment['id']}"
    path = f"{base}/drift/{drift['id']}/image"
    clean = f"{base}/reference/{REFERENCE}/picture/clean"
    for where in (path, clean):
        ann.put(where, content=picture("PNG"), headers={"Content-Type": "image/png"})
    names = {"name": "secret-thing", "text": "secret-text"}
    made = {
        part: ann.post(f"{base}/{part}", json={k: names.get(k, v) for k, v in body.items()}).json()
        for part, body in THINGS.items()
    }
    [event] = ann.get(f"{base}/events").json()
    ids = {f"{part}_id": entry["id"] for part, entry in made.items()} | {"event_id": event["id"]}
    ids["request_id"] = ann.post(f"{base}/baseline-request", json=ASK).json()["id"]
    return {
        "E": experiment["id"],
        "D": drift["id"],
        "image": path,
        "ids": ids,
        "known": known(ann, experiment),
    }


def known(api: Any, experiment: dict[str, Any]) -> list[Any]:
    base = f"/experiment/{experiment['id']}"
    jobs = api.post(f"{base}/drift/search", json={}).json()
    images = [api.get(f"{base}/drift/{job['id']}/image").content for job in jobs]
    parts = [api.get(f"{base}/{part}").json() for part in PARTS]
    return [api.get(base).json(), jobs, images, *parts]


@pytest.fixture
def strangers(
    ann: Any, bob: Any, root: Any, anonymous: Any, issuer: Any, database_url: str, tmp_path: Path
) -> dict[str, Any]:
    """Everybody but ann and the administrator."""
    bob.experiment("other")
    keys = Config(
        server=ServerConfig(database=database_url, auth=AuthConfig("keys")), root=tmp_path
    )
    issuer.account("root", "admin")
    return {
        "nobody": anonymous,
        "another user": bob,
        "unregistered": anonymous.as_(issuer.account("eve", "user", "crew-2")),
        "unregistered administrator": anonymous.as_(issuer.account("boss", "user", "admin")),
        "administrator without the user entitlement": root.as_(issuer.token("root", jti="later")),
        "without claims": anonymous.as_(issuer.account("una", "admin", email_verified=False)),
        "bad token": ann.as_((ann.token or "")[:-4] + "AAAA"),
        "key for another experiment": anonymous.as_(
            create_key(keys, "other", level="Manage", experiments=["other"])[1]
        ),
    }


def values_of(secret: dict[str, Any]) -> dict[str, str]:
    """Return what stands for each part of a path."""
    values = {"experiment_id": secret["E"], "drift_id": secret["D"], "key_id": secret["E"]}
    values |= {"position": "0", "digest": "x", "name": "clean", "drift": secret["D"]}
    values |= {"reference": REFERENCE, "stream": "secret-stream", "delivery_id": secret["E"]}
    values |= secret["ids"]
    return values


def attempts(app: Any, secret: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A good request for every route, on the secret experiment where one can be named."""
    values = values_of(secret)
    for method, path in routes(app.routes):
        if path.endswith(("/user", "/logout")):
            continue  # may change who one is
        options: dict[str, Any] = {}
        relative = path.removeprefix("/api/v1").removeprefix("/api/latest")
        if path.endswith(("/image", "/picture/{name}")):
            options = {"content": picture("PNG"), "headers": {"Content-Type": "image/png"}}
        elif method in ("POST", "PUT"):
            options = {"json": BODIES.get(relative, {})}
        yield method, path.format(**values), options


@pytest.mark.slow
def test_nobody_sees_or_changes_anything_by_any_path(
    ann: Any, secret: dict[str, Any], strangers: dict[str, Any], bob: Any
) -> None:
    app = ann.client.app
    tried = {(method, path) for method, path, _ in attempts(app, secret)}
    for prefix in ("/api/v1", "/api/latest"):
        document = ann.client.get(f"{prefix}/specification.json").json()
        for path, methods in document["paths"].items():
            named = path.format(**values_of(secret))
            asked = {(method.upper(), prefix + named) for method in methods}
            assert path == "/user" or asked <= tried
    for name, stranger in strangers.items():
        for method, path, options in attempts(app, secret):
            answer = stranger.under("")(method, path, follow_redirects=False, **options)
            where = (name, method, path, answer.status_code)
            assert answer.status_code < 500, where
            assert "secret-" not in answer.text, where
            page = path == f"/experiment/{secret['E']}"  # a shell without data, for any UUID
            assert secret["E"] not in answer.text or page, where
            assert not answer.headers.get("Content-Type", "").startswith("image/"), where
            if secret["E"] in path and path.startswith("/api/"):
                assert answer.status_code in (401, 403, 404), where
    assert known(ann, {"id": secret["E"]}) == secret["known"]


@pytest.mark.slow
def test_no_query_tells_that_it_is_there(secret: Any, strangers: dict[str, Any]) -> None:
    visible = {"another user": 1, "key for another experiment": 1}
    for name, stranger in strangers.items():
        for probe in PROBES:
            found = stranger.post("/experiment/search", json=probe)
            assert "secret-" not in found.text
            total = json.loads(found.headers["X-Pagination"])["total"]
            assert total == len(found.json()) <= visible.get(name, 0), (name, probe)
        for probe in ({}, {"parameters.secret": {"$exists": True}}, {"tags": "secret-tag"}):
            assert stranger.search({"id": secret["E"]}, probe).status_code == 403


@pytest.mark.slow
def test_a_session_in_the_browser_opens_no_more_than_its_key(
    ann: Any, secret: dict[str, Any], strangers: dict[str, Any]
) -> None:
    client = ann.client
    key = strangers["key for another experiment"].token
    own = {"Origin": "http://lens.example"}
    form = {"form": form_token(client.get("/login").text), "key": key}
    answer = client.post("/login", data=form, headers=own)
    assert client.get("/api/latest/user/self").status_code == answer.status_code == 200
    for method, path, options in attempts(client.app, secret):
        headers = own | options.pop("headers", {})
        answer = client.request(method, path, headers=headers, follow_redirects=False, **options)
        assert answer.status_code < 500
        assert "secret-" not in answer.text
        if secret["E"] in path and path.startswith("/api/"):
            assert answer.status_code in (403, 404), (method, path)
    client.cookies.clear()
    assert known(ann, {"id": secret["E"]}) == secret["known"]
