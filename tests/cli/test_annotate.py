"""`lenswatch annotate`, and the annotation that `lenswatch reset` leaves, against a real server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import write_settings
from lenswatch.cli.main import main
from lenswatch.client.client import TrackingClient
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.notes import Notes
from lenswatch.outbox.sender import Sender
from support.databases import DATABASES
from support.driftwatch_stub import Stub, serving
from support.keyed_server import Keyed, keyed_server
from support.ports import free_port
from support.waiting import until


@pytest.fixture(scope="module", params=DATABASES)
def server(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    with keyed_server(request.param, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def name(request: Any) -> str:
    """An experiment's name of the test's own."""
    return str(request.node.name)


@pytest.fixture
def experiment(server: Keyed, name: str) -> str:
    return str(server.ask("POST", "/experiment", json={"name": name})["id"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """Function (server or address, *arguments) that runs a command with a node's settings for that server."""
    monkeypatch.setenv("LENSWATCH_TRACKING_AUTH", "token")
    monkeypatch.setenv("LENSWATCH_TRACKING_EXPERIMENT", name)
    monkeypatch.setenv("LENSWATCH_CAMERA_TIMEZONE", "Europe/Berlin")

    def command(server: Keyed | str, *arguments: Any) -> Any:
        keyed = Keyed(server, "lwk_none") if isinstance(server, str) else server
        if "LENSWATCH_TRACKING_TOKEN" not in os.environ:
            monkeypatch.setenv("LENSWATCH_TRACKING_TOKEN", keyed.key)
        settings = write_settings(tmp_path, keyed.address)
        extra = [arguments[0], "--config", str(settings)]
        return CliRunner().invoke(main, [*extra, *map(str, arguments[1:])])

    return command


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeStore]:
    """A node's database with a window of the stream reef."""
    (tmp_path / "storage").mkdir()
    store = NodeStore(tmp_path / "storage" / "node.db")
    with store.begin() as transaction:
        transaction.put_window("reef", "0123456789abcdef", b"state")
    yield store
    store.close()


def test_an_annotation_from_the_command_line_is_on_the_server(
    run: Any, server: Keyed, experiment: str, name: str
) -> None:
    done = run(
        *(server, "annotate", "cleaned", "with a brush", "--stream", "reef"),
        *("--at", "2026-06-03T14:30", "--until", "2026-06-03T15:00+02:00"),
    )
    assert done.exit_code == 0, done.output
    expected = 'the annotation "lens cleaned" of stream reef at 2026-06-03 12:30 UTC was left on'
    assert f"{expected} {server.address}\n" == done.output
    [left] = server.annotations(experiment)
    assert (left["kind"], left["text"], left["stream"]) == ("lens cleaned", "with a brush", "reef")
    assert left["begins_at"] == "2026-06-03T12:30:00.000000+00:00"  # Berlin is two hours ahead
    assert left["ends_at"] == "2026-06-03T13:00:00.000000+00:00"
    assert left["author"] == "buoy-7"


def test_an_annotation_is_of_now_and_of_the_whole_experiment(
    run: Any, server: Keyed, experiment: str
) -> None:
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    assert run(server, "annotate", "moved").exit_code == 0
    [left] = server.annotations(experiment)
    assert (left["kind"], left["stream"], left["ends_at"]) == ("moved on purpose", None, None)
    assert begun <= datetime.fromisoformat(left["begins_at"]) <= datetime.now(UTC)


def test_a_time_of_day_is_today_s(run: Any, server: Keyed, experiment: str) -> None:
    assert run(server, "annotate", "note", "wind", "--at", "0:05").exit_code == 0
    [left] = server.annotations(experiment)
    there = timedelta(hours=1), timedelta(hours=2)  # winter and summer time
    at = datetime.fromisoformat(left["begins_at"])
    assert any(f"{at + offset:%H:%M}" == "00:05" for offset in there)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("cleaned", "--at", "yesterday"), "--at 'yesterday' is not a time; write 14:30 for today"),
        (("cleaned", "--until", "14:30"), "--until needs --at"),
        (("cleaned", "--at", "14:30", "--until", "2020-01-01"), "is before --at 14:30"),
        (("cleaned", "--at", "0001-01-01T00:00+10:00"), "is not a time"),
        (("cleaned", "--stream", "Reef 1"), "stream 'Reef 1': use 1 to 64 of a-z"),
        (("note",), "a note needs a text"),
    ],
)
def test_what_cannot_be_an_annotation_is_refused_before_it_is_sent(
    run: Any, arguments: Any, problem: str
) -> None:
    done = run(f"http://127.0.0.1:{free_port()}", "annotate", *arguments)
    assert done.exit_code == 1
    assert problem in done.output


def test_without_a_server_there_is_nothing_to_annotate_on(run: Any) -> None:
    done = run("", "annotate", "cleaned")
    assert (done.exit_code, "tracking.url is empty" in done.output) == (1, True)


