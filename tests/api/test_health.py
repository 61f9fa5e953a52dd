"""`/healthz` tells whether the node can judge and record, `/livez` whether its process answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import requests
from aiohttp import web
from lenswatch.api import checks
from lenswatch.api import health as health_module
from lenswatch.api.checks import Finding, in_thread, node_checks, outbox_finding, workers_finding
from lenswatch.api.health import Health
from lenswatch.api.workers.pool import WorkerState

from conftest import Served
from lenswatch.config import Config
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.waiting import Waiting
from lenswatch.reference.paths import (
    calibration_folder,
    current_digest,
    node_database,
    reference_folder,
)
from support.node_processes import drift_job
from support.waiting import until

Ask = Callable[[str], Awaitable[tuple[int, dict[str, Any]]]]


def no_pool() -> None:
    """DEEPaaS keeps its own pool."""


def asked(health: Health, question: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve the routes, and call `question` with a function that asks them."""

    async def run() -> None:
        app = web.Application()
        health.attach(app)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [address] = runner.addresses
        async with aiohttp.ClientSession(f"http://127.0.0.1:{address[1]}") as session:

            async def ask(path: str = "/healthz") -> tuple[int, dict[str, Any]]:
                async with session.get(path) as answer:
                    return answer.status, await answer.json()

            await question(ask)
        await runner.cleanup()

    asyncio.run(run())


def find(config: Config, name: str) -> Finding:
    async def run() -> Finding:
        return await node_checks(config, no_pool)[name]()

    return asyncio.run(run())


def test_an_outbox_without_space_is_told_and_does_not_make_the_node_unavailable(
    config: Config,
) -> None:
    with contextlib.closing(NodeStore(node_database(config.storage_path), max_bytes=2000)) as store:
        assert outbox_finding(store).warning == ""
        for i in range(3):
            with store.begin() as transaction:
                transaction.post(drift_job(f"e{i}"), b"x" * 1500)
        finding = outbox_finding(store)
    assert finding.reason == ""
    assert "short since" in finding.warning
    assert finding.told["shed_pictures"] == 2
    assert finding.told["outbox_bytes"] < 2000


def test_the_reason_why_jobs_wait_is_told(config: Config) -> None:
    with contextlib.closing(NodeStore(node_database(config.storage_path))) as store:
        Waiting(store).note("jobs", "503 Service Unavailable")
        assert "waiting_since" not in outbox_finding(store).told  # no job is there
        with store.begin() as transaction:
            transaction.post(drift_job("e1"))
        told = outbox_finding(store).told
    assert told["waiting_because"] == "503 Service Unavailable"
    assert datetime.fromisoformat(told["waiting_since"]) <= datetime.now(UTC)


def test_a_node_that_works_says_so_for_each_check(deepaas: Served) -> None:
    def ready() -> Any:
        answer = requests.get(f"{deepaas.url}/healthz", timeout=60)
        assert answer.status_code == 200
        return answer.json() if answer.json()["checks"]["workers"]["ready"] == 2 else None

    body = until(ready)
    assert body["status"] == "ok"
    assert body["reference"] is True
    assert body["model"] == f"lenswatch@{current_digest(deepaas.root / 'storage')}"
    names = ["workers", "reference", "calibration", "database", "space", "outbox"]
    assert list(body["checks"]) == names
    assert body["checks"]["outbox"]["outbox_max_bytes"] == 2_000_000_000
    assert all(check["ok"] for check in body["checks"].values())
    assert body["checks"]["workers"]["busy"] == 0
    assert "message" not in body
    assert requests.get(f"{deepaas.url}/livez", timeout=60).json() == {"status": "alive"}


def test_a_failed_check_is_a_503_with_each_reason(config: Config) -> None:
    health = Health(config, no_pool)

    async def broken() -> Finding:
        raise ValueError("unexpected")

    async def full() -> Finding:
        return Finding("the outbox is full", told={"shed": 3})

    health.checks = {"reference": health.checks["reference"], "broken": broken, "outbox": full}

    async def question(ask: Ask) -> None:
        status, body = await ask("/healthz")
        assert status == 503
        assert body["status"] == "unavailable"
        assert body["checks"]["outbox"] == {"ok": False, "reason": "the outbox is full", "shed": 3}
        assert body["message"] == "the check of broken failed: unexpected; the outbox is full"
        assert (await ask("/livez"))[0] == 200

    asked(health, question)


