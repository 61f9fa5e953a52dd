"""Channels, rules and deliveries by the API: who may do what, and what is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from support.alerts import channel, deliveries, judged, rule
from support.api import Api
from support.waiting import until

HOOK = {"name": "ops", "kind": "webhook", "url": "https://hooks.example/T0/secret-path"}
RULE = {"name": "drifts", "on": ["drift"]}


def test_managers_change_and_editors_see(ann: Api, bob: Api) -> None:
    pier = ann.experiment("pier", public=True)
    base = f"/experiment/{pier['id']}"
    ops = channel(ann, pier, HOOK["url"])
    drifts = rule(ann, pier, [ops])
    paths = ("channel", "rule", "deliveries", f"channel/{ops['id']}", f"rule/{drifts['id']}")
    for path in paths:  # a public experiment is not public about whom it tells
        assert bob.get(f"{base}/{path}").status_code == 403
    entries = [{"entity": bob.me(), "level": "Edit"}]
    assert ann.put(base, json={"name": "pier", "permissions": entries}).status_code == 200
    for path in paths:
        assert bob.get(f"{base}/{path}").status_code == 200
    assert bob.post(f"{base}/channel", json=HOOK).status_code == 403
    assert bob.put(f"{base}/channel/{ops['id']}", json=HOOK).status_code == 403
    assert bob.post(f"{base}/channel/{ops['id']}/test").status_code == 403
    assert bob.delete(f"{base}/channel/{ops['id']}").status_code == 403
    assert bob.post(f"{base}/rule", json=RULE).status_code == 403
    assert bob.put(f"{base}/rule/{drifts['id']}", json=RULE).status_code == 403
    assert bob.delete(f"{base}/rule/{drifts['id']}").status_code == 403
    assert bob.post(f"{base}/rule-preview", json=RULE).status_code == 200


def test_addresses_and_secrets_are_not_shown_again(local: Api) -> None:
    pier = local.experiment("pier")
    base = f"/experiment/{pier['id']}/channel"
    made = channel(local, pier, HOOK["url"])
    assert made["secret"].startswith("whsec_")
    assert made["target"] == "hooks.example"
    for shown in (local.get(base), local.get(f"{base}/{made['id']}")):
        assert "secret" not in shown.text.replace("renew_secret", "")
    kept = local.put(f"{base}/{made['id']}", json=HOOK | {"url": None, "name": "new"}).json()
    assert (kept["name"], kept["target"], kept.get("secret")) == ("new", "hooks.example", None)
    renewed = local.put(f"{base}/{made['id']}", json=HOOK | {"renew_secret": True}).json()
    assert renewed["secret"] not in (None, made["secret"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": None}, "url"),
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": "https://hooks.example/#part"}, "url"),
        ({"kind": "pigeon"}, "kind"),
        ({"kind": "email", "to": ["ops@reef.example"]}, "kind"),  # no mail server is configured
        ({"kind": "email", "to": ["ops@reef.example\n"]}, "to"),
        ({"kind": "apprise", "url": "nothing://"}, "url"),
        ({"name": ""}, "name"),
    ],
)
def test_a_channel_that_cannot_work_is_refused(
    local: Api, change: dict[str, Any], field: str
) -> None:
    pier = local.experiment("pier")
    answer = local.post(f"/experiment/{pier['id']}/channel", json=HOOK | change)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]["json"]) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"on": []}, "on"),
        ({"on": ["rain"]}, "on"),
        ({"count": 3, "of": 2}, "count"),
        ({"of": 101}, "of"),
        ({"minimum_seconds": -1}, "minimum_seconds"),
        ({"remind_seconds": 1}, "remind_seconds"),
        ({"stream": "reef,south"}, "stream"),
        ({"muted_until": "tomorrow"}, "muted_until"),
        ({"quiet": {"begins": "22:00", "ends": "22:00"}}, "quiet"),
        ({"quiet": {"begins": "25:00", "ends": "22:00"}}, "quiet"),
        ({"quiet": {"begins": "22:00\n", "ends": "06:00"}}, "quiet"),
        ({"quiet": {"begins": "22:00", "ends": "06:00", "timezone": "Mars"}}, "quiet"),
        ({"quiet": {"begins": "22:00", "ends": "06:00", "timezone": "../UTC"}}, "quiet"),
        ({"channels": ["2f1b4c58-3f7a-4a4d-8d7b-111111111111"]}, "channels"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(local: Api, change: dict[str, Any], field: str) -> None:
    pier = local.experiment("pier")
    answer = local.post(f"/experiment/{pier['id']}/rule", json=RULE | change)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]["json"]) == [field]


def test_a_rule_has_channels_of_its_own_experiment_only(local: Api) -> None:
    pier, yard = local.experiment("pier"), local.experiment("yard")
    ops = channel(local, yard, HOOK["url"])
    body = RULE | {"channels": [ops["id"]]}
    assert local.post(f"/experiment/{pier['id']}/rule", json=body).status_code == 422
    for path in (f"channel/{ops['id']}", f"channel/{ops['id']}/test"):
        method = "POST" if path.endswith("test") else "GET"
        assert local(method, f"/experiment/{pier['id']}/{path}").status_code == 404


def test_a_deleted_channel_gets_nothing_more(local: Api) -> None:
    pier = local.experiment("pier")
    ops = channel(local, pier, "http://127.0.0.1:9/")  # nobody is there
    rule(local, pier, [ops])
    local.drift(pier, **judged("reef", drift=True))
    until(lambda: [d for d in deliveries(local, pier) if d["result"]])
    assert local.delete(f"/experiment/{pier['id']}/channel/{ops['id']}").status_code == 204
    [dropped] = deliveries(local, pier)
    assert (dropped["state"], dropped["channel"]) == ("not sent", None)
    assert dropped["result"] == "the channel was deleted"
    [left] = local.get(f"/experiment/{pier['id']}/rule").json()
    assert left["channels"] == []


def test_deliveries_are_found_by_event_stream_and_channel(local: Api) -> None:
    pier = local.experiment("pier")
    ops, crew = (channel(local, pier, "http://127.0.0.1:9/", name=name) for name in "ab")
    rule(local, pier, [ops, crew])
    for stream in ("reef", "quay"):
        local.drift(pier, **judged(stream, drift=True))
        until(partial(_are_two, local, pier, stream))
    [event] = local.get(f"/experiment/{pier['id']}/events", params={"stream": "reef"}).json()
    found = deliveries(local, pier, event=event["id"])
    assert [each["streams"] for each in found] == [["reef"]] * 2
    assert {each["channel"] for each in deliveries(local, pier, channel=ops["id"])} == {ops["id"]}
    page = deliveries(local, pier, limit=3)
    assert len(page) == 3
    assert len(deliveries(local, pier, limit=3, before=page[-1]["id"])) == 1
    assert [each["id"] for each in deliveries(local, pier)[:3]] == [each["id"] for each in page]


def _are_two(api: Api, experiment: dict[str, Any], stream: str) -> bool:
    return len(deliveries(api, experiment, stream=stream)) == 2


def test_an_experiment_is_deleted_with_its_alerts(local: Api) -> None:
    pier = local.experiment("pier")
    rule(local, pier, [channel(local, pier, "http://127.0.0.1:9/")])
    local.drift(pier, **judged("reef", drift=True))
    until(lambda: deliveries(local, pier))
    assert local.delete(f"/experiment/{pier['id']}").status_code == 204
