"""The thread of a node that renews baselines in a process of its own."""

from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conftest import Camera, write_settings
from lenswatch.config import AlarmConfig, Config, load_config
from lenswatch.node.due import DueCommand, renewals
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.baselines import all_baselines
from lenswatch.node.store.requests import Asked, take
from lenswatch.node.store.store import NodeStore
from support.waiting import until

pytestmark = pytest.mark.slow
A_DAY = 86400.0


def test_a_stream_whose_day_is_over_is_renewed_by_a_child_process(
    trained: Config, camera: Camera, tmp_path: Path
) -> None:
    config = load_config(write_settings(tmp_path))
    assert config.storage_path == trained.storage_path
    now = [time.time() - 2 * A_DAY]
    with closing(NodeStore(config.storage_path / "node.db", clock=lambda: now[0])) as store:
        node = Node(config, store)
        for i in range(60, 100):
            now[0] += 900
            at = datetime.fromtimestamp(now[0], UTC)
            node.observe(camera(i), Request(stream="reef", captured_at=at))
        now[0] = time.time()
        fixed = dataclasses.replace(config, alarm=AlarmConfig(baseline="fixed"))
        assert not renewals(fixed, store).is_due()
        with store.begin() as transaction:
            asked = Asked("r1", "reef", "cleaned", None, now[0])
            take(transaction.connection, [asked])
        assert renewals(fixed, store).is_due()  # a person asks for something
        with store.begin() as transaction:
            take(transaction.connection, [])
        assert not renewals(fixed, store).is_due()
        errand = dataclasses.replace(renewals(config, store), poll_seconds=0.05)
        thread = DueCommand(config, errand)
        thread.start()
        try:
            until(lambda: kinds(store) == ["renewed"])
        finally:
            thread.stop()


def kinds(store: NodeStore) -> list[str]:
    with store.read() as connection:
        return [one.kind for one in all_baselines(connection)]
