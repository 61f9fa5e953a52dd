"""Delivery of a reference's clean pictures: once for each experiment, and never in the way of jobs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.clean_pictures import sent_references
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.sender import DeliveryLimits, Sender
from lenswatch.reference.paths import reference_folder
from lenswatch.reference.thumbnails import save_thumbnails
from support.driftwatch_stub import Handler, Stub, answers, serving
from support.node_processes import drift_job
from support.waiting import until

LIMITS = DeliveryLimits(first_delay_seconds=0.01, longest_delay_seconds=0.05)
DIGEST = "0123456789abcdef"
PICTURES = 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    save_thumbnails(tmp_path, DIGEST, {row: b"jpeg %d" % row for row in range(PICTURES)})
    store = NodeStore(tmp_path / "node.db")
    yield store
    store.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


@pytest.fixture
def sender(store: NodeStore) -> Iterator[Callable[..., Sender]]:
    """Makes senders for `store` and stops them in the end."""
    made: list[Sender] = []

    def make(url: str) -> Sender:
        config = TrackingConfig(url=url, timeout=5.0)
        made.append(Sender(store, config, poll=0.02, lease_seconds=2.0, limits=LIMITS))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        assert one.stop(60)


def post(store: NodeStore, event_id: str, name: str = "00000", reference: str = DIGEST) -> None:
    with store.begin() as transaction:
        nearest = {"reference": reference, "name": name}
        transaction.post(drift_job(event_id, nearest_clean=nearest), None)


def names(stub: Stub) -> list[str]:
    return [name for _, _, name in stub.clean]


def all_sent(store: NodeStore) -> bool:
    return any(each.sent == each.pictures == PICTURES for each in sent_references(store))


def test_all_pictures_of_a_reference_arrive_the_named_one_first(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1", "00042")
    sender(stub.url)
    until(lambda: all_sent(store))
    (experiment,) = stub.experiments
    assert names(stub)[0] == "00042"
    assert sorted(names(stub)) == [f"{row:05}" for row in range(PICTURES)]
    assert stub.clean[experiment, DIGEST, "00042"] == b"jpeg 42"
    assert stub.asked("GET", f"/reference/{DIGEST}") == 1


def test_a_job_that_names_none_sends_none(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    with store.begin() as transaction:
        transaction.post(drift_job("e1"), None)
        for wrong in ("00001", None, {"reference": 7}, {"name": "00001"}):
            transaction.post(drift_job(f"e{wrong}", nearest_clean=wrong), None)
    one = sender(stub.url)
    assert one.drain(60)
    one.stop()
    assert stub.clean == {}
    assert stub.asked("GET", f"/reference/{DIGEST}") == 0


def test_a_restart_sends_only_what_is_missing(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1")
    first = sender(stub.url)
    assert stub.wait_for(lambda: len(stub.clean) >= 10)
    first.stop()
    before = len(stub.clean)
    assert before < PICTURES
    post(store, "e2")
    sender(stub.url)
    until(lambda: all_sent(store))
    assert sum(path.endswith("/picture/00000") for _, path in stub.requests) == 1
    puts = [path for method, path in stub.requests if method == "PUT" and "/reference/" in path]
    assert len(puts) == len(set(puts)) == PICTURES


def test_an_experiment_that_was_deleted_gets_them_again(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1")
    sender(stub.url)
    until(lambda: all_sent(store))
    with stub.changed:
        (old,) = stub.experiments
        stub.experiments.clear()
        stub.clean.clear()
    post(store, "e2")
    assert stub.wait_for(lambda: len(stub.clean) == PICTURES)
    assert old not in {experiment for experiment, _, _ in stub.clean}


def test_two_references_arrive_both(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    save_thumbnails(store.path.parent, "fedcba9876543210", {3: b"other"})
    post(store, "e1")
    post(store, "e2", "00003", "fedcba9876543210")
    post(store, "e3", "00003", "aaaaaaaaaaaaaaaa")  # whose pictures are gone
    sender(stub.url)
    assert stub.wait_for(lambda: len(stub.clean) == PICTURES + 1)


def test_an_original_server_is_asked_once(store: NodeStore, sender: Callable[..., Sender]) -> None:
    with serving(Stub(extensions=False)) as original:
        post(store, "e1")
        one = sender(original.url)
        asked = f"/reference/{DIGEST}"
        assert original.wait_for(lambda: original.asked("GET", asked) == 1)
        for number in range(2, 6):
            post(store, f"e{number}")
            assert one.drain(60)
        one.stop()
        assert original.asked("GET", asked) == 1
        assert original.clean == {}
        assert len(original.drifts) == 5


def test_jobs_go_on_while_clean_pictures_fail(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    failing = answers(500)

    def fault(handler: Handler) -> bool:
        return "/reference/" in handler.path and handler.command == "PUT" and failing(handler)

    stub.fault = fault
    one = sender(stub.url)
    for number in range(20):
        post(store, f"e{number}")
    until(lambda: any(each.because for each in sent_references(store)))
    for number in range(20, 40):
        post(store, f"e{number}")
    assert one.drain(60)
    assert one.trouble == ""
    assert len(stub.drifts) == 40
    (waits,) = sent_references(store)
    assert (waits.sent, waits.pictures) == (0, PICTURES)
    assert "500" in str(waits.because)
    stub.fault = None
    until(lambda: all_sent(store))
    assert sent_references(store)[0].because is None


def test_a_picture_that_is_rejected_is_left_out(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    rejected = answers(422)

    def fault(handler: Handler) -> bool:
        return handler.path.endswith("/picture/00007") and rejected(handler)

    stub.fault = fault
    post(store, "e1", "00007")
    sender(stub.url)
    until(lambda: bool(stub.clean) and len(stub.clean) == PICTURES - 1)
    until(lambda: sent_references(store)[0].sent == PICTURES - 1)
    assert sum(path.endswith("/picture/00007") for _, path in stub.requests) == 1


def test_pictures_that_are_lost_on_the_way_hold_up_nothing(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    shutil.rmtree(reference_folder(store.path.parent) / DIGEST)
    post(store, "e1")
    one = sender(stub.url)
    assert one.drain(60)
    one.stop()
    assert OutboxRows(store).is_empty()
    assert stub.clean == {}
