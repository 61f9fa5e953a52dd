"""Providers: what is asked of them, what is believed, and for how long it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from starlette.testclient import TestClient

from lenswatch.server.identity.fetching import PROVIDER_LIMITS
from lenswatch.server.identity.oidc import LEEWAY, OidcBearer
from lenswatch.server.values.refusals import Refusal
from support.issuer import Clocks, limit_providers


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


@pytest.fixture
def clocks(anonymous: Any) -> Clocks:
    """The clocks by which a server measures what it knows of tokens."""
    clocks = Clocks()
    clocks.set_for(anonymous.client.app)
    return clocks


def codes(api: Any, token: str, count: int = 3) -> list[int]:
    return [api.as_(token).post("/user").status_code for _ in range(count)]


def test_an_opaque_token_is_asked_about_again_after_a_minute(
    anonymous: Any, issuer: Any, clocks: Clocks
) -> None:
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    for seconds, outcome, asked in ((0, 201, 2), (59, 409, 2), (61, 409, 4)):
        clocks.passed = seconds
        assert codes(anonymous, "opaque-token-of-ann", 1) == [outcome]
        assert codes(anonymous, "opaque-token-of-nobody") == [401] * 3
        assert issuer.paths.count("/userinfo") == asked


def test_a_token_without_what_we_need_is_asked_about_once(
    anonymous: Any, issuer: Any, clocks: Clocks
) -> None:
    token = issuer.account("ann", "user", email_verified=None)
    for seconds in (0, 61, 590):
        clocks.passed = seconds
        assert codes(anonymous, token) == [403] * 3
        assert issuer.paths.count("/userinfo") == 1


def test_a_refusal_that_is_kept_keeps_no_requests(anonymous: Any, issuer: Any) -> None:
    token = issuer.account("ann", "user", email_verified=None)
    for _ in range(3):
        codes(anonymous, token)
        anonymous.as_(token).post("/experiment/search", json={})
    authenticator = anonymous.client.app.state.services.authenticator
    [bearer] = [bearer for bearer in authenticator.bearers if isinstance(bearer, OidcBearer)]
    [(_, refusal)] = bearer._cache.values()
    assert isinstance(refusal, Refusal)
    assert (refusal.__traceback__, refusal.__context__) == (None, None)


def test_a_token_of_a_user_whom_the_provider_does_not_know_is_asked_about_once_a_minute(
    anonymous: Any, issuer: Any, clocks: Clocks
) -> None:
    token = issuer.token("ann")
    for seconds, asked in ((0, 1), (59, 1), (61, 2)):
        clocks.passed = seconds
        assert codes(anonymous, token) == [401] * 3
        assert issuer.paths.count("/userinfo") == asked
    issuer.account("ann", "user")
    clocks.passed = 122
    assert codes(anonymous, token, 1) == [201]


@pytest.mark.parametrize("code", [500, 503, 429])
def test_that_nobody_could_tell_is_not_remembered(
    anonymous: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    tokens = [issuer.account("ann", "user"), "opaque-token-of-bob"]
    issuer.account("bob", "user")
    issuer.opaque["opaque-token-of-bob"] = "bob"
    well = issuer.answer
    with monkeypatch.context() as patch:
        patch.setattr(issuer, "answer", lambda p, a: (code, {}) if p == "/userinfo" else well(p, a))
        assert [codes(anonymous, token) for token in tokens] == [[503] * 3] * 2
    assert [codes(anonymous, token, 1) for token in tokens] == [[201]] * 2


def test_a_token_without_kid_is_believed_after_a_change_of_keys(
    ann: Any, issuer: Any, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer, "key", RSAKey.generate_key(2048, {"kid": "three", "use": "sig"}))
    clocks.passed = PROVIDER_LIMITS.refetch_seconds + 1
    issuer.paths.clear()
    assert ann.as_(issuer.token("ann", header={"kid": None})).get("/user/self").status_code == 200
    assert issuer.paths == ["/jwks", "/userinfo"]


def test_tokens_without_kid_do_not_make_us_fetch_keys_again_and_again(
    ann: Any, issuer: Any, clocks: Clocks
) -> None:
    forger, issuer.paths[:] = RSAKey.generate_key(2048), []
    for seconds, fetched in ((1, 0), (31, 1), (60, 1), (62, 2)):
        clocks.passed = seconds
        for number in range(5):
            token = issuer.token("ann", key=forger, header={"kid": None}, jti=f"{seconds} {number}")
            assert ann.as_(token).get("/user/self").status_code == 401
        assert issuer.paths.count("/jwks") == fetched


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


def test_a_token_that_is_known_ends_all_the_same(ann: Any, issuer: Any, clocks: Clocks) -> None:
    short = ann.as_(issuer.token("ann", exp=int(clocks.now()) + 300))
    for clocks.passed in (0.0, 299.0):
        assert short.get("/user/self").status_code == 200
    issuer.paths.clear()
    clocks.passed = 301.0 + LEEWAY
    assert short.get("/user/self").status_code == 401
    assert issuer.paths == []


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


def test_a_provider_may_write_itself_with_a_slash_at_its_end(anonymous: Any, issuer: Any) -> None:
    issuer.discovery["issuer"] = f"{issuer.address}/"
    issuer.account("ann", "user")
    ann = anonymous.as_(issuer.token("ann", iss=f"{issuer.address}/"))
    answer = ann.post("/user")
    assert answer.status_code == 201
    assert answer.json()["issuer"] == f"{issuer.address}/"
    assert ann.as_(issuer.token("ann")).get("/user/self").json() == answer.json()


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


def test_an_issuers_documents_are_kept_for_an_hour(ann: Any, issuer: Any) -> None:
    clocks = Clocks()
    limit_providers(ann.client.app, monotonic=clocks.monotonic)  # the tokens stay valid

    def asked_for_a_new_token() -> list[str]:
        issuer.paths.clear()
        token = issuer.token("ann", jti=f"token {clocks.passed}")
        assert ann.as_(token).get("/user/self").status_code == 200
        return list(issuer.paths)

    documents = ["/.well-known/openid-configuration", "/jwks"]
    for minutes in (1, 59):
        clocks.passed = 60.0 * minutes
        assert asked_for_a_new_token() == ["/userinfo"]
    clocks.passed = 3601.0
    assert asked_for_a_new_token() == [*documents, "/userinfo"]
    clocks.passed = 3601.0 + 3590.0
    assert asked_for_a_new_token() == ["/userinfo"]


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
    away = issuer.token("ann", iss="http://127.0.0.1:1")
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


@pytest.mark.parametrize("field", ["jwks_uri", "userinfo_endpoint"])
@pytest.mark.parametrize("address", ["http://[bad", "file:///etc/passwd", "https://", "\ud800", 5])
def test_a_document_with_bad_addresses_is_503(
    anonymous: Any, issuer: Any, field: str, address: Any
) -> None:
    issuer.discovery[field] = address
    assert anonymous.as_(issuer.account("ann", "user")).post("/user").status_code == 503
