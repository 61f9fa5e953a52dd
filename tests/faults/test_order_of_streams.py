"""The order of each stream is kept, whatever the server does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenswatch.outbox.limits import DeliveryLimits
from support.driven_node import FAULTS, FakeServer, Node, ids
from support.full import at_length
from support.node_processes import drift_job

LIMITS = DeliveryLimits(batch=6, first_delay_seconds=0.5, longest_delay_seconds=60.0)

JOBS = st.lists(st.sampled_from("abc"), min_size=1, max_size=14)  # the stream of each job
BEHAVIOURS = st.lists(st.sampled_from(["ok", *FAULTS]), max_size=12)


def node(server: FakeServer, limits: DeliveryLimits = LIMITS) -> Node:
    return Node(Path(tempfile.mkdtemp(dir=_folder[0])) / "node.db", server, limits)


_folder: list[Path] = []


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path) -> None:
    _folder[:] = [tmp_path]


def by_stream(names: Sequence[str]) -> dict[str, list[str]]:
    return {stream: [name for name in names if name[3:] == stream] for stream in "abc"}


quickly = settings(
    max_examples=at_length(30, 300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.slow
@quickly
@given(JOBS, BEHAVIOURS, st.booleans(), st.sampled_from([1, 2, 5, 99]))
def test_the_order_of_acceptance_is_that_of_posting(
    streams: list[str], behaviours: list[str], batches: bool, largest: int
) -> None:
    """Any trouble shorter than the patience; nothing is parked, late, lost or stored twice."""
    server = FakeServer(behaviours, batches)
    server.largest = largest
    one = node(server, replace(LIMITS, patience_seconds=1e9))
    names = one.post(streams)
    one.deliver()
    assert by_stream(ids(server.accepted)) == by_stream(names)
    assert sorted(ids(server.accepted)) == names
    assert one.parked.count() == 0
    assert not any(job["parameters"].get("late") for job in server.accepted)


@pytest.mark.slow
@quickly
@given(
    JOBS,
    BEHAVIOURS,
    st.booleans(),
    st.sampled_from([1, 2, 5, 99]),
    st.sets(st.integers(0, 13), max_size=3),
    st.sets(st.integers(0, 13), max_size=3),
    st.sets(st.integers(0, 13), max_size=3),
)
def test_whatever_arrives_out_of_order_is_late_and_only_the_poisonous_is_parked(
    streams: list[str],
    behaviours: list[str],
    batches: bool,
    largest: int,
    poison: set[int],
    refused: set[int],
    partly: set[int],
) -> None:
    server = FakeServer(behaviours, batches)
    server.largest = largest
    one = node(server)
    names = one.post(streams)
    server.poison = {names[i] for i in poison if i < len(names)}
    server.refused = {names[i] for i in refused if i < len(names)} - server.poison
    server.partly = {names[i] for i in partly if i < len(names)}
    for _ in range(400):
        if not server.behaviours and set(one.waiting()) <= server.poison:
            break
        one.turn()
    left = set(one.waiting())
    assert left <= server.poison  # with nothing else to send, it may be the server
    parked = {job.event_id for job in one.parked.find()}
    assert server.refused <= parked <= server.refused | server.poison
    assert sorted(ids(server.accepted)) == sorted(set(names) - left - parked)
    in_turn = [job for job in server.accepted if job["parameters"].get("late") is not True]
    for names_of in by_stream(ids(in_turn)).values():
        assert names_of == sorted(names_of)


@pytest.mark.parametrize("batches", [True, False])
def test_a_newer_job_that_was_stored_without_our_knowing_makes_the_earlier_ones_late(
    batches: bool,
) -> None:
    server = FakeServer([], batches)
    one = node(server)
    names = one.post("aaaa")
    server.poison, server.unsaid = set(names[:3]), {names[3]}
    while not server.accepted:
        one.turn()
    assert ids(server.accepted) == [names[3]]
    server.poison = server.unsaid = set()
    one.deliver()
    late = {job["parameters"]["event_id"]: job["parameters"].get("late") for job in server.accepted}
    assert late == {names[0]: True, names[1]: True, names[2]: True, names[3]: None}


def test_eight_seconds_of_failures_change_no_order() -> None:
    """Three jobs were put off by 120 s, and arrived after 47 newer ones."""
    server = FakeServer()
    one = node(server, DeliveryLimits())
    names = one.post("a" * 50)
    server.behaviours = ["500"] * 10**4
    start = one.now
    while one.now < start + 8:
        one.turn()
    server.behaviours = []
    one.deliver()
    assert ids(server.accepted) == names
    assert one.parked.count() == 0


def test_a_long_outage_changes_no_order() -> None:
    server = FakeServer()
    one = node(server, DeliveryLimits())
    names = one.post("aabbab" * 10)
    server.behaviours = ["500"] * 10**6
    start, requests = one.now, 0
    outage = at_length(7200, 86_400)
    while one.now < start + outage:
        one.turn()
        requests = server.requests
    assert requests < 8 * outage / 60  # a few in each pass
    server.behaviours = []
    one.deliver()
    assert ids(server.accepted) == names
    assert one.parked.count() == 0


def test_a_job_that_breaks_the_server_holds_back_its_own_stream_only_and_not_for_ever() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("abcabcabc")
    server.poison = {names[0]}
    start = one.now
    while len(server.accepted) < 6:
        one.turn()
    assert by_stream(ids(server.accepted)) == by_stream(names) | {"a": []}
    assert one.now < start + 5
    for number in range(400):
        one.other(number)
        one.turn()
    own = [name for name in ids(server.accepted) if name[3:] == "a"]
    assert own == by_stream(names)["a"][1:]
    (parked,) = one.parked.find()
    assert parked.event_id == names[0]
    assert "failed 10 times while others were accepted" in parked.reason


def test_a_stream_alone_gets_past_jobs_that_break_the_server() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("a" * 12)
    server.poison = set(names[:4])
    start = one.now
    while not server.accepted:
        assert one.now < start + 3600
        one.turn()
    assert one.now > start + 600
    for number in range(1000):
        one.other(number)
        one.turn()
    assert {job.event_id for job in one.parked.find()} == server.poison
    assert [name for name in ids(server.accepted) if name[3:] == "a"] == names[4:]


def test_many_streams_whose_first_jobs_break_the_server_do_not_hold_back_another() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("aaabbbccc" * 3)
    with one.store.begin() as transaction:
        transaction.post(drift_job("099z", stream="z"))
    firsts = {names[0], names[3], names[6]}
    server.poison = firsts
    start = one.now
    while "099z" not in ids(server.accepted):
        assert one.now < start + 60
        one.turn()
    for number in range(400):
        one.other(number)
        one.turn()
    assert {job.event_id for job in one.parked.find()} == firsts
    assert not any(job["parameters"].get("late") for job in server.accepted)


def test_a_parked_job_is_late_when_it_arrives() -> None:
    server = FakeServer()
    one = node(server)
    names = one.post("aba")
    server.refused = {names[0]}
    one.deliver()
    server.refused = set()
    one.parked.retry()
    one.deliver()
    late = {job["parameters"]["event_id"]: job["parameters"].get("late") for job in server.accepted}
    assert late == {names[0]: True, names[1]: None, names[2]: None}
