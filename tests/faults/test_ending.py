"""The end of a real deepaas-run after a signal, while requests run and arrive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from conftest import Camera, Served, deepaas_running, write_settings
from support.full import FULL
from support.strict import BY_DESIGN
from support.waiting import until
from support.worker_processes import Idle, family_of, locked, uploads_in, workers_of

pytestmark = pytest.mark.slow

END_SECONDS = 10.0  # that Docker gives before it kills
ENDS = [(signal.SIGTERM, "group"), (signal.SIGTERM, "parent"), (signal.SIGINT, "group")]
BOUNDARY = "----picture"


@pytest.fixture
def served(trained_root: Path, tmp_path: Path) -> Iterator[Served]:
    """A deepaas-run with two workers."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    with deepaas_running(tmp_path, workers=2) as running:
        yield running


def half_an_upload(served: Served) -> socket.socket:
    """Send the first bytes of a picture, and return the connection."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(served.url).port), timeout=60)
    head = (
        f"POST {urlsplit(served.predict_url).path} HTTP/1.1\r\nHost: node\r\nContent-Length: 100000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="input_file"; filename="a.jpg"\r\n\r\n'
    )
    connection.sendall(head.encode() + bytes(1000))
    return connection


def an_upload_to_nowhere(served: Served) -> socket.socket:
    """Announce a body that is not read, and return the connection once that is refused."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(served.url).port), timeout=60)
    connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: node\r\nContent-Length: 100000\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 404")
    return connection


def all_of(connection: socket.socket) -> bytes:
    with connection:
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


def listens(served: Served) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urlsplit(served.url).port)).close()
    except OSError:
        return False
    return True


def send(served: Served, by: signal.Signals, to: str) -> None:
    if to == "group":
        os.killpg(served.process.pid, by)
    else:
        served.process.send_signal(by)


@pytest.mark.parametrize(("by", "to"), ENDS if FULL else ENDS[:1], ids=lambda each: str(each))
def test_running_requests_finish_and_others_are_told_and_nothing_is_left(
    served: Served, camera: Camera, by: signal.Signals, to: str
) -> None:
    family = family_of(served.process.pid)
    with ThreadPoolExecutor(4) as sender:

        def post(number: int) -> Any:
            return sender.submit(served.predict, camera(60 + number), event_id=f"end-{number}")

        idle = Idle(served.process.pid, 2)
        with locked(served.root / "storage"):
            stuck = post(0)
            idle.busy().suspend()
            finishing = [post(1), post(2)]  # one after the other
            until(lambda: len(uploads_in(served.temporary)) == 3)
            arriving = half_an_upload(served)
            refused = an_upload_to_nowhere(served)  # aiohttp waits 10 s for the rest
            send(served, by, to)
            started = time.monotonic()
            until(lambda: not listens(served))
        assert [reply.result(60).status_code for reply in finishing] == [200, 200]
        status, *_, body = all_of(arriving).split(b"\r\n")
        assert status == b"HTTP/1.1 503 Service Unavailable"
        assert "the server is ending" in json.loads(body)["message"]
        lost = stuck.result(60)
        assert (lost.status_code, lost.json()["event_id"]) == (503, "end-0")
        assert "Retry-After" in lost.headers
    assert served.process.wait(60) == 0
    assert "ending: 3 requests run and get 4 s to finish, and 1 whose" in served.log.read_text()
    assert time.monotonic() - started < END_SECONDS - 1
    refused.close()
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert uploads_in(served.temporary) == []


@pytest.mark.skipif(not FULL, reason=f"{BY_DESIGN}tests/api/workers has the quick form")
@pytest.mark.parametrize("state", ["idle", "judging", "training", "dead"])
def test_a_parent_that_is_killed_leaves_no_process(
    served: Served, camera: Camera, state: str
) -> None:
    idle = Idle(served.process.pid, 2)
    family = family_of(served.process.pid)
    with ThreadPoolExecutor(1) as sender, locked(served.root / "storage"):
        if state == "judging":
            reply = sender.submit(served.predict, camera(60))
            idle.busy()
        if state == "training":
            url = f"{served.url}/v2/models/lenswatch/train/"
            requests.post(url, params={"epochs": 10_000}, timeout=60)
            idle.computing()
        if state == "dead":
            workers_of(served.process.pid)[0].kill()
        family += [each for each in family_of(served.process.pid) if each not in family]
        served.process.kill()
        assert psutil.wait_procs(family, timeout=30)[1] == []
        if state == "judging":
            with pytest.raises(requests.ConnectionError):
                reply.result(60)


@pytest.mark.skipif(not FULL, reason=f"{BY_DESIGN}tests/api/workers has the quick form")
def test_a_server_whose_workers_can_never_start_ends_with_an_error(
    trained_root: Path, tmp_path: Path
) -> None:
    """So that whatever started it starts it again."""
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    settings = write_settings(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if '--multiprocessing-fork' in sys.orig_argv: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {
        **os.environ,
        "LENSWATCH_CONFIG": str(settings),
        "PYTHONPATH": str(tmp_path),
    }
    program = Path(sys.executable).with_name("deepaas-run")
    ended = subprocess.run(
        [program, "--listen-port=0"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "no worker process runs" in ended.stdout
    assert "2 worker processes in a row ended before they were ready" in ended.stdout
