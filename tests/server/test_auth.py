"""Bearer tokens: who is let in, and the attacks that are not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from lenswatch.server import oidc

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


def test_a_tokens_result_is_kept_by_each_process_for_itself(
    ann: Any, issuer: Any, make_app: Any, oidc_settings: Any
) -> None:
    headers = {"Authorization": f"Bearer {ann.token}"}
    with TestClient(make_app(auth=oidc_settings)) as another:
        issuer.paths.clear()
        for _ in range(2):
            assert another.get("/api/v1/user/self", headers=headers).status_code == 200
        assert issuer.paths.count("/userinfo") == 1


def test_a_token_that_is_known_ends_all_the_same(
    ann: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_LEEWAY", 0.0)
    end = int(time.time()) + 2
    short = ann.as_(issuer.token("ann", exp=end))
    assert short.get("/user/self").status_code == 200
    issuer.paths.clear()
    while (answer := short.get("/user/self")).status_code == 200:
        assert time.time() < end + 1
    assert time.time() >= end
    assert answer.status_code == 401
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


def test_no_audience_is_asked_for_unless_one_is_configured(ann: Any, issuer: Any) -> None:
    for audience in ("lens", "somebody else", ["a", "b"], None):
        assert ann.as_(issuer.token("ann", aud=audience)).get("/user/self").status_code == 200


@pytest.fixture
def two_issuers(
    make_app: Any, oidc_settings: Any, issuer: Any, other_issuer: Any
) -> Iterator[Callable[..., Any]]:
    """A server that trusts two providers, and a way to ask it."""
    settings = oidc_settings | {"issuers": (f"{issuer.address}/", other_issuer.address)}
    with TestClient(make_app(auth=settings)) as client:

        def ask(method: str, path: str, token: str, **options: Any) -> Any:
            headers = {"Authorization": f"Bearer {token}"}
            return client.request(method, f"/api/v1{path}", headers=headers, **options)

        yield ask


def test_the_same_subject_of_two_issuers_is_two_users(
    two_issuers: Any, issuer: Any, other_issuer: Any
) -> None:
    tokens = [provider.account("ann", "user") for provider in (issuer, other_issuer)]
    users = [two_issuers("POST", "/user", token).json() for token in tokens]
    assert [user["issuer"] for user in users] == [issuer.address, other_issuer.address]
    assert users[0]["id"] != users[1]["id"]
    for token, user in zip(tokens, users, strict=True):
        assert two_issuers("GET", "/user/self", token).json() == user


def test_a_slash_at_an_issuers_end_counts_for_nothing(
    two_issuers: Any, issuer: Any, other_issuer: Any
) -> None:
    for provider in (issuer, other_issuer):
        provider.account("ann", "user")
        for address in (provider.address, f"{provider.address}/"):
            answer = two_issuers("GET", "/user/self", provider.token("ann", iss=address))
            assert answer.json()["message"] == "User not registered."


def test_an_opaque_token_is_tried_at_each_issuer(
    two_issuers: Any, issuer: Any, other_issuer: Any
) -> None:
    other_issuer.account("bob", "user")
    other_issuer.opaque["opaque-token-of-bob"] = "bob"
    answer = two_issuers("POST", "/user", "opaque-token-of-bob")
    assert answer.json()["issuer"] == other_issuer.address
    assert "/userinfo" in issuer.paths


def test_userinfo_of_another_user_or_issuer_is_not_believed(anonymous: Any, issuer: Any) -> None:
    token = issuer.account("ann", "user", sub="root")
    assert anonymous.as_(token).post("/user").status_code == 401
    token = issuer.account("bob", "user", iss="https://evil.example")
    assert anonymous.as_(token).post("/user").status_code == 401
    token = issuer.account("una", "user", iss=f"{issuer.address}/")
    assert anonymous.as_(token).post("/user").json()["issuer"] == issuer.address


def test_a_change_at_the_provider_shows_with_the_next_token(ann: Any, issuer: Any) -> None:
    private = ann.experiment()
    issuer.account("ann", "visitor", email="new@example.org")
    assert ann.get(f"/experiment/{private['id']}").status_code == 200
    assert ann.get("/entitlement").json() == {"items": ["user"]}
    assert ann.put("/user/self").json()["email"] == "ann@example.org"
    later = ann.as_(issuer.token("ann", jti="later"))
    assert later.get(f"/experiment/{private['id']}").status_code == 404
    assert later.get("/entitlement").json() == {"items": ["visitor"]}
    assert later.put("/user/self").json()["email"] == "new@example.org"


def test_an_issuers_documents_are_kept_for_an_hour(
    ann: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, later = time.monotonic(), [0.0]
    clock = SimpleNamespace(time=time.time, monotonic=lambda: start + later[0])
    monkeypatch.setattr(oidc, "time", clock)

    def asked_for_a_new_token() -> list[str]:
        issuer.paths.clear()
        token = issuer.token("ann", jti=f"token {later[0]}")
        assert ann.as_(token).get("/user/self").status_code == 200
        return list(issuer.paths)

    documents = ["/.well-known/openid-configuration", "/jwks"]
    for minutes in (1, 59):
        later[0] = 60.0 * minutes
        assert asked_for_a_new_token() == ["/userinfo"]
    later[0] = 3601.0
    assert asked_for_a_new_token() == [*documents, "/userinfo"]
    later[0] = 3601.0 + 3590.0
    assert asked_for_a_new_token() == ["/userinfo"]


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


@pytest.fixture
def browser(make_app: Any, oidc_settings: Any) -> Iterator[TestClient]:
    """A browser before a server that offers to log in with the provider."""
    app = make_app(auth=oidc_settings | {"client_id": "lens"})
    with TestClient(app, base_url="http://lens.example", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize("position", ["1", "-1", "00", "x", "9" * 5000])
def test_there_is_no_logging_in_with_other_providers(browser: TestClient, position: str) -> None:
    answer = browser.get(f"/login/oidc/{position}")
    assert answer.status_code == 404
    assert answer.json()["code"] == 404


@pytest.mark.parametrize(
    "address",
    [
        "https://login.example/auth?x=1",
        "http://localhost:9000/auth",
        "http://127.0.0.1/auth",
    ],
)
def test_logging_in_leads_to_the_provider(browser: TestClient, issuer: Any, address: str) -> None:
    issuer.discovery["authorization_endpoint"] = address
    answer = browser.get("/login/oidc/0")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(address)


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "javascript://localhost/%0aalert(1)",
        "http://login.example/auth",
        "http://[bad",
        "https://",
        "https://login.example/\ud800",
        "//login.example/auth",
        "/auth",
        "",
        5,
    ],
)
def test_logging_in_leads_nowhere_else(browser: TestClient, issuer: Any, address: Any) -> None:
    issuer.discovery["authorization_endpoint"] = address
    answer = browser.get("/login/oidc/0")
    assert answer.status_code == 503
    assert answer.json()["message"] == f"The identity provider {issuer.address} does not answer."
    assert "Location" not in answer.headers


@pytest.mark.parametrize("field", ["jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("address", ["http://[bad", "file:///etc/passwd", "https://", "\ud800", 5])
def test_a_document_with_bad_addresses_is_503(
    anonymous: Any, issuer: Any, field: str, address: Any
) -> None:
    issuer.discovery[field] = address
    assert anonymous.as_(issuer.account("ann", "user")).post("/user").status_code == 503


@pytest.mark.parametrize(
    "host",
    [
        "localhost/.evil.example",
        "localhost#.evil.example",
        "localhost?.evil.example",
        "localhost\\.evil.example",
        "evil.example@localhost",
        "evil.example/.localhost",
        "evil.example\\.localhost",
        "localhost:",
        "localhost:80:80",
        "localhost:x",
        "[::1",
        "[::1].evil.example",
        " localhost",
    ],
)
def test_without_identity_a_host_that_only_looks_local_is_refused(local: Any, host: str) -> None:
    assert local.get("/user/self", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["app.localhost:5001", "my_app.localhost", "localhost.:80"])
def test_without_identity_local_names_are_served(local: Any, host: str) -> None:
    origin = {"Host": host, "Origin": f"http://{host}"}
    assert local.post("/experiment", json={"name": "x"}, headers=origin).status_code == 201
