"""Certificates of identity providers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.errors import ServerError
from lenswatch.server.identity.fetching import over_tls
from lenswatch.server.identity.oidc import Issuer
from lenswatch.server.run import serve as run_server
from lenswatch.server.values.refusals import Refusal
from support.certificates import write_certificate
from support.json_replies import JsonHandler
from support.relays import Relay


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key."""
    return write_certificate(tmp_path / "certificate.pem", "127.0.0.1", "0.0.0.0")


@pytest.fixture
def provider(certificate: Path) -> Iterator[str]:
    """A provider behind TLS."""

    class Handler(JsonHandler):
        def get(self) -> None:
            host = self.headers["Host"]
            scheme = "http" if host.startswith("0.0.0.0") else "https"  # as the test below says it
            self.reply(200, {"issuer": f"{scheme}://{host}"})

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that does not trust us hangs up."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def document(address: str) -> Any:
    return anyio.run(Issuer(address).document)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_are_trusted_where_a_variable_says_so(
    variable: str, provider: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Refusal) as refused:
        document(provider)
    assert refused.value.code == 503
    monkeypatch.setenv(variable, str(certificate))
    assert document(provider)["issuer"] == provider


def test_whoever_has_a_token_is_looked_up_over_https_too(
    issuer: Any, make_app: Any, oidc_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem", "0.0.0.0")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Relay(issuer.server.server_port, certificate=certificate) as relay:
        plain = relay.address.replace("https://127.0.0.1", "http://0.0.0.0")  # and all it names
        monkeypatch.setattr(issuer, "address", plain)
        settings = oidc_settings | {"issuers": (plain,)}
        with TestClient(make_app(auth=settings), base_url="http://lens.example") as client:
            headers = {"Authorization": f"Bearer {issuer.account('ann', 'user')}"}
            answer = client.post("/api/v1/user", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["issuer"] == plain
    assert issuer.paths == ["/.well-known/openid-configuration", "/jwks", "/userinfo"]


def test_a_provider_elsewhere_is_asked_over_https_whatever_its_address_says(
    provider: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    plain = provider.replace("https://127.0.0.1", "http://0.0.0.0")  # here, but no loopback name
    assert document(plain)["issuer"] == plain
    with pytest.raises(Refusal):  # on loopback http is http, and nobody there speaks it
        document(provider.replace("https", "http"))


@pytest.mark.parametrize(
    ("address", "fetched"),
    [
        ("http://login.example/realms/x", "https://login.example/realms/x"),
        ("HTTP://login.example:8080", "https://login.example:8080"),
        ("https://login.example", "https://login.example"),
        ("http://localhost:9000/x", "http://localhost:9000/x"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://localhost.evil.example", "https://localhost.evil.example"),
        ("http://127.0.0.1@evil.example/", "https://127.0.0.1@evil.example/"),
    ],
)
def test_which_addresses_are_fetched_over_https(address: str, fetched: str) -> None:
    assert over_tls(address, address) == fetched


def test_a_provider_elsewhere_cannot_make_us_ask_this_machine_over_http(
    issuer: Any, make_app: Any, oidc_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem", "0.0.0.0")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    issuer.discovery["jwks_uri"] = f"{issuer.address}/jwks"  # http://127.0.0.1
    with Relay(issuer.server.server_port, certificate=certificate) as relay:
        elsewhere = relay.address.replace("127.0.0.1", "0.0.0.0")  # here, but no loopback name
        monkeypatch.setattr(issuer, "address", elsewhere)
        settings = oidc_settings | {"issuers": (elsewhere,)}
        with TestClient(make_app(auth=settings), base_url="http://lens.example") as client:
            headers = {"Authorization": f"Bearer {issuer.account('ann', 'user')}"}
            assert client.post("/api/v1/user", headers=headers).status_code == 503
    assert issuer.paths == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_no_server_starts_with_an_unusable_file_of_certificates(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "certificates.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    auth = AuthConfig(mode="oidc", issuers=("https://x",), user_entitlements=("*",))
    with pytest.raises(ServerError, match=str(file)) as refused:
        run_server(Config(server=ServerConfig(auth=auth, workers=2), root=tmp_path))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    "address",
    ["http://[bad", "https://login.example:port", "login.example", "https://", "file:///etc", ""],
)
def test_no_server_starts_with_an_issuer_that_is_no_address(address: str, tmp_path: Path) -> None:
    auth = AuthConfig(mode="oidc", issuers=(address,), user_entitlements=("*",))
    with pytest.raises(ServerError, match=r"server\.auth\.issuers") as refused:
        run_server(Config(server=ServerConfig(auth=auth), root=tmp_path))
    assert f'"{address}"' in str(refused.value)
