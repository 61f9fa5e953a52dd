"""Bearer tokens: who is let in, and the attacks that are not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

JOB = {"job_status": "Failed", "model": "m", "drift_detected": False}
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


def test_nothing_is_fetched_for_an_untrusted_token(anonymous: Any, issuer: Any) -> None:
    for name in (
        "untrusted issuer",
        "issuer with a path",
        "no iss",
        "alg none",
        "HS256 with the public key",
    ):
        issuer.paths.clear()
        assert anonymous.as_(ATTACKS[name](issuer)).get("/user/self").status_code == 401
        assert not [path for path in issuer.paths if "openid" not in path and path != "/jwks"]


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


def test_an_email_in_the_token_alone_does_not_count(anonymous: Any, issuer: Any) -> None:
    issuer.account("ann", "user", email=None, email_verified=None)
    token = issuer.token("ann", email="ann@example.org", email_verified=True)
    assert anonymous.as_(token).post("/user").status_code == 403


def test_the_token_fills_the_gaps_of_userinfo(anonymous: Any, issuer: Any) -> None:
    issuer.account("ann", realm_access=None)
    token = issuer.token("ann", realm_access={"roles": ["user"]})
    assert anonymous.as_(token).post("/user").status_code == 201


@pytest.mark.parametrize("roles", [None, "user", {"user": True}, 5, [5, ["user"]]])
def test_entitlements_of_another_shape_are_none(anonymous: Any, issuer: Any, roles: Any) -> None:
    api = anonymous.as_(issuer.account("ann", realm_access={"roles": roles}))
    assert api.post("/user").status_code == 403


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


def test_an_opaque_token_is_asked_about_once(anonymous: Any, issuer: Any) -> None:
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    issuer.paths.clear()
    api = anonymous.as_("opaque-token-of-ann")
    assert api.post("/user").status_code == 201
    assert api.get("/user/self").status_code == 200
    for _ in range(5):
        assert anonymous.as_("opaque-token-of-nobody").get("/user/self").status_code == 401
    assert issuer.paths.count("/userinfo") == 2


def test_a_tokens_result_is_kept_until_it_ends(ann: Any, issuer: Any) -> None:
    issuer.paths.clear()
    for _ in range(5):
        assert ann.get("/user/self").status_code == 200
    assert issuer.paths == []


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


def test_a_discovery_document_of_another_issuer_is_not_believed(
    make_app: Any, oidc_settings: Any, issuer: Any
) -> None:
    issuer.discovery["issuer"] = "https://evil.example"
    token = issuer.account("ann", "user")
    with TestClient(make_app(auth=oidc_settings)) as client:
        answer = client.get("/api/latest/user/self", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 503


def test_a_provider_that_is_away_is_503(make_app: Any, oidc_settings: Any, issuer: Any) -> None:
    token = issuer.account("ann", "user")
    away = token.replace(token.split(".")[1], part(claims(issuer, iss="http://127.0.0.1:1")))
    settings = oidc_settings | {"issuers": ("http://127.0.0.1:1", issuer.address)}
    with TestClient(make_app(auth=settings)) as client:
        for api in ("/api/latest/user/self", "/api/v1/user/self"):
            answer = client.get(api, headers={"Authorization": f"Bearer {away}"})
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
        assert (
            client.get(
                "/api/latest/user/self", headers={"Authorization": f"Bearer {token}"}
            ).status_code
            == 403
        )


def test_the_order_of_checks(ann: Any, bob: Any, anonymous: Any, issuer: Any) -> None:
    experiment = ann.experiment()
    unknown = f"/experiment/{uuid.uuid4()}"
    known = f"/experiment/{experiment['id']}"
    unclaimed = anonymous.as_(issuer.account("una", "user", email=None))
    unregistered = anonymous.as_(issuer.account("eve", "user"))

    def code(api: Any, path: str, body: Any) -> int:
        return int(api.post(path, json=body).status_code)

    drift = f"{unknown}/drift"
    assert code(anonymous, drift, {"bad": 1}) == 401
    assert code(unclaimed, drift, {"bad": 1}) == 403
    assert code(unregistered, drift, {"bad": 1}) == 422
    assert code(unregistered, drift, JOB) == 403
    assert code(bob, drift, {"bad": 1}) == 422
    assert code(bob, drift, JOB) == 404
    assert code(bob, f"{known}/drift", JOB) == 403
    assert bob.delete(f"{known}/drift/{uuid.uuid4()}").status_code == 403
    assert ann.delete(f"{known}/drift/{uuid.uuid4()}").status_code == 404
    ann.experiment("taken")
    assert bob.put(known, json={"name": "taken"}).status_code == 403
    assert ann.put(known, json={"name": "taken"}).status_code == 409
    assert bob.put(unknown, json={"name": "taken"}).status_code == 404
    assert code(anonymous, f"{unknown}/drift/search", {"$where": 1}) == 422
    assert code(anonymous, f"{unknown}/drift/search", {"created_at": {"$gt": "x"}}) == 422
    assert code(anonymous, f"{unknown}/drift/search", {}) == 404
    assert code(anonymous, f"{known}/drift/search", {}) == 403


def test_another_users_private_experiment_is_closed_by_every_path(ann: Any, bob: Any) -> None:
    experiment = ann.experiment("secret-name", description="secret-text")
    drift = ann.drift(experiment, parameters={"secret": "secret-value", "stream": "secret-stream"})
    base, job = (
        f"/experiment/{experiment['id']}",
        f"/experiment/{experiment['id']}/drift/{drift['id']}",
    )
    answers = [
        bob.get(base),
        bob.put(base, json={"name": "x"}),
        bob.delete(base),
        bob.post(f"{base}/drift", json=JOB),
        bob.post(f"{base}/drift/batch", json={"drifts": [JOB]}),
        bob.post(f"{base}/drift/search", json={}),
        bob.get(job),
        bob.put(job, json=JOB),
        bob.delete(job),
        bob.get(f"{job}/image"),
        bob.put(f"{job}/image", content=b"x", headers={"Content-Type": "image/png"}),
        bob.get(f"{base}/streams"),
        bob.get(f"{base}/series"),
        bob.get(f"{base}/drift/live"),
    ]
    for answer in answers:
        assert answer.status_code in (403, 404, 422)
        assert "secret" not in answer.text
    for query in (
        {},
        {"name": "secret-name"},
        {"name": {"$regex": "secret"}},
        {"description": {"$ne": None}},
        {"id": experiment["id"]},
    ):
        found = bob.post("/experiment/search", json=query)
        assert (found.json(), json.loads(found.headers["X-Pagination"])["total"]) == ([], 0)
    assert ann.get(job).json() == drift
