"""Delivery to a real server through a real gateway that misbehaves: nothing lost, parked or out of order."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lenswatch.config import TrackingConfig
from lenswatch.node.store.store import NodeStore
from lenswatch.outbox.limits import DeliveryLimits
from lenswatch.outbox.sender import Sender
from support.full import FULL, at_length
from support.gateway import Gateway, gateway
from support.node_processes import drift_job
from support.ports import free_port
from support.samples import picture
from support.servers import Served, served
from support.waiting import until

pytestmark = pytest.mark.slow

STREAMS = ("reef", "pier", "mast")
QUICK = DeliveryLimits(
    attempts=5,
    fruitless=2,
    patience_seconds=2.0,
    first_delay_seconds=0.05,
    longest_delay_seconds=0.2,
)
OFTEN = ["status 413", "kong 404", "portal", "login", "lost"]
RARELY = [
    *("firewall", "kong 400", "status 502"),
    *("status 400", "status 401", "status 403", "status 404", "status 407", "status 415"),
    *("status 422", "status 451", "status 500", "status 503", "status 511", "kong 422"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def between(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(free_port(), server.port, tmp_path_factory.mktemp("gateway")) as between:
        until(lambda: _answers(between))
        yield between


def _answers(between: Gateway) -> bool:
    try:
        return requests.get(f"{between.url}/readyz", timeout=10).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    store = NodeStore(tmp_path / "node.db")
    yield store
    store.close()


@pytest.fixture
def experiment() -> str:
    """The name of an experiment of the test's own."""
    return f"experiment {uuid.uuid4()}"


@pytest.fixture
def sending(store: NodeStore, between: Gateway, experiment: str) -> Iterator[Callable[..., Sender]]:
    """Start senders to the experiment, and stop them in the end."""
    made: list[Sender] = []
    between.does("pass")

    def make(limits: DeliveryLimits = QUICK, timeout: float = 10.0) -> Sender:
        config = TrackingConfig(between.url, experiment=experiment, timeout=timeout)
        made.append(Sender(store, config, poll=0.02, limits=limits))
        made[-1].start()
        return made[-1]

    yield make
    between.does("pass")
    for one in made:
        assert one.stop(60)


def post(store: NodeStore, numbers: range, streams: tuple[str, ...] = STREAMS) -> None:
    with store.begin() as transaction:
        for number in numbers:
            job = drift_job(f"e{number:04}", stream=streams[number % len(streams)])
            transaction.post(job, picture() if number % 5 == 0 else None)


def address_of(server: Served, experiment: str) -> str:
    root = f"{server.address}/api/latest/experiment"
    (found,) = requests.post(f"{root}/search", json={"name": experiment}, timeout=60).json()
    return f"{root}/{found['id']}/drift"


def accepted(server: Served, experiment: str) -> list[dict[str, Any]]:
    """Return the jobs of an experiment in the order in which the server stored them."""
    url = f"{address_of(server, experiment)}/search"
    jobs: list[dict[str, Any]] = []
    page, pages = 1, 1
    while page <= pages:
        params: dict[str, int | str] = {"page": page, "page_size": 100, "order_by": "asc"}
        response = requests.post(url, json={}, params=params, timeout=60)
        pages = json.loads(response.headers["X-Pagination"]).get("total_pages", 0)
        jobs += response.json()
        page += 1
    return jobs


def names(jobs: list[dict[str, Any]], stream: str | None = None) -> list[str]:
    parameters = [job["parameters"] for job in jobs]
    return [each["event_id"] for each in parameters if stream in (None, each["stream"])]


