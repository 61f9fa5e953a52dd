"""Messages through the library apprise, which runs in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lenswatch.server.alerts.channels import apprise
from lenswatch.server.alerts.channels.guard import Allowed, read_allowed
from lenswatch.server.alerts.messages import Message, Picture, Statement
from support.alerts import channel, judged, rule, wait_for_end
from support.api import Api
from support.receiver import Receiver
from support.samples import picture
from support.waiting import until

FACTS = {
    **{"stream": "reef", "name": "reef", "place": None, "kind": "drift", "what": "alarm"},
    **{"since": 0, "ended_at": None, "held": None, "shed": 0},
}
STATEMENT = Statement(FACTS, "https://lens.example/e", [Picture("picture", "now", picture())])
MESSAGE = Message("m1", 0, {"id": "e1", "name": "pier"}, "r", [STATEMENT])
HERE = read_allowed(["127.0.0.1"])


@pytest.mark.slow
def test_a_drift_is_told_through_apprise(telling: Api, receiver: Receiver) -> None:
    pier = telling.experiment("pier")
    url = f"json://user:hidden@127.0.0.1:{receiver.port}/hook"
    made = channel(telling, pier, url, kind="apprise")
    assert made["target"] == "JSON"
    rule(telling, pier, [made])
    telling.drift(pier, **judged("reef-03", drift=True))
    [request] = until(lambda: receiver.requests)
    assert request.json["title"].startswith("reef-03 drifts since")
    assert "2.6 times the drift threshold: sure." in request.json["message"]
    assert wait_for_end(telling, pier)[0]["result"] == "accepted"
    shown = telling.get(f"/experiment/{pier['id']}/channel")
    assert "hidden" not in shown.text


def test_it_carries_the_pictures(receiver: Receiver) -> None:
    target = {"url": f"json://127.0.0.1:{receiver.port}"}
    assert apprise.send(target, MESSAGE, HERE).delivered
    [request] = receiver.requests
    [attachment] = request.json["attachments"]
    assert attachment["mimetype"] == "image/jpeg"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_own_network_is_guarded_here_too(receiver: Receiver, host: str) -> None:
    target = {"url": f"json://{host}:{receiver.port}"}
    outcome = apprise.send(target, MESSAGE, Allowed())
    assert not outcome.delivered
    assert "within the server's own network" in outcome.result
    assert receiver.requests == []


def test_redirects_into_the_own_network_are_guarded(receiver: Receiver) -> None:
    """Some services follow redirects; the guard is on what is connected to."""
    receiver.status, receiver.answer_headers = 307, {"location": "http://127.0.0.2:9/"}
    outcome = apprise.send({"url": f"json://127.0.0.1:{receiver.port}"}, MESSAGE, HERE)
    assert not outcome.delivered


def test_a_url_reads_no_file_of_the_server(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"text": "hidden"}')
    url = f"slack://a@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template={secret}"
    outcome = apprise.send({"url": url}, MESSAGE, HERE)
    assert (outcome.delivered, outcome.result) == (
        False,
        "the apprise URL names a file of the server",
    )


def test_a_url_writes_no_log_of_the_server() -> None:
    assert not apprise.send({"url": "syslog://"}, MESSAGE, HERE).delivered


def test_unknown_services_are_named_none() -> None:
    assert apprise.service_of("json://127.0.0.1") == "JSON"
    assert apprise.service_of("nothing://127.0.0.1") is None
