"""Bearer tokens: who is let in, and the attacks that are not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import string
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

NOBODY = "User identity could not be determined"


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def claims(issuer: Any, **more: Any) -> dict[str, Any]:
    return {"iss": issuer.address, "sub": "ann", "exp": int(time.time()) + 600} | more


def unsigned(issuer: Any) -> str:
    return f"{part({'alg': 'none'})}.{part(claims(issuer))}."


def signed_with_the_public_key(issuer: Any) -> str:
    """HS256, whose secret is the provider's public key."""
    head = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims(issuer))}"
    secret = issuer.key.as_pem(private=False)
    return f"{head}.{part(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def tampered(issuer: Any) -> str:
    head, _, signature = issuer.token("ann").split(".")
    return f"{head}.{part(claims(issuer, sub='root'))}.{signature}"


ATTACKS: dict[str, Callable[[Any], str]] = {
    "alg none": unsigned,
    "alg None in capitals": lambda i: f"{part({'alg': 'NONE'})}.{part(claims(i))}.{part(b'x')}",
    "HS256 with the public key": signed_with_the_public_key,
    "another's signature": lambda i: i.token("ann", key=RSAKey.generate_key(2048, {"kid": "one"})),
    "unknown kid": lambda i: i.token("ann", header={"kid": "other"}),
    "kid of another type": lambda i: i.token("ann", header={"kid": "two"}),
    "kid is no text": lambda i: (
        f"{part({'alg': 'RS256', 'kid': 5})}.{part(claims(i))}.{part(b'x')}"
    ),
    "kid is a path": lambda i: i.token("ann", header={"kid": "../../jwks"}),
    "expired": lambda i: i.token("ann", exp=int(time.time()) - 60),
    "not yet valid": lambda i: i.token("ann", nbf=int(time.time()) + 600),
    "no exp": lambda i: i.token("ann", exp=None),
    "exp is text": lambda i: i.token("ann", exp="tomorrow"),
    "exp is true": lambda i: i.token("ann", exp=True),
    "exp is beyond all numbers": lambda i: i.token("ann", exp=10**400),
    "exp is infinite": lambda i: i.token("ann", exp=float("inf")),
    "nbf is beyond all numbers": lambda i: i.token("ann", nbf=10**400),
    "no iss": lambda i: i.token("ann", iss=None),
    "untrusted issuer": lambda i: i.token("ann", iss="https://evil.example"),
    "issuer is a list": lambda i: i.token("ann", iss=[i.address]),
    "issuer with a path": lambda i: i.token("ann", iss=f"{i.address}/realms/x"),
    "unknown subject": lambda i: i.token("nobody"),
    "changed claims": tampered,
    "no claims": lambda i: f"{part({'alg': 'RS256'})}.{part([])}.{part(b'x')}",
    "not base64": lambda i: "%%%.%%%.%%%",
    "deep JSON": lambda i: f"{part(b'[' * 9000)}.{part(b'{}')}.x",
    "five parts": lambda i: "a.b.c.d.e" * 5,
    "rubbish": lambda i: "rubbish" * 10,
    "very long": lambda i: "x" * 20_000,
    "like an API key": lambda i: "lwk_" + "x" * 43,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_bad_token_is_401_and_counts_as_none(name: str, ann: Any, issuer: Any) -> None:
    public, private = ann.experiment(public=True), ann.experiment()
    eve = ann.as_(ATTACKS[name](issuer))
    for answer in (
        eve.get("/user/self"),
        eve.post("/user"),
        eve.post("/experiment", content=b"{not json", headers={"Content-Type": "application/json"}),
        eve.post(f"/experiment/{private['id']}/drift", json={"bad": 1}),
        eve.delete(f"/experiment/{private['id']}"),
    ):
        assert answer.status_code == 401, answer.text
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(answer.json()) == {"code", "status", "message"}
        assert (answer.json()["code"], answer.json()["status"]) == (401, "Unauthorized")
    assert eve.get(f"/experiment/{public['id']}").status_code == 200
    assert eve.get(f"/experiment/{private['id']}").status_code == 404
    assert eve.search(private, {}).status_code == 403


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "bearer {}", "Basic {}", "Token {}", "{}", "BearerX {}"]
)
def test_other_headers_are_401(header: str, ann: Any) -> None:
    headers = {"Authorization": header.format(ann.token)} if header else {}
    answer = ann.as_(None).get("/user/self", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["message"] in ("No authorization header", NOBODY)


@pytest.mark.parametrize("header", ["Basic {}", "bearer {}", "Bearer"])
def test_other_headers_count_as_none_where_anybody_may_read(header: str, ann: Any) -> None:
    public, private = ann.experiment(public=True), ann.experiment()
    path, drift = f"/experiment/{public['id']}", ann.drift(public)
    headers = {"Authorization": header.format(ann.token)}
    anybody = replace(ann, token=None, headers=headers)
    assert anybody.get(path).json() == public
    assert anybody.get(f"{path}/drift/{drift['id']}").json() == drift
    assert anybody.search(public, {}).json() == [drift]
    assert anybody.post("/experiment/search", json={}).json() == [public]
    assert anybody.get(f"/experiment/{private['id']}").status_code == 404


def test_nothing_is_fetched_for_an_untrusted_token(
    anonymous: Any, issuer: Any, other_issuer: Any
) -> None:
    untrusted = other_issuer.account("ann", "user", "admin")
    opaque = anonymous.as_("opaque-token-of-nobody")
    attacks = ("issuer with a path", "no iss", "alg none", "HS256 with the public key")
    for token in (untrusted, *(ATTACKS[name](issuer) for name in attacks)):
        assert anonymous.as_(token).get("/user/self").status_code == 401
    assert set(issuer.paths) <= {"/.well-known/openid-configuration", "/jwks"}
    assert opaque.get("/user/self").status_code == 401
    assert other_issuer.paths == []


def test_unknown_kids_do_not_make_us_fetch_keys_again_and_again(ann: Any, issuer: Any) -> None:
    issuer.paths.clear()
    for number in range(20):
        ann.as_(issuer.token("ann", header={"kid": f"k{number}"})).get("/user/self")
    assert issuer.paths.count("/jwks") <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"email": None}, "The token lacks sub, email or a verified e-mail address."),
        ({"email": ""}, None),
        ({"email": 5}, None),
        ({"email_verified": None}, None),
        ({"email_verified": False}, None),
        ({"email_verified": "true"}, None),
        ({"sub": None}, None),
        ({"email": "\0@example.org"}, None),
        ({"email": "\ud800@example.org"}, None),
    ],
)
def test_missing_claims_are_403_before_the_body_is_judged(
    change: Any, message: str | None, anonymous: Any, issuer: Any
) -> None:
    api = anonymous.as_(issuer.account("ann", "user", **change))
    for answer in (
        api.get("/user/self"),
        api.post("/user"),
        api.post("/experiment", json={"bad": 1}),
    ):
        assert answer.status_code == 403
        assert message is None or answer.json()["message"] == message


