"""The reasons why rows wait, which the sender leaves in `node.db`."""

from __future__ import annotations

from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.waiting import Waiting, reasons_of
from support.driftwatch_stub import Handler, Stub, answers
from support.outbox import Clock, post, quick_sender
from support.waiting import until


def post_apart(store: NodeStore, *event_ids: str) -> None:
    """Post jobs of a stream each."""
    for event_id in event_ids:
        post(store, event_id, stream=event_id)


def test_the_reason_is_there_until_a_job_is_accepted(
    store: NodeStore, stub: Stub, clock: Clock
) -> None:
    stub.fault = answers(503)
    post_apart(store, "e1", "e2")
    sender = quick_sender(store, stub.url)
    sender.start()
    until(lambda: "jobs" in reasons_of(store))
    begun = reasons_of(store)["jobs"]
    assert (begun.rows, begun.because) == (2, "503 as told")
    assert begun.since.timestamp() == clock.now
    clock.now += 60.0
    stub.fault = answers(502)
    until(lambda: reasons_of(store)["jobs"].because == "502 as told")
    assert reasons_of(store)["jobs"].since == begun.since
    stub.fault = None
    until(lambda: not sender.trouble)
    assert sender.stop(60)
    post(store, "e3")
    assert reasons_of(store) == {}


def test_the_next_process_goes_on_with_the_reason_and_ends_it(store: NodeStore, stub: Stub) -> None:
    Waiting(store).note("jobs", "503 of a sender that was killed")
    post(store, "e1")
    assert reasons_of(store)["jobs"].because == "503 of a sender that was killed"
    sender = quick_sender(store, stub.url)
    assert sender.drain(60)
    assert sender.stop(60)
    post(store, "e2")
    assert reasons_of(store) == {}


def test_pictures_that_wait_have_a_reason_of_their_own(store: NodeStore, stub: Stub) -> None:
    def no_pictures(handler: Handler) -> bool:
        if handler.command == "PUT":
            handler.reply(503, {"code": 503, "message": "as told"})
        return handler.command == "PUT"

    stub.fault = no_pictures
    post(store, "e1", picture=b"jpeg")
    sender = quick_sender(store, stub.url)
    sender.start()
    until(lambda: "pictures" in reasons_of(store))
    assert reasons_of(store)["pictures"].because == "503 as told"
    assert "jobs" not in reasons_of(store)
    stub.fault = None
    until(lambda: not sender.trouble and bool(stub.images))
    assert sender.stop(60)
    assert reasons_of(store) == {}


def test_a_job_that_fails_while_others_are_accepted_has_its_reason(
    store: NodeStore, stub: Stub
) -> None:
    def firewall(handler: Handler) -> bool:
        if "evil" in repr(handler.body):
            handler.send_bytes(403, b"<html>no</html>", "text/html")
        return "evil" in repr(handler.body)

    stub.fault = firewall
    post_apart(store, "evil", "fine")
    sender = quick_sender(store, stub.url)
    sender.start()
    until(lambda: "failing" in reasons_of(store))
    failing = reasons_of(store)["failing"]
    assert failing.rows == 1
    assert failing.because.startswith("403 Forbidden; not the answer")
    assert sender.stop(60)
