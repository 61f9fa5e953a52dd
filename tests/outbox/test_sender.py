"""Delivery: at least once on the wire, exactly once in the records, whatever breaks."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lenswatch.config import TrackingConfig
from lenswatch.node.store.lease import Lease
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.rows import OutboxRows
from lenswatch.outbox.sender import DeliveryLimits, Sender
from support import driftwatch_stub
from support.driftwatch_stub import (
    Handler,
    Stub,
    answers,
    dies_after_storing,
    never_answers,
    serving,
)
from support.node_processes import drift_job, send
from support.node_stores import address_of, another
from support.outbox import post
from support.ports import free_port
from support.waiting import until

SPAWN = multiprocessing.get_context("spawn")
LIMITS = DeliveryLimits(
    fruitless=2, patience_seconds=0.0, first_delay_seconds=0.01, longest_delay_seconds=0.05
)
QUICK: dict[str, Any] = {"poll": 0.02, "lease_seconds": 2.0, "limits": LIMITS}


@pytest.fixture
def original() -> Iterator[Stub]:
    """Like an original DriftWatch server: no extensions."""
    with serving(Stub(extensions=False)) as stub:
        yield stub


@pytest.fixture
def sender(store: NodeStore) -> Iterator[Callable[..., Sender]]:
    """Makes senders for `store` and stops them in the end."""
    made: list[Sender] = []

    def make(url: str, *, timeout: float = 5.0, **options: Any) -> Sender:
        config = TrackingConfig(url=url, timeout=timeout)
        made.append(Sender(store, config, **(QUICK | options)))
        return made[-1]

    yield make
    for one in made:
        assert one.stop(60)


def is_empty(store: NodeStore) -> bool:
    return OutboxRows(store).is_empty()


def test_jobs_arrive_in_order_and_leave_the_outbox(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, *(f"e{i}" for i in range(250)))
    assert sender(stub.url).drain(60)
    assert stub.event_ids() == [f"e{i}" for i in range(250)]
    assert stub.asked("POST", "/batch") == 3
    (experiment,) = stub.experiments.values()
    assert experiment["name"] == "lenswatch"
    assert next(iter(stub.drifts.values()))["job_status"] == "Completed"


def test_a_job_arrives_at_once_when_its_process_sends(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    sender(stub.url, poll=30.0).start()
    post(store, "e1")
    assert stub.wait_for(lambda: bool(stub.drifts))  # long before the next look
    post(store, "e2")
    assert stub.wait_for(lambda: len(stub.drifts) == 2)


@pytest.mark.slow
def test_a_job_of_another_store_arrives_within_half_a_second(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    one = sender(stub.url, poll=0.25)
    post(store, "e0")
    assert one.drain(60)
    other, number, seconds = another(store), 0, 60.0
    while seconds > 0.5 and number < 100:  # most of them may find the machine busy
        number, start = number + 1, time.monotonic()
        post(other, f"e{number}")
        assert stub.wait_for(partial(lambda wanted: len(stub.drifts) == wanted, number + 1))
        seconds = time.monotonic() - start
    assert seconds <= 0.5
    other.close()


def test_pictures_follow_their_jobs(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1", "e2", picture=b"\xff\xd8jpeg")
    post(store, "e3")
    assert sender(stub.url).drain(60)
    assert stub.images == {"e1": b"\xff\xd8jpeg", "e2": b"\xff\xd8jpeg"}
    paths = [path for method, path in stub.requests if "/drift" in path]
    assert paths[0].endswith("/batch")
    assert all(path.endswith(("/image", "/images")) for path in paths[1:])
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pictures").scalar() == 0


def test_pictures_that_wait_go_together(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, *(f"e{i}" for i in range(70)), picture=b"jpeg")
    assert sender(stub.url).drain(60)
    assert len(stub.images) == 70
    assert stub.asked("POST", "/images") == 2
    assert stub.asked("PUT", "/image") == 0


def test_a_request_holds_only_so_many_bytes_of_pictures(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, *(f"e{i}" for i in range(6)), picture=b"x" * 1000)
    limits = DeliveryLimits(picture_bytes=2500)
    assert sender(stub.url, limits=limits).drain(60)
    assert stub.asked("POST", "/images") == 3


def test_a_server_that_takes_pictures_one_by_one_gets_them_so(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def older(handler: Handler) -> bool:
        if not handler.path.endswith("/images"):
            return False
        handler.reply(404, {"code": 404})
        return True

    stub.fault = older
    post(store, "e1", "e2", "e3", picture=b"jpeg")
    assert sender(stub.url).drain(60)
    assert len(stub.images) == 3
    assert stub.asked("POST", "/images") == 1


def test_a_picture_that_is_refused_among_others_is_parked_alone(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Stub.ext_image

    def choosy(self: Stub, body: bytes, experiment: str, drift: str) -> tuple[int, Any]:
        if body == b"bad":
            return 422, {"code": 422, "errors": {"image": {"_schema": ["No picture."]}}}
        return real(self, body, experiment, drift)

    monkeypatch.setattr(Stub, "ext_image", choosy)
    routes = [(p, choosy if r is real else r) for p, r in driftwatch_stub.ROUTES]
    monkeypatch.setattr(driftwatch_stub, "ROUTES", routes)
    post(store, "e1", "e2", picture=b"jpeg")
    post(store, "e3", picture=b"bad")
    post(store, "e4", picture=b"jpeg")
    one = sender(stub.url)
    assert one.drain(60)
    assert set(stub.images) == {"e1", "e2", "e4"}
    [parked] = one.parked()
    assert "No picture." in parked.reason


def test_jobs_gather_for_a_moment_while_others_are_sent(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    one = sender(stub.url, limits=DeliveryLimits(linger_seconds=0.5))
    one.start()
    for i in range(40):
        post(store, f"e{i}")
        time.sleep(0.02)
    assert stub.wait_for(lambda: len(stub.drifts) == 40)
    assert stub.asked("POST", "/batch") <= 8


def test_with_an_original_server_jobs_go_singly_and_pictures_stay(
    store: NodeStore, original: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1", "e2", picture=b"jpeg")
    one = sender(original.url)
    assert one.drain(60)
    post(store, "e3", picture=b"jpeg")
    assert one.drain(60)
    assert original.event_ids() == ["e1", "e2", "e3"]
    assert original.asked("POST", "/batch") == 1  # asked once, not again
    assert original.asked("PUT", "/image") == 1
    assert original.asked("POST", "/drift/search") == 0  # nothing was in doubt


def test_what_a_server_lacked_is_asked_for_again_after_it_was_away(
    store: NodeStore, original: Stub, sender: Callable[..., Sender]
) -> None:
    one = sender(original.url)
    post(store, "e1")
    assert one.drain(60)
    original.fault = answers(503)
    post(store, "e2")
    assert not one.drain(10)
    original.extensions = True  # it was away to be replaced by ours
    original.fault = None
    until(lambda: is_empty(store) and not one.trouble)
    post(store, "e3", picture=b"jpeg")
    assert one.drain(60)
    assert original.images == {"e3": b"jpeg"}


def test_a_server_that_is_down_gets_everything_when_it_is_up(
    store: NodeStore, sender: Callable[..., Sender], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lenswatch.outbox.sender")
    port = free_port()
    one = sender(f"http://127.0.0.1:{port}")
    post(store, "e1", "e2")
    assert not one.drain(10)
    assert one.trouble
    post(store, "e3")
    stub = Stub()
    with serving(stub, port):
        assert stub.wait_for(lambda: len(stub.drifts) == 3)
        until(lambda: is_empty(store))
        until(lambda: not one.trouble)
        one.stop()
    assert stub.event_ids() == ["e1", "e2", "e3"]
    said = [record.message for record in caplog.records]
    assert len(said) == 2, said  # once down, once up again: not at each try
    assert "drift jobs wait" in said[0]
    assert "accepted again" in said[1]


@pytest.mark.slow
def test_a_server_that_never_answers_costs_the_writer_nothing(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    stub.fault = never_answers
    one = sender(stub.url, timeout=1.0)
    one.start()
    start = time.monotonic()
    for i in range(50):
        post(store, f"e{i}")
    assert time.monotonic() - start < 25  # half of what it would take to wait for each
    until(lambda: bool(one.trouble))
    stub.fault = None
    stub.released.set()
    assert stub.wait_for(lambda: len(set(stub.event_ids())) == 50)
    until(lambda: is_empty(store))
    assert len(stub.drifts) == 50


@pytest.mark.slow
@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_a_failing_server_loses_and_parks_nothing(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], status: int
) -> None:
    stub.fault = answers(status, times=12)
    post(store, *(f"e{i}" for i in range(5)))
    one = sender(stub.url)
    one.start()
    assert stub.wait_for(lambda: len(stub.drifts) == 5)
    until(lambda: is_empty(store))
    assert one.parked() == []


@pytest.mark.slow
def test_retry_after_is_respected(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    stub.fault = answers(429, times=1, Retry_After="0.4")
    post(store, "e1")
    start = time.monotonic()
    sender(stub.url).start()
    assert stub.wait_for(lambda: bool(stub.drifts))
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("status", [401, 403])
def test_who_is_not_let_in_waits_and_says_so_once(
    store: NodeStore,
    stub: Stub,
    sender: Callable[..., Sender],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "lenswatch.outbox.sender")
    stub.fault = answers(status, times=3)
    post(store, "e1")
    one = sender(stub.url)
    one.start()
    assert stub.wait_for(lambda: bool(stub.drifts))
    until(lambda: is_empty(store) and not one.trouble)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(status) in warnings[0]
    assert one.parked() == []


@pytest.mark.parametrize("extensions", [True, False])
@pytest.mark.parametrize("status", [422, 413])
def test_a_refused_job_is_parked_and_blocks_nobody(
    store: NodeStore, sender: Callable[..., Sender], extensions: bool, status: int
) -> None:
    with serving(Stub(extensions)) as stub:
        stub.refuse = lambda job: status if job["parameters"]["event_id"] == "bad" else 0
        post(store, "e1", "bad", "e2", picture=b"jpeg")
        one = sender(stub.url)
        assert one.drain(60)
        assert stub.event_ids() == ["e1", "e2"]
        (parked,) = one.parked()
        assert (parked.event_id, parked.stream) == ("bad", "demo")
        assert "Too long" in parked.reason
        assert (one.counts().pending, one.counts().parked) == (0, 1)
        stub.refuse = lambda job: 0
        assert one.requeue() == 1
        assert one.drain(60)
        assert sorted(stub.event_ids()) == ["bad", "e1", "e2"]
        assert one.counts().parked == 0
        one.stop()


@pytest.mark.parametrize("extensions", [True, False])
def test_a_job_that_newer_ones_of_its_stream_have_overtaken_is_late(
    store: NodeStore, sender: Callable[..., Sender], extensions: bool
) -> None:
    """The server takes the last job to arrive that is not late for the state of the stream."""
    sent = {"a1": "a", "b1": "b", "a2": "a", "c1": 'c"', "b2": "b", "a3": "a"}
    with serving(Stub(extensions)) as stub:
        stub.refuse = lambda job: (
            422 if job["parameters"]["event_id"] in ("a1", "b2", "c1", "a2") else 0
        )
        with store.begin() as transaction:
            for event_id, stream in sent.items():
                transaction.post(drift_job(event_id, stream=stream, late=False))
        one = sender(stub.url)
        assert one.drain(60)
        stub.refuse = lambda job: 0
        assert one.requeue() == 4
        assert one.drain(60)
        late = {d["parameters"]["event_id"]: d["parameters"]["late"] for d in stub.drifts.values()}
        assert late == {"a1": True, "b1": False, "a2": True, "c1": False, "b2": False, "a3": False}
        one.stop()


def test_a_series_of_refused_jobs_is_spoken_of_once(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], caplog: pytest.LogCaptureFixture
) -> None:
    stub.refuse = lambda job: 422
    post(store, *(f"e{i}" for i in range(250)))
    one = sender(stub.url)
    assert one.drain(60)
    assert one.counts().parked == 250
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "not sent again" in said
    assert "Too long" in said


def test_a_batch_that_is_too_large_as_a_whole_goes_singly(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def too_large(handler: Handler) -> bool:
        if not handler.path.endswith("/batch") or len(handler.body["drifts"]) < 2:
            return False
        handler.reply(413, {"code": 413, "message": "Too large."})
        return True

    stub.fault = too_large
    post(store, *(f"e{i}" for i in range(8)))
    assert sender(stub.url).drain(60)
    assert stub.event_ids() == [f"e{i}" for i in range(8)]


@pytest.mark.parametrize("extensions", [True, False])
def test_a_job_that_breaks_the_server_is_parked_in_the_end(
    store: NodeStore, sender: Callable[..., Sender], extensions: bool
) -> None:
    def breaks(handler: Handler) -> bool:
        jobs = handler.body.get("drifts", [handler.body]) if isinstance(handler.body, dict) else []
        if not any(job.get("parameters", {}).get("event_id") == "poison" for job in jobs):
            return False
        handler.reply(500, {"code": 500})
        return True

    with serving(Stub(extensions)) as stub:
        stub.fault = breaks
        post(store, "poison", "e1", "e2")
        one = sender(stub.url, limits=replace(LIMITS, attempts=1))
        one.start()
        assert stub.wait_for(lambda: len(stub.drifts) == 2)
        until(lambda: one.counts().parked == 1)
        assert one.parked()[0].event_id == "poison"
        one.stop()


def test_jobs_that_block_the_queue_let_others_pass(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def breaks(handler: Handler) -> bool:
        if b"poison" not in repr(handler.body).encode():
            return False
        handler.reply(500, {"code": 500})
        return True

    stub.fault = breaks
    post(store, "poison1", "poison2", "poison3", "poison4", "e1")
    sender(stub.url, limits=LIMITS).start()
    assert stub.wait_for(lambda: stub.event_ids() == ["e1"])


@pytest.mark.slow
@pytest.mark.parametrize("extensions", [True, False])
@pytest.mark.parametrize("how", ["dies", "slow"])
def test_a_job_stored_but_not_acknowledged_is_recorded_once(
    store: NodeStore, sender: Callable[..., Sender], extensions: bool, how: str
) -> None:
    ending = "/batch" if extensions else "/drift"

    def stores_and_falls_silent(handler: Handler) -> bool:
        if not handler.path.endswith(ending) or handler.stub.released.is_set():
            return False
        handler.carry_out()
        handler.stub.released.wait(30)
        handler.hang_up()
        return True

    with serving(Stub(extensions)) as stub:
        stub.fault = dies_after_storing(ending, 2) if how == "dies" else stores_and_falls_silent
        post(store, "e1", "e2")
        one = sender(stub.url, timeout=0.2)
        one.start()
        until(lambda: bool(one.trouble) or is_empty(store))
        stub.released.set()
        until(lambda: is_empty(store))
        assert sorted(stub.event_ids()) == ["e1", "e2"]
        one.stop()


@pytest.mark.slow
@pytest.mark.parametrize("extensions", [True, False])
def test_a_sender_killed_while_it_waits_for_the_answer_leaves_one_record(
    store: NodeStore, sender: Callable[..., Sender], extensions: bool
) -> None:
    ending = "/batch" if extensions else "/drift"
    arrived = threading.Event()

    def stores_and_falls_silent(handler: Handler) -> bool:
        if not handler.path.endswith(ending) or arrived.is_set():
            return False
        handler.carry_out()
        arrived.set()
        handler.stub.released.wait(60)
        handler.hang_up()
        return True

    with serving(Stub(extensions)) as stub:
        stub.fault = stores_and_falls_silent
        post(store, "e1", "e2")
        started, config = SPAWN.Event(), TrackingConfig(url=stub.url)
        options = QUICK | {"lease_seconds": 1.0}
        child = SPAWN.Process(
            target=send, args=(address_of(store), config, started), kwargs=options
        )
        child.start()
        assert arrived.wait(30)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        one = sender(stub.url)  # the lease of the dead passes on
        one.start()
        assert stub.wait_for(lambda: {"e1", "e2"} <= set(stub.event_ids()))
        until(lambda: is_empty(store))
        assert sorted(stub.event_ids()) == ["e1", "e2"]
        one.stop()


@pytest.mark.slow
def test_only_one_of_many_senders_sends_and_a_clean_stop_hands_over(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    first = sender(stub.url, lease_seconds=50.0)
    post(store, "e1")
    assert first.drain(60)
    second = sender(stub.url, lease_seconds=50.0)
    second.start()
    assert first.stop(60)
    post(store, "e2")
    assert stub.wait_for(lambda: len(stub.drifts) == 2)  # long before the lease ends
    assert stub.event_ids() == ["e1", "e2"]


@pytest.mark.slow
def test_two_leases_are_never_held_at_once(store: NodeStore) -> None:
    gained = threading.Event()
    one, two = Lease(store, "x", 5.0), Lease(store, "x", 5.0, gained.set)
    one.start()
    until(lambda: one.held)
    two.start()
    assert not gained.wait(0.2)
    one.release()
    assert gained.wait(60)
    assert not one.held
    two.release()


def test_of_many_that_saw_a_free_lease_one_gets_it(store: NodeStore) -> None:
    now = time.monotonic()
    assert [Lease(store, "x", 5.0)._take(now) for _ in range(3)] == [True, False, False]
    assert Lease(store, "x", 5.0)._take(now + 5.0)  # it has ended


def test_a_lease_from_before_the_machine_restarted_is_void(store: NodeStore) -> None:
    with store.begin() as transaction:
        later = max(time.monotonic(), time.time()) + 86_400
        transaction.connection.exec_driver_sql(
            f"INSERT INTO lease VALUES ('x', 'long gone', {later})"
        )
    lease = Lease(store, "x", 5.0)
    lease.start()
    until(lambda: lease.held)
    lease.release()


def test_a_renamed_experiment_is_followed_and_a_deleted_one_made_anew(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    post(store, "e1")
    first = sender(stub.url)
    assert first.drain(60)
    first.stop(10)
    (experiment,) = stub.experiments.values()
    experiment["name"] = "renamed"
    post(store, "e2")
    second = sender(stub.url)
    assert second.drain(60)
    assert len(stub.experiments) == 1
    stub.experiments.clear()
    post(store, "e3")
    assert second.drain(60)
    assert [e["name"] for e in stub.experiments.values()] == ["lenswatch"]
    assert stub.event_ids() == ["e1", "e2", "e3"]


def test_a_deleted_job_takes_its_picture_with_it(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    deleted: list[Any] = []

    def delete(handler: Handler) -> bool:
        if handler.command == "PUT" and not deleted:
            deleted.append(handler.stub.drifts.popitem())
        return False

    stub.fault = delete
    post(store, "e1", picture=b"jpeg")
    assert sender(stub.url).drain(60)
    assert stub.images == {}


def test_a_refused_picture_is_parked_after_its_job_arrived(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def refuse(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        handler.reply(422, {"code": 422, "errors": {"image": ["Not a JPEG."]}})
        return True

    stub.fault = refuse
    post(store, "e1", picture=b"no jpeg")
    one = sender(stub.url)
    assert one.drain(60)
    assert stub.event_ids() == ["e1"]
    assert "Not a JPEG" in one.parked()[0].reason


def test_a_picture_that_breaks_the_server_is_parked_in_the_end(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def breaks(handler: Handler) -> bool:
        if handler.body != b"poison" and b64encode(b"poison").decode() not in str(handler.body):
            return False
        handler.reply(500, {"code": 500})
        return True

    stub.fault = breaks
    post(store, "bad", picture=b"poison")
    one = sender(stub.url, limits=replace(LIMITS, attempts=1))
    assert not one.drain(10)
    assert one.parked() == []  # it may be the server
    post(store, "good", picture=b"jpeg")
    until(lambda: one.counts().parked == 1)
    assert stub.images == {"good": b"jpeg"}
    assert one.parked()[0].event_id == "bad"


@pytest.mark.parametrize("status", [403, 500, 502])
def test_no_job_waits_for_pictures_that_cannot_be_sent(
    store: NodeStore,
    stub: Stub,
    sender: Callable[..., Sender],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def no_pictures(handler: Handler) -> bool:
        if handler.command != "PUT":
            return False
        handler.reply(status, {"code": status})
        return True

    stub.fault = no_pictures
    one = sender(
        stub.url, limits=DeliveryLimits(first_delay_seconds=300.0, longest_delay_seconds=600.0)
    )
    post(store, "e1", picture=b"jpeg")
    assert not one.drain(10)
    for i in range(2, 5):
        post(store, f"e{i}", picture=b"jpeg")
        assert stub.wait_for(partial(lambda wanted: len(stub.drifts) == wanted, i), 100)
    until(lambda: one.counts().pictures == 4)
    assert one.parked() == []
    assert [r.message.split(":")[0] for r in caplog.records] == ["pictures wait"]


def test_a_proxy_that_answers_404_for_everything_loses_no_picture(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    def only_proxy(handler: Handler) -> bool:
        if handler.command == "POST":
            return False
        handler.reply(404, "not here")
        return True

    stub.fault = only_proxy
    post(store, "e1", picture=b"jpeg")
    one = sender(stub.url)
    assert not one.drain(10)
    stub.fault = None
    assert stub.wait_for(lambda: stub.images == {"e1": b"jpeg"})


@pytest.mark.parametrize("methods", [("PUT",), ("PUT", "GET")])
def test_a_log_in_page_is_no_stored_picture(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], methods: tuple[str, ...]
) -> None:
    def portal(handler: Handler) -> bool:
        if handler.command not in methods:
            return False
        handler.send_bytes(200, b"<html>Please log in</html>", "text/html")
        return True

    stub.fault = portal
    post(store, "e1", picture=b"jpeg")
    one = sender(stub.url)
    assert not one.drain(10)
    assert one.counts().pictures == 1
    stub.fault = None
    assert stub.wait_for(lambda: stub.images == {"e1": b"jpeg"})


@pytest.mark.parametrize("status", [404, 405])
def test_a_gateway_that_does_not_know_pictures_costs_none(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], status: int
) -> None:
    """The contract's paths pass, and all others are answered by the gateway."""

    def gateway(handler: Handler) -> bool:
        if not handler.path.endswith(("/image", "/images", "/batch")):
            return False
        handler.send_bytes(status, b"<html>nginx</html>", "text/html")
        return True

    stub.fault = gateway
    post(store, "e1", "e2", picture=b"jpeg")
    one = sender(stub.url)
    assert not one.drain(10)
    assert stub.event_ids() == ["e1", "e2"]
    assert one.counts().pictures == 2
    stub.fault = None
    assert stub.wait_for(lambda: len(stub.images) == 2)


