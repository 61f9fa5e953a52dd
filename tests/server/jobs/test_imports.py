"""`lenswatch import`: records of another server, or of an exported file, with their ids and dates."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from lenswatch.cli.main import main
from lenswatch.config import RetentionConfig
from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import import_positions
from lenswatch.server.jobs import import_sources
from lenswatch.server.jobs.import_records import Reader, Rejected
from lenswatch.server.upkeep.stale import close_running
from support.driftwatch_stub import Handler, Stub, serving
from support.jobs_of_the_past import put
from support.samples import JOB
from support.servers import served

FULL = JOB | {"tags": ["a"], "parameters": {"stream": "pier", "x": 1.5}}
Command = Callable[..., Result]


@pytest.fixture
def command(database_url: str, tmp_path: Path) -> Command:
    """Runs the command on the test's database, whose server may be running."""
    settings = tmp_path / "config.toml"
    settings.write_text(f'[server]\ndatabase = "{database_url}"\n', encoding="utf-8")

    def run(source: Any, *options: str, code: int = 0) -> Result:
        words = ["import", "--config", str(settings), "--rejected", str(tmp_path / "rejected")]
        ended = CliRunner().invoke(main, [*words, *options, str(source)])
        assert ended.exit_code == code, ended.output
        return ended

    return run


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Another server of ours, with two experiments."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with served(folder) as running, running.client() as client:
        for name in ("pier", "reef"):
            experiment = client.post("/experiment", json={"name": name, "public": True}).json()
            path = f"/experiment/{experiment['id']}/drift/batch"
            parameters = [{"event_id": f"e{n}", "stream": "s", "n": n} for n in range(250)]
            jobs = [FULL | {"parameters": each} for each in parameters]
            assert client.post(path, json={"drifts": jobs}).status_code == 200
        yield running


def everything(get: Any) -> list[list[Any]]:
    """All experiments, each with its jobs, as they are exported."""
    found = get("POST", "/experiment/search", json={}, params={"order_by": "asc"}).json()
    exported = []
    for experiment in found:
        path = f"/experiment/{experiment['id']}/export"
        text = get("GET", path, params={"format": "jsonl"}).text
        exported.append([json.loads(line) for line in text.splitlines()])
    return exported


@pytest.mark.slow
def test_a_server_of_ours_is_taken_over_as_it_is(
    local: Any, elsewhere: Any, command: Command
) -> None:
    assert "2 new experiments; jobs: 500 new" in command(elsewhere.address).output
    with elsewhere.client() as client:
        assert everything(local) == everything(client.request)
    again = command(elsewhere.address).output
    assert "0 new experiments; jobs: 0 new, 0 changed, 500 unchanged; 0 rejected" in again
    experiment = local.post("/experiment/search", json={"name": "pier"}).json()[0]
    assert '"total": 250' in local.search(experiment, {"tags": "a"}).headers["X-Pagination"]
    assert local.get(f"/experiment/{experiment['id']}/storage").json()["jobs"] == 250


@pytest.mark.slow
def test_one_experiment_of_a_server_can_be_taken(
    local: Any, elsewhere: Any, command: Command
) -> None:
    assert (
        "1 new experiments; jobs: 250 new"
        in command(f"{elsewhere.address}/api/latest", "--experiment", "reef").output
    )
    assert [e["name"] for e in local.post("/experiment/search", json={}).json()] == ["reef"]
    ended = command(elsewhere.address, "--experiment", "buoy", code=1)
    assert "shows no experiment 'buoy'" in ended.output


def exported(api: Any, experiment: Any, path: Path) -> Path:
    answer = api.get(f"/experiment/{experiment['id']}/export", params={"format": "jsonl"})
    path.write_bytes(answer.content)
    return path


def test_an_exported_file_comes_back_unchanged(
    local: Any, command: Command, tmp_path: Path
) -> None:
    experiment = local.experiment("pier", description="wet", public=True)
    for number in range(3):
        local.drift(experiment, **(FULL | {"model": f"m{number}"}))
    path = exported(local, experiment, tmp_path / "pier.jsonl")
    before = path.read_bytes()
    local.delete(f"/experiment/{experiment['id']}")
    assert "1 new experiments; jobs: 3 new" in command(path).output
    assert exported(local, experiment, tmp_path / "again.jsonl").read_bytes() == before
    assert "jobs: 0 new, 0 changed, 3 unchanged" in command(path).output


