"""A filled `node.db` and ways to damage it, in processes of their own.

A process that opens and closes the file of a database loses SQLite's locks on it, so damage must come from
another process, as it does in life.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.rows import DeliveryResult, OutboxRows
from support.node_processes import drift_job

PAGE = 4096
SPAWN = multiprocessing.get_context("spawn")
Spoil = Callable[[Path, int], None]


def fill(path: Path, jobs: int, *, picture_bytes: int = 6000) -> None:
    """Write the database of a node whose server is away, and on which it has refused every tenth job."""
    with contextlib.closing(NodeStore(path, durable=False)) as store:
        for i in range(jobs):
            event_id = f"e{i}"
            with store.begin() as transaction:
                transaction.put_window("reef", "ab", random.Random(i).randbytes(5000))
                transaction.put_answer(event_id, Answer("judged", {"event_id": event_id}))
                job = drift_job(event_id, deviations=[i / 7] * 20)
                transaction.post(job, picture_of(event_id, picture_bytes))
        result = DeliveryResult(DeliveryLimits())
        result.parked = {i: f"refused {i}" for i in range(1, jobs + 1, 10)}
        result.arrived = {i: f"stored {i}" for i in range(2, jobs + 1, 10)}
        result.done = list(range(3, jobs + 1, 10))
        OutboxRows(store).settle(result)


def picture_of(event_id: str, size: int = 6000) -> bytes:
    return random.Random(event_id).randbytes(size)


def pages(path: Path, seed: int) -> None:
    """Overwrite one page in fifty at random places, but the first."""
    chosen = random.Random(seed)
    count = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for number in chosen.sample(range(1, count), count // 50):
            file.seek(number * PAGE)
            file.write(chosen.randbytes(PAGE))


def header(path: Path, seed: int) -> None:
    with path.open("r+b") as file:
        file.write(random.Random(seed).randbytes(PAGE))


def half(path: Path, _seed: int) -> None:
    os.truncate(path, path.stat().st_size // PAGE // 2 * PAGE)


def empty(path: Path, _seed: int) -> None:
    os.truncate(path, 0)


def text(path: Path, _seed: int) -> None:
    path.write_bytes(b"this is a text and not a database, and long enough to be looked at " * 20)


def log_frame(path: Path, seed: int) -> None:
    """Overwrite a page's worth of bytes in the first half of the log."""
    wal = path.with_name(f"{path.name}-wal")
    with wal.open("r+b") as file:
        file.seek(random.Random(seed).randrange(PAGE, wal.stat().st_size // 2))
        file.write(random.Random(seed).randbytes(PAGE))


def log_header(path: Path, seed: int) -> None:
    with path.with_name(f"{path.name}-wal").open("r+b") as file:
        file.write(random.Random(seed).randbytes(32))


def in_a_process(work: Callable[..., Any], *given: Any) -> None:
    process = SPAWN.Process(target=work, args=given)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def post_on(path: Path, name: str, ready: Any, stop: Any, counted: Any) -> None:
    """Judge "pictures" as a worker does, trying each again once as the node does, until told to stop."""
    store = NodeStore(path)

    def post(event_id: str) -> None:
        def work() -> None:
            with store.begin() as transaction:
                transaction.put_window(name, "ab", os.urandom(5000))
                transaction.put_answer(event_id, Answer("judged", {}))
                transaction.post(drift_job(event_id), b"picture")

        store.again(work)

    ready.set()
    for i in itertools.count():
        post(f"{name}{i}")
        counted.value = i + 1
        if stop.is_set():
            break
    store.close()


def leave_in_the_log(path: Path, jobs: int, written: Any) -> None:
    """Post jobs and wait to be killed, so that they are in the log only."""
    store = NodeStore(path)
    for i in range(jobs):
        with store.begin() as transaction:
            transaction.post(drift_job(f"e{i}", filler="x" * 500))
    written.set()
    written_forever = SPAWN.Event()
    written_forever.wait()
