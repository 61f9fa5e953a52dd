"""States that are not read again, and reading as their oracle."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Camera
from lenswatch.config import Config
from lenswatch.errors import StoreError
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.stored_state import KnownStates
from lenswatch.node.stream import StreamState


@pytest.mark.slow
def test_answers_are_those_of_a_node_that_reads_each_state(trained: Config, camera: Camera) -> None:
    knowing, reading = Node(trained), Node(trained)
    reading._known = KnownStates(0)
    pictures = [camera(i, blurred=i > 74) for i in range(60, 82)]

    def judged(node: Node, stream: str) -> list[Any]:
        told = [
            node.observe(data, Request(stream=stream, event_id=f"{stream}{i}"))
            for i, data in enumerate(pictures)
        ]
        without = {"stream", "event_id", "captured_at"}
        return [{k: v for k, v in each.items() if k not in without} for each in told]

    assert judged(knowing, "a") == judged(reading, "b")
    digest = knowing.reference.digest
    data = knowing.store.window("a", digest)
    assert data is not None
    assert knowing._known.read("a", data) is knowing._known.read("a", data)
    assert (
        knowing._known.read("a", data).to_bytes() == data == StreamState.from_bytes(data).to_bytes()
    )


def test_a_state_that_another_process_wrote_is_read(trained: Config, camera: Camera) -> None:
    node, other = Node(trained), Node(trained)
    for i, each in enumerate((node, other, node)):
        assert each.observe(camera(60 + i), Request())["window"]["filled"] == i + 1
    other.reset("default")
    assert node.observe(camera(63), Request())["window"]["filled"] == 1


def test_what_is_kept_is_for_that_content_only() -> None:
    known, state = KnownStates(2), StreamState.__new__(StreamState)
    known.wrote("a", ("ab", b"written"), state)
    assert known.read("a", b"written") is state
    for stream, data in (("a", b"another"), ("b", b"written")):
        with pytest.raises(StoreError):
            known.read(stream, data)
    known.wrote("b", ("ab", b"1"), state)
    known.wrote("c", ("ab", b"1"), state)
    with pytest.raises(StoreError):
        known.read("a", b"written")
