"""Annotations that wait in node.db: sent when the server can be reached, each stored once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lenswatch.client.client import TrackingClient
from lenswatch.config import TrackingConfig
from lenswatch.errors import TrackingRefused, TrackingUnavailable
from lenswatch.node.store.pages import Pages
from lenswatch.node.store.salvage import salvage
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox import notes
from lenswatch.outbox.notes import TAKES_NONE, NoteDelivery, Notes
from support.node_processes import drift_job

NOW = 1_800_000_000.0


class Server(TrackingClient):
    """A client whose server answers as a test says."""

    def __init__(self, answer: Any) -> None:
        super().__init__("http://127.0.0.1:9")
        self.answer = answer
        self.stored: list[Any] = []

    def ensure_experiment(self, *_: Any) -> str:
        return "e"

    def annotate(self, experiment: str, annotation: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        self.stored.append((experiment, annotation["text"]))
        return self.answer


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


@pytest.fixture
def store(tmp_path: Path, clock: list[float]) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path / "node.db", clock=lambda: clock[0])
    yield store
    store.close()


def waiting(store: NodeStore, *texts: str) -> None:
    for text in texts:
        Notes(store).add({"id": text, "kind": "note", "text": text})


def deliver(store: NodeStore, answer: Any) -> Server:
    server = Server(answer)
    NoteDelivery(store, server, TrackingConfig()).once()
    return server


def refused(status: int) -> TrackingRefused:
    error = TrackingRefused(f"{status} no")
    error.status = status
    return error


def test_what_waits_is_sent_in_order_and_forgotten(store: NodeStore) -> None:
    waiting(store, "a", "b")
    assert deliver(store, {"id": "a"}).stored == [("e", "a"), ("e", "b")]
    assert deliver(store, {"id": "a"}).stored == []
    assert Notes(store).all() == []


@pytest.mark.parametrize(
    ("answer", "because", "seconds"),
    [
        (TrackingUnavailable("down"), "down", 30),
        (refused(403), "403 no", 600),
        (refused(404), "404 no", 600),
        (None, TAKES_NONE, 86_400),
    ],
)
def test_what_cannot_be_sent_now_is_sent_later(
    store: NodeStore, clock: list[float], answer: Any, because: str, seconds: float
) -> None:
    waiting(store, "a")
    deliver(store, answer)
    assert [note.because for note in Notes(store).all()] == [because]
    clock[0] += seconds - 1
    assert deliver(store, {"id": "a"}).stored == []
    clock[0] += 1
    assert deliver(store, {"id": "a"}).stored == [("e", "a")]


def test_a_clock_that_was_set_back_does_not_hold_it_for_long(
    store: NodeStore, clock: list[float]
) -> None:
    waiting(store, "a")
    deliver(store, None)
    clock[0] -= 1_000_000
    assert deliver(store, {"id": "a"}).stored == [("e", "a")]


def test_what_is_refused_for_what_it_is_waits_no_more(
    store: NodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    waiting(store, "a")
    deliver(store, refused(422))
    assert Notes(store).all() == []
    assert "an annotation was refused: 422 no" in caplog.text


def test_of_too_many_the_oldest_go(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MOST", 3)
    waiting(store, *"abcde")
    assert [note.body["text"] for note in Notes(store).all()] == ["c", "d", "e"]


def test_what_waits_is_recovered_from_a_damaged_file(store: NodeStore, tmp_path: Path) -> None:
    waiting(store, "a", "b")
    deliver(store, TrackingUnavailable("down"))
    store.close()
    target = NodeStore(tmp_path / "new.db")
    with target.begin() as transaction:
        transaction.post(drift_job("e"))
    with closing(sqlite3.connect(target.path, isolation_level=None)) as connection:
        salvage(Pages(store.path, tmp_path / "node.db-wal"), connection)
    recovered = [(note.body["text"], note.because) for note in Notes(target).all()]
    assert recovered == [("a", "down"), ("b", None)]
    target.close()
