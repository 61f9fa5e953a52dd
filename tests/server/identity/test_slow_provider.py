"""Identity providers that are slow, hang, drip, send without end: who waits for them, and who does not."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from lenswatch.server.db.database import Database
from lenswatch.server.identity.keys import new_key
from support.forms import form_token
from support.issuer import Clocks, limit_providers
from support.waiting import until

DISCOVERY = "/.well-known/openid-configuration"


class Held:
    """Requests that a provider has taken and does not answer until it is released."""

    def __init__(self, answer: Callable[[str, str], Any], paths: tuple[str, ...]) -> None:
        self._answer = answer
        self._paths = paths
        self.arrived = threading.Event()
        self._released = threading.Event()

    def answer(self, path: str, authorization: str) -> Any:
        """In the provider's place: nothing for a long time, then a failure."""
        if path not in self._paths or self._released.is_set():
            return self._answer(path, authorization)
        self.arrived.set()
        self._released.wait(60)
        return 500, {}

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


@pytest.fixture
def hold(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Held]]:
    """Makes a provider hang on some paths, at the latest until the end of the test, before `pool`'s."""
    held: list[Held] = []

    def start(provider: Any, *paths: str) -> Held:
        held.append(Held(provider.answer, paths))
        monkeypatch.setattr(provider, "answer", held[-1].answer)
        return held[-1]

    yield start
    for one in held:
        one.release()


@pytest.fixture
def fetch_seconds() -> float:
    """A deadline that no test here reaches: what ends before it has not waited for a provider."""
    return 60.0


impatient = pytest.mark.parametrize("fetch_seconds", [1.0])


@pytest.fixture
def make_app(make_app: Any, fetch_seconds: float) -> Any:
    """Makes an application that waits so long for a provider."""

    def make(**settings: Any) -> Any:
        app = make_app(**settings)
        limit_providers(app, fetch_seconds=fetch_seconds)
        return app

    return make


@pytest.fixture
def key(database_url: str) -> str:
    """An API key."""
    database = Database(database_url)
    with database.write() as connection:
        _, secret = new_key(connection, "node", "Admin", None)
    database.close()
    return secret


def forged(issuer: Any, kid: str | None = None) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256', 'kid': kid})}.{part({'iss': issuer.address})}.AAAA"


def log_in(client: TestClient, key: str) -> None:
    form = {"form": form_token(client.get("/login").text), "key": key}
    answer = client.post(
        "/login", data=form, headers={"Origin": "http://lens.example"}, follow_redirects=False
    )
    assert answer.status_code == 303


@pytest.mark.slow
def test_only_tokens_wait_for_a_provider_that_hangs(
    anonymous: Any, issuer: Any, key: str, hold: Any, pool: ThreadPoolExecutor
) -> None:
    node = anonymous.as_(key)
    public = node.experiment(public=True)
    held = hold(issuer, DISCOVERY)
    waiting = [
        pool.submit(anonymous.as_(forged(issuer, str(n))).get, "/user/self") for n in range(20)
    ]
    held.arrived.wait()
    assert node.get("/user/self").status_code == 200
    assert anonymous.get(f"/experiment/{public['id']}").status_code == 200
    log_in(anonymous.client, key)
    assert anonymous.get("/user/self").status_code == 200
    assert not any(answer.done() for answer in waiting)
    held.release()
    for answer in waiting:
        assert answer.result().status_code == 503
        assert answer.result().headers["Retry-After"] == "10"
    assert issuer.paths == [DISCOVERY]  # one fetch was enough for all of them


