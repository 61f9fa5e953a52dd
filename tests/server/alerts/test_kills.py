"""Servers that are killed, and two at once: no message is lost, and none is sent twice."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from lenswatch.server.alerts.deliveries import LEASE_SECONDS, Outcome, claim, finish
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import leases
from lenswatch.server.values import stamps
from support.alerts import channel, deliveries, judged, rule, wait_for_end
from support.api import Api
from support.full import at_length
from support.ports import free_port
from support.receiver import Receiver
from support.servers import Served, command, served
from support.waiting import until

HERE = {"private_hosts": ["127.0.0.1"]}


def _api(client: Any) -> Api:
    return Api(client, prefix="")


def watched(client: Any, receiver: Receiver) -> tuple[Api, dict[str, Any]]:
    """An API, and an experiment whose drifts are told to `receiver`."""
    api = _api(client)
    experiment = api.experiment("yard")
    rule(api, experiment, [channel(api, experiment, receiver.url)])
    return api, experiment


@pytest.mark.slow
@pytest.mark.timeout(at_length(300, 1800))
def test_kills_between_decision_and_sending_lose_and_double_nothing(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    kills = at_length(3, 100)
    with served(tmp_path, database=database_url, alerts=HERE) as server, server.client() as client:
        _, experiment = watched(client, receiver)
    for n in range(kills):
        _free_lease(database_url)
        _die_after_the_decision(database_url, tmp_path, experiment, f"cam-{n}")
    assert receiver.requests == []
    _free_lease(database_url)
    with served(tmp_path, database=database_url, alerts=HERE) as server, server.client() as client:
        ended = wait_for_end(_api(client), experiment, kills)
    assert {each["state"] for each in ended} == {"delivered"}
    told = Counter(alarm["stream"] for r in receiver.requests for alarm in r.json["data"]["alarms"])
    assert told == Counter(f"cam-{n}" for n in range(kills))
    assert len({request.id for request in receiver.requests}) == len(receiver.requests) == kills


def _die_after_the_decision(
    database_url: str, folder: Path, experiment: dict[str, Any], camera: str
) -> None:
    port = free_port()
    started = command(folder, database=database_url, app="not sending", alerts=HERE, port=port)
    process = subprocess.Popen(started)
    server = Served(process, port)
    try:
        server.wait_until_ready()
        with server.client() as client:
            api = _api(client)
            api.drift(experiment, **judged(camera, drift=True))
            until(lambda: camera in _streams(api, experiment, "waiting"))
    finally:
        process.kill()
        process.wait(30)


def _free_lease(database_url: str) -> None:
    """Do what 20 seconds do after the death of a server."""
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(delete(leases))
    database.close()


def _streams(api: Api, experiment: dict[str, Any], state: str) -> set[str]:
    found = deliveries(api, experiment, state=state, limit=500)
    return {stream for each in found for stream in each["streams"]}


@pytest.mark.slow
def test_two_servers_on_one_database_send_each_message_once(serve: Any, receiver: Receiver) -> None:
    both = [serve(alerts=HERE), serve(alerts=HERE)]
    with both[0].client() as client, both[1].client() as other:
        api, experiment = watched(client, receiver)
        cameras = at_length(20, 200)
        for n in range(cameras):
            turn = _api((client, other)[n % 2])
            turn.drift(experiment, **judged(f"cam-{n}", drift=True))
        until(lambda: len(_streams(api, experiment, "delivered")) == cameras)
        assert _streams(api, experiment, "waiting") == set()
    told = Counter(alarm["stream"] for r in receiver.requests for alarm in r.json["data"]["alarms"])
    assert told == Counter(f"cam-{n}" for n in range(cameras))


def test_a_try_that_was_cut_off_is_repeated_with_the_same_id(
    telling: Api, receiver: Receiver, database_url: str
) -> None:
    """The process died while it was sending: the outcome is unknown."""
    receiver.gate.clear()
    pier = telling.experiment("pier")
    rule(telling, pier, [channel(telling, pier, receiver.url)])
    telling.drift(pier, **judged("reef-03", drift=True))
    [sent] = until(lambda: receiver.requests)
    database = Database(database_url)
    now = stamps.now()
    with database.write() as connection:
        assert claim(connection, now) is None  # its lease holds
        later = claim(connection, now + int(LEASE_SECONDS * 1e6) + 1)
        assert later is not None
        delivery, _ = later
        assert (delivery["id"], delivery["tries"], delivery["unknown"]) == (sent.id, 2, 1)
        # The first one, which was only slow, fails: that does not count any more.
        finish(connection, {**delivery, "tries": 1}, Outcome(False, "slow"), 1.0, now)
    [shown] = deliveries(telling, pier)
    assert (shown["state"], shown["result"]) == ("sending", None)
    with database.write() as connection:
        finish(connection, delivery, Outcome(True, "200"), 1.0, now)
    database.close()
    [shown] = deliveries(telling, pier)
    assert (shown["state"], shown["tries"], shown["unknown"]) == ("delivered", 2, 1)
