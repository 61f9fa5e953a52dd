"""Baselines of a node's streams: renewed in the evening, accepted, cleaned and undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from conftest import Camera
from lenswatch.config import AlarmConfig, Config
from lenswatch.errors import InputError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.kept_pictures import kept_of, pack
from lenswatch.node.observe import Node
from lenswatch.node.renewing import Done, Renewing, due_streams
from lenswatch.node.request import Request
from lenswatch.node.store import baselines as rows
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.artefact import load_reference

pytestmark = pytest.mark.slow
QUARTER = 900.0  # seconds between two pictures
A_DAY = 86400.0
START = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


class Station:
    """A node whose camera takes a picture every quarter of an hour."""

    def __init__(self, config: Config, camera: Camera) -> None:
        self.now = START
        self.config = config
        self.store = NodeStore(config.storage_path / "node.db", clock=lambda: self.now)
        self.node = Node(config, self.store)
        self.notes: list[tuple[str, str, str]] = []
        self.renewing = Renewing(config, self.store, self._leave)
        self._camera = camera
        self._taken = 60  # the reference has those before

    def _leave(self, _: sa.Connection, kind: str, done: Done) -> None:
        self.notes.append((done.stream, kind, done.text))

    def take(self, count: int, *, blurred: bool = False, seconds: float = QUARTER) -> list[Any]:
        answers = []
        for _ in range(count):
            self.now += seconds
            at = datetime.fromtimestamp(self.now, UTC)
            picture = self._camera(self._taken, blurred=blurred)
            answers.append(self.node.observe(picture, Request(stream="reef", captured_at=at)))
            self._taken += 1
        return answers

    def kept(self) -> list[rows.KeptRow]:
        with self.store.read() as connection:
            return rows.kept_rows(connection, "reef")

    def baselines(self) -> list[tuple[str, bool]]:
        with self.store.read() as connection:
            return [
                (one.kind, one.undone is not None) for one in rows.all_baselines(connection, "reef")
            ]

    def threshold(self) -> float:
        """Return the drift threshold of the lens score with which the next picture is judged."""
        return float(self.take(1)[0]["drift_score"])


@pytest.fixture
def station(trained: Config, camera: Camera) -> Iterator[Station]:
    made = Station(trained, camera)
    yield made
    made.store.close()


def test_a_picture_is_kept_every_ten_minutes_at_most(station: Station) -> None:
    station.take(12, seconds=60)
    station.take(3, seconds=700)
    times = [row.at - START for row in station.kept()]
    assert times == [60, 660, 1420, 2120, 2820]


def test_pictures_near_a_drift_are_not_quiet(station: Station) -> None:
    station.take(40)
    assert any(answer["drift"] for answer in station.take(20, blurred=True))
    quiet = [row.quiet for row in station.kept()]
    assert quiet[13:27] == [True] * 14  # the first 12 follow the start, as if on a drift
    assert not any(quiet[29:])


def test_a_stream_is_due_a_day_after_its_first_picture(station: Station) -> None:
    station.take(95)
    assert due_streams(station.store) == []
    station.take(3)
    assert due_streams(station.store) == ["reef"]
    station.renewing.evening("reef")
    assert due_streams(station.store) == []


def test_an_evening_renews_the_baseline_and_the_window_goes_on(station: Station) -> None:
    before = station.take(60)[-1]
    done = station.renewing.evening("reef")
    assert done.kind == "renewed"
    assert station.notes == [("reef", "note", done.text)]
    assert station.baselines() == [("renewed", False)]
    after = station.take(1)[0]
    assert after["window"] == before["window"]
    assert after["drift_score"] != before["drift_score"]
    assert after["score"] is not None
    assert after["drift"] is False
    assert set(after["witness"]) == {"ratio", "name", "votes"}


def test_few_quiet_pictures_renew_nothing_and_that_is_said(station: Station) -> None:
    station.take(20)
    done = station.renewing.evening("reef")
    assert done.kind is None
    assert "quiet pictures" in done.text
    assert station.baselines() == []


def test_another_process_uses_the_renewed_baseline(station: Station, camera: Camera) -> None:
    station.take(60)
    station.renewing.evening("reef")
    other = Node(station.config, station.store)
    at = datetime.fromtimestamp(station.now + QUARTER, UTC)
    answer = other.observe(camera(200), Request(stream="reef", captured_at=at))
    assert answer["drift_score"] == station.threshold()


def test_what_a_person_accepts_raises_no_alarm_until_it_is_undone(station: Station) -> None:
    station.take(30)
    assert station.take(60, blurred=True)[-1]["drift"] is True
    done = station.renewing.accept("reef")
    assert done.kind == "accepted"
    accepted = station.take(12, blurred=True)[-1]
    assert accepted["score"] <= accepted["drift_score"]
    station.renewing.undo("reef")
    assert station.take(1, blurred=True)[-1]["drift"] is True
    assert station.baselines() == [("accepted", True)]


def test_accepting_too_early_says_that_the_alarm_goes_on(station: Station) -> None:
    station.take(120)
    station.take(3, blurred=True)
    assert "still above the threshold" in station.renewing.accept("reef").text
    score = station.take(1, blurred=True)[-1]
    assert score["score"] > score["drift_score"]
    station.take(12, blurred=True)
    assert "still above" not in station.renewing.accept("reef").text


def test_after_cleaning_the_stream_is_compared_with_its_calibration(station: Station) -> None:
    original = station.threshold()
    station.take(60)
    station.renewing.evening("reef")
    assert station.threshold() != original
    done = station.renewing.cleaned("reef")
    assert station.notes[-1] == ("reef", "lens cleaned", done.text)
    assert station.kept() == []
    assert "with its calibration already" in station.renewing.cleaned("reef").text
    assert station.threshold() == original
    station.take(60)
    assert station.renewing.evening("reef").kind == "renewed"
    assert station.baselines() == [("renewed", False), ("cleaned", False), ("renewed", False)]


def test_undoing_goes_back_one_by_one(station: Station) -> None:
    thresholds = [station.threshold()]
    for _ in range(2):
        station.take(60)
        station.renewing.evening("reef")
        thresholds.append(station.threshold())
    assert len(set(thresholds)) == 3
    station.renewing.undo("reef")
    assert station.threshold() == thresholds[1]
    station.renewing.undo("reef")
    assert station.threshold() == thresholds[0]
    with pytest.raises(InputError, match="nothing to undo"):
        station.renewing.undo("reef")


def test_undoing_goes_back_over_more_renewals_than_are_kept(station: Station) -> None:
    station.take(60)
    station.renewing.evening("reef")
    with station.store.begin() as transaction:  # a hundred days of the same renewal
        connection = transaction.connection
        row = rows.stream_baseline(connection, "reef")
        assert row is not None
        document = rows.document_of(connection, row.in_force)
        for day in range(1, 101):
            at = station.now + day * 86400
            newest = rows.add(connection, row, "renewed", at, 60, document)
        rows.put_stream(connection, dataclasses.replace(row, in_force=newest))
        kept = [one for one in rows.all_baselines(connection, "reef") if one.restorable]
    assert 14 + 8 <= len(kept) <= 14 + 8 + 3
    steps = []
    while not all(undone for _, undone in station.baselines()):
        steps.append(station.renewing.undo("reef").text)
    assert len(steps) == len(kept)
    assert all("no longer kept" not in text for text in steps[:13])
    assert "no longer kept from number 1 on" in steps[-1]


def test_pictures_of_an_undone_renewal_are_not_quiet(station: Station) -> None:
    station.take(60)
    assert station.renewing.evening("reef").kind == "renewed"
    station.renewing.undo("reef")
    assert station.renewing.evening("reef").kind is None


def test_a_new_calibration_begins_with_itself(station: Station) -> None:
    station.take(60)
    station.renewing.evening("reef")
    reference = load_reference(station.config.storage_path)
    config = dataclasses.replace(station.config, alarm=AlarmConfig(expected_run_time=300))
    calibrate_stream(config, reference)
    answer = station.take(1)[0]
    assert "witness" not in answer
    with pytest.raises(InputError, match="nothing to undo"):
        station.renewing.undo("reef")


def test_a_stream_without_pictures_has_nothing_to_accept(station: Station) -> None:
    with pytest.raises(InputError, match="stream 'reef' is not known; `lenswatch status`"):
        station.renewing.accept("reef")


def test_cleaning_right_after_a_calibration_ends_the_alarm(station: Station) -> None:
    station.take(30)
    assert station.take(60, blurred=True)[-1]["alarm"] is True
    reference = load_reference(station.config.storage_path)
    calibrate_stream(station.config, reference)
    with pytest.raises(InputError, match="no picture was judged since it was calibrated"):
        station.renewing.accept("reef")
    done = station.renewing.cleaned("reef")
    assert station.notes[-1] == ("reef", "lens cleaned", done.text)
    assert station.kept() == []
    assert station.take(1)[0]["alarm"] is False


def test_cleaning_ends_the_alarm_of_a_stream_whose_baseline_is_fixed(
    trained: Config, camera: Camera
) -> None:
    fixed = dataclasses.replace(trained, alarm=AlarmConfig(baseline="fixed"))
    station = Station(fixed, camera)
    try:
        station.take(20)
        assert station.take(20, blurred=True)[-1]["alarm"]
        done = station.renewing.cleaned("reef")
        assert station.notes[-1] == ("reef", "lens cleaned", done.text)
        assert "compared with its calibration" in done.text
        assert not station.take(1)[0]["alarm"]
        with pytest.raises(InputError, match=r'alarm\.baseline = "daily"'):
            station.renewing.accept("reef")
    finally:
        station.store.close()


def test_a_stream_that_is_not_known_was_not_cleaned(station: Station) -> None:
    station.take(1)
    with pytest.raises(InputError, match="stream 'rief' is not known"):
        station.renewing.cleaned("rief")
    assert station.notes == []


def test_before_the_first_evening_every_answer_is_that_of_a_fixed_baseline(
    trained: Config, camera: Camera, tmp_path: Any
) -> None:
    fixed = dataclasses.replace(trained, alarm=AlarmConfig(baseline="fixed"))
    answers = []
    for config, name in ((trained, "daily"), (fixed, "fixed")):
        store = NodeStore(tmp_path / f"{name}.db")
        node, told = Node(config, store), []
        for i in range(60, 110):
            at = datetime.fromtimestamp(START + i * QUARTER, UTC)
            blurred = 80 <= i < 90
            request = Request(stream="reef", captured_at=at, event_id=f"e{i}")
            told.append(node.observe(camera(i, blurred=blurred), request))
        answers.append(told)
        with store.read() as connection:
            assert bool(rows.kept_rows(connection, "reef")) is (name == "daily")
        store.close()
    assert answers[0] == answers[1]
    assert any(answer["drift"] for answer in answers[0])


def test_a_renewal_leaves_no_more_pictures_than_are_kept(station: Station) -> None:
    station.take(40)
    kept = station.kept()
    with station.store.begin() as transaction:
        for i in range(480):
            row = dataclasses.replace(kept[15 + i % 20], number=100 + i, at=station.now + i * 600)
            rows.keep_picture(transaction.connection, "reef", row)
    assert station.renewing.evening("reef").kind == "renewed"
    assert len(station.kept()) <= 440


def test_a_kept_picture_is_read_as_it_was_written(station: Station) -> None:
    station.take(1)
    (row,) = station.kept()
    measured = kept_of([row]).measured
    assert pack(measured[0]) == row.data
    assert len(row.data) < 8000