def test_a_failure_is_remembered_for_a_while(
    anonymous: Any, issuer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = anonymous.as_(issuer.account("ann", "user"))
    clocks = Clocks()
    clocks.set_for(anonymous.client.app)
    well, bad = issuer.answer, [DISCOVERY]
    monkeypatch.setattr(issuer, "answer", lambda p, a: (500, {}) if p in bad else well(p, a))
    for asked in ([DISCOVERY], [DISCOVERY, "/jwks"]):
        bad[:] = asked[-1:]
        for _ in range(5):
            answer = ann.post("/user")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        bad.clear()
        clocks.passed += 9.9
        assert ann.post("/user").status_code == 503
        assert issuer.paths == asked
        clocks.passed += 0.2
        issuer.paths.clear()
    assert ann.post("/user").status_code == 201


def test_tokens_that_need_no_new_key_do_not_wait_for_one(
    ann: Any, issuer: Any, hold: Any, pool: ThreadPoolExecutor
) -> None:
    limit_providers(ann.client.app, refetch_seconds=0.0)
    held = hold(issuer, "/jwks")
    waiting = pool.submit(ann.as_(forged(issuer, "unknown")).get, "/user/self")
    held.arrived.wait()
    assert ann.get("/user/self").status_code == 200
    assert ann.as_(issuer.token("ann", jti="new")).get("/user/self").status_code == 200
    assert not waiting.done()


def test_known_tokens_wait_for_nothing(
    ann: Any, issuer: Any, hold: Any, pool: ThreadPoolExecutor
) -> None:
    held = hold(issuer, "/userinfo")
    tokens = [issuer.token("ann", jti=f"new {n}") for n in range(20)]
    waiting = [pool.submit(ann.as_(token).get, "/user/self") for token in tokens]
    held.arrived.wait()
    assert ann.get("/user/self").status_code == 200
    assert not any(answer.done() for answer in waiting)


def test_one_provider_does_not_hold_up_another(
    make_app: Any, oidc_settings: Any, issuer: Any, other_issuer: Any, hold: Any, pool: Any
) -> None:
    both = oidc_settings | {"issuers": (other_issuer.address, issuer.address)}
    with TestClient(make_app(auth=both)) as client:

        def register(token: str) -> Any:
            return client.post("/api/latest/user", headers={"Authorization": f"Bearer {token}"})

        held = hold(other_issuer, DISCOVERY)
        waiting = [pool.submit(register, forged(other_issuer, str(n))) for n in range(20)]
        held.arrived.wait()
        assert register(issuer.account("ann", "user")).status_code == 201
        assert not any(answer.done() for answer in waiting)
        held.release()
        assert {answer.result().status_code for answer in waiting} == {503}


@pytest.mark.slow
@impatient
def test_opaque_tokens_are_asked_about_where_somebody_answers(
    make_app: Any, oidc_settings: Any, issuer: Any, other_issuer: Any, hold: Any
) -> None:
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    both = oidc_settings | {"issuers": (other_issuer.address, issuer.address)}
    with TestClient(make_app(auth=both)) as client:

        def register(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return client.post("/api/latest/user", headers=headers).status_code

        held = hold(other_issuer, "/userinfo")
        assert register("opaque-token-of-ann") == 201
        other_issuer.account("bob", "user")
        other_issuer.opaque["opaque-token-of-bob"] = "bob"
        assert register("opaque-token-of-bob") == 503  # it may be good
        held.release()
        assert register("opaque-token-of-bob") == 201  # which nobody remembers


def test_logging_in_holds_up_nobody_else(
    make_app: Any, oidc_settings: Any, issuer: Any, hold: Any, pool: ThreadPoolExecutor
) -> None:
    with TestClient(make_app(auth=oidc_settings | {"client_id": "lens"})) as client:
        held = hold(issuer, DISCOVERY)
        waiting = [pool.submit(client.get, "/login/oidc/0") for _ in range(50)]
        held.arrived.wait()
        for path in ("/healthz", "/readyz", "/login"):
            assert client.get(path).status_code == 200
        assert not any(answer.done() for answer in waiting)
        held.release()
        for answer in waiting:
            assert answer.result().status_code == 503
            assert "Retry-After" in answer.result().headers


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip_head(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"X-Slow: ")
    drip(connection)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n{")
    drip(connection)


def drip(connection: socket.socket) -> None:
    for _ in range(2000):  # for longer than anybody waits
        connection.sendall(b" ")
        time.sleep(0.05)


def send_without_end(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n{")
    for _ in range(300):
        connection.sendall(b" " * 2**20)


def send_zipped(connection: socket.socket) -> None:
    host, port = connection.getsockname()
    address = f"http://{host}:{port}"
    document = {"issuer": address, "jwks_uri": address, "userinfo_endpoint": address}
    body = gzip.compress(json.dumps(document).encode())
    connection.sendall(HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + body)


@pytest.fixture
def raw_provider() -> Iterator[Any]:
    """Starts a provider that does with each connection what a function says; and what it has sent."""
    listeners = []

    def start(send: Callable[[socket.socket], None]) -> Any:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        provider = SimpleNamespace(
            address=f"http://127.0.0.1:{listener.getsockname()[1]}", heads=[], ended=[]
        )

        def serve(connection: socket.socket) -> None:
            with connection:
                provider.heads.append(connection.recv(65536))
                try:
                    send(connection)
                    provider.ended.append("all sent")
                except OSError:
                    provider.ended.append("hung up on")

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        return provider

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def ask(make_app: Any, oidc_settings: Any) -> Callable[[Any], Any]:
    """Asks a server who one is, with a token of a provider that the server trusts."""

    def ask(provider: Any) -> Any:
        settings = oidc_settings | {"issuers": (provider.address,)}
        with TestClient(make_app(auth=settings)) as client:
            headers = {"Authorization": f"Bearer {forged(provider)}"}
            return client.get("/api/latest/user/self", headers=headers)

    return ask


@pytest.mark.slow
@pytest.mark.parametrize("send", [drip_head, drip_body])
@impatient
def test_a_provider_that_drips_is_given_up(ask: Any, raw_provider: Any, send: Any) -> None:
    provider = raw_provider(send)
    answer = ask(provider)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "all sent" not in provider.ended


@pytest.mark.parametrize("send", [send_without_end, send_zipped])
def test_only_so_much_is_taken_in_and_nothing_is_unpacked(
    ask: Any, raw_provider: Any, send: Any
) -> None:
    provider = raw_provider(send)
    answer = ask(provider)
    assert answer.status_code == 503
    assert answer.json()["message"] == (
        f"The identity provider {provider.address} does not answer."
    )
    assert len(provider.heads) == 1
    assert b"accept-encoding: identity" in provider.heads[0].lower()
    if send is send_without_end:
        assert until(lambda: provider.ended) == ["hung up on"]


def test_rubbish_does_not_lock_opaque_tokens_out(anonymous: Any, issuer: Any) -> None:
    clocks = Clocks()
    clocks.set_for(anonymous.client.app)
    limit_providers(anonymous.client.app, opaque_per_minute=3)
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    ann = anonymous.as_("opaque-token-of-ann")

    def rubbish(count: int) -> list[int]:
        names = (f"rubbish-{clocks.passed}-{n}-of-nobody" for n in range(count))
        return [anonymous.as_(name).get("/user/self").status_code for name in names]

    assert rubbish(3) == [401] * 3
    clocks.passed = 10.0
    answer = ann.post("/user")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "50")
    assert rubbish(20) == [503] * 20
    assert issuer.paths.count("/userinfo") == 3
    clocks.passed = 60.0  # the 21 that were refused do not count, and no refusal is kept
    assert ann.post("/user").status_code == 201
    assert rubbish(3) == [401, 401, 503]
    assert ann.get("/user/self").status_code == 200  # known


def test_opaque_tokens_are_not_counted_while_nobody_is_asked(anonymous: Any, issuer: Any) -> None:
    limit_providers(anonymous.client.app, opaque_per_minute=1, failed_seconds=0.0)
    issuer.account("ann", "user")
    issuer.opaque["opaque-token-of-ann"] = "ann"
    issuer.discovery["issuer"] = "https://another.example"
    for _ in range(3):
        assert anonymous.as_("opaque-token-of-ann").post("/user").status_code == 503
    issuer.discovery.clear()
    assert anonymous.as_("opaque-token-of-ann").post("/user").status_code == 201
