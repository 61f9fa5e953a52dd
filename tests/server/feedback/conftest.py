"""Fixtures for the tests of feedback."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from lenswatch.server.db.tables import events, experiments
from lenswatch.server.values import stamps

Event = Callable[..., str]


@pytest.fixture
def event(local: Any) -> Event:
    """Function (experiment, begin, end or None, **columns) that stores an event and returns its id."""
    database = local.client.app.state.services.database

    def store(experiment: dict[str, Any], begin: str, end: str | None = None, **more: Any) -> str:
        values = {"id": str(uuid.uuid4()), "stream": "reef", "kind": "drift", "model": "m"} | more
        values["begun_at"] = stamps.microseconds(begin)
        values["ended_at"] = None if end is None else stamps.microseconds(end)
        number = select(experiments.c.number).where(experiments.c.id == experiment["id"])
        with database.write() as connection:
            row = values | {"experiment": connection.execute(number).scalar_one()}
            connection.execute(insert(events), [row])
        return str(values["id"])

    return store