@pytest.mark.parametrize("misbehaviour", OFTEN + RARELY if FULL else OFTEN)
def test_nothing_is_lost_parked_or_out_of_order(
    misbehaviour: str,
    store: NodeStore,
    server: Served,
    between: Gateway,
    sending: Callable[..., Sender],
    experiment: str,
) -> None:
    """The gateway answers in the server's place, to jobs and pictures, and becomes well again."""
    post(store, range(10))
    one = sending()
    until(lambda: one.counts().pending == 0 and one.counts().pictures == 0)
    between.does(misbehaviour)
    post(store, range(10, 25))
    until(lambda: bool(one.trouble))
    post(store, range(25, 40))
    assert one.counts().parked == 0
    between.does("pass")
    assert until(lambda: one.drain(30))
    jobs = accepted(server, experiment)
    assert sorted(names(jobs)) == [f"e{number:04}" for number in range(40)]
    for stream in STREAMS:
        assert names(jobs, stream) == sorted(names(jobs, stream))
    assert not any(job["parameters"].get("late") for job in jobs)
    assert one.counts().parked == 0
    root = address_of(server, experiment)
    with requests.Session() as session:
        for job in jobs[::3]:
            found = session.get(f"{root}/{job['id']}/image", timeout=60)
            assert found.ok == (int(job["parameters"]["event_id"][1:]) % 5 == 0)


def test_seconds_of_failures_change_no_order(
    store: NodeStore,
    server: Served,
    between: Gateway,
    sending: Callable[..., Sender],
    experiment: str,
) -> None:
    """After 8 s of 500s three jobs were put off by 120 s, and arrived after 47 newer ones."""
    one = sending(DeliveryLimits(first_delay_seconds=0.05))
    post(store, range(1), ("reef",))
    until(lambda: one.counts().pending == 0)
    between.does("status 500")
    end, number = time.monotonic() + at_length(2.5, 30.0), 1
    while time.monotonic() < end:
        post(store, range(number, number + 1), ("reef",))
        number += 1
        time.sleep(0.1)  # the camera's interval
    between.does("pass")
    post(store, range(number, number + 20), ("reef",))
    until(lambda: one.counts().pending == 0)
    assert names(accepted(server, experiment)) == [f"e{n:04}" for n in range(number + 20)]


def test_a_limit_of_the_gateway_makes_requests_smaller(
    store: NodeStore,
    server: Served,
    between: Gateway,
    sending: Callable[..., Sender],
    experiment: str,
) -> None:
    between.does("limit 3000")
    post(store, range(80))
    one = sending()
    until(lambda: one.counts().pending == 0)
    jobs = accepted(server, experiment)
    assert len(jobs) == 80
    for stream in STREAMS:
        assert names(jobs, stream) == sorted(names(jobs, stream))


def test_a_date_in_retry_after_is_waited_for(
    store: NodeStore, between: Gateway, sending: Callable[..., Sender]
) -> None:
    between.does("slow-down 3")
    post(store, range(3))
    one = sending()
    start = time.monotonic()
    until(lambda: bool(one.trouble))
    between.does("pass")
    until(lambda: one.counts().pending == 0)
    assert time.monotonic() - start >= 1.5  # a date has whole seconds


@pytest.mark.parametrize("how", ["firewall e0003", "fail-on e0003"] if FULL else ["firewall e0003"])
def test_what_stops_one_job_only_parks_it_in_the_end_and_its_stream_goes_on(
    how: str,
    store: NodeStore,
    server: Served,
    between: Gateway,
    sending: Callable[..., Sender],
    experiment: str,
) -> None:
    between.does(how)
    post(store, range(30))
    one = sending()
    until(lambda: one.counts().pending < 30)
    number = 30

    def is_parked() -> bool:
        nonlocal number
        post(store, range(number, number + 1))  # by which the server shows that it works
        number += 1
        time.sleep(0.05)
        return one.counts().parked == 1

    until(is_parked)
    until(lambda: one.counts().pending == 0)
    (parked,) = one.parked()
    assert parked.event_id == "e0003"
    assert "failed 5 times while others were accepted" in parked.reason
    jobs = accepted(server, experiment)
    for stream in STREAMS:
        assert names(jobs, stream) == sorted(names(jobs, stream))
    between.does("pass")
    assert one.requeue() == 1
    until(lambda: len(accepted(server, experiment)) == number)
    last = accepted(server, experiment)[-1]["parameters"]
    assert (last["event_id"], last["late"]) == ("e0003", True)
