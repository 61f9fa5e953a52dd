"""Worker processes that are killed while a real deepaas-run serves."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from conftest import Camera, Served, deepaas_running, write_settings
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.reference.paths import node_database
from support.full import FULL, at_length
from support.ports import free_port
from support.strict import BY_DESIGN
from support.waiting import until
from support.worker_processes import Idle, locked, uploads_in, workers_of

pytestmark = pytest.mark.slow

JSON = "application/json; charset=utf-8"
only_in_full = pytest.mark.skipif(
    not FULL, reason=f"{BY_DESIGN}tests/api/workers has the quick form"
)
BOTH = [signal.SIGKILL, signal.SIGSEGV]


@pytest.fixture(scope="module", params=[1, 2, 4] if FULL else [2], ids="workers={}".format)
def served(
    request: pytest.FixtureRequest, trained_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A deepaas-run with some workers, whose tracking server is down."""
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(trained_root / "storage", root / "storage")
    write_settings(root, f"http://127.0.0.1:{free_port()}")
    with deepaas_running(root, workers=request.param) as running:
        yield running


@pytest.fixture
def sender() -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for answers."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def store_of(served: Served) -> NodeStore:
    return NodeStore(node_database(served.root / "storage"))


def jobs_of(served: Served, stream: str) -> list[dict[str, Any]]:
    """Return the stream's recorded drift jobs in their order."""
    jobs = [row.job for row in OutboxRows(store_of(served)).due(100_000)]
    return [job for job in jobs if job["parameters"]["stream"] == stream]


def pictures_in_the_window_of(served: Served, stream: str) -> int:
    return sum(each.images for each in store_of(served).streams() if each.stream == stream)


def kill_while_judging(
    served: Served,
    sender: ThreadPoolExecutor,
    by: signal.Signals,
    data: bytes,
    *,
    unlock: bool = False,
    **fields: Any,
) -> requests.Response:
    """Send a picture, kill the worker that judges it before it can record it, and return the answer.

    The database is locked until the answer is there, so no other worker has judged it; with `unlock`, only
    until the worker is killed.
    """
    idle = Idle(served.process.pid, len(workers_of(served.process.pid)))
    with locked(served.root / "storage"):
        reply: Future[requests.Response] = sender.submit(served.predict, data, **fields)
        idle.busy().send_signal(by)
        if not unlock:
            return reply.result(60)
    return reply.result(60)


def test_a_picture_that_kills_its_worker_three_times_is_refused(
    served: Served, sender: ThreadPoolExecutor, camera: Camera
) -> None:
    data = camera(60)
    first = kill_while_judging(served, sender, signal.SIGKILL, data, stream="poison")
    assert (first.status_code, first.headers["Content-Type"]) == (503, JSON)
    assert int(first.headers["Retry-After"]) > 0
    event_id = first.json()["event_id"]
    assert f"event_id={event_id}" in first.json()["message"]
    named = {"stream": "poison", "event_id": event_id}
    second = kill_while_judging(served, sender, signal.SIGSEGV, data, **named)
    assert (second.status_code, second.json()["event_id"]) == (503, event_id)
    assert jobs_of(served, "poison") == []

    third = kill_while_judging(served, sender, signal.SIGKILL, data, unlock=True, **named)
    assert (third.status_code, third.headers["Content-Type"]) == (422, JSON)
    assert "3 worker processes ended" in third.json()["message"]
    again = served.predict(data, **named)
    assert (again.status_code, again.json()) == (422, third.json())
    (job,) = jobs_of(served, "poison")
    assert job["job_status"] == "Failed"
    assert job["parameters"]["event_id"] == event_id
    assert pictures_in_the_window_of(served, "poison") == 0
    assert served.predict(data, stream="poison", event_id=f"{event_id}-other").status_code == 200
    assert uploads_in(served.temporary) == []


@only_in_full
def test_workers_that_are_killed_while_idle_cost_nothing(served: Served, camera: Camera) -> None:
    assert served.predict(camera(60), stream="idle").status_code == 200
    for worker, by in zip(workers_of(served.process.pid), itertools.cycle(BOTH)):
        worker.send_signal(by)
    reply = served.predict(camera(61), stream="idle")
    assert (reply.status_code, reply.json()["window"]["filled"]) == (200, 2)


@only_in_full
def test_workers_that_hang_while_idle_cost_no_picture(served: Served, camera: Camera) -> None:
    assert served.predict(camera(60), stream="hung").status_code == 200
    hung = workers_of(served.process.pid)
    for worker in hung:
        worker.suspend()
    reply = served.predict(camera(61), stream="hung")
    for worker in hung:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.resume()
    assert (reply.status_code, reply.json()["window"]["filled"]) == (200, 2)
    assert "did not take a call within 5 s; a new one starts" in served.log.read_text()


@only_in_full
def test_workers_that_hang_with_a_picture_are_told_in_the_health(
    served: Served, sender: ThreadPoolExecutor, camera: Camera
) -> None:
    def told() -> dict[str, Any]:
        body = requests.get(f"{served.url}/healthz", timeout=60).json()
        return dict(body["checks"]["workers"])

    n = len(workers_of(served.process.pid))
    until(lambda: told()["ready"] == n)
    with locked(served.root / "storage"):
        replies = [sender.submit(served.predict, camera(60 + i), stream="stuck") for i in range(n)]
        until(lambda: told()["busy"] == n)
        hung = workers_of(served.process.pid)
        for worker in hung:
            worker.suspend()
    until(lambda: "no worker process has answered for" in told().get("reason", ""), 90)
    assert "has had one call for" in served.log.read_text()
    for worker in hung:
        worker.resume()
    assert [reply.result(60).status_code for reply in replies] == [200] * n
    until(lambda: told()["ok"] and not told()["slow"])