def test_a_check_that_hangs_is_a_reason_and_is_not_started_twice(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(health_module, "KEEP_SECONDS", 0.0)
    health, begun = Health(config, no_pool), list[float]()

    def hangs() -> Finding:
        begun.append(time.monotonic())
        threading.Event().wait()
        return Finding()

    health.checks = {"reference": health.checks["reference"], "disk": in_thread(hangs)}

    async def question(ask: Ask) -> None:
        for _ in range(3):
            status, body = await ask("/healthz")
            assert status == 503
            assert body["message"] == "the check of disk took more than 0.1 s"
            assert (await ask("/livez"))[0] == 200

    asked(health, question)
    assert len(begun) == 1


def test_questions_that_arrive_together_or_within_a_second_share_one_report(config: Config) -> None:
    health, begun = Health(config, no_pool), list[int]()

    async def counted() -> Finding:
        begun.append(1)
        await asyncio.sleep(0.05)
        return Finding()

    health.checks["counted"] = counted

    async def question(ask: Ask) -> None:
        await asyncio.gather(*(ask("/healthz") for _ in range(20)))
        await ask("/healthz")

    asked(health, question)
    assert len(begun) == 1


def test_without_a_reference_a_node_is_healthy_and_says_what_is_missing(config: Config) -> None:
    config.storage_path.mkdir()

    async def question(ask: Ask) -> None:
        status, body = await ask("/healthz")
        assert status == 200
        assert body["reference"] is False
        assert body["model"] == "lenswatch@none"
        assert "lenswatch train" in body["checks"]["reference"]["note"]
        assert "not watched" in body["checks"]["workers"]["warning"]
        assert body["status"] == "degraded"

    asked(Health(config, no_pool), question)


def worker(
    *,
    ready: bool = True,
    busy: float = 0.0,
    timed: bool = False,
    slow: bool = False,
    short: float = 0.0,
) -> WorkerState:
    return WorkerState(1, ready, busy > 0, busy, timed, slow, 0, short)


IDLE, JUDGING, TRAINING = worker(), worker(busy=3, timed=True), worker(busy=900)
HUNG, STARTING = worker(busy=45, timed=True, slow=True), worker(ready=False)


@pytest.mark.parametrize("other", [IDLE, JUDGING])
def test_a_worker_with_one_picture_for_long_is_a_warning_beside_one_that_judges(
    other: WorkerState,
) -> None:
    finding = workers_finding([HUNG, other], answered=True)
    assert finding.reason == ""
    assert finding.warning == (
        "a worker process has had one picture for 45 s, far longer than usual"
    )
    assert finding.told["slow"] == 1


@pytest.mark.parametrize("others", [[], [HUNG], [TRAINING], [STARTING]])
def test_workers_that_all_have_one_picture_for_long_are_a_reason(
    others: list[WorkerState],
) -> None:
    finding = workers_finding([HUNG, *others], answered=True)
    assert finding.reason == "no worker process has answered for 45 s"


def test_a_worker_that_is_missing_for_long_is_a_warning() -> None:
    finding = workers_finding([IDLE, worker(ready=False, short=12)], answered=True)
    assert (finding.told["wanted"], finding.told["ready"], finding.warning) == (2, 1, "")
    finding = workers_finding([IDLE, worker(ready=False, short=31)], answered=True)
    assert finding.warning == "1 of 2 worker processes not ready for 31 s; the log says why"
    assert not finding.reason


def test_a_training_is_no_fault() -> None:
    assert not workers_finding([TRAINING], answered=True).reason
    assert not workers_finding([TRAINING, JUDGING], answered=True).warning


def digest_of(config: Config) -> str:
    digest = current_digest(config.storage_path)
    assert digest
    return digest


@pytest.mark.parametrize("name", ["autoencoder.pth", "bandwidth.json", "manifest.json"])
def test_a_damaged_reference_is_a_reason_until_it_is_whole(trained: Config, name: str) -> None:
    file = reference_folder(trained.storage_path) / digest_of(trained) / name
    check = node_checks(trained, no_pool)["reference"]
    assert not asyncio.run(check_once(check)).reason
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert str(file) in asyncio.run(check_once(check)).reason
    file.unlink()
    assert str(file) in asyncio.run(check_once(check)).reason
    file.write_bytes(whole)
    assert not asyncio.run(check_once(check)).reason


@pytest.mark.parametrize("has_torch", [True, False])
def test_a_damaged_light_form_matters_where_torch_is_missing(
    trained: Config, monkeypatch: pytest.MonkeyPatch, has_torch: bool
) -> None:
    monkeypatch.setattr(checks, "_HAS_TORCH", has_torch)
    file = reference_folder(trained.storage_path) / digest_of(trained) / "light.zip"
    assert find(trained, "reference") == Finding(told={"digest": digest_of(trained)})
    file.write_bytes(file.read_bytes()[:-20])
    found = find(trained, "reference")
    assert f"{file}: cannot be used" in (found.warning if has_torch else found.reason)
    file.unlink()
    assert bool(find(trained, "reference").reason) is not has_torch


async def check_once(check: checks.Check) -> Finding:
    return await check()


@pytest.mark.parametrize("content", [b"", b"\0" * 16, b"\xff\xfe", b"../../etc"])
def test_a_damaged_name_of_the_reference_is_no_crash(trained: Config, content: bytes) -> None:
    (reference_folder(trained.storage_path) / "current").write_bytes(content)
    finding = find(trained, "reference")
    if content:
        assert "reference/damaged/manifest.json: cannot be read" in finding.reason
    else:
        assert finding.told["note"]


def test_files_that_did_not_change_are_not_read_again(
    trained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = node_checks(trained, no_pool)["reference"]
    assert not asyncio.run(check_once(check)).reason

    def read(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(checks, "verified_manifest", read)
    assert not asyncio.run(check_once(check)).reason


def test_a_damaged_calibration_is_a_reason_or_a_warning_by_how_much_it_stops(
    trained: Config,
) -> None:
    folder = calibration_folder(trained.storage_path) / digest_of(trained)
    shutil.copy(folder / "default.json", folder / "reef.json")
    assert find(trained, "calibration") == Finding(told={"digest": digest_of(trained)})
    for stream in ("reef", "default"):
        file = folder / f"{stream}.json"
        file.write_bytes(file.read_bytes()[:-9])
    finding = find(trained, "calibration")
    assert "default.json: truncated" in finding.reason
    assert "reef.json: truncated" in finding.warning


def test_a_calibration_of_another_reference_is_a_reason(trained: Config) -> None:
    folder = calibration_folder(trained.storage_path)
    before, other = digest_of(trained), "0123456789abcdef"
    shutil.copytree(folder / before, folder / other)
    (reference_folder(trained.storage_path) / "current").write_text(other)
    assert f"made for reference {before}, not {other}" in find(trained, "calibration").reason


def test_a_database_that_is_locked_is_a_reason_and_one_that_was_deleted_is_made_anew(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "BUSY_SECONDS", 0.05)
    check = node_checks(config, no_pool)["database"]
    assert not asyncio.run(check_once(check)).reason
    path = node_database(config.storage_path)
    with NodeStore(path).begin():
        assert "database is locked" in asyncio.run(check_once(check)).reason
    assert not asyncio.run(check_once(check)).reason
    path.unlink()
    assert not asyncio.run(check_once(check)).reason
    assert path.stat().st_size


def test_little_space_is_a_warning_and_a_missing_folder_a_reason(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.storage_path.mkdir()
    free = shutil.disk_usage(config.storage_path).free
    assert abs(find(config, "space").told["free_bytes"] - free) < 10**9
    monkeypatch.setattr(checks, "LEAST_FREE_BYTES", 10**18)
    monkeypatch.setattr(checks, "LEAST_FREE_SHARE", 1.0)
    assert "free some disk space" in find(config, "space").warning
    assert find(config, "space").reason == ""
    assert abs(find(config, "space").told["free_bytes"] - free) < 10**9
    config.storage_path.rmdir()
    assert "No such file" in find(config, "space").reason