def test_what_has_changed_at_the_source_is_updated(
    local: Any, command: Command, tmp_path: Path
) -> None:
    experiment = local.experiment("pier")
    drift = local.drift(experiment, **FULL)
    path = exported(local, experiment, tmp_path / "pier.jsonl")
    first, second = path.read_text(encoding="utf-8").splitlines()
    changed = json.loads(second) | {"job_status": "Failed", "tags": ["b"]}
    path.write_text(f"{first}\n{json.dumps(changed)}\n", encoding="utf-8")
    assert "jobs: 0 new, 1 changed, 0 unchanged" in command(path).output
    assert local.get(f"/experiment/{experiment['id']}/drift/{drift['id']}").json() == changed
    assert len(local.search(experiment, {"tags": "b", "job_status": "Failed"}).json()) == 1


E1 = "11111111-1111-4111-8111-111111111111"
E2 = "22222222-2222-4222-8222-222222222222"


def experiment_line(**changes: Any) -> dict[str, Any]:
    fields = {"id": E1, "created_at": "2026-05-01T08:00:00", "name": "old", "public": False}
    return fields | {"permissions": []} | changes


def job_line(number: int, **changes: Any) -> dict[str, Any]:
    fields = {"id": f"00000000-0000-4000-8000-{number:012}", "schema_version": "1.0.0"}
    return fields | FULL | {"created_at": f"2026-06-01T08:00:{number:02}"} | changes


