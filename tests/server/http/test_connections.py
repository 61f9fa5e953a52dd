"""Clients that begin and never go on, that never fetch their answer, or that are too many."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from lenswatch.config import Config
from lenswatch.server import run
from lenswatch.server.http.services import Limits
from support.ports import free_port
from support.servers import in_a_thread, served
from support.waiting import until

HEAD_SECONDS = 3.0  # in these tests
NEVER = 60  # whoever is still there then has not been cut off
HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
WHOLE = HALF + b"y\r\n\r\n"
SEARCH = (
    b"POST /api/latest/experiment/search HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\n"
)
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind will do: connections do not depend on it."""
    return sqlite_url


@pytest.fixture
def limits() -> Limits:
    return Limits(head_seconds=HEAD_SECONDS, stalled_seconds=HEAD_SECONDS)


@pytest.fixture
def port(local: Any, limits: Limits) -> Iterator[int]:
    """Where `local` listens, in a thread, as it does when it is run."""
    server = run._Server(local.client.app, Config())
    server.config.lifespan = "off"
    listener = run._listen("127.0.0.1", free_port(), limits.stalled_seconds)
    with in_a_thread(server, listener) as port:
        yield port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=NEVER)


def answer(connection: socket.socket) -> bytes:
    """One answer to GET /healthz."""
    reply = b""
    while not reply.endswith(b'{"status":"ok"}'):
        piece = connection.recv(4096)
        assert piece, reply
        reply += piece
    return reply


def seconds_until_cut_off(port: int, request: bytes, drip: bytes = b"") -> float:
    """How long the server bears with a client that sends `request`, and then a `drip` again and again."""
    started = time.monotonic()
    with connect(port) as connection:
        connection.sendall(request)
        if request.startswith(WHOLE):
            answer(connection)
        connection.settimeout(0.1 if drip else NEVER)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + NEVER:
                try:
                    if not connection.recv(4096):
                        break
                except TimeoutError:
                    connection.sendall(drip)
        return time.monotonic() - started


SLOW = {
    "nothing": (b"",),
    "half a head": (HALF,),
    "a head in drops": (HALF, b"y"),
    "a later head in drops": (WHOLE + HALF, b"y"),
    "nothing more": (WHOLE,),
    "a refused body in drops": (
        b"POST /nope HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n",
        b"y",
    ),
}


@pytest.mark.slow
def test_who_sends_no_whole_head_is_cut_off(port: int) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        waited = pool.map(lambda sent: seconds_until_cut_off(port, *sent), SLOW.values())
    for name, seconds in zip(SLOW, waited, strict=True):
        assert 0.9 * HEAD_SECONDS < seconds < NEVER, name


