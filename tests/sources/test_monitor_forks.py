"""A monitor in a process that forks, as servers with workers and daemons do."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Camera
from lenswatch import Monitor
from lenswatch.config import Config, TrackingConfig
from lenswatch.errors import StoreError
from lenswatch.node.request import open_store
from support.driftwatch_stub import Stub, serving
from support.forks import busy, ended, forked


def vectors(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, 6))


def jobs(config: Config, stream: str) -> int:
    with open_store(config).read() as connection:
        rows = connection.exec_driver_sql("SELECT job FROM outbox").scalars().all()
    return sum(f'"{stream}.vectors"' in row for row in rows)


def check_integrity(config: Config) -> None:
    with open_store(config).read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_a_process_may_be_forked_while_other_threads_observe(tracked: Config) -> None:
    with Monitor(config=tracked) as monitor:
        monitor.fit_vectors(vectors(100))
        served = [0, 0]

        def serve(thread: int) -> None:
            monitor.observe_vector(vectors(1)[0], stream=f"s{thread}")
            served[thread] += 1

        def once() -> None:
            monitor.observe_vector(vectors(1)[0], stream="child")

        children = []
        with busy(lambda: serve(0), lambda: serve(1)):
            for _ in range(20):
                time.sleep(0.05)
                children.append(forked(once))
            assert [ended(child) for child in children] == [0] * 20
        assert jobs(tracked, "child") == 20
        assert [jobs(tracked, "s0"), jobs(tracked, "s1")] == served
        check_integrity(tracked)


def test_pictures_may_be_judged_in_forked_processes(
    trained: Config, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lenswatch.forking.LONGEST_SECONDS", 200.0)
    picture = camera(60)
    with Monitor(config=trained) as monitor:
        monitor.observe(picture, stream="s")
        children = []
        began = time.monotonic()
        with busy(lambda: monitor.observe(picture, stream="s")):
            for _ in range(10):
                time.sleep(0.05)
                children.append(forked(lambda: monitor.observe(picture, stream="child")))
            assert time.monotonic() - began < 200  # none has waited for a lock in vain
            assert [ended(child) for child in children] == [0] * 10
    (state,) = [s for s in open_store(trained).streams() if s.stream == "child"]
    assert state.images == 10


def test_no_file_of_the_store_is_open_in_both_processes(tracked: Config) -> None:
    with Monitor(config=tracked) as monitor:
        monitor.fit_vectors(vectors(100))
        monitor.observe_vector(vectors(1)[0])
        folder = tracked.storage_path.resolve()

        def look() -> None:
            found = [each.resolve() for each in Path("/proc/self/fd").iterdir()]
            assert not [each for each in found if each.is_relative_to(folder)], found

        assert ended(forked(look)) == 0
        monitor.observe_vector(vectors(1)[0])


def test_a_fork_within_a_use_is_an_error_in_the_child_alone(tracked: Config) -> None:
    store = open_store(tracked)

    def write() -> None:
        with store.begin() as transaction:
            transaction.connection.exec_driver_sql("DELETE FROM lease")

    def refused() -> None:
        with pytest.raises(StoreError, match="was in use when this process was forked"):
            write()

    with store.read() as connection:
        child = forked(refused)
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    assert ended(child) == 0
    write()
    store.close()


def test_a_fork_does_not_wait_for_ever(tracked: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenswatch.forking.LONGEST_SECONDS", 0.3)
    entered, leaving = threading.Event(), threading.Event()
    with Monitor(config=tracked) as monitor:
        monitor.fit_vectors(vectors(100))
        monitor.observe_vector(vectors(1)[0], stream="s")

        def hold() -> None:
            with monitor._store.begin() as transaction:
                transaction.delete_windows("none")
                entered.set()
                leaving.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        entered.wait()

        def refused() -> None:
            began = time.monotonic()
            with pytest.raises(StoreError, match="fork while no call runs, or start a new process"):
                monitor.observe_vector(vectors(1)[0], stream="s")
            assert time.monotonic() - began < 20  # which keeps no lock from others

        child = forked(refused)  # the thread still holds what it uses
        assert ended(child) == 0
        leaving.set()
        thread.join()
        monitor.observe_vector(vectors(1)[0], stream="s")
        assert jobs(tracked, "s") == 2
        check_integrity(tracked)


@pytest.fixture
def served(trained: Config) -> Iterator[tuple[Config, Stub]]:
    """Settings with a tracking server that takes jobs, and that server."""
    with serving(Stub()) as stub:
        yield dataclasses.replace(trained, tracking=TrackingConfig(url=stub.url)), stub


def test_a_forked_process_sends_its_jobs(served: tuple[Config, Stub]) -> None:
    config, stub = served
    with Monitor(config=config) as monitor:
        monitor.fit_vectors(vectors(100))
        monitor.observe_vector(vectors(1)[0], event_id="parent")
        assert stub.wait_for(lambda: stub.event_ids() == ["parent"])

        def go_on() -> None:
            monitor.observe_vector(vectors(1)[0], event_id="child")
            began = time.monotonic()
            monitor.close(100)
            assert time.monotonic() - began < 90  # it does not wait once all is sent

        monitor._sender.stop()  # so that the child has to send its own
        assert ended(forked(go_on)) == 0
        assert stub.event_ids() == ["parent", "child"]
        monitor.observe_vector(vectors(1)[0], event_id="later")
    assert stub.event_ids() == ["parent", "child", "later"]


def test_jobs_are_sent_after_close_too(served: tuple[Config, Stub]) -> None:
    config, stub = served
    monitor = Monitor(config=config)
    monitor.fit_vectors(vectors(100))
    for event in ("one", "two"):
        monitor.observe_vector(vectors(1)[0], event_id=event)
        monitor.close(100)
    began = time.monotonic()
    monitor.close(100)
    assert time.monotonic() - began < 90  # nothing waits
    assert stub.event_ids() == ["one", "two"]
    monitor.observe_vector(vectors(1)[0], event_id="three")
    assert stub.wait_for(lambda: stub.event_ids() == ["one", "two", "three"])
    monitor.close()