def written(path: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


def test_what_cannot_be_stored_is_reported_with_its_line_and_kept(
    local: Any, command: Command, tmp_path: Path
) -> None:
    bad = [
        job_line(2, job_status="Done"),
        "{broken",
        job_line(4, id="x"),
        job_line(5, created_at="yesterday"),
        job_line(6, created_at="2999-01-01T00:00:00Z"),
        job_line(7, parameters={"n": 2**70}),
        job_line(8, tags=["x" * 21]),
        "[1, 2]",
        job_line(10, model="a\udc80b") | {"model": "a\u0000b"},
    ]
    path = written(tmp_path / "old.jsonl", experiment_line(), *bad, job_line(1))
    ended = command(path, "--timezone", "UTC", code=1)
    assert "jobs: 1 new" in ended.output
    assert "9 records were not stored: see " in ended.output
    kept = [json.loads(line) for line in (tmp_path / "rejected").read_text().splitlines()]
    assert sorted(each["place"] for each in kept) == sorted(f"line {n}" for n in range(2, 11))
    assert all(each["reason"] for each in kept)
    assert [k["record"] for k in kept if k["place"] == "line 3"] == ["{broken"]
    assert [k["record"] for k in kept if k["place"] == "line 2"] == [bad[0]]
    assert len(local.search({"id": E1}, {}).json()) == 1


def test_jobs_without_their_experiment_are_reported(
    local: Any, command: Command, tmp_path: Path
) -> None:
    path = written(tmp_path / "a", job_line(1), experiment_line(name=" "), job_line(2))
    ended = command(path, "--timezone", "UTC", code=1)
    assert "3 records were not stored" in ended.output
    assert local.post("/experiment/search", json={}).json() == []


def test_times_without_offset_need_the_zone_of_their_clock(
    local: Any, command: Command, tmp_path: Path
) -> None:
    path = written(tmp_path / "old.jsonl", experiment_line(), job_line(1))
    assert "--timezone" in command(path, code=1).output
    assert "no such time zone" in command(path, "--timezone", "Mars/Base", code=1).output
    command(path, "--timezone", "Europe/Madrid")
    assert local.get(f"/experiment/{E1}").json()["created_at"] == "2026-05-01T06:00:00.000000+00:00"
    job = local.search({"id": E1}, {}).json()[0]
    assert job["created_at"] == "2026-06-01T06:00:01.000000+00:00"
    assert job["id"] == job_line(1)["id"]


def test_an_hour_that_came_twice_is_noted() -> None:
    reader = Reader(ZoneInfo("Europe/Madrid"))
    job = reader.job(job_line(1, created_at="2025-10-26T02:30:00"))
    assert job["created_at"] == datetime(2025, 10, 26, 0, 30, tzinfo=UTC).timestamp() * 1e6
    assert sum(reader.notes.values()) == 1
    reader.job(job_line(1, created_at="2025-10-26T03:30:00"))
    reader.job(job_line(1, created_at="2025-10-26T02:30:00+02:00"))
    assert sum(reader.notes.values()) == 1


def test_what_is_changed_on_the_way_is_noted(local: Any, command: Command, tmp_path: Path) -> None:
    odd = json.dumps(job_line(1, extra=1)).replace("1.5", "NaN")
    local.experiment("old")
    path = written(tmp_path / "old.jsonl", experiment_line(), odd)
    ended = command(path, "--timezone", "UTC")
    assert "note: NaN in parameters became null (1 times)" in ended.output
    assert "note: the field 'extra' is not kept (1 times)" in ended.output
    assert "imported as 'old (imported 11111111)'" in ended.output
    assert local.search({"id": E1}, {}).json()[0]["parameters"] == {"stream": "pier", "x": None}
    assert local.get(f"/experiment/{E1}").json()["name"] == "old (imported 11111111)"


def test_a_second_job_of_an_event_and_a_job_of_another_experiment_are_reported(
    local: Any, command: Command, tmp_path: Path
) -> None:
    same = {"event_id": "e", "stream": "pier"}
    path = written(
        tmp_path / "old.jsonl",
        experiment_line(),
        job_line(1, parameters=same),
        job_line(2, parameters=same),
        experiment_line(id=E2, name="new"),
        job_line(1, parameters=same),
        job_line(3, parameters=same),
    )
    ended = command(path, "--timezone", "UTC", code=1)
    assert "line 3: parameters.event_id: has the event id of the job" in ended.output
    assert "line 5: the job" in ended.output
    assert [len(local.search({"id": e}, {}).json()) for e in (E1, E2)] == [1, 1]


def test_a_job_that_our_server_closed_is_not_opened_again(
    local: Any, command: Command, tmp_path: Path, database_url: str
) -> None:
    import threading

    running = job_line(1, job_status="Running")
    path = written(tmp_path / "old.jsonl", experiment_line(), running)
    command(path, "--timezone", "UTC")
    database = Database(database_url)
    close_running(RetentionConfig(), database, threading.Event())
    database.close()
    assert "0 changed, 1 unchanged" in command(path, "--timezone", "UTC").output
    path = written(path, experiment_line(), running | {"job_status": "Completed"})
    assert "1 changed" in command(path, "--timezone", "UTC").output


def test_old_jobs_do_not_change_the_state_that_newer_ones_have_made(
    local: Any, command: Command, tmp_path: Path, database_url: str
) -> None:
    command(written(tmp_path / "a", experiment_line()), "--timezone", "UTC")
    put_in = Database(database_url)
    put(put_in, {"id": E1}, [1], parameters={"stream": "pier"})
    put_in.close()
    [before] = local.get(f"/experiment/{E1}/streams").json()
    path = written(tmp_path / "b", experiment_line(), job_line(1, drift_detected=True))
    command(path, "--timezone", "UTC")
    [after] = local.get(f"/experiment/{E1}/streams").json()
    assert after["last"] == before["last"]
    assert after["total"] == 2


# From a server with faults on demand.


@pytest.fixture
def stub() -> Iterator[Stub]:
    """An original server with one experiment and 230 jobs, two of each moment."""
    stub = Stub(extensions=False)
    stub.experiments[E1] = experiment_line()
    for number in range(230):
        stamp = f"2026-06-01T08:{number // 100:02}:{number // 2 % 60:02}"
        job = job_line(number, created_at=stamp, experiment=E1)
        stub.drifts[job["id"]] = job
    with serving(stub) as running:
        yield running


def test_an_original_server_is_read_by_its_contract(
    local: Any, stub: Stub, command: Command
) -> None:
    ended = command(stub.url, "--timezone", "Europe/Madrid")
    assert "1 new experiments; jobs: 230 new" in ended.output
    assert "the field 'experiment' is not kept" in ended.output
    ours = local.get(f"/experiment/{E1}/export", params={"format": "jsonl"}).text.splitlines()[1:]
    assert {json.loads(line)["id"] for line in ours} == set(stub.drifts)
    assert all(path.startswith("/api/v1/") for _, path in stub.requests)


def test_jobs_that_are_deleted_meanwhile_hide_no_others(
    local: Any, stub: Stub, command: Command
) -> None:
    """A page that begins at a number would leave out as many as were deleted before it."""
    oldest = sorted(stub.drifts.values(), key=lambda job: job["created_at"])[:50]

    def delete_after_the_first_page(handler: Handler) -> bool:
        if handler.path.split("?")[0].endswith("/drift/search") and len(stub.requests) > 2:
            for job in oldest:
                stub.drifts.pop(job["id"], None)
        return False

    stub.fault = delete_after_the_first_page
    command(stub.url, "--timezone", "UTC")
    ours = local.get(f"/experiment/{E1}/export", params={"format": "jsonl"}).text.splitlines()[1:]
    assert {json.loads(line)["id"] for line in ours} >= set(stub.drifts)


def test_an_interrupted_import_goes_on_where_it_was(
    local: Any, stub: Stub, command: Command, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setattr(import_sources, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("lenswatch.server.jobs.imports.BATCH", 50)
    pages: list[str] = []

    def fail_at_the_third_page(handler: Handler) -> bool:
        if not handler.path.split("?")[0].endswith("/drift/search"):
            return False
        pages.append(json.dumps(handler.body))
        if len(pages) < 3:
            return False
        handler.reply(503, {"code": 503, "message": "later"})
        return True

    stub.fault = fail_at_the_third_page
    ended = command(stub.url, "--timezone", "UTC", code=1)
    assert "goes on from there" in ended.output
    stored = len(local.get(f"/experiment/{E1}/export").text.splitlines()) - 1
    assert 0 < stored < 230
    stub.fault = None
    stub.requests.clear()
    ended = command(stub.url, "--timezone", "UTC")
    assert "0 rejected" in ended.output
    assert local.get(f"/experiment/{E1}/storage").json()["jobs"] == 230
    database = Database(database_url)
    with database.read() as connection:
        assert connection.execute(select(import_positions)).all() == []
    database.close()
    assert stub.asked("POST", "/drift/search") == 1  # not from the beginning, which takes three


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    stub: Stub, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_sources, "_PAUSE_SECONDS", 0.01)
    busy = iter([True, False, True, True, False] + [False] * 100)

    def sometimes(handler: Handler) -> bool:
        if next(busy):
            handler.reply(503, {"code": 503})
            return True
        return False

    stub.fault = sometimes
    assert "230 new" in command(stub.url, "--timezone", "UTC").output


@pytest.mark.parametrize(
    ("status", "body"), [(403, {"code": 403}), (200, {"a": 1}), (200, ["x"]), (302, {})]
)
def test_another_answer_than_a_servers_ends_it(
    stub: Stub, command: Command, status: int, body: Any
) -> None:
    def answer(handler: Handler) -> bool:
        handler.reply(status, body)
        return True

    stub.fault = answer
    ended = command(stub.url, "--timezone", "UTC", code=1)
    assert "/experiment/search" in ended.output


def test_a_source_that_is_neither_file_nor_address_is_named(command: Command) -> None:
    output = command("nowhere", code=1).output
    assert "neither a file nor the address" in output
    assert "new experiments" not in output


def test_the_token_is_sent(stub: Stub, command: Command) -> None:
    command(stub.url, "--timezone", "UTC", "--token", "secret")
    assert set(stub.tokens) == {"Bearer secret"}


def test_a_record_that_is_no_object_is_none() -> None:
    with pytest.raises(Rejected):
        Reader(None).job([])


def test_the_position_is_in_the_transaction_of_the_jobs(
    stub: Stub, command: Command, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("by design: the same on both")
    monkeypatch.setattr(import_sources, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("lenswatch.server.jobs.imports.BATCH", 50)
    stub.fault = lambda handler: "/drift/search" in handler.path and _after(handler, stub)
    command(stub.url, "--timezone", "UTC", code=1)
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        last = connection.execute("SELECT position FROM import_positions").fetchone()
    assert last is not None
    assert last[0].startswith("2026-06-01T08:")


def _after(handler: Handler, stub: Stub) -> bool:
    if stub.asked("POST", "/drift/search") < 3:
        return False
    handler.hang_up()
    return True
