"""Listeners share their looks at the database, and follow it wherever it goes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import text

from lenswatch.server.db.database import Database, Outage
from lenswatch.server.db.watch import Watch


def number_of(database: Database, experiment: dict[str, Any]) -> int:
    query = text("SELECT number FROM experiments WHERE id = :id")
    with database.read() as connection:
        return int(connection.execute(query, {"id": experiment["id"]}).scalar_one())


def test_a_look_is_for_everybody(local: Any, statements: Any) -> None:
    database = local.client.app.state.services.database
    pier, reef = (number_of(database, local.experiment()) for _ in range(2))
    watch = Watch(database, poll_seconds=0.01)

    async def listen() -> list[int]:
        with watch.following(pier), watch.following(pier), watch.following(reef):
            looks = [watch.next_look(pier, 7) for _ in range(50)] + [watch.next_look(reef, 7)]
            return await asyncio.gather(*looks)

    statements.clear()
    assert asyncio.run(listen()) == [0] * 51
    assert len([statement for statement, _ in statements if "FROM cursors" in statement]) == 1


def test_what_nobody_follows_is_not_looked_at(local: Any) -> None:
    database = local.client.app.state.services.database
    pier, reef = (number_of(database, local.experiment()) for _ in range(2))
    watch = Watch(database, poll_seconds=0.01)

    async def listen() -> int:
        with watch.following(reef):
            pass
        with watch.following(pier):
            return await watch.next_look(reef, 7)

    assert asyncio.run(listen()) == 7


def test_a_look_that_began_before_tells_nothing(
    local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(local.client.app.state.services.database, poll_seconds=0.01)
    began, go_on = threading.Event(), threading.Event()
    seen = [{1: 3}, {1: 5}]

    def read(_numbers: Any) -> dict[int, int]:
        began.set()
        go_on.wait(60)
        return seen.pop(0)

    monkeypatch.setattr(watch, "_read", read)

    async def listen() -> list[int]:
        with watch.following(1):
            first = asyncio.create_task(watch.next_look(1, 2))
            await asyncio.to_thread(began.wait)
            later = asyncio.create_task(watch.next_look(1, 4))  # it has read the fourth meanwhile
            await asyncio.sleep(0)
            go_on.set()
            return [await first, await later]

    assert asyncio.run(listen()) == [3, 5]


def test_everybody_hears_of_an_outage(local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    database = local.client.app.state.services.database
    watch = Watch(database, poll_seconds=0.01)

    def away(_numbers: Any) -> Any:
        raise Outage("away")

    monkeypatch.setattr(watch, "_read", away)

    async def listen() -> list[Any]:
        with watch.following(1):
            looks = [watch.next_look(1, 0) for _ in range(3)]
            return await asyncio.gather(*looks, return_exceptions=True)

    assert [str(outcome) for outcome in asyncio.run(listen())] == ["away"] * 3