@pytest.mark.parametrize("missing", ["email", "email_verified"])
def test_an_email_in_the_token_alone_does_not_count(
    anonymous: Any, issuer: Any, missing: str
) -> None:
    issuer.account("ann", "user", **{missing: None})
    token = issuer.token("ann", email="ann@example.org", email_verified=True)
    assert anonymous.as_(token).post("/user").status_code == 403


def test_the_token_fills_the_gaps_of_userinfo(anonymous: Any, issuer: Any) -> None:
    issuer.account("ann", realm_access=None)
    token = issuer.token("ann", realm_access={"roles": ["user"]})
    assert anonymous.as_(token).post("/user").status_code == 201


def test_userinfo_wins_over_the_token(anonymous: Any, issuer: Any) -> None:
    issuer.account("eve", "visitor")
    eve = anonymous.as_(issuer.token("eve", realm_access={"roles": ["user", "admin"]}))
    assert eve.post("/user").status_code == 403
    assert eve.post("/user/search", json={}).status_code == 403


@pytest.mark.parametrize("roles", [None, "user", {"user": True}, 5, [5, ["user"]]])
def test_entitlements_of_another_shape_are_none(anonymous: Any, issuer: Any, roles: Any) -> None:
    api = anonymous.as_(issuer.account("ann", realm_access={"roles": roles}))
    assert api.post("/user").status_code == 403