def test_without_an_address_nothing_is_sent(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db", keep_outbox=False)
    sender = Sender(store, TrackingConfig(url=""))
    sender.start()
    post(store, "e1")
    assert sender.drain(1)
    assert sender.counts().pending == 0
    assert sender.stop()


def test_a_database_fault_does_not_end_delivery(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, faults = OutboxRows.due, [OSError("unforeseen")]

    def due(rows: OutboxRows, at_most: int) -> Any:
        if faults:
            raise faults.pop()
        return real(rows, at_most)

    monkeypatch.setattr(OutboxRows, "due", due)
    post(store, "e1")
    sender(stub.url).start()
    assert stub.wait_for(lambda: bool(stub.drifts))


def test_a_stop_during_a_request_that_hangs_reports_it_and_ends_later(
    store: NodeStore, stub: Stub
) -> None:
    stub.fault = never_answers
    post(store, "e1")
    sender = Sender(store, TrackingConfig(url=stub.url, timeout=30), **QUICK)
    sender.start()
    until(lambda: bool(stub.requests))
    assert not sender.stop(0.1)
    stub.released.set()
    assert sender.stop(10)


def test_counts_tell_how_much_waits_and_since_when(store: NodeStore) -> None:
    rows = OutboxRows(store)
    assert rows.counts().oldest is None
    post(store, "e1", "e2")
    counts = rows.counts()
    assert (counts.pending, counts.pictures, counts.parked) == (2, 0, 0)
    assert counts.oldest is not None
    assert abs(counts.oldest.timestamp() - time.time()) < 60


@pytest.mark.slow
def test_the_space_of_what_was_sent_is_given_back(
    store: NodeStore, stub: Stub, sender: Callable[..., Sender]
) -> None:
    if store.is_shared:
        pytest.skip("by design: PostgreSQL keeps the space for new rows")
    for i in range(20):
        post(store, f"e{i}", picture=os.urandom(800_000))
    with store.read() as connection:
        before = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    one = sender(stub.url)
    assert one.drain(60)

    def pages() -> int:
        with store.read() as connection:
            return int(connection.exec_driver_sql("PRAGMA page_count").scalar() or 0)

    until(lambda: pages() < before / 2)
