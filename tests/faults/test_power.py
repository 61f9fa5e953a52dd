"""Power failures at random moments: the copy of node.db that is left is whole, and nothing counts twice."""

from __future__ import annotations

import dataclasses
import multiprocessing
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import camera_pixels, jpeg
from lenswatch.config import Config, TrackingConfig
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.stream import StreamState
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.sender import Sender
from lenswatch.reference.paths import node_database
from support.full import at_length
from support.node_processes import judge, send
from support.power import cut
from support.tracking_server import Server
from support.waiting import until

pytestmark = pytest.mark.slow

SPAWN = multiprocessing.get_context("spawn")
STREAMS = at_length(1, 2)  # each has a worker of its own
PICTURES = at_length(100, 1000)  # of a stream
CUTS = at_length(5, 60)
RESUMED = at_length(1, 8)  # copies with which a node goes on


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


def events_of(stream: str) -> list[str]:
    return [f"{stream}-{i}" for i in range(PICTURES)]


def lines(path: Path) -> set[str]:
    return set(path.read_text().split()) if path.exists() else set()


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_power_fails_at_random_moments(trained: Config, server: Server, tmp_path: Path) -> None:
    tracking = TrackingConfig(url=server.root, experiment="power")
    config = dataclasses.replace(trained, tracking=tracking)
    open_store(config).close()
    database, chance = node_database(config.storage_path), random.Random(11)
    streams = [f"s{i}" for i in range(STREAMS)]
    answered = [tmp_path / f"{stream}.answered" for stream in streams]
    started = SPAWN.Event()
    processes = [
        SPAWN.Process(target=judge, args=(config, stream, events_of(stream), file), daemon=True)
        for stream, file in zip(streams, answered, strict=True)
    ]
    processes.append(
        SPAWN.Process(
            target=send, args=((database, database.parent), tracking, started), daemon=True
        )
    )
    for process in processes:
        process.start()
    assert started.wait(120)
    until(lambda: all(file.exists() for file in answered), 120)
    copies = []
    pids = [process.pid for process in processes if process.pid]
    for number in range(CUTS):
        share = (number + 1) / (CUTS + 1)
        wanted = int(share * PICTURES * STREAMS)
        wait_for_answers(answered, wanted)
        time.sleep(chance.random() * 0.03)  # somewhere in the next pictures
        before = set[str]().union(*map(lines, answered))
        copies.append((cut(pids, database, tmp_path / f"cut-{number}", chance), before))
    for process in processes[:-1]:
        process.join(600)
        assert process.exitcode == 0
    until(OutboxRows(open_store(config)).is_empty, 300)
    processes[-1].terminate()
    everything = {event for stream in streams for event in events_of(stream)}
    assert delivered(server) == sorted(everything)
    for copy, before in copies:
        check(copy, before)
    for copy, _ in chance.sample(copies, RESUMED):
        resume(config, copy, streams, tmp_path)
    assert delivered(server) == sorted(everything), "something was counted twice"


def wait_for_answers(files: list[Path], wanted: int) -> None:
    until(lambda: sum(len(lines(file)) for file in files) >= wanted, 600)


def delivered(server: Server) -> list[str]:
    return sorted(job["parameters"]["event_id"] for job in server.jobs_of("power"))


def check(copy: Path, before: set[str]) -> None:
    """Check what a power failure left, given the events that had been answered before."""
    assert rows(copy, "PRAGMA integrity_check") == [("ok",)]
    assert rows(copy, "PRAGMA foreign_key_check") == []
    known = {event for (event,) in rows(copy, "SELECT event_id FROM answers")}
    assert before <= known, "an answer was lost"
    assert len(known) <= len(before) + STREAMS, "more than the pictures in work"
    waiting = [
        event
        for (event,) in rows(copy, "SELECT json_extract(job, '$.parameters.event_id') FROM outbox")
    ]
    assert len(waiting) == len(set(waiting))
    assert set(waiting) <= known
    for stream, images, state in rows(copy, "SELECT stream, images, state FROM windows"):
        mine = [event for event in known if event.startswith(f"{stream}-")]
        assert images == len(mine) == StreamState.from_bytes(state).pictures
    stored, really = rows(
        copy,
        "SELECT bytes FROM shedding UNION ALL SELECT (SELECT coalesce(sum(length(job)), 0) FROM outbox)"
        " + (SELECT coalesce(sum(length(data)), 0) FROM pictures)",
    )
    assert stored == really


def resume(config: Config, copy: Path, streams: list[str], tmp_path: Path) -> None:
    """Let a node go on after the failure, with clients that send again what they are not sure of."""
    root = tmp_path / f"resumed-{copy.parent.name}"
    shutil.copytree(config.storage_path, root, ignore=shutil.ignore_patterns("node.db*"))
    for file in copy.parent.iterdir():
        shutil.copyfile(file, root / file.name)
    storage = dataclasses.replace(config.storage, path=str(root))
    node = Node(dataclasses.replace(config, storage=storage))
    for stream in streams:
        for i, event_id in enumerate(events_of(stream)):
            node.observe(jpeg(camera_pixels(i)), Request(stream=stream, event_id=event_id))
        state = node.store.window(stream, node.reference.digest)
        assert state is not None
        assert StreamState.from_bytes(state).pictures == PICTURES
    sender = Sender(node.store, config.tracking)
    assert sender.drain(300)
    assert sender.stop()
    node.store.close()