def test_an_unknown_experiment_is_not_made(run: Any, server: Keyed, name: str) -> None:
    done = run(server, "annotate", "cleaned")
    assert done.exit_code == 1
    assert f"has no experiment {name!r} that we may read" in done.output


def test_a_server_that_is_down_is_told_of(run: Any) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    done = run(address, "annotate", "cleaned")
    assert done.exit_code == 1
    assert f"{address}/api/latest/experiment/search: cannot be reached" in done.output


def test_an_original_server_takes_no_annotations(run: Any, node: NodeStore, name: str) -> None:
    with serving(Stub(extensions=False)) as stub:
        done = run(stub.url, "annotate", "cleaned")
        assert done.exit_code == 0
        assert "waits and is sent by the node later" in done.output
        assert "this server takes no annotations" in done.output
    assert [note.because for note in Notes(node).all()] == ["this server takes no annotations"]


def test_an_outbox_that_cannot_be_used_is_passed_by(
    run: Any, server: Keyed, experiment: str, node: NodeStore
) -> None:
    node.close()
    with closing(sqlite3.connect(node.path)) as connection:
        connection.execute("PRAGMA user_version = 99")  # of a newer version
    assert "was left on" in run(server, "annotate", "cleaned").output
    assert len(server.annotations(experiment)) == 1


def test_credentials_that_are_missing_or_wrong_are_told_of(
    run: Any, server: Keyed, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSWATCH_TRACKING_TOKEN", "")
    done = run(server, "annotate", "cleaned")
    assert (done.exit_code, "tracking.token is empty" in done.output) == (1, True)
    monkeypatch.setenv("LENSWATCH_TRACKING_TOKEN", "lwk_wrong")
    done = run(server, "annotate", "cleaned")
    assert (done.exit_code, "check tracking.experiment and tracking.token" in done.output) == (
        1,
        True,
    )
    server.ask("POST", "/experiment", json={"name": name, "public": True})
    done = run(server, "annotate", "cleaned")
    assert (done.exit_code, "401" in done.output) == (1, True)


def test_a_reset_leaves_an_annotation(
    run: Any, server: Keyed, experiment: str, node: NodeStore
) -> None:
    done = run(server, "reset", "reef")
    assert done.exit_code == 0
    assert "window cleared" in done.output
    assert 'the annotation "reset" of stream reef' in done.output
    [left] = server.annotations(experiment)
    assert (left["kind"], left["stream"]) == ("reset", "reef")
    assert Notes(node).all() == []
    assert run(server, "reset", "reef").exit_code == 1  # it has no window now
    assert len(server.annotations(experiment)) == 1


def test_a_reset_while_the_server_is_down_is_annotated_later(
    run: Any,
    server: Keyed,
    experiment: str,
    node: NodeStore,
    name: str,
) -> None:
    before = datetime.now(UTC)
    done = run(f"http://127.0.0.1:{free_port()}", "reset", "reef")
    assert done.exit_code == 0
    assert "window cleared" in done.output
    assert "waits and is sent by the node later" in done.output
    after = datetime.now(UTC)
    shown = run(server, "status").output
    assert "waiting     1 annotation: cannot be reached" in shown
    later = NodeStore(node.path, clock=lambda: datetime.now(UTC).timestamp() + 60)
    sender = Sender(later, server.tracking(name), poll=0.02)
    sender.start()
    until(lambda: not Notes(node).all(), 30)
    assert sender.stop(30)
    [left] = server.annotations(experiment)
    taken = datetime.fromisoformat(left["begins_at"])
    second = timedelta(milliseconds=1)
    assert before - second <= taken <= after
    assert "annotation" not in run(server, "status").output


def test_a_reset_without_a_server_or_credentials_clears_the_window(
    run: Any, server: Keyed, node: NodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSWATCH_TRACKING_TOKEN", "")
    done = run(server, "reset", "reef")
    assert done.exit_code == 0
    assert "window cleared" in done.output
    assert 'the annotation "reset" was not left: tracking.auth = "token"' in done.output
    with node.begin() as transaction:
        transaction.put_window("reef", "0123456789abcdef", b"state")
    done = run("", "reset", "reef")
    assert (done.exit_code, "annotation" in done.output) == (0, False)


def test_a_program_says_what_pictures_show(server: Keyed, experiment: str, name: str) -> None:
    from lenswatch.client.monitor import client_for

    ours: TrackingClient = client_for(server.tracking(name))
    job = {"job_status": "Completed", "model": "m", "drift_detected": False}
    ours.post_drift(experiment, job | {"parameters": {"event_id": "reef:7"}})
    assert ours.put_feedback(experiment, "reef:7", "true drift", "mussels")
    given = server.ask("GET", f"/experiment/{experiment}/drift/reef:7/feedback")
    assert (given["verdict"], given["text"], given["author"]) == ("true drift", "mussels", "buoy-7")
    with serving(Stub(extensions=False)) as stub:
        assert not TrackingClient(stub.url).put_feedback(experiment, "reef:7", "true drift")
    ours.close()
