"""A server whose channels may reach this machine, and a receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from lenswatch.config import AlertsConfig
from support.api import Api
from support.receiver import Receiver, receiving

HERE = AlertsConfig(private_hosts=("127.0.0.1",), public_url="https://lens.example/watch")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def telling(make_app: Any) -> Iterator[Api]:
    """A server that may send to this machine."""
    with TestClient(make_app(alerts=HERE), base_url="http://127.0.0.1") as client:
        yield Api(client)
