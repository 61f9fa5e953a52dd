"""From the outbox into our own tracking server: nothing lost, nothing twice, through any crash."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from lenswatch.config import TrackingConfig
from lenswatch.outbox import Sender
from lenswatch.outbox_rows import OutboxRows
from lenswatch.store import NodeStore
from lenswatch.tracking import client_for
from node_processes import drift_job, send, serve_tracking

SPAWN = multiprocessing.get_context("spawn")
QUICK = {"poll": 0.02, "first_delay": 0.02, "longest_delay": 0.1, "lease_seconds": 1.0}


class Tracking:
    """Our tracking server in a process of its own, which can be killed and started again."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._root = root
        self._process: Any = None

    def start(self) -> None:
        self._process = SPAWN.Process(target=serve_tracking, args=(self._root, self.port))
        self._process.start()

    def kill(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.join(30)
            self._process = None

    def wait(self) -> None:
        assert until(self._answers), "the tracking server did not start"

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/latest/", timeout=5).status_code == 204
        except requests.ConnectionError:
            return False

    def records(self, experiment: str) -> list[dict[str, Any]]:
        """All drift jobs of an experiment."""
        url = f"{self.url}/api/latest/experiment/{experiment}/drift/search"
        found: list[dict[str, Any]] = []
        page, pages = 1, 1
        while page <= pages:
            params = {"page": page, "page_size": 100, "order_by": "asc"}
            response = requests.post(url, json={}, params=params, timeout=10)
            found += response.json()
            pages = json.loads(response.headers["X-Pagination"])["total_pages"]
            page += 1
        return found


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """One for all tests; each has an experiment of its own."""
    server = Tracking(tmp_path_factory.mktemp("tracking"))
    server.start()
    server.wait()
    yield server
    server.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path / "node.db")
    yield store
    store.close()


def until(condition: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Wait for what no event tells of: another process."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (20, 60, 90)).save(buffer, "JPEG")
    return buffer.getvalue()


def experiment_id(config: TrackingConfig) -> str:
    client = client_for(config)
    try:
        return client.ensure_experiment(config.experiment)
    finally:
        client.close()


@pytest.mark.parametrize("api_version", ["latest", "v1"])
def test_jobs_and_pictures_reach_our_server(
    store: NodeStore, tracking: Tracking, api_version: str
) -> None:
    """By `latest` with its batches and pictures, by `v1` as with any DriftWatch server."""
    with store.begin() as transaction:
        for i in range(12):
            transaction.post(drift_job(f"e{i}", distance=i / 4), jpeg())
    config = TrackingConfig(tracking.url, api_version, experiment=api_version)
    sender = Sender(store, config, **QUICK)
    assert sender.drain(30)
    assert sender.stop()
    assert sender.parked() == []
    experiment = experiment_id(config)
    records = tracking.records(experiment)
    assert [r["parameters"]["event_id"] for r in records] == [f"e{i}" for i in range(12)]
    assert records[3]["parameters"]["distance"] == 0.75
    image = f"{tracking.url}/api/latest/experiment/{experiment}/drift/{records[0]['id']}/image"
    reply = requests.get(image, timeout=10)
    assert (reply.status_code == 200) == (api_version == "latest")


def test_what_our_server_refuses_is_parked_with_its_words(
    store: NodeStore, tracking: Tracking
) -> None:
    with store.begin() as transaction:
        transaction.post(dataclasses.replace(drift_job("bad"), tags=("x" * 21,)))
        transaction.post(drift_job("good"))
        transaction.post(drift_job("shown"), b"this is no picture")
    config = TrackingConfig(tracking.url, experiment="refused")
    sender = Sender(store, config, **QUICK)
    assert sender.drain(30)
    assert sender.stop()
    job, picture = sender.parked()
    assert job.event_id == "bad"
    assert "tags" in job.reason
    assert picture.event_id == "shown"
    assert "picture" in picture.reason
    records = tracking.records(experiment_id(config))
    assert [r["parameters"]["event_id"] for r in records] == ["good", "shown"]


def test_every_job_is_recorded_once_however_often_server_and_sender_are_killed(
    store: NodeStore, tracking: Tracking
) -> None:
    jobs = 300
    config = TrackingConfig(tracking.url, experiment="killed")
    with store.begin() as transaction:
        for i in range(jobs):
            transaction.post(drift_job(f"e{i}"), jpeg() if i % 10 == 0 else None)
    rows = OutboxRows(store)

    def left() -> int:
        counts = rows.counts()
        return counts.pending + counts.pictures

    for rest, victim in ((299, "sender"), (100, "both"), (0, "nobody")):
        started = SPAWN.Event()
        child = SPAWN.Process(
            target=send, args=(store.path, config, started), kwargs=QUICK, daemon=True
        )
        child.start()
        assert until(lambda rest=rest: left() <= rest, 60)
        if victim == "both":
            tracking.kill()
            tracking.start()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        tracking.wait()
    recorded = [r["parameters"]["event_id"] for r in tracking.records(experiment_id(config))]
    assert len(recorded) == jobs
    assert set(recorded) == {f"e{i}" for i in range(jobs)}
    assert rows.counts().parked == 0
