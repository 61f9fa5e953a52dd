"""Delivery from the outbox to our own tracking server: no job lost or stored twice after a crash."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from lenswatch.client.monitor import client_for
from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.sender import DeliveryLimits, Sender
from support.databases import DATABASES, own_database
from support.node_processes import drift_job, send
from support.node_stores import address_of
from support.ports import free_port
from support.samples import picture
from support.servers import command
from support.waiting import until, until_it_answers

SPAWN = multiprocessing.get_context("spawn")
QUICK: dict[str, Any] = {
    "poll": 0.02,
    "lease_seconds": 1.0,
    "limits": DeliveryLimits(first_delay_seconds=0.02, longest_delay_seconds=0.1),
}


class Tracking:
    """Our tracking server in a process of its own, which can be killed and started again."""

    def __init__(self, root: Path, database: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._command = command(root, port=port, database=database)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait(self) -> None:
        until_it_answers(f"{self.url}/readyz", self._process)

    def records(self, experiment: str) -> list[dict[str, Any]]:
        """Return all drift jobs of an experiment."""
        url = f"{self.url}/api/latest/experiment/{experiment}/drift/search"
        found: list[dict[str, Any]] = []
        page, pages = 1, 1
        while page <= pages:
            params: dict[str, int | str] = {"page": page, "page_size": 100, "order_by": "asc"}
            response = requests.post(url, json={}, params=params, timeout=60)
            found += response.json()
            pages = json.loads(response.headers["X-Pagination"])["total_pages"]
            page += 1
        return found


@pytest.fixture(scope="module", params=DATABASES)
def tracking(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tracking]:
    """One server for all tests, each of which has an experiment of its own."""
    root = tmp_path_factory.mktemp("tracking")
    with own_database(request.param, root) as url:
        server = Tracking(root, url)
        server.wait()
        yield server
        server.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path / "node.db")
    yield store
    store.close()


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
            transaction.post(drift_job(f"e{i}", distance=i / 4), picture())
    config = TrackingConfig(tracking.url, api_version, experiment=api_version)
    sender = Sender(store, config, **QUICK)
    assert sender.drain(60)
    assert sender.stop()
    assert sender.parked() == []
    experiment = experiment_id(config)
    records = tracking.records(experiment)
    assert [r["parameters"]["event_id"] for r in records] == [f"e{i}" for i in range(12)]
    assert records[3]["parameters"]["distance"] == 0.75
    image = f"{tracking.url}/api/latest/experiment/{experiment}/drift/{records[0]['id']}/image"
    reply = requests.get(image, timeout=60)
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
    assert sender.drain(60)
    assert sender.stop()
    job, image = sender.parked()
    assert job.event_id == "bad"
    assert "tags" in job.reason
    assert image.event_id == "shown"
    assert "picture" in image.reason
    records = tracking.records(experiment_id(config))
    assert [r["parameters"]["event_id"] for r in records] == ["good", "shown"]


@pytest.mark.slow
def test_every_job_is_recorded_once_however_often_server_and_sender_are_killed(
    store: NodeStore, tracking: Tracking
) -> None:
    jobs = 300
    config = TrackingConfig(tracking.url, experiment="killed")
    with store.begin() as transaction:
        for i in range(jobs):
            transaction.post(drift_job(f"e{i}"), picture() if i % 10 == 0 else None)
    rows = OutboxRows(store)

    def left() -> int:
        counts = rows.counts()
        return counts.pending + counts.pictures

    for rest, victim in ((299, "sender"), (100, "both"), (0, "nobody")):
        started = SPAWN.Event()
        child = SPAWN.Process(
            target=send, args=(address_of(store), config, started), kwargs=QUICK, daemon=True
        )
        child.start()
        until(partial(lambda rest: left() <= rest, rest))
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
