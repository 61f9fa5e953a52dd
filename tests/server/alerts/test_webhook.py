"""Webhooks: from a job to a signed request, and what they may not reach."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from starlette.testclient import TestClient

from lenswatch.server.alerts.channels import webhook
from lenswatch.server.alerts.channels.guard import Allowed, read_allowed
from lenswatch.server.alerts.messages import Message
from support.alerts import channel, deliveries, judged, rule, tell, wait_for_end
from support.api import Api
from support.receiver import Receiver
from support.samples import picture
from support.waiting import until

MESSAGE = Message("m1", 0, {"id": "e1", "name": "pier"}, None)
HERE = read_allowed(["127.0.0.1"])


def test_a_drift_becomes_one_signed_request_with_its_pictures(
    telling: Api, receiver: Receiver
) -> None:
    pier = telling.experiment("pier")
    ops = channel(telling, pier, receiver.url)
    rule(telling, pier, [ops], "drift", "recovery")
    clean = {"reference": "0123456789abcdef", "name": "noon.jpg"}
    path = f"/experiment/{pier['id']}/reference/0123456789abcdef/picture/noon.jpg"
    jpeg = {"content-type": "image/jpeg"}
    assert telling.put(path, content=picture(), headers=jpeg).status_code in (200, 201)
    drift = telling.drift(pier, **judged("reef-03", drift=True, nearest_clean=clean))
    path = f"/experiment/{pier['id']}/drift/{drift['id']}/image"
    assert telling.put(path, content=picture(), headers=jpeg).status_code == 200

    [request] = until(lambda: receiver.requests)
    document = Webhook(ops["secret"]).verify(request.body, dict(request.headers))
    assert document["type"] == "alarm"
    data = document["data"]
    [alarm] = data["alarms"]
    [event] = telling.get(f"/experiment/{pier['id']}/events").json()
    assert alarm["event"] == event["id"]
    assert data["link"] == f"https://lens.example/watch/experiment/{pier['id']}/event/{event['id']}"
    assert data["title"].startswith("reef-03 drifts since ")
    assert data["title"].endswith(": blur lower left")
    assert alarm["evidence"] == ["2.6 times the drift threshold: sure."]
    assert data["experiment"] == {"id": pier["id"], "name": "pier"}
    # The picture may have been stored after the decision; then it is in the next message.
    telling.drift(pier, **judged("reef-03", drift=False))
    until(lambda: len(receiver.requests) == 2)
    assert receiver.requests[1].json["type"] == "recovery"
    assert "reef-03 is clean again" in receiver.titles()[1]
    assert [each["state"] for each in wait_for_end(telling, pier, 2)] == ["delivered"] * 2


def test_a_message_carries_the_picture_and_the_nearest_clean_one(
    telling: Api, receiver: Receiver
) -> None:
    pier = telling.experiment("pier")
    jpeg = {"content-type": "image/jpeg"}
    clean = {"reference": "0123456789abcdef", "name": "noon.jpg"}
    path = f"/experiment/{pier['id']}/reference/0123456789abcdef/picture/noon.jpg"
    telling.put(path, content=picture(size=(32, 32)), headers=jpeg)
    drift = telling.drift(pier, **judged("reef-03", drift=True, nearest_clean=clean))
    path = f"/experiment/{pier['id']}/drift/{drift['id']}/image"
    telling.put(path, content=picture(), headers=jpeg)
    rule(telling, pier, [channel(telling, pier, receiver.url)])  # tells what is wrong already
    [request] = until(lambda: receiver.requests)
    [alarm] = request.json["data"]["alarms"]
    assert alarm["drift"] == drift["id"]
    assert [each["role"] for each in alarm["pictures"]] == ["picture", "nearest clean"]
    stored = telling.get(path).content
    assert base64.b64decode(alarm["pictures"][0]["data"]) == stored


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
    ],
)
def test_the_own_network_is_not_reached_unless_the_configuration_names_it(
    receiver: Receiver, url: str
) -> None:
    target = {"url": url.format(port=receiver.port)}
    outcome = webhook.send(target, webhook.new_secret(), MESSAGE, Allowed())
    assert not outcome.delivered
    assert "within the server's own network" in outcome.result
    assert receiver.requests == []


def test_a_name_is_looked_up_when_the_message_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was public when the channel was made, and is private now, is refused."""
    import socket

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = {"url": f"http://hooks.example:{receiver.port}/"}
    secret = webhook.new_secret()
    assert not webhook.send(target, secret, MESSAGE, Allowed()).delivered
    assert webhook.send(target, secret, MESSAGE, read_allowed(["hooks.example"])).delivered
    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.answer_headers = 302, {"location": receiver.url + "/elsewhere"}
    outcome = webhook.send({"url": receiver.url}, webhook.new_secret(), MESSAGE, HERE)
    assert not outcome.delivered
    assert "redirects are not followed" in outcome.result
    assert len(receiver.requests) == 1


def test_a_receiver_that_is_gone_is_not_tried_again(telling: Api, receiver: Receiver) -> None:
    receiver.status = 410
    pier = telling.experiment("pier")
    rule(telling, pier, [channel(telling, pier, receiver.url)])
    telling.drift(pier, **judged("reef-03", drift=True))
    [given_up] = wait_for_end(telling, pier)
    assert (given_up["state"], given_up["tries"]) == ("given up", 1)
    assert given_up["result"].startswith("410 ")


def test_a_failure_is_tried_again_as_the_receiver_asks(telling: Api, receiver: Receiver) -> None:
    receiver.status, receiver.answer_headers = 503, {"retry-after": "3600"}
    pier = telling.experiment("pier")
    rule(telling, pier, [channel(telling, pier, receiver.url)])
    telling.drift(pier, **judged("reef-03", drift=True))
    [waiting] = until(
        lambda: [d for d in deliveries(telling, pier, state="waiting") if d["tries"] == 1]
    )
    assert waiting["result"].startswith("503 ")
    assert waiting["next_try_at"] > waiting["created_at"]


def test_forty_cameras_at_once_are_one_message(telling: Api, receiver: Receiver) -> None:
    pier = telling.experiment("pier")
    rule(telling, pier, [channel(telling, pier, receiver.url)], digest_seconds=2)
    tell(telling, pier, [judged(f"cam-{n:02}", drift=True) for n in range(40)])
    [ended] = wait_for_end(telling, pier)
    assert ended["title"] == "40 cameras of pier: 40 drifting"
    assert len(receiver.requests) == 1
    assert len(receiver.requests[0].json["data"]["alarms"]) == 40


def test_a_test_arrives_whatever_is_quiet(telling: Api, receiver: Receiver) -> None:
    pier = telling.experiment("pier")
    ops = channel(telling, pier, receiver.url)
    answer = telling.post(f"/experiment/{pier['id']}/channel/{ops['id']}/test")
    assert answer.status_code == 202
    assert answer.json()["what"] == "test"
    path = f"/experiment/{pier['id']}/deliveries/{answer.json()['id']}"
    until(lambda: telling.get(path).json()["state"] == "delivered")
    assert receiver.titles() == ["TEST: this is how messages about pier arrive"]
    [shown] = telling.get(f"/experiment/{pier['id']}/channel").json()
    assert shown["last"]["state"] == "delivered"
    assert "secret" not in shown


def test_a_server_with_an_unusable_private_host_does_not_start(make_app: Any) -> None:
    from lenswatch.config import AlertsConfig
    from lenswatch.errors import ServerError

    with (
        pytest.raises(ServerError, match="private_hosts"),
        TestClient(make_app(alerts=AlertsConfig(private_hosts=("10.0.0.0/33",)))),
    ):
        pass
