"""Permissions of an experiment: every kind of caller, every list, every operation."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from support.samples import JOB, picture

LEVELS = ("Read", "Edit", "Manage")


def png(api: Any, path: str) -> Any:
    return api.put(f"{path}/image", content=picture("PNG"), headers={"Content-Type": "image/png"})


def allowed(api: Any, experiment: dict[str, Any], drift: str) -> set[str]:
    """Try each operation on the experiment, the last one deletes it, and return those that `api` may do."""
    base = f"/experiment/{experiment['id']}"
    job = f"{base}/drift/{drift}"
    entries = experiment["permissions"]
    body = {"name": experiment["name"], "public": experiment["public"], "permissions": entries}
    tries: dict[str, Callable[[], Any]] = {
        "see": lambda: api.get(base),
        "search jobs": lambda: api.post(f"{base}/drift/search", json={}),
        "see a job": lambda: api.get(job),
        "see streams": lambda: api.get(f"{base}/streams"),
        "see a series": lambda: api.get(f"{base}/series"),
        "see a picture": lambda: api.get(f"{job}/image"),
        "add a job": lambda: api.post(f"{base}/drift", json=JOB),
        "add jobs": lambda: api.post(f"{base}/drift/batch", json={"drifts": [JOB]}),
        "change a job": lambda: api.put(job, json=JOB),
        "add a picture": lambda: png(api, job),
        "change": lambda: api.put(base, json=body),
        "delete a job": lambda: api.delete(job),
        "delete": lambda: api.delete(base),
    }
    found = api.post("/experiment/search", json={"id": experiment["id"]})
    total = json.loads(found.headers["X-Pagination"])["total"]
    assert total == len(found.json())
    done = {"find"} if total else set()
    for name, attempt in tries.items():
        code = attempt().status_code
        assert code in (200, 201, 204, 401, 403, 404), (name, code)
        done |= {name} if code < 300 else set()
    return done


MAY = {
    None: set(),
    "Read": {
        *("find", "see", "search jobs", "see a job", "see streams", "see a series"),
        "see a picture",
    },
}
MAY["Edit"] = MAY["Read"] | {
    "add a job",
    "add jobs",
    "change a job",
    "add a picture",
    "delete a job",
}
MAY["Manage"] = MAY["Edit"] | {"change", "delete"}


def made(owner: Any, public: bool, *entries: dict[str, str]) -> tuple[dict[str, Any], str]:
    """An experiment with a job that has a picture."""
    experiment = owner.experiment(public=public, permissions=list(entries))
    drift = owner.drift(experiment)["id"]
    assert png(owner, f"/experiment/{experiment['id']}/drift/{drift}").status_code == 200
    return experiment, drift


@pytest.mark.slow
@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("level", [None, *LEVELS])
def test_each_level_is_the_one_below_and_more(
    ann: Any, bob: Any, anonymous: Any, issuer: Any, level: str | None, public: bool
) -> None:
    open_to_all = MAY["Read" if public else None]
    unregistered = anonymous.as_(issuer.account("eve", "user", "crew"))
    for entity in (bob.me(), "crew"):
        entries = [{"entity": entity, "level": level}] if level else []
        for api in (anonymous, unregistered):
            assert allowed(api, *made(ann, public, *entries)) == open_to_all
        assert allowed(bob, *made(ann, public, *entries)) == MAY[level] | open_to_all
    assert allowed(ann, *made(ann, public)) == MAY["Manage"]


@pytest.mark.parametrize("public", [False, True])
def test_whoever_lost_the_user_entitlement_is_like_anybody(
    ann: Any, bob: Any, anonymous: Any, issuer: Any, public: bool
) -> None:
    entries = [{"entity": bob.me(), "level": "Manage"}, {"entity": "crew", "level": "Manage"}]
    issuer.account("bob", "crew")
    lapsed = bob.as_(issuer.token("bob", jti="later"))
    assert allowed(lapsed, *made(ann, public, *entries)) == MAY["Read" if public else None]
    assert allowed(bob, *made(ann, public, *entries)) == MAY["Manage"]  # until the token ends


def test_an_administrator_may_everything_when_registered_and_a_user(
    ann: Any, root: Any, anonymous: Any, issuer: Any
) -> None:
    assert allowed(root, *made(ann, False)) == MAY["Manage"]
    unregistered = anonymous.as_(issuer.account("boss", "user", "admin"))
    assert allowed(unregistered, *made(ann, False)) == set()
    issuer.account("root", "admin")
    lapsed = root.as_(issuer.token("root", jti="later"))
    assert allowed(lapsed, *made(ann, False)) == set()


def test_the_highest_of_several_entries_counts(ann: Any, bob: Any) -> None:
    for order in (1, -1):
        entries = [
            {"entity": entity, "level": level}
            for entity, level in (("crew", "Read"), (bob.me(), "Edit"), ("others", "Manage"))
        ][::order]
        assert allowed(bob, *made(ann, False, *entries)) == MAY["Edit"]


@pytest.mark.slow
def test_an_entity_need_not_exist_and_is_matched_exactly(ann: Any, bob: Any) -> None:
    for entity in (
        "",
        "CREW",
        "crew ",
        "cre",
        bob.me().upper(),
        str(uuid.uuid4()),
        "x" * 5000,
        "%",
    ):
        entry = {"entity": entity, "level": "Manage"}
        experiment, drift = made(ann, False, entry)
        assert entry in experiment["permissions"]
        assert allowed(bob, experiment, drift) == set()


def test_one_can_lock_out_everybody_else(ann: Any, bob: Any) -> None:
    manager = {"entity": bob.me(), "level": "Manage"}
    experiment, drift = made(ann, False, manager)
    answer = bob.put(f"/experiment/{experiment['id']}", json={"name": "mine", "permissions": []})
    assert answer.json()["permissions"] == [manager]
    assert allowed(ann, answer.json(), drift) == set()
    assert allowed(bob, answer.json(), drift) == MAY["Manage"]


@pytest.mark.parametrize("entry", [{"level": "Read"}, {"entity": "crew"}, None, "crew", []])
def test_a_list_of_other_things_is_refused(ann: Any, entry: Any) -> None:
    experiment = ann.experiment()
    for answer in (
        ann.post("/experiment", json={"name": "x", "permissions": [entry]}),
        ann.put(f"/experiment/{experiment['id']}", json={"name": "x", "permissions": [entry]}),
    ):
        assert answer.status_code == 422
        assert list(answer.json()["errors"]["json"]["permissions"]) == ["0"]
    assert ann.get(f"/experiment/{experiment['id']}").json() == experiment
