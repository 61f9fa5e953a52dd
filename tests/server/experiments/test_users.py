"""/user, /user/self, /user/search and /entitlement."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.api import Api, registered


def test_registering_answers_201_with_the_record(anonymous: Any, issuer: Any) -> None:
    answer = anonymous.as_(issuer.account("ann", "user")).post("/user")
    record = answer.json()
    assert answer.status_code == 201
    assert set(record) == {"id", "created_at", "subject", "issuer", "email"}
    assert (record["subject"], record["issuer"]) == ("ann", issuer.address)
    assert record["email"] == "ann@example.org"
    assert datetime.fromisoformat(record["created_at"]).utcoffset() == UTC.utcoffset(None)


def test_the_body_of_a_registration_is_ignored(anonymous: Any, issuer: Any) -> None:
    api = anonymous.as_(issuer.account("ann", "user"))
    assert (
        api.post(
            "/user", content=b"\xff{", headers={"Content-Type": "application/json"}
        ).status_code
        == 201
    )


def test_registering_twice_is_a_conflict(ann: Any) -> None:
    answer = ann.post("/user")
    assert answer.status_code == 409
    assert answer.json() == {"code": 409, "status": "Conflict", "message": "User already exists."}


def test_registering_at_once_from_many_places_makes_one_user(anonymous: Any, issuer: Any) -> None:
    api = anonymous.as_(issuer.account("ann", "user"))
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: api.post("/user").status_code, range(8)))
    assert sorted(codes) == [201] + [409] * 7


def test_registering_needs_a_user_entitlement(anonymous: Any, issuer: Any) -> None:
    answer = anonymous.as_(issuer.account("eve", "visitor")).post("/user")
    assert answer.status_code == 403
    assert answer.json()["message"] == "Insufficient permissions."


def test_self_is_the_callers_record(ann: Any) -> None:
    answer = ann.get("/user/self")
    assert answer.status_code == 200
    assert answer.json()["subject"] == "ann"


def test_self_needs_registration(anonymous: Any, issuer: Any) -> None:
    api = anonymous.as_(issuer.account("eve", "user"))
    for answer in (api.get("/user/self"), api.put("/user/self"), api.get("/entitlement")):
        assert answer.status_code == 403
        assert answer.json()["message"] == "User not registered."


def test_putting_self_takes_the_email_from_the_provider(ann: Any, issuer: Any) -> None:
    before = ann.get("/user/self").json()
    renewed = ann.as_(issuer.account("ann", "user", email="new@example.org") + "")
    token = issuer.token("ann", jti="second")
    answer = renewed.as_(token).put("/user/self")
    assert answer.status_code == 200
    assert answer.json() == before | {"email": "new@example.org"}


def test_who_lost_the_entitlement_keeps_self_and_entitlements(ann: Any, issuer: Any) -> None:
    issuer.account("ann", "visitor")
    lapsed = ann.as_(issuer.token("ann", jti="later"))
    assert lapsed.get("/user/self").status_code == 200
    assert lapsed.get("/entitlement").json() == {"items": ["visitor"]}


def test_entitlements_are_a_set_under_both_paths(anonymous: Any, issuer: Any) -> None:
    api = anonymous.as_(issuer.account("ann", "user", "crew", "crew"))
    api.post("/user")
    for path in ("/entitlement", "/entitlements"):
        answer = api.get(path)
        assert answer.status_code == 200
        assert sorted(answer.json()["items"]) == ["crew", "user"]


def test_only_administrators_search_users(ann: Any, anonymous: Any, issuer: Any) -> None:
    assert anonymous.post("/user/search", json={}).status_code == 401
    assert ann.post("/user/search", json={}).status_code == 403
    admin = anonymous.as_(issuer.account("root", "admin"))  # not registered, no user entitlement
    answer = admin.post("/user/search", json={"subject": "ann"})
    assert answer.status_code == 200
    assert [user["subject"] for user in answer.json()] == ["ann"]


def test_users_are_sorted_and_paged(root: Any, ann: Any, bob: Any) -> None:
    params = {"sort_by": "subject", "order_by": "asc", "page_size": 2}
    answer = root.post("/user/search", json={}, params=params)
    assert [user["subject"] for user in answer.json()] == ["ann", "bob"]
    assert json.loads(answer.headers["X-Pagination"])["total"] == 3


@pytest.mark.parametrize("key", ["id", "_id", "subject", "email"])
def test_users_are_found_by_what_they_are(root: Any, ann: Any, key: str) -> None:
    record = ann.get("/user/self").json()
    assert root.post("/user/search", json={key: record[key.strip("_")]}).json() == [record]
    assert root.post("/user/search", json={key: {"$regex": "^nobody"}}).json() == []
    bounds = {"$gte": record["created_at"], "$lte": record["created_at"]}
    assert root.post("/user/search", json={"created_at": bounds}).json() == [record]
    for found, bound in ((True, {"$gt": "2025"}), (False, {"$lt": "2025-10-17"})):
        answer = root.post("/user/search", json={"created_at": bound})
        assert (record in answer.json()) == found


def test_users_are_found_and_sorted_by_their_issuer(
    make_app: Any, oidc_settings: Any, issuer: Any, other_issuer: Any
) -> None:
    providers = sorted((issuer, other_issuer), key=lambda provider: provider.address)
    settings = oidc_settings | {"issuers": [provider.address for provider in providers]}
    with TestClient(make_app(auth=settings), base_url="http://lens.example") as client:
        later, earlier = (  # not registered in their order
            registered(Api(client), provider.account("root", "user", "admin"))
            for provider in providers[::-1]
        )
        records = [api.get("/user/self").json() for api in (earlier, later)]
        for record in records:
            answer = later.post("/user/search", json={"issuer": record["issuer"]})
            assert answer.json() == [record]
        for order, expected in (("asc", records), ("desc", records[::-1])):
            params = {"sort_by": "issuer", "order_by": order}
            assert later.post("/user/search", json={}, params=params).json() == expected


def test_a_bad_user_search_is_422(root: Any) -> None:
    answer = root.post("/user/search", json={"$where": "1"}, params={"sort_by": "password"})
    assert answer.status_code == 422
    assert answer.json()["errors"]["query"]["sort_by"] == [
        "Must be one of: created_at, email, subject, issuer."
    ]


def test_without_identity_there_is_one_local_user(local: Any) -> None:
    assert local.post("/user").status_code == 409
    assert local.put("/user/self").status_code == 200
    assert local.get("/user/self").json()["subject"] == "local"
