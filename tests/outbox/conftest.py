"""Fixtures of the outbox: a node's database, and a tracking server with faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenswatch.node.store.store import NodeStore
from support.driftwatch_stub import Stub, serving
from support.outbox import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[NodeStore]:
    """A node.db, which goes by the fixture `clock` in tests that have it."""
    own = "clock" in request.fixturenames
    store = NodeStore(
        tmp_path / "node.db", clock=request.getfixturevalue("clock") if own else time.time
    )
    yield store
    store.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub
