""" "This is clean" on the page: asked on the server, done by the node, and undone in the same way."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from conftest import Camera, write_settings
from lenswatch.config import Config, load_config
from lenswatch.node.due import DueCommand, renewals
from lenswatch.node.observe import Node
from lenswatch.node.request import Request, open_store
from lenswatch.node.store.baselines import all_baselines
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.sender import Sender
from support.tracking_server import Server
from support.waiting import until

QUARTER = 900.0  # seconds between two pictures
CLEAN, CHANGED = 20, 40  # pictures


class Station:
    """A node with its sender and its renewals, whose camera has just been changed."""

    def __init__(self, config: Config, store: NodeStore, camera: Camera) -> None:
        self.store = store
        self._node, self._camera, self._taken = Node(config, store), camera, 0
        self._start = time.time() - (CLEAN + CHANGED + 10) * QUARTER
        for _ in range(CLEAN):
            self.take(changed=False)
        for _ in range(CHANGED):
            self.take()

    def take(self, *, changed: bool = True) -> dict[str, Any]:
        self._taken += 1
        at = datetime.fromtimestamp(self._start + self._taken * QUARTER, UTC)
        picture = self._camera(60 + self._taken, blurred=changed)
        return self._node.observe(picture, Request(stream="reef", captured_at=at))

    def baselines(self) -> list[tuple[str, bool]]:
        with self.store.read() as connection:
            return [(one.kind, one.undone is not None) for one in all_baselines(connection)]


@pytest.fixture
def station(
    trained: Config, fresh_server: Server, tmp_path: Path, camera: Camera
) -> Iterator[Station]:
    assert trained.root == tmp_path
    config = load_config(write_settings(tmp_path, fresh_server.root))
    with closing(open_store(config)) as store:
        made = Station(config, store, camera)
        sender = Sender(store, config.tracking, limits=DeliveryLimits(ask_seconds=0.2))
        errand = dataclasses.replace(renewals(config, store), poll_seconds=0.1, again_seconds=0.5)
        renewing = DueCommand(config, errand)
        sender.start()
        renewing.start()
        try:
            yield made
        finally:
            renewing.stop()
            sender.stop()


def experiment_of(server: Server) -> str | None:
    """Return the id of the node's experiment once all of its jobs have arrived."""
    search = f"{server.root}/api/latest/experiment/search"
    found = server.session.post(search, json={"name": "lenswatch"}, timeout=60).json()
    if not found or len(server.jobs_of("lenswatch")) < CLEAN + CHANGED + 1:
        return None
    return str(found[0]["id"])


@pytest.mark.slow
def test_what_a_person_calls_clean_on_the_page_raises_no_alarm_until_it_is_undone(
    station: Station, fresh_server: Server, page: Page
) -> None:
    before = station.take()
    assert before["score"] > before["drift_score"]
    experiment = until(lambda: experiment_of(fresh_server))
    assert experiment
    page.goto(f"{fresh_server.page_of(experiment)}?stream=reef")
    page.get_by_role("button", name="This is clean").click()
    expect(page.locator("#done")).to_contain_text("asked to take the pictures of now as clean")

    def told(words: str) -> bool:
        page.reload()
        return words in page.locator("#asked").inner_text()

    until(lambda: told("baseline accepted from"))
    assert station.baselines() == [("accepted", False)]
    after = station.take()
    assert after["score"] <= after["drift_score"]
    page.locator("#asked").get_by_role("button", name="Undo").click()
    expect(page.locator("#done")).to_contain_text("asked to undo that")
    until(lambda: told("was undone"))
    assert station.baselines() == [("accepted", True)]
    again = station.take()
    assert again["score"] > again["drift_score"]
