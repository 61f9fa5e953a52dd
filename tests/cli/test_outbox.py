"""`lenswatch outbox`, and what `lenswatch status` says of parked jobs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import write_settings
from lenswatch.cli.main import main
from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.parked import ParkedJobs
from lenswatch.outbox.rows import DeliveryResult, OutboxRows
from lenswatch.outbox.sender import Sender
from lenswatch.outbox.waiting import Waiting
from support.driftwatch_stub import Stub, serving
from support.node_processes import drift_job

TOO_LONG = "422 json.tags.0: Longer than maximum length 20."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    """The node's database in the folder in which `run` looks."""
    store = NodeStore(tmp_path / "storage" / "node.db")
    yield store
    store.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Any:
    """Return a function that runs `lenswatch outbox` with its arguments."""
    settings = str(write_settings(tmp_path))

    def command(name: str, *arguments: str, typed: str = "") -> Any:
        called = ["outbox", name, "--config", settings, *arguments]
        return CliRunner().invoke(main, called, input=typed)

    return command


@pytest.fixture
def parked(store: NodeStore) -> ParkedJobs:
    """Four parked jobs and one that waits."""
    reasons = {"e1": TOO_LONG, "e2": TOO_LONG, "e3": "413 100%_big\x1b[31m\n", "e4": "failed"}
    with store.begin() as transaction:
        for name in (*reasons, "fine"):
            stream = "pier" if name == "e2" else "reef"
            transaction.post(drift_job(name, stream=stream), b"jpeg")
    result = DeliveryResult(DeliveryLimits())
    for row in OutboxRows(store).due(9):
        if row.event_id in reasons:
            result.parked[row.id] = reasons[row.event_id]
    OutboxRows(store).settle(result)
    return ParkedJobs(store)


def names(parked: ParkedJobs) -> list[str]:
    return [job.event_id for job in parked.find()]


def waiting(store: NodeStore) -> list[str]:
    return [row.event_id for row in OutboxRows(store).due(9)]


def test_status_groups_parked_jobs_by_their_reasons(parked: ParkedJobs, run: Any) -> None:
    shown = run("status").output
    assert "1 job and 1 picture waiting, 4 parked" in shown
    (line,) = [line for line in shown.splitlines() if TOO_LONG in line]
    assert line.split()[:3] == ["parked", "2", "since"]
    assert shown.count("UTC: ") == 3
    assert "`lenswatch outbox`" in shown


def test_status_shows_a_bounded_number_of_reasons(store: NodeStore, run: Any) -> None:
    with store.begin() as transaction:
        for number in range(40):
            transaction.post(drift_job(f"e{number}"))
    result = DeliveryResult(DeliveryLimits())
    result.parked = {row.id: f"reason {row.id} " + "x" * 5000 for row in OutboxRows(store).due(99)}
    OutboxRows(store).settle(result)
    shown = run("status").output
    assert shown.count("UTC: reason") == 5
    assert "35 for other reasons" in shown
    assert max(map(len, shown.splitlines())) < 250


def test_status_says_why_jobs_wait_and_since_when(store: NodeStore, run: Any) -> None:
    long = "403 Forbidden; not the answer of a DriftWatch server"
    with store.begin() as transaction:
        transaction.post(drift_job("e1"))
    assert "waiting     " not in run("status").output
    waiting = Waiting(store)
    waiting.note("jobs", f"{long}\x1b[31m")
    shown = run("status").output
    assert re.search(rf"waiting     jobs since 20[-0-9]+ [0-9]+:[0-9]+ UTC: {long} \[31m", shown)
    waiting.end("jobs")
    assert "waiting     " not in run("status").output
    (row,) = OutboxRows(store).due(9)
    result = DeliveryResult(DeliveryLimits())
    result.blame(row, long)
    OutboxRows(store).settle(result)
    waiting.note("failing", long)
    line = f"waiting     1 tried again, while others are accepted: {long}"
    assert line in run("status").output


def test_parked_jobs_are_shown_with_the_time_of_parking(
    tmp_path: Path, run: Any, outbox: Any
) -> None:
    times = iter((1_800_000_000.0, *(1_800_000_000.0 + 7200.0 for _ in range(99))))
    store = NodeStore(tmp_path / "storage" / "node.db", clock=lambda: next(times))
    with store.begin() as transaction:
        transaction.post(drift_job("e1"))
    (row,) = OutboxRows(store).due(9)
    result = DeliveryResult(DeliveryLimits())
    result.parked[row.id] = "422 no"
    OutboxRows(store).settle(result)
    store.close()
    assert "parked      1 since 2027-01-15 10:00 UTC: 422 no" in run("status").output
    assert "parked 2027-01-15 10:00:00 UTC" in outbox("list").output


