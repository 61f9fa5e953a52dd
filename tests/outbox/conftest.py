"""Fixtures of the outbox: a node's database, and a tracking server with faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenswatch.node.store.store import NodeStore
from support.driftwatch_stub import Stub, serving
from support.node_stores import Database, opened
from support.outbox import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(
    tmp_path: Path, node_database: Database, request: pytest.FixtureRequest
) -> Iterator[NodeStore]:
    """A node's database, which goes by the fixture `clock` in tests that have it."""
    own = "clock" in request.fixturenames
    clock = request.getfixturevalue("clock") if own else time.time
    store = opened(node_database, tmp_path, clock=clock)
    yield store
    store.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub
