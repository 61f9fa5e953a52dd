"""Logging in at a provider: where a browser is led."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from lenswatch.server.identity.oidc_login import code_challenge


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


def test_without_a_client_id_there_is_no_logging_in_with_a_provider(
    browser: TestClient, make_app: Any, oidc_settings: Any, issuer: Any
) -> None:
    assert "/login/oidc/0" in browser.get("/login").text
    with TestClient(make_app(auth=oidc_settings), base_url="http://lens.example") as client:
        assert "/login/oidc" not in client.get("/login").text
        assert client.get("/login/oidc/0").status_code == 404
        headers = {"Authorization": f"Bearer {issuer.account('ann', 'user')}"}
        assert client.post("/api/latest/user", headers=headers).status_code == 201


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


def test_the_challenge_is_that_of_the_standard() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
