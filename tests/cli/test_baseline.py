"""`lenswatch accept` and `lenswatch baseline`."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.notes import Notes
from lenswatch.outbox.rows import OutboxRows
from support.tracking_server import Server

pytestmark = pytest.mark.slow
LONG_AGO = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def baseline(tmp_path: Path) -> Any:
    """Return a function that runs `lenswatch baseline` with its arguments."""
    settings = str(write_settings(tmp_path))

    def command(name: str, *arguments: str) -> Any:
        return CliRunner().invoke(main, ["baseline", name, "--config", settings, *arguments])

    return command


@pytest.fixture
def lived(trained: Config, camera: Camera) -> Config:
    """A storage whose stream reef took 40 pictures in ten hours, long ago."""
    now = [LONG_AGO]
    with closing(NodeStore(trained.storage_path / "node.db", clock=lambda: now[0])) as store:
        node = Node(trained, store)
        for i in range(60, 100):
            now[0] += 900
            at = datetime.fromtimestamp(now[0], UTC)
            node.observe(camera(i), Request(stream="reef", captured_at=at))
    return trained


def test_what_happens_to_a_baseline_is_listed_and_undone(
    lived: Config, run: Any, baseline: Any, lowered: list[int]
) -> None:
    assert "no baseline was renewed yet" in baseline("list").output
    assert lowered == []
    assert "stream reef: baseline renewed from" in baseline("renew").output
    assert lowered == [10]  # the node goes on answering meanwhile
    assert baseline("renew").output.startswith("nothing to do")  # its day is not over again
    assert "stream reef: baseline accepted from" in run("accept", "reef").output
    listed = baseline("list").output
    assert all(word in listed for word in ("renewed", "accepted", "reef"))
    assert "undone" not in listed
    assert "number 2 (accepted) was undone" in baseline("undo", "reef").output
    assert "undone" in baseline("list", "reef").output
    assert "no baseline was renewed yet" in baseline("list", "pier").output
    assert "back to the calibration" in baseline("cleaned", "reef").output
    assert "cleaned" in baseline("list").output


def test_a_stream_that_is_not_known_is_named(lived: Config, run: Any) -> None:
    ended = run("accept", "harbour")
    assert ended.exit_code == 1
    assert "stream 'harbour' is not known; `lenswatch status` lists those that are" in ended.output


def test_without_any_picture_there_is_nothing_to_list(config: Config, baseline: Any) -> None:
    ended = baseline("list")
    assert ended.exit_code == 1
    assert "no picture was judged yet" in ended.output


def test_a_renewal_is_an_annotation_where_there_is_a_server(
    lived: Config, baseline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENSWATCH_TRACKING_URL", "http://127.0.0.1:9")
    assert baseline("renew").exit_code == 0
    with closing(NodeStore(lived.storage_path / "node.db")) as store:
        (note,) = Notes(store).all()
    assert (note.body["kind"], note.body["stream"]) == ("note", "reef")
    assert note.body["text"].startswith("baseline renewed from")


def test_renewing_fetches_what_was_asked_on_the_dashboard_and_answers_it(
    lived: Config, baseline: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    try:
        experiment = server.experiment()
        server.job(experiment, stream="reef")
        path = f"{server.root}/api/latest/experiment/{experiment}/baseline-request"
        asked = server.session.post(path, json={"stream": "reef", "kind": "cleaned"})
        assert asked.ok
        monkeypatch.setenv("LENSWATCH_TRACKING_URL", server.root)
        with closing(NodeStore(lived.storage_path / "node.db")) as store:
            OutboxRows(store).remember_experiment(
                server.root, lived.tracking.experiment, experiment
            )
        done = baseline("renew")
        [answered] = server.session.get(path).json()
    finally:
        server.stop()
    assert "stream reef: baseline: back to the calibration" in done.output
    assert answered["state"] == "done"
    assert "back to the calibration" in answered["answer"]


def test_renewing_says_why_nothing_can_be_fetched(
    lived: Config, baseline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9"
    monkeypatch.setenv("LENSWATCH_TRACKING_URL", url)
    with closing(NodeStore(lived.storage_path / "node.db")) as store:
        OutboxRows(store).remember_experiment(url, lived.tracking.experiment, "e1")
    done = baseline("renew")
    assert done.exit_code == 0
    assert f"requests cannot be fetched from {url}: " in done.output
