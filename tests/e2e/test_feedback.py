"""From a fouled lens to a clean one: judged by the node, noted by people, and told by the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli.main import main
from lenswatch.client.client import TrackingClient
from lenswatch.client.credentials import BearerToken
from lenswatch.config import Config
from lenswatch.node.request import open_store
from lenswatch.outbox.sender import Sender
from support.databases import DATABASES
from support.keyed_server import Keyed, keyed_server

CLEAN, FOUL, CLEANED = 5, 14, 12  # pictures, one a minute
DRIFT = range(CLEAN, CLEAN + FOUL)


@pytest.fixture(params=DATABASES)
def server(request: Any, tmp_path: Path) -> Iterator[Keyed]:
    folder = tmp_path / "server"
    folder.mkdir()
    with keyed_server(request.param, folder) as server:
        yield server


@pytest.fixture
def run(trained: Config, server: Keyed, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Function (*arguments) that runs a command of the trained node and returns its output."""
    monkeypatch.setenv("LENSWATCH_TRACKING_AUTH", "token")
    monkeypatch.setenv("LENSWATCH_TRACKING_TOKEN", server.key)
    settings = write_settings(trained.root, server.address)

    def command(*arguments: Any) -> str:
        done = CliRunner().invoke(
            main, [arguments[0], "--config", str(settings), *map(str, arguments[1:])]
        )
        assert done.exit_code == 0, done.output
        return str(done.output)

    return command


def minute(at: int) -> str:
    return f"2026-06-03T08:{at:02}:00Z"


def judge(run: Any, folder: Path, camera: Camera, moments: range, *, blurred: bool) -> None:
    """Judge pictures by `lenswatch predict`, which is the node without its server."""
    folder.mkdir()
    for at in moments:
        file = folder / f"{minute(at).replace('-', '').replace(':', '')}.jpg"
        file.write_bytes(camera(60 + at, blurred=blurred))
    run("predict", "--stream", "reef", folder)


def deliver(config: Config, server: Keyed) -> None:
    with contextlib.closing(open_store(config)) as store:
        sender = Sender(store, server.tracking("lenswatch"), poll=0.02)
        assert sender.drain(60)
        assert sender.stop(60)


@pytest.mark.slow
def test_what_was_done_and_whether_it_helped(
    run: Any, trained: Config, server: Keyed, camera: Camera, tmp_path: Path
) -> None:
    judge(run, tmp_path / "clean", camera, range(CLEAN), blurred=False)
    judge(run, tmp_path / "foul", camera, DRIFT, blurred=True)
    deliver(trained, server)
    client = TrackingClient(server.address, auth=BearerToken(server.key))
    found = client.find_experiment("lenswatch")
    assert found
    experiment = f"/experiment/{found.id}"

    cleaning = DRIFT.stop
    told = run("annotate", "cleaned", "by hand", "--stream", "reef", "--at", minute(cleaning))
    assert "was left on" in told
    assert "was left on" in run("reset", "reef")
    [cleaned, reset] = sorted(server.annotations(found.id), key=lambda each: each["kind"])
    assert (cleaned["kind"], reset["kind"]) == ("lens cleaned", "reset")
    effect = f"{experiment}/annotation/{cleaned['id']}/effect"
    [early] = server.ask("GET", effect)["streams"]
    assert (early["verdict"], len(early["before"])) == ("too early", 10)

    judge(run, tmp_path / "after", camera, range(cleaning, cleaning + CLEANED), blurred=False)
    deliver(trained, server)
    [helped] = server.ask("GET", effect)["streams"]
    assert (helped["verdict"], helped["statistic"]) == ("helped", "score")
    assert helped["ratio_before"] > 1 > helped["ratio_after"]
    assert all(job["image"] for job in helped["before"] + helped["after"])

    [alarm] = server.ask("GET", f"{experiment}/events", params={"kind": "drift"})
    for job in client.search_drifts(found.id, {"parameters.stream": "reef"}, limit=100):
        at = int(job["parameters"]["captured_at"][14:16])
        verdict = "true drift" if at in DRIFT else "false alarm"
        assert client.put_feedback(found.id, job["parameters"]["event_id"], verdict)
    total = server.ask("GET", f"{experiment}/quality")["total"]
    assert (total["precision"]["value"], total["recall"]["value"]) == (1, 1)
    assert 0 <= total["seconds_to_detection"]["median"] <= 120
    assert client.put_event_feedback(found.id, alarm["id"], "false alarm", "a test")
    assert server.ask("GET", f"{experiment}/quality")["total"]["precision"]["value"] == 0
    client.close()
