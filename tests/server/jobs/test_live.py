"""/experiment/E/drift/live."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import text

from lenswatch.config import AuthConfig, Config, ServerConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import cursors
from lenswatch.server.identity.keys import create_key, revoke_key
from support.samples import JOB
from support.servers import Served


def read_events(lines: Any, count: int) -> list[tuple[int, Any]]:
    """The next events: number and job."""
    events = []
    for line in lines:
        if line.startswith("id: "):
            number = int(line[4:])
        if line.startswith("data: "):
            events.append((number, json.loads(line[6:])))
            if len(events) == count:
                break
    return events


@pytest.fixture
def api(shared: Served) -> Iterator[httpx.Client]:
    with shared.client() as client:
        yield client


def drifts_of_new_experiment(api: httpx.Client) -> str:
    made = api.post("/experiment", json={"name": uuid.uuid4().hex}).json()
    return f"/experiment/{made['id']}/drift"


@pytest.mark.slow
def test_what_is_stored_and_changed_arrives_in_order(api: httpx.Client) -> None:
    path, other = drifts_of_new_experiment(api), drifts_of_new_experiment(api)
    api.post(path, json=JOB)  # before anybody listens
    with api.stream("GET", f"{path}/live") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        api.post(other, json=JOB)
        first = api.post(path, json=JOB).json()
        [(_, seen)] = read_events(lines, 1)
        assert seen == first
        changed = api.put(f"{path}/{first['id']}", json=JOB | {"job_status": "Failed"}).json()
        [(number, seen)] = read_events(lines, 1)
        assert seen == changed
        batch = {"drifts": [JOB | {"model": f"m{n}"} for n in range(300)]}
        api.post(f"{path}/batch", json=batch)
        events = read_events(lines, 300)
        assert [job["model"] for _, job in events] == [f"m{n}" for n in range(300)]
        assert [n for n, _ in events] == list(range(number + 1, number + 301))
    with api.stream("GET", f"{path}/live", headers={"Last-Event-ID": str(number)}) as stream:
        again = read_events(stream.iter_lines(), 300)
        assert again == events


def test_a_head_of_the_events_ends(api: httpx.Client) -> None:
    answer = api.head(f"{drifts_of_new_experiment(api)}/live")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    unknown = "/experiment/00000000-0000-4000-8000-000000000000/drift/live"
    assert api.head(unknown).status_code == 404


def test_a_number_that_is_none_of_an_event_is_no_number(api: httpx.Client) -> None:
    headers = {b"Last-Event-ID": b"\xb2"}  # a digit by Unicode
    path = f"{drifts_of_new_experiment(api)}/live"
    with api.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        assert next(stream.iter_lines()) == "retry: 2000"


@pytest.mark.slow
def test_many_listeners_leave_the_server_answering(shared: Served, api: httpx.Client) -> None:
    path = drifts_of_new_experiment(api)
    clients = [shared.client() for _ in range(40)]
    streams = [c.send(c.build_request("GET", f"{path}/live"), stream=True) for c in clients]
    lines = [stream.iter_lines() for stream in streams]
    for each in lines:
        assert next(each) == "retry: 2000"
    job = api.post(path, json=JOB).json()
    for each in lines:
        assert read_events(each, 1)[0][1] == job
    for stream, client in zip(streams, clients, strict=True):
        stream.close()
        client.close()


@pytest.mark.slow
def test_who_may_no_longer_read_hears_nothing_more(
    serve: Any, oidc_settings: Any, issuer: Any, database_url: str, tmp_path: Path
) -> None:
    address = serve(auth=oidc_settings).address + "/api/latest"
    keys = Config(
        server=ServerConfig(database=database_url, auth=AuthConfig("keys")), root=tmp_path
    )
    _, key = create_key(keys, "reader", level="Read")
    tokens = {"ann": issuer.account("ann", "user"), "bob": issuer.account("bob", "user", "crew")}
    tokens |= {"key": key, "nobody": ""}
    clients = {
        name: httpx.Client(
            base_url=address,
            timeout=60,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        for name, token in tokens.items()
    }
    ann = clients["ann"]
    for name in ("ann", "bob"):
        clients[name].post("/user")
    crew = [{"entity": "crew", "level": "Read"}]
    body = {"name": "pier", "public": True, "permissions": crew}
    experiment = ann.post("/experiment", json=body).json()
    path = f"/experiment/{experiment['id']}/drift"
    streams = {
        name: client.send(client.build_request("GET", f"{path}/live"), stream=True)
        for name, client in clients.items()
    }
    lines = {name: stream.iter_lines() for name, stream in streams.items()}
    for each in lines.values():
        assert next(each) == "retry: 2000"
    before = ann.post(path, json=JOB).json()
    assert [read_events(each, 1)[0][1] for each in lines.values()] == [before] * 4
    ann.put(f"/experiment/{experiment['id']}", json={"name": "pier"})
    revoke_key(keys, "reader")
    secret = ann.post(path, json=JOB | {"model": "secret"}).json()
    for name in ("bob", "key", "nobody"):
        assert "secret" not in "".join(lines[name])  # it has ended
        assert clients[name].get(f"{path}/live").status_code in (401, 403)
    assert read_events(lines["ann"], 1)[0][1] == secret
    ann.delete(f"/experiment/{experiment['id']}")
    assert "".join(lines["ann"]) == ""  # without any event too
    for stream, client in zip(streams.values(), clients.values(), strict=True):
        stream.close()
        client.close()


@pytest.mark.slow
def test_a_silent_stream_shows_that_it_lives(serve: Any) -> None:
    running = serve(limits={"heartbeat_seconds": 0.1})
    with running.client() as client:
        path = drifts_of_new_experiment(client)
        with client.stream("GET", f"{path}/live") as stream:
            lines = (line for line in stream.iter_lines() if line)
            assert [next(lines) for _ in range(3)] == [
                "retry: 2000",
                ": still here",
                ": still here",
            ]


def test_an_event_that_is_yet_to_come_is_not_waited_for(api: Any) -> None:
    path = drifts_of_new_experiment(api)
    api.post(path, json=JOB)
    with api.stream("GET", f"{path}/live", headers={"Last-Event-ID": "5000"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        job = api.post(path, json=JOB).json()
        assert read_events(lines, 1) == [(2, job)]


def test_deleted_jobs_are_no_events(api: Any) -> None:
    path = drifts_of_new_experiment(api)
    with api.stream("GET", f"{path}/live") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        for _ in range(3):
            gone = api.post(path, json=JOB).json()
            api.delete(f"{path}/{gone['id']}")
        last = api.post(path, json=JOB).json()
        seen = [job["id"] for _, job in read_until(lines, last["id"])]
        assert seen[-1] == last["id"]
        assert len(seen) == len(set(seen))


def read_until(lines: Any, job_id: str) -> list[tuple[int, Any]]:
    events: list[tuple[int, Any]] = []
    while not events or events[-1][1]["id"] != job_id:
        events += read_events(lines, 1)
    return events


@pytest.mark.slow
def test_a_database_that_is_put_back_is_followed_too(serve: Any, database_url: str) -> None:
    database = Database(database_url)
    with serve().client() as client:
        path = drifts_of_new_experiment(client)
        for _ in range(3):
            client.post(path, json=JOB)
        with client.stream("GET", f"{path}/live", headers={"Last-Event-ID": "0"}) as stream:
            lines = stream.iter_lines()
            assert [number for number, _ in read_events(lines, 3)] == [1, 2, 3]
            with database.write() as connection:
                connection.execute(text("DELETE FROM drifts WHERE seq > 1"))
                connection.execute(cursors.update().values(seq=1))
            # Stored once the server has seen that, however long that takes.
            jobs = [client.post(path, json=JOB).json() for _ in range(4)]
            [(number, job)] = read_events(lines, 1)
            assert job in jobs
            assert number in (2, 3, 4, 5)
    database.close()
