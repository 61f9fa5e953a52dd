"""Functions that tests run in child processes, which import this module."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenswatch.config import Config, TrackingConfig
from lenswatch.errors import DiskFull, LenswatchError
from lenswatch.node.request import FOR_SENDING
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer
from lenswatch.outbox.sender import Sender
from lenswatch.wire import DriftJob, new_event_id
from support.node_stores import Address, opened

TRIES = 3


def drift_job(event_id: str = "e1", **parameters: Any) -> DriftJob:
    parameters = {"event_id": event_id, "stream": "demo", **parameters}
    return DriftJob("Completed", "lenswatch@ab", parameters=parameters)


def count_up(address: Address, stream: str, times: int, ready: Any) -> None:
    """Open the database at the same time as other processes, then count up the window's number."""
    ready.wait(30)
    store = opened(*address)
    for _ in range(times):
        with store.begin(stream=stream) as transaction:
            value = int(transaction.window(stream, "ab") or b"0")
            transaction.put_window(stream, "ab", str(value + 1).encode())
            transaction.post(drift_job(new_event_id()))
    store.close()


def post_before_and_after(path: Path, times: int, posted: Any, full: Any, told: Any) -> None:
    """Post so many clean jobs with pictures, and as many when the disk is full; tell how many were kept."""
    store = NodeStore(path, max_bytes=10**9)
    kept = 0
    for i in range(2 * times):
        if i == times:
            posted.set()
            full.wait(60)
        for _ in range(TRIES):
            with contextlib.suppress(DiskFull), store.begin(leaving=FOR_SENDING) as transaction:
                kept += not transaction.post(drift_job(f"e{i}"), b"\xff" * 3000, clean=True)
                break
    told.put(kept)


def stop_in_the_middle(address: Address, where: str, reached: Any) -> None:
    """Write an image's results and wait to be killed, before or after the commit."""
    store = opened(*address)
    with store.begin(stream="demo") as transaction:
        transaction.put_window("demo", "ab", b"2")
        transaction.put_answer("e2", Answer("judged", {}))
        transaction.post(drift_job("e2"), b"jpeg")
        if where == "before commit":
            reached.set()
            signal.pause()
    reached.set()
    signal.pause()


def send(address: Address, config: TrackingConfig, started: Any, **options: Any) -> None:
    """Run the sender of a node's database until killed."""
    store = opened(*address)
    sender = Sender(store, config, **options)
    sender.start()
    started.set()
    signal.pause()


def judge(config: Config, stream: str, events: Sequence[str], answered: Path) -> None:
    """Judge a picture for each event, and write each event id down after its answer."""
    from conftest import camera_pixels, jpeg
    from lenswatch.node.observe import Node
    from lenswatch.node.request import Request

    node = Node(config)
    with answered.open("ab", buffering=0) as file:
        for i, event_id in enumerate(events):
            node.observe(jpeg(camera_pixels(i)), Request(stream=stream, event_id=event_id))
            file.write(f"{event_id}\n".encode())


def write_past_a_limit(path: Path, told: Any) -> None:
    """Put into `told` which error a file that may not grow any more ends with."""
    store = NodeStore(path)
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with store.begin() as transaction:
            transaction.put_answer("e", Answer("judged", {}))
    except LenswatchError as error:
        told.put(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with store.begin() as transaction:
        transaction.put_answer("e", Answer("judged", {}))
    told.put("written")