@pytest.mark.slow
def test_streams_slow_bodies_and_kept_connections_live_on(local: Any, port: int) -> None:
    experiment = local.experiment()
    address = f"http://127.0.0.1:{port}"
    stream = f"{address}/api/latest/experiment/{experiment['id']}/drift/live"
    end = time.monotonic() + 1.5 * HEAD_SECONDS
    with (
        connect(port) as kept,
        connect(port) as slow,
        httpx.Client(timeout=60) as client,
        client.stream("GET", stream) as events,
    ):
        slow.sendall(SEARCH + b"Content-Length: 100\r\n\r\n{")
        lines = events.iter_lines()
        assert next(lines) == "retry: 2000"
        while time.monotonic() < end:
            kept.sendall(WHOLE)
            assert answer(kept).startswith(b"HTTP/1.1 200 ")
            time.sleep(HEAD_SECONDS / 10)
        slow.sendall(b" " * 98 + b"}")
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")
        job = local.drift(experiment)
        data = next(line for line in lines if line.startswith("data: "))
        assert json.loads(data.removeprefix("data: "))["id"] == job["id"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
def test_who_fetches_nothing_of_an_answer_is_cut_off(port: int) -> None:
    plotly = b"GET /static/x/plotly.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(plotly)
        until(lambda: accepted(port))
        until(lambda: not accepted(port))


def accepted(port: int) -> list[Any]:
    """The server's ends of its connections."""
    every = psutil.Process().net_connections("tcp4")
    return [one for one in every if one.laddr.port == port and one.raddr]


@pytest.mark.parametrize("limits", [Limits(connections=5)])
def test_clients_beyond_the_limit_are_turned_away(port: int) -> None:
    first = [connect(port) for _ in range(5)]
    for connection in first:
        connection.sendall(WHOLE)
        answer(connection)
    with connect(port) as sixth, contextlib.suppress(ConnectionResetError):
        assert sixth.recv(1) == b""
    first.pop().close()
    with httpx.Client(transport=httpx.HTTPTransport(retries=5), timeout=60) as client:
        assert client.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    for connection in first:
        connection.sendall(WHOLE)
        answer(connection)
        connection.close()


CLOSE = b"Connection: close\r\n"
ODD = {
    "absolute form": (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n", 404),
    "a host in the absolute form": (b"GET http://x/api/v1/user/self HTTP/1.1\r\nHost: localhost\r\n", 404),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", 404),
    "connect": (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n", 404),
    "a long target": (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n", 400),
    "a long header": (HALF + b"a" * 200_000 + b"\r\n", 400),
    "10,000 headers": (HALF + b"\r\n" + b"X: y\r\n" * 10_000, 200),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n", 200),
    "no host": (b"GET /healthz HTTP/1.1\r\n", 400),
    "bytes in the target": (b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n", 400),
    "a surrogate in the path": (b"GET /%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n", 404),
    "a NUL in a header": (HALF + b"\0\r\n", 400),
    "two lengths": (SEARCH + b"Content-Length: 2\r\nContent-Length: 3\r\n", 400),
    "a length of 5,000 digits": (SEARCH + b"Content-Length: " + b"9" * 5000 + b"\r\n", 400),
    "a length that is no number": (SEARCH + b"Content-Length: -1\r\n", 400),
    "an encoding that nobody knows": (SEARCH + b"Transfer-Encoding: gzip, chunked\r\n", 400),
    "a preflight without CORS": (
        b"OPTIONS /api/latest/user/self HTTP/1.1\r\nHost: localhost\r\n"
        b"Access-Control-Request-Method: GET\r\n",
        405,
    ),
    "a body that is too large, announced": (
        SEARCH + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n",
        413,
    ),
}  # fmt: skip


def test_odd_requests_are_answered_and_logged_as_nothing(port: int, capfd: Any) -> None:
    for name, (head, code) in ODD.items():
        with connect(port) as connection:
            connection.sendall(head + CLOSE + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 %d " % code), name
    assert capfd.readouterr() == ("", "")


def test_a_websocket_is_not_opened(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + UPGRADE + b"\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_is_waited_for_is_asked_for(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(SEARCH + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_chunks_over_the_limit_are_413_and_the_end(port: int, local: Any) -> None:
    local.client.app.state.services.max_body_bytes = 100_000
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    with connect(port) as connection:
        connection.sendall(
            SEARCH + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 50 + b"0\r\n\r\n"
        )
        reply = connection.makefile("rb").read()  # to the end
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.count(b"HTTP/1.1") == 1


def test_head_answers_as_get_does_without_a_body(port: int, local: Any) -> None:
    experiment = local.experiment()
    drift = local.drift(experiment)["id"]
    here = f"/api/latest/experiment/{experiment['id']}"
    paths = [
        "/",
        f"/experiment/{experiment['id']}",
        "/static/x/plotly.min.js",
        "/healthz",
        "/readyz",
    ]
    paths += ["/metrics", "/api/v1/", "/api/v1/specification.json", "/api/v1/user/self"]
    paths += ["/api/v1/entitlement", here, f"{here}/drift/{drift}", f"{here}/drift/{drift}/image"]
    paths += [f"{here}/streams", f"{here}/series", "/nope"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for path in paths:
            head, got = client.head(path), client.get(path)
            assert (head.status_code, head.content) == (got.status_code, b""), path


@pytest.mark.slow
def test_several_workers_cut_off_too(tmp_path: Path) -> None:
    with (
        served(tmp_path, workers=2, limits={"head_seconds": HEAD_SECONDS}) as running,
        ThreadPoolExecutor(8) as pool,
    ):
        waited = pool.map(lambda _: seconds_until_cut_off(running.port, HALF, b"y"), range(8))
        assert all(seconds < NEVER for seconds in waited)
