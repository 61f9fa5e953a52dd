"""Decisions in the database: each once, with what was decided kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from lenswatch.server.alerts.decide import decide_pass, run_decisions
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import deliveries, messages, rule_states, streams
from lenswatch.server.values import stamps
from support.alerts import channel, judged, rule, tell
from support.api import Api

SECOND = 10**6


@pytest.fixture
def database(still: Api) -> Database:
    return still.client.app.state.services.database  # type: ignore[attr-defined,no-any-return]


def decide_all(database: Database, now: int | None = None) -> None:
    while decide_pass(database, now):
        pass


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def facts(database: Database) -> list[list[dict[str, Any]]]:
    with database.read() as connection:
        query = select(messages.c.facts).order_by(messages.c.number)
        return list(connection.execute(query).scalars())


def test_what_changed_is_decided_once(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")])
    tell(still, pier, [judged("reef", drift=drift) for drift in (False, True, True)])
    decide_all(database)
    decide_all(database)
    [[item]] = facts(database)
    assert (item["stream"], item["kind"], item["what"]) == ("reef", "drift", "alarm")
    assert item["causes"] == [{"name": "blur", "place": "lower left"}]
    assert count(database, deliveries) == 1
    with database.read() as connection:
        assert connection.execute(select(streams.c.undecided)).scalars().all() == [0]


def test_without_rules_nothing_is_kept(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    tell(still, pier, [judged("reef", drift=True)])
    decide_all(database)
    assert count(database, messages) == count(database, rule_states) == 0
    assert not decide_pass(database)


def test_many_processes_decide_each_thing_once(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")], "drift", "recovery")
    names = [f"cam-{n}" for n in range(60)]
    for drift in (True, False):
        tell(still, pier, [judged(name, drift=drift) for name in names])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: _decide_as_another(database), range(4)))
        decide_all(database)
    said = sorted((item["what"], item["stream"]) for items in facts(database) for item in items)
    assert said == sorted((what, name) for what in ("alarm", "recovery") for name in names)


def _decide_as_another(database: Database) -> None:
    other = Database(database.engine.url.render_as_string(hide_password=False))
    try:
        run_decisions(other, threading.Event())
    finally:
        other.close()


def test_a_decision_that_fails_leaves_no_trace(
    still: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")])
    tell(still, pier, [judged("reef", drift=True)])

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("lenswatch.server.alerts.decide.add_message", fail)
        with pytest.raises(KeyError):
            decide_pass(database)
    assert count(database, messages) == 0
    decide_all(database)
    assert len(facts(database)) == 1


def test_what_is_gathered_is_told_together(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")], digest_seconds=600)
    start = stamps.now()
    for n in range(3):
        tell(still, pier, [judged(f"cam-{n}", drift=True)])
        decide_all(database, start + n * 60 * SECOND)
    tell(still, pier, [judged("cam-1", drift=False)])  # over, before it is told
    decide_all(database, start + 200 * SECOND)
    assert facts(database) == []
    decide_all(database, start + 600 * SECOND)
    [items] = facts(database)
    assert [item["stream"] for item in items if item["ended_at"]] == ["cam-1"]
    assert len(items) == 3


def test_a_rule_tells_what_is_wrong_already_but_not_what_was(
    still: Api, database: Database
) -> None:
    pier = still.experiment("pier")
    tell(still, pier, [judged("was", drift=drift) for drift in (True, False)])
    tell(still, pier, [judged("is", drift=True)])
    decide_all(database)
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")])
    decide_all(database)
    assert [[item["stream"] for item in items] for items in facts(database)] == [["is"]]


def test_a_rule_that_is_changed_does_not_repeat_itself(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    ops = channel(still, pier, "http://127.0.0.1:9/")
    made = rule(still, pier, [ops])
    tell(still, pier, [judged("reef", drift=True)])
    decide_all(database)
    path = f"/experiment/{pier['id']}/rule/{made['id']}"
    body = {"name": "drifts", "on": ["drift"], "digest_seconds": 0, "channels": [ops["id"]]}
    for change in ({"cooldown_seconds": 60}, {"enabled": False}):
        assert still.put(path, json=body | change).status_code == 200
        decide_all(database)
        assert len(facts(database)) == 1
    assert still.put(path, json=body).status_code == 200  # a rule that begins anew
    decide_all(database)
    assert len(facts(database)) == 2


def test_a_held_message_is_told_when_its_time_comes_without_any_job(
    still: Api, database: Database
) -> None:
    pier = still.experiment("pier")
    made = rule(still, pier, [], muted_until="2100-01-01")
    tell(still, pier, [judged("reef", drift=True)])
    decide_all(database)
    assert facts(database) == []
    later = stamps.microseconds(made["muted_until"])
    assert later is not None
    decide_all(database, later)
    [[item]] = facts(database)
    assert item["held"] == "the rule was muted"


def test_what_was_held_until_it_was_over_is_listed_as_not_sent(
    still: Api, database: Database
) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [channel(still, pier, "http://127.0.0.1:9/")], muted_until="2100-01-01")
    for drift in (True, False):
        tell(still, pier, [judged("reef", drift=drift)])
        decide_all(database)
    [unsent] = still.get(f"/experiment/{pier['id']}/deliveries").json()
    assert unsent["state"] == "not sent"
    assert unsent["result"] == "the rule was muted; over before that ended"
    assert unsent["tries"] == 0


def test_a_muted_or_acknowledged_stream_is_not_told(still: Api, database: Database) -> None:
    pier = still.experiment("pier")
    rule(still, pier, [])
    tell(still, pier, [judged(name, drift=False) for name in ("one", "two")])
    path = f"/experiment/{pier['id']}/stream"
    assert still.put(f"{path}/one", json={"muted_until": "2100-01-01"}).status_code == 200
    tell(still, pier, [judged(name, drift=True) for name in ("one", "two")])
    assert still.put(f"{path}/two", json={"acknowledged": True}).status_code == 200
    decide_all(database)
    assert facts(database) == []
    assert still.put(f"{path}/one", json={"muted_until": None}).status_code == 200
    decide_all(database)
    assert [[item["stream"] for item in items] for items in facts(database)] == [["one"]]
