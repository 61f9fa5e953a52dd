"""`/metrics` of a node: calls, stages, outbox, workers and memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lenswatch.api.gauges import Gauges
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from conftest import Camera, Served
from lenswatch.config import Config
from lenswatch.node.store.store import NodeStore
from lenswatch.stages import Timed, stage, timed
from support.node_processes import drift_job
from support.waiting import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def read(node: Served, accept: str = "") -> requests.Response:
    return requests.get(f"{node.url}/metrics", headers={"Accept": accept}, timeout=60)


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"lenswatch_node_{name}", tuple(sorted(labels.items()))]


def test_calls_are_counted_with_the_time_of_each_stage(deepaas: Served, camera: Camera) -> None:
    def now() -> Samples:
        return samples_of(read(deepaas).text)

    deepaas.predict(camera(61), stream="metrics").raise_for_status()
    before = now()
    for i in (62, 63):
        deepaas.predict(camera(i), stream="metrics").raise_for_status()
    assert deepaas.predict(b"no picture", stream="metrics").status_code == 422
    after = now()

    def grown(name: str, **labels: str) -> float:
        key = f"lenswatch_node_{name}", tuple(sorted(labels.items()))
        return after[key] - before.get(key, 0.0)

    assert grown("calls_total", status="200") == 2
    assert grown("calls_total", status="422") == 1
    assert grown("call_seconds_count") == 3
    assert grown("outbox_jobs", state="waiting") == 3  # its server is down
    stages = ("waiting", "decode", "encode", "judge", "record", "other")
    for name in stages:
        assert grown("stage_seconds_count", stage=name) == 2, name
    spent = sum(grown("stage_seconds_sum", stage=name) for name in stages)
    assert 0 < spent < grown("call_seconds_sum")
    verdicts = [
        grown("pictures_total", verdict=verdict)
        for verdict in ("clean", "warning", "drift")
        if ("lenswatch_node_pictures_total", (("verdict", verdict),)) in after
    ]
    assert sum(verdicts) == 2


def test_the_state_of_the_node_is_told(deepaas: Served, camera: Camera) -> None:
    deepaas.predict(camera(64), stream="metrics").raise_for_status()

    def with_all_workers() -> Samples:
        samples = samples_of(read(deepaas).text)
        return samples if value(samples, "workers", state="ready") == 2 else {}

    samples = until(with_all_workers, seconds=60)
    assert value(samples, "workers", state="wanted") == 2
    assert value(samples, "worker_restarts_total") == 0
    assert value(samples, "database_readable") == 1
    assert value(samples, "outbox_bytes") > 500
    assert value(samples, "outbox_max_bytes") == 2e9
    assert 0 <= value(samples, "outbox_oldest_seconds") < 3600
    assert value(samples, "outbox_short") == 0
    assert value(samples, "disk_free_bytes") > 1e6
    assert value(samples, "shed_total", kind="jobs") == 0
    memory = {name: value(samples, "memory_bytes", process=name) for name in ("parent", "worker 1")}
    assert memory["worker 1"] > memory["parent"] > 1e7
    [info] = [dict(labels) for name, labels in samples if name == "lenswatch_node_info"]
    assert re.fullmatch("[0-9a-f]{16}", info["reference"])


def test_openmetrics_when_asked_for(deepaas: Served) -> None:
    plain = read(deepaas)
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    answer = read(deepaas, "application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    names = {family.name for family in openmetrics_families(answer.text)}  # type: ignore[no-untyped-call]
    assert {"lenswatch_node_calls", "lenswatch_node_stage_seconds"} <= names


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path / "storage" / "node.db")
    yield store
    store.close()


def gauges(config: Config, store: NodeStore | None) -> dict[str, Any]:
    return {
        sample.name.removeprefix("lenswatch_node_") + "".join(sample.labels.values()): sample.value
        for family in Gauges(config, store, []).collect()
        for sample in family.samples
    }


def test_the_age_of_the_oldest_job_grows(config: Config, store: NodeStore) -> None:
    assert gauges(config, store)["outbox_oldest_seconds"] == 0
    with store.begin() as transaction:
        transaction.post(drift_job("e1"), b"jpeg")
    now = store.clock()
    store.clock = lambda: now + 90
    found = gauges(config, store)
    assert found["outbox_oldest_seconds"] == pytest.approx(90, abs=2)
    assert (found["outbox_jobswaiting"], found["outbox_pictures"]) == (1, 1)


def test_without_a_database_the_rest_is_told(config: Config) -> None:
    found = gauges(config, None)
    assert found["database_readable"] == 0
    assert found["memory_bytesparent"] > 1e6
    assert "outbox_bytes" not in found


def test_a_stage_within_another_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    @stage("inner")
    def inner() -> int:
        now[0] += 2
        return 1

    @stage("outer")
    def outer() -> int:
        now[0] += 1
        return inner() + inner()

    result = timed(outer)
    assert result == Timed(2, 5.0, {"inner": 4.0, "outer": 1.0})


def test_a_stage_that_fails_ends() -> None:
    @stage("fails")
    def fails() -> None:
        raise ValueError

    @stage("after")
    def after() -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            fails()

    stages = timed(after).stages
    assert set(stages) == {"fails", "after"}
    assert min(stages.values()) >= 0
