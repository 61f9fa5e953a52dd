"""Work on a Dask cluster of processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import dask
import pytest
from distributed import Future
from distributed.comm import CommClosedError

from lenswatch.cluster import connection
from lenswatch.cluster.connection import AHEAD, Cluster, kept, opened_cluster
from lenswatch.errors import WorkerError
from support.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two processes, in which a task is given up when a worker has died with it."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        opened_cluster(None, 2) as found,
    ):
        yield found


def _add_kept(number: int) -> int:
    return int(number + kept("hundred"))


def _hundred() -> int:
    return 100


def test_items_come_back_with_what_workers_were_given(cluster: Cluster) -> None:
    cluster.keep("hundred", _hundred)
    items = iter(range(50))
    given: list[int] = []

    def take() -> int | None:
        given.extend(taken := [next(items, -1)])
        return None if taken[0] < 0 else taken[0]

    found, most = {}, 0
    for item, result in cluster.map(_add_kept, take):
        found[item] = result
        most = max(most, len([each for each in given if each >= 0]) - len(found))
    assert found == {i: i + 100 for i in range(50)}
    assert 0 < most <= 2 * AHEAD


def _die_at_seven(number: int) -> int:
    if number == 7:
        os._exit(1)
    time.sleep(0.01)
    return number


def test_an_item_with_which_workers_die_is_named_and_the_others_are_done(cluster: Cluster) -> None:
    items = iter([7, *range(8, 12)])
    alone = {7}  # so that it takes no other with it
    todo: list[int] = []

    def take() -> int | None:
        return todo.pop() if todo else next(items, None)

    found: dict[int, object] = {}
    for item, result in cluster.map(_die_at_seven, take):
        if isinstance(result, WorkerError) and item not in alone:
            todo.append(item)
            continue
        found[item] = result
    assert isinstance(found.pop(7), WorkerError)
    assert found == {i: i for i in range(8, 12)}


def _fail(number: int) -> int:
    raise ValueError(f"number {number}")


def test_an_error_of_the_work_is_raised(cluster: Cluster) -> None:
    items = iter([3])
    with pytest.raises(ValueError, match="number 3"):
        list(cluster.map(_fail, lambda: next(items, None)))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(WorkerError, match=address), opened_cluster(address):
        raise AssertionError


def test_a_worker_with_another_version_is_named() -> None:
    plugin = connection._Keeping("hundred", _hundred)
    plugin._version = "0.1"
    with pytest.raises(WorkerError, match=r"tcp://far:1 has Lenswatch .*, and the client 0\.1"):
        plugin.setup(SimpleNamespace(address="tcp://far:1"))


def _not_installed() -> int:
    raise ModuleNotFoundError("No module named 'onnxruntime'")


def test_a_worker_that_lacks_a_package_is_told(cluster: Cluster) -> None:
    with pytest.raises(WorkerError, match=r"onnxruntime.*each needs Lenswatch"):
        cluster.keep("nothing", _not_installed)


class _Interrupted:
    """Ctrl-C while a finaliser runs, as that of a future may."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_result_that_is_lost_on_its_way_is_computed_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the scheduler is killed while it passes the result of a finished task on."""
    lost = ["once", "twice"]
    result = Future.result

    def losing(future: Future, timeout: float | None = None) -> object:
        if lost:
            lost.pop()
            raise CommClosedError("Stream is closed")
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", losing)
    assert list(cluster.in_order(_square, range(40))) == [i * i for i in range(40)]
    assert not lost


def _not_found(number: int) -> int:
    raise FileNotFoundError(f"number {number}")


def test_an_error_of_the_work_about_files_is_raised(cluster: Cluster) -> None:
    with pytest.raises(FileNotFoundError, match="number 0"):
        list(cluster.in_order(_not_found, range(3)))


@pytest.fixture
def _usual_interrupts(cluster: Cluster) -> Iterator[None]:
    """Ctrl-C as a command gets it, outside the cluster of the other tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_usual_interrupts")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_finaliser_swallows_ends_the_work(cluster: Cluster) -> None:
    numbers: list[int] = []

    def take() -> int:
        _Interrupted()
        numbers.append(1)
        return 1

    with pytest.raises(KeyboardInterrupt), opened_cluster(cluster.address) as other:
        for _ in other.map(_square, take):
            pass
    assert len(numbers) <= 2 * AHEAD
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_usual_interrupts")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_is_swallowed_last_is_not_lost(cluster: Cluster) -> None:
    with pytest.raises(KeyboardInterrupt), opened_cluster(cluster.address):
        _Interrupted()


def _square(number: int) -> int:
    time.sleep(0.02 if number % 40 < 16 else 0)  # so that later batches are done first
    return number * number


def test_results_come_in_the_order_of_the_items(cluster: Cluster) -> None:
    assert list(cluster.in_order(_square, range(200))) == [i * i for i in range(200)]
    assert list(cluster.in_order(_square, [])) == []


def test_a_value_that_was_not_given_is_named() -> None:
    with pytest.raises(WorkerError, match="was not given nothing"):
        kept("nothing")
