"""Requests of people on the tracking server, as the node does them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from conftest import Camera
from lenswatch.config import AlarmConfig, Config
from lenswatch.errors import InputError
from lenswatch.node.asked import fulfil
from lenswatch.node.renewing import Done
from lenswatch.node.store import requests as rows
from lenswatch.node.store.requests import Asked, Untold
from node.test_renewing import A_DAY, Station

pytestmark = pytest.mark.slow


@pytest.fixture
def station(trained: Config, camera: Camera) -> Iterator[Station]:
    made = Station(trained, camera)
    yield made
    made.store.close()


def ask(station: Station, kind: str, name: str = "r1", baseline: int | None = None) -> None:
    with station.store.begin() as transaction:
        found = Asked(name, "reef", kind, baseline, station.now)
        rows.take(transaction.connection, [found])


def fulfilled(station: Station, config: Config | None = None) -> list[tuple[str, str]]:
    return fulfil(config or station.config, station.store, station._leave)


def answers(station: Station) -> list[Untold]:
    with station.store.read() as connection:
        return rows.untold(connection)


def test_what_was_accepted_on_the_page_raises_no_alarm_until_that_is_undone(
    station: Station,
) -> None:
    station.take(30)
    assert station.take(60, blurred=True)[-1]["drift"] is True
    ask(station, "accept")
    [(stream, text)] = fulfilled(station)
    assert (stream, text[:18]) == ("reef", "baseline accepted ")
    assert answers(station) == [Untold("r1", "done", text, 1)]
    assert station.notes == [("reef", "note", text)]
    accepted = station.take(12, blurred=True)[-1]
    assert accepted["score"] <= accepted["drift_score"]
    ask(station, "undo", "r2", baseline=1)
    fulfilled(station)
    assert station.take(1, blurred=True)[-1]["drift"] is True
    assert station.baselines() == [("accepted", True)]
    assert answers(station)[1].baseline == 1


def test_a_request_is_done_once(station: Station) -> None:
    station.take(60)
    ask(station, "accept")
    assert len(fulfilled(station)) == 1
    ask(station, "accept")  # an old list of the server
    assert fulfilled(station) == []
    assert station.baselines() == [("accepted", False)]


def test_a_request_that_another_process_does_meanwhile_is_done_once(station: Station) -> None:
    station.take(60)
    ask(station, "accept")

    def meanwhile(connection: sa.Connection, kind: str, done: Done) -> None:
        raise AssertionError("its transaction was to be rolled back")

    original = rows.answer

    def first(connection: sa.Connection, *arguments: object, **more: object) -> bool:
        return False  # the other process has answered it

    rows.answer = first
    try:
        assert fulfil(station.config, station.store, meanwhile) == []
    finally:
        rows.answer = original
    assert station.baselines() == []


def test_after_cleaning_the_chart_has_one_mark_of_it(station: Station) -> None:
    station.take(60)
    station.renewing.evening("reef")
    ask(station, "cleaned")
    [(_, text)] = fulfilled(station)
    assert "back to the calibration" in text
    assert station.notes[-1] == ("reef", "note", text)  # "lens cleaned" is the page's own
    assert station.kept() == []


def test_cleaning_a_lens_whose_baseline_is_fixed_is_no_complaint(station: Station) -> None:
    station.take(20)
    ask(station, "cleaned")
    fixed = dataclasses.replace(station.config, alarm=AlarmConfig(baseline="fixed"))
    text = "baseline: it is compared with its calibration already; its window starts anew"
    assert fulfilled(station, fixed) == [("reef", text)]
    assert answers(station)[0].state == "done"


def test_what_cannot_be_done_is_rejected_with_the_reason(station: Station) -> None:
    station.take(20)
    ask(station, "undo")
    [(_, text)] = fulfilled(station)
    assert text == "stream reef: its baseline was never renewed; nothing to undo"
    assert answers(station) == [Untold("r1", "rejected", text, None)]


def test_only_what_was_named_is_undone(station: Station) -> None:
    station.take(60)
    station.renewing.accept("reef")
    station.take(60)
    station.renewing.evening("reef")
    ask(station, "undo", baseline=1)
    [(_, text)] = fulfilled(station)
    assert "number 2 (renewed) came after number 1; undo that first" in text
    assert station.baselines() == [("accepted", False), ("renewed", False)]


def test_pictures_after_the_request_are_not_accepted(station: Station) -> None:
    station.take(40)
    ask(station, "accept")
    station.take(60, blurred=True)  # the node was switched off for what follows
    fulfilled(station)
    assert station.take(1, blurred=True)[-1]["drift"] is True
    quiet = [row.quiet for row in station.kept()]
    assert all(quiet[:40])
    assert not any(quiet[40:])


def test_an_old_request_to_accept_is_rejected(station: Station) -> None:
    station.take(40)
    ask(station, "accept")
    station.now += A_DAY + 1
    [(_, text)] = fulfilled(station)
    assert "asked over a day ago" in text


def test_a_request_for_a_stream_of_another_node_is_left_to_that(station: Station) -> None:
    ask(station, "accept")  # before the first picture of the stream
    assert fulfilled(station) == []
    assert answers(station) == []


def test_a_request_that_was_withdrawn_is_not_done(station: Station) -> None:
    station.take(40)
    ask(station, "accept")
    with station.store.begin() as transaction:
        rows.take(transaction.connection, [])
    assert fulfilled(station) == []
    assert station.baselines() == []


def test_nothing_is_accepted_of_a_time_of_which_nothing_is_kept(station: Station) -> None:
    station.take(40)
    with pytest.raises(InputError, match="no picture is kept of the time before that"):
        station.renewing.accept("reef", until=0.0)
