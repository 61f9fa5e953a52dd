"""Deliveries in /metrics."""

from __future__ import annotations

import re

from support.alerts import channel
from support.api import Api
from support.receiver import Receiver
from support.waiting import until


def counts(api: Api) -> dict[tuple[str, str], float]:
    text = api.client.get("/metrics").text
    pattern = r'lenswatch_alert_deliveries\{experiment="pier",kind="(.*)",state="(.*)"\} (.*)'
    return {(kind, state): float(value) for kind, state, value in re.findall(pattern, text)}


def test_deliveries_are_counted_by_state_from_the_channels_creation_on(
    telling: Api, receiver: Receiver
) -> None:
    pier = telling.experiment("pier")
    assert counts(telling) == {}
    hook = channel(telling, pier, receiver.url)
    assert set(counts(telling).values()) == {0}
    assert ("webhook", "given up") in counts(telling)
    path = f"/experiment/{pier['id']}/channel/{hook['id']}/test"
    assert telling.post(path).status_code < 300
    until(lambda: counts(telling)["webhook", "delivered"] == 1)
    assert sum(counts(telling).values()) == 1