@pytest.mark.parametrize("subject", ["ann\0", "\ud800", "x" * 1001, "ß" * 501])
def test_a_subject_that_no_database_can_keep_is_403(
    anonymous: Any, issuer: Any, subject: str
) -> None:
    issuer.account("ann", "user", sub=subject)
    issuer.opaque["opaque-token-of-ann"] = "ann"
    answer = anonymous.as_("opaque-token-of-ann").post("/user")
    assert answer.status_code == 403
    assert answer.json()["message"].startswith("The token lacks sub")


def test_the_longest_subject_is_taken(anonymous: Any, issuer: Any) -> None:
    subject = "".join(random.Random(1).choices(string.ascii_letters, k=1000))  # incompressible
    assert anonymous.as_(issuer.account(subject, "user")).post("/user").status_code == 201


def test_entitlements_that_no_database_can_keep_are_left_out(anonymous: Any, issuer: Any) -> None:
    api = anonymous.as_(issuer.account("ann", "\ud800", "a\0b", "user", "größe"))
    assert api.post("/user").status_code == 201
    assert sorted(api.get("/entitlement").json()["items"]) == ["größe", "user"]
    assert api.get(f"/experiment/{api.experiment()['id']}").status_code == 200


def test_a_user_is_a_subject_at_an_issuer(ann: Any, issuer: Any) -> None:
    again = ann.as_(issuer.token("ann", jti="another token"))
    assert again.get("/user/self").json() == ann.get("/user/self").json()


def test_a_token_without_kid_is_matched_by_key_type(ann: Any, issuer: Any) -> None:
    for header, key in (
        ({"alg": "RS256"}, issuer.key),
        ({"alg": "ES256"}, issuer.ec_key),
        ({"alg": "PS384"}, issuer.key),
    ):
        token = issuer.token("ann", key=key, header=header | {"kid": None})
        assert ann.as_(token).get("/user/self").status_code == 200


def test_the_audience_counts_where_it_is_configured(
    make_app: Any, oidc_settings: Any, issuer: Any
) -> None:
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    with TestClient(make_app(auth=oidc_settings | {"audience": "lens"})) as client:

        def code(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.get("/api/latest/user/self", headers=headers).status_code

        assert code(issuer.token("ann", aud="lens")) == 403  # known, not registered
        assert code(issuer.token("ann", aud=["other", "lens"])) == 403
        assert code(issuer.token("ann", aud="other")) == 401
        assert code(issuer.token("ann")) == 401
        assert code("opaque-token-of-ann") == 401


def test_no_audience_is_asked_for_unless_one_is_configured(ann: Any, issuer: Any) -> None:
    for audience in ("lens", "somebody else", ["a", "b"], None):
        assert ann.as_(issuer.token("ann", aud=audience)).get("/user/self").status_code == 200


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("roles", {"roles": ["b"]}),
        ("resource_access/lens/roles", {"resource_access": {"lens": {"roles": ["x", "b"]}}}),
        ("https:~1~1x", {"https:~1~1x": ["a"]}),
    ],
)
def test_entitlements_are_found_where_the_settings_say(
    make_app: Any, oidc_settings: Any, issuer: Any, path: str, claims: Any
) -> None:
    wanted = {"user_entitlements": ("a", "b"), "admin_entitlements": ("c", "d")}
    app = make_app(auth=oidc_settings | wanted | {"entitlements_path": path})
    with TestClient(app) as client:

        def code(token: str, path: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return int(client.post(f"/api/v1{path}", headers=headers).status_code)

        assert code(issuer.account("ann", **claims), "/user") == 201
        assert code(issuer.token("ann"), "/user/search") == 403
        admin = json.loads(json.dumps(claims).replace('"b"', '"d"').replace('"a"', '"c"'))
        assert code(issuer.account("root", **admin), "/user/search") == 200
        assert code(issuer.token("root"), "/user") == 403
        assert code(issuer.account("bob", "a", "b", "c"), "/user") == 403  # elsewhere
