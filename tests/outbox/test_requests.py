"""Requests of people on the tracking server: fetched, and answered once they are done."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingError, TrackingRefused, TrackingUnavailable
from lenswatch.node.store import requests as rows
from lenswatch.node.store.requests import Asked, Untold
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.tables import baseline_requests, windows
from lenswatch.outbox.requests import RequestDelivery
from lenswatch.outbox.rows import OutboxRows
from support.outbox import Clock

URL = "http://127.0.0.1:9"
CONFIG = TrackingConfig(url=URL)
EVERY = 60.0


def record(name: str = "r1", stream: str = "reef", **changes: Any) -> dict[str, Any]:
    """A request as the server lists it."""
    known = {"id": name, "stream": stream, "kind": "accept", "baseline": None, "age_seconds": 5.0}
    return known | changes


class Server(TrackingClient):
    """A client whose server answers as a test says."""

    def __init__(self) -> None:
        super().__init__(URL)
        self.listed: list[dict[str, Any]] | None = []
        self.error: TrackingError | None = None
        self.looks = 0
        self.told: list[tuple[str, dict[str, Any]]] = []

    def baseline_requests(self, experiment: str) -> list[dict[str, Any]] | None:
        self.looks += 1
        if self.error:
            raise self.error
        return self.listed

    def answer_request(self, experiment: str, request: str, answer: Any) -> None:
        if self.error:
            raise self.error
        self.told.append((request, dict(answer)))


class Asking:
    """A delivery with a clock of its own, for a node that has judged a picture of the stream reef."""

    def __init__(self, store: NodeStore) -> None:
        self.store, self.server, self.now = store, Server(), 0.0
        OutboxRows(store).remember_experiment(URL, CONFIG.experiment, "e1")
        state = {"stream": "reef", "digest": "d", "images": 1, "updated_at": 0.0, "state": b""}
        with store.begin() as transaction:
            transaction.connection.execute(sa.insert(windows).values(state))
        self.delivery = RequestDelivery(
            store, self.server, CONFIG, lambda: True, EVERY, clock=lambda: self.now
        )

    def later(self, seconds: float = EVERY) -> None:
        self.now += seconds
        self.delivery.once()

    def waiting(self) -> list[Asked]:
        with self.store.read() as connection:
            return rows.waiting(connection)

    def untold(self) -> list[Untold]:
        with self.store.read() as connection:
            return rows.untold(connection)

    def answer(self, name: str = "r1") -> bool:
        with self.store.begin() as transaction:
            return rows.answer(transaction.connection, name, "done", "accepted", 3)


@pytest.fixture
def asking(store: NodeStore) -> Asking:
    return Asking(store)


def test_requests_for_streams_of_this_node_are_taken_over(asking: Asking, clock: Clock) -> None:
    asking.server.listed = [record(), record("r2", stream="harbour")]
    asking.delivery.once()
    assert asking.server.looks == 0  # the first look comes after a minute
    asking.later()
    [taken] = asking.waiting()
    assert (taken.id, taken.stream, taken.kind) == ("r1", "reef", "accept")
    assert taken.asked_at == asking.store.clock() - 5.0
    asking.later(EVERY - 1)
    assert asking.server.looks == 1


def test_an_answer_is_sent_at_once_and_the_request_never_comes_back(asking: Asking) -> None:
    asking.server.listed = [record()]
    asking.later()
    assert asking.answer()
    asking.later(1)
    assert asking.server.told == [("r1", {"state": "done", "answer": "accepted", "baseline": 3})]
    asking.later()  # the list is an old one
    assert (asking.waiting(), asking.untold()) == ([], [])
    assert not asking.answer()


def test_what_was_withdrawn_waits_no_more(asking: Asking) -> None:
    asking.server.listed = [record()]
    asking.later()
    asking.server.listed = []
    asking.later()
    assert asking.waiting() == []


def test_an_answer_waits_while_the_server_is_away(asking: Asking) -> None:
    asking.server.listed = [record()]
    asking.later()
    asking.answer()
    asking.server.error = TrackingUnavailable("down")
    asking.later(1)
    assert len(asking.untold()) == 1
    asking.server.error = None
    asking.later(EVERY - 1)
    assert asking.server.told == []
    asking.later(1)
    assert asking.untold() == []


def test_an_answer_to_a_request_that_is_gone_is_given_up(asking: Asking) -> None:
    asking.server.listed = [record()]
    asking.later()
    asking.answer()
    gone = TrackingRefused("404 Baseline request not found.")
    gone.status, gone.gone = 404, True
    asking.server.error = gone
    asking.later(1)
    assert asking.untold() == []


def test_a_server_without_requests_is_asked_again_after_a_day(asking: Asking) -> None:
    asking.server.listed = None
    asking.later()
    asking.later(86_399)
    assert asking.server.looks == 1
    asking.server.listed = [record()]
    asking.later(1)
    assert len(asking.waiting()) == 1


def test_a_failure_puts_the_next_look_off_and_loses_nothing(asking: Asking) -> None:
    asking.server.listed = [record()]
    asking.later()
    asking.server.error = TrackingUnavailable("down")
    asking.later()
    assert len(asking.waiting()) == 1
    asking.later(299)
    assert asking.server.looks == 2


@pytest.mark.parametrize(
    "changes",
    [{"kind": "explode"}, {"stream": 7}, {"age_seconds": "long"}, {"baseline": "first"}],
)
def test_what_this_version_does_not_know_is_left(asking: Asking, changes: Any) -> None:
    asking.server.listed = [record(**changes)]
    asking.later()
    assert asking.waiting() == []


def test_nothing_is_asked_before_the_experiment_is_known(store: NodeStore) -> None:
    server = Server()
    delivery = RequestDelivery(store, server, CONFIG, lambda: True, 0.0)
    delivery.once()
    assert server.looks == 0


def test_old_answers_are_forgotten_after_a_day(asking: Asking, clock: Clock) -> None:
    asking.server.listed = [record()]
    asking.later()
    asking.answer()
    asking.later(1)
    asking.server.listed = [record("r2")]
    asking.later()
    asking.answer("r2")
    clock.now += 86_401
    asking.later(1)
    with asking.store.read() as connection:
        ids = connection.execute(sa.select(baseline_requests.c.id)).scalars().all()
    assert ids == ["r2"]