def test_pictures_of_jobs_that_wait_are_counted(store: NodeStore, run: Any) -> None:
    """It said 0 while 150 waited."""
    with store.begin() as transaction:
        for number in range(150):
            transaction.post(drift_job(f"e{number}"), b"jpeg")
    assert "150 jobs and 150 pictures waiting, 0 parked" in run("status").output


def test_list_shows_jobs_with_their_reasons(parked: ParkedJobs, outbox: Any) -> None:
    shown = outbox("list").output
    assert shown.count("  parked 20") == 4
    assert TOO_LONG in shown
    assert "\x1b" not in shown
    read = json.loads(outbox("list", "--json").output)
    assert [job["event_id"] for job in read] == ["e1", "e2", "e3", "e4"]
    assert read[1]["stream"] == "pier"
    assert read[1]["reason"] == TOO_LONG
    assert set(read[0]) == {
        *("id", "event_id", "stream", "posted_at", "parked_at", "reason", "picture_only")
    }


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (["--event-id", "e2", "--event-id", "e4"], ["e2", "e4"]),
        (["--id", "1", "--id", "3"], ["e1", "e3"]),
        (["--stream", "pier"], ["e2"]),
        (["--reason", "LONGER THAN"], ["e1", "e2"]),
        (["--reason", "422*length"], ["e1", "e2"]),
        (["--reason", "0%_b"], ["e3"]),
        (["--reason", "4_2"], []),
        (["--reason", "longer", "--stream", "reef"], ["e1"]),
        (["--event-id", "fine"], []),
    ],
)
def test_a_selection_is_what_is_listed_retried_and_dropped(
    store: NodeStore, parked: ParkedJobs, outbox: Any, chosen: list[str], found: list[str]
) -> None:
    listed = json.loads(outbox("list", "--json", *chosen).output)
    assert [job["event_id"] for job in listed] == found
    retried = outbox("retry", *chosen)
    assert retried.exit_code == (0 if found else 1)
    assert sorted(waiting(store)) == sorted([*found, "fine"])
    assert names(parked) == [name for name in ("e1", "e2", "e3", "e4") if name not in found]


@pytest.mark.slow
def test_a_retried_job_arrives_while_the_node_runs(
    store: NodeStore, parked: ParkedJobs, outbox: Any
) -> None:
    with serving(Stub()) as stub:
        sender = Sender(store, TrackingConfig(url=stub.url), poll=0.02)
        sender.start()
        assert stub.wait_for(lambda: stub.event_ids() == ["fine"])
        assert outbox("retry", "--stream", "pier").exit_code == 0
        assert stub.wait_for(lambda: stub.event_ids() == ["fine", "e2"])
        assert names(parked) == ["e1", "e3", "e4"]
        assert sender.stop(60)


def test_a_dropped_job_goes_with_its_picture_after_asking(
    store: NodeStore, parked: ParkedJobs, outbox: Any
) -> None:
    refused = outbox("drop", "--stream", "reef", typed="n\n")
    assert refused.exit_code == 1
    assert "Delete 3 parked jobs for good?" in refused.output
    assert len(names(parked)) == 4
    assert "3 parked jobs deleted" in outbox("drop", "--stream", "reef", typed="y\n").output
    assert names(parked) == ["e2"]
    assert "1 parked job deleted" in outbox("drop", "--all", "--yes").output
    assert waiting(store) == ["fine"]
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pictures").scalar() == 1


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_nothing_is_done_to_all_by_mistake(parked: ParkedJobs, outbox: Any, command: str) -> None:
    for chosen in ([], ["--all", "--stream", "reef"]):
        done = outbox(command, *chosen)
        assert done.exit_code == 1
        assert "say which parked jobs" in done.output
    assert "no parked job matches" in outbox(command, "--stream", "none").output
    assert len(names(parked)) == 4


def test_a_limit_says_how_many_there_are(parked: ParkedJobs, outbox: Any) -> None:
    shown = outbox("list", "--limit", "1").output
    assert "e1" in shown
    assert "e2" not in shown
    assert "and 3 more" in shown


def test_where_there_is_no_database_none_is_made(outbox: Any, tmp_path: Path) -> None:
    assert "no parked job" in outbox("list").output
    assert "0 parked jobs" in outbox("retry", "--all").output
    assert outbox("drop", "--id", "1").exit_code == 1
    assert not (tmp_path / "storage").exists()


@pytest.mark.slow
def test_torch_and_numpy_are_not_needed(parked: ParkedJobs, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'frouros', 'deepaas'): sys.modules[name] = None\n"
        "from lenswatch.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "outbox", "retry", "--all"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "4 parked jobs" in done.stdout
    assert names(parked) == []