def training(served: Served) -> tuple[str, psutil.Process]:
    """Start a training that takes long, and return its address and its worker."""
    url = f"{served.url}/v2/models/lenswatch/train/"
    idle = Idle(served.process.pid, len(workers_of(served.process.pid)))
    started = requests.post(url, params={"epochs": 10_000}, timeout=60).json()
    assert started["status"] == "running"
    return f"{url}{started['uuid']}", idle.computing()


def test_a_training_that_is_cancelled_is_no_error(served: Served, camera: Camera) -> None:
    logged = len(served.log.read_text())
    url, worker = training(served)
    reply = requests.delete(url, timeout=60)
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
    assert reply.json()["uuid"] in url
    until(lambda: not worker.is_running())
    assert served.predict(camera(60), stream="cancelled").status_code == 200
    said = [line for line in served.log.read_text()[logged:].splitlines() if "workers.pool" in line]
    assert [(" INFO " in line, "was cancelled" in line) for line in said] == [(True, True)]


def test_a_training_whose_worker_is_killed_says_so(served: Served, camera: Camera) -> None:
    url, worker = training(served)
    worker.kill()

    def ended() -> Any:
        told = requests.get(url, timeout=60).json()
        return told if told["status"] != "running" else None

    told = until(ended)
    assert told["status"] == "error"
    assert "SIGKILL" in told["message"]
    assert served.predict(camera(60), stream="trained").status_code == 200


@dataclass
class Client:
    """A camera that sends picture after picture, each until it is answered."""

    served: Served
    camera: Camera
    stream: str
    answers: list[Any] = field(default_factory=list)
    refused: int = 0

    def run(self, ended: threading.Event) -> None:
        while not ended.is_set():
            number = len(self.answers)
            fields = {"stream": self.stream, "event_id": f"{self.stream}-{number}"}
            data = self.camera(60 + number % 20)
            while (
                reply := self.served.predict(data, f"{number}.jpg", **fields)
            ).status_code == 503:
                self.refused += 1
                assert reply.json()["event_id"] == fields["event_id"]
            assert reply.status_code == 200, reply.text
            self.answers.append(reply.json())


def test_kills_under_load_lose_and_repeat_nothing(
    served: Served, sender: ThreadPoolExecutor, camera: Camera, trained: Config
) -> None:
    n, kills, ended = len(workers_of(served.process.pid)), at_length(2, 20), threading.Event()
    clients = [Client(served, camera, f"load-{i}") for i in range(max(2, n))]
    running = [sender.submit(client.run, ended) for client in clients]
    chance = random.Random(1)

    def answered() -> int:
        return sum(len(client.answers) for client in clients)

    try:
        for kill in range(kills):
            enough = answered() + chance.randint(3, 15)
            until(partial(lambda enough: answered() >= enough, enough))
            time.sleep(chance.random() / 20)  # to hit any moment of a request
            with contextlib.suppress(psutil.NoSuchProcess):
                chance.choice(workers_of(served.process.pid)).send_signal(BOTH[kill % 2])
    finally:
        ended.set()
    for each in running:
        each.result(120)
    assert sum(client.refused for client in clients) <= kills
    alone = Node(trained, NodeStore(trained.root / "alone.db"))
    for client in clients:
        numbers = range(len(client.answers))
        right = [
            alone.observe(camera(60 + i % 20), Request(stream=client.stream))["distance"]
            for i in numbers
        ]
        assert [answer["distance"] for answer in client.answers] == right
        names = [job["parameters"]["image_name"] for job in jobs_of(served, client.stream)]
        assert names == [f"{i}.jpg" for i in numbers]
        assert pictures_in_the_window_of(served, client.stream) == len(numbers)
    assert uploads_in(served.temporary) == []
    Idle(served.process.pid, n)  # all are back


@only_in_full
def test_a_worker_that_is_stuck_with_a_picture_is_replaced(
    trained_root: Path, tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    monkeypatch.setenv("LENSWATCH_UPLOAD_TIMEOUT", "3")
    with deepaas_running(tmp_path) as served:
        with locked(tmp_path / "storage"):
            reply = served.predict(camera(60), event_id="stuck")
        assert (reply.status_code, reply.json()["event_id"]) == (503, "stuck")
        assert "took more than 3 s" in reply.json()["message"]
        assert served.predict(camera(60), event_id="stuck").status_code == 200
        assert uploads_in(served.temporary) == []


@only_in_full
def test_beside_an_unknown_deepaas_pictures_are_judged(
    trained_root: Path, tmp_path: Path, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained_root / "storage", tmp_path / "storage")
    write_settings(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "version = metadata.version\n"
        "metadata.version = lambda name: '2.7.0' if name == 'deepaas' else version(name)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with deepaas_running(tmp_path) as served:
        assert "and this is 2.7.0" in served.log.read_text()
        replies = [served.predict(camera(60)), served.predict(b"rubbish")]
        assert [reply.status_code for reply in replies] == [200, 422]
        assert served.predict(camera(60), event_id="e").json()["event_id"] == "e"
        assert len(workers_of(served.process.pid)) == 1
        assert uploads_in(served.temporary) == []
