"""Which pictures a collection keeps, and when it is over."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.durations import parse_duration
from lenswatch.errors import InputError
from lenswatch.node.collecting.about import note_of
from lenswatch.node.collecting.collection import Collection, spread, thin

DAY = 86_400.0
moments = st.lists(st.floats(0, 1e9), max_size=120)


def collected(collection: Collection, taken: list[float]) -> tuple[Collection, list[float]]:
    """Offer pictures one after the other, and return what is kept."""
    kept: list[float] = []
    for moment in taken:
        before = list(kept)
        choice = collection.choose(kept, moment)
        kept = [time for i, time in enumerate(kept) if i not in choice.drop]
        if choice.keep:
            kept = sorted([*kept, moment])
        assert set(kept) <= {*before, moment}
        collection = Collection(**{**vars(collection), "step": choice.step})
    return collection, kept


@given(taken=moments, wanted=st.integers(1, 20), seconds=st.floats(1, 1e7))
def test_kept_pictures_are_few_and_far_apart_in_whatever_order_they_come(
    taken: list[float], wanted: int, seconds: float
) -> None:
    collection, kept = collected(Collection.begin(seconds, wanted, 1, judged=False), taken)
    assert len(kept) <= wanted
    assert all(later - earlier >= collection.step for earlier, later in pairwise(kept))
    assert bool(kept) == bool(taken)


@given(taken=moments, wanted=st.integers(2, 20), seconds=st.floats(1, 1e7))
def test_nothing_is_far_from_what_is_kept(taken: list[float], wanted: int, seconds: float) -> None:
    """A picture is left out only because another one near to it in time is kept."""
    collection, kept = collected(Collection.begin(seconds, wanted, 1, judged=False), taken)
    for moment in taken:
        assert min(abs(moment - other) for other in kept) < max(2 * collection.step, 1e-6)


@pytest.mark.parametrize("every", [5, 60, 600, 3600])
def test_three_days_give_a_sample_of_the_three_days_at_any_rate(every: int) -> None:
    taken = [float(second) for second in range(0, int(3 * DAY), every)]
    _, kept = collected(Collection.begin(3 * DAY, 400, 10, judged=False), taken)
    assert min(len(taken), 400) / 2 <= len(kept) <= 400
    days = [sum(1 for time in kept if time // DAY == day) for day in range(3)]
    assert max(days) - min(days) <= 1


def test_bursts_give_one_picture_each() -> None:
    taken = [day * DAY + second for day in range(5) for second in range(20)]
    _, kept = collected(Collection.begin(5 * DAY, 400, 10, judged=False), taken)
    assert kept == [day * DAY for day in range(5)]


@given(arrivals=st.lists(st.floats(0, 2e9), min_size=2, max_size=60))
def test_no_clock_ends_a_collection_within_four_pictures(arrivals: list[float]) -> None:
    collection = Collection.begin(3 * DAY, 400, 1, judged=False)
    for arrival, taken in zip(arrivals[:4], reversed(arrivals), strict=False):
        collection = collection.after(arrival, taken)
    assert not collection.is_over(400)
    assert collection.passed >= 0


def test_time_passes_with_the_pictures() -> None:
    collection = Collection.begin(3 * DAY, 400, 10, judged=False)
    for hour in range(72):
        collection = collection.after(hour * 3600.0, 0)
    assert collection.left == pytest.approx(3600)
    assert not collection.is_over(400)
    assert collection.after(72 * 3600.0, 0).is_over(10)
    assert not collection.after(72 * 3600.0, 0).is_over(9)


def test_pictures_that_were_stored_on_the_way_count_by_their_capture_times() -> None:
    collection = Collection.begin(3 * DAY, 400, 10, judged=False)
    for hour in range(73):
        collection = collection.after(5 * DAY, hour * 3600.0)
    assert collection.is_over(10)


def test_what_cannot_be_used_makes_it_go_on_for_a_quarter() -> None:
    collection = Collection.begin(400, 100, 10, judged=False)
    for second in range(0, 401, 100):
        collection = collection.after(second, second)
    assert collection.is_over(10)
    assert collection.again("all alike").left == pytest.approx(100)
    assert collection.again("all alike").note == "all alike"


def test_a_collection_wants_at_least_what_it_needs() -> None:
    assert Collection.begin(60, 5, 10, judged=False).wanted == 10


@given(seconds=st.floats(1, 1e7), wanted=st.integers(1, 500), judged=st.booleans(), note=st.text())
def test_a_stored_collection_is_read_back(
    seconds: float, wanted: int, judged: bool, note: str
) -> None:
    collection = Collection.begin(seconds, wanted, 10, judged=judged).after(5.0, 6.0).again(note)
    assert Collection.from_json(collection.to_json()) == collection


@given(times=st.lists(st.floats(0, 1e9), max_size=80).map(sorted), step=st.floats(0, 1e9))
def test_thinning_leaves_times_apart_and_the_first(times: list[float], step: float) -> None:
    stay = thin(times, step)
    assert all(times[b] - times[a] >= step for a, b in pairwise(stay))
    assert stay[:1] == [0][: len(times)]


@given(times=st.lists(st.floats(0, 1e9), max_size=80).map(sorted), wanted=st.integers(1, 40))
def test_a_spread_choice_is_in_order_and_has_first_and_last(
    times: list[float], wanted: int
) -> None:
    chosen = spread(times, wanted)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= wanted
    if wanted > 1 and len(times) > 1:
        assert (times[chosen[0]], times[chosen[-1]]) == (times[0], times[-1])


def test_of_regular_pictures_as_many_as_wanted_are_chosen() -> None:
    assert len(spread(list(range(1000)), 400)) == 400


@given(
    number=st.integers(1, 9999), unit=st.sampled_from(["second", "minute", "hour", "day", "week"])
)
def test_a_duration_is_read(number: int, unit: str) -> None:
    lengths = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
    assert parse_duration(f"{number} {unit}s") == number * lengths[unit]
    assert parse_duration(f"{number} {unit}") == number * lengths[unit]


@pytest.mark.parametrize(
    "text",
    ["", "3", "days", "0 days", "99999999 weeks", "-3 days", "3 years", "3  days", "3 days "],
)
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(InputError, match="no duration; write a number and a unit") as raised:
        parse_duration(text)
    assert "the number is from 0.001 to 9999.999" in str(raised.value)


@given(
    passed=st.floats(0, 200),
    waited=st.floats(0, 400),
    kept=st.integers(0, 400),
    last=st.one_of(st.none(), st.just(1_780_000_000.0)),
)
def test_the_end_that_is_told_is_never_in_the_past(
    passed: float, waited: float, kept: int, last: float | None
) -> None:
    """A person who asks at any time after the last picture learns what is missing."""
    begun = Collection.begin(100, 400, 10, judged=False)
    collection = dataclasses.replace(begun, passed=passed, last_at=last, newest=last)
    now = datetime.fromtimestamp((last or 1_780_000_000.0) + waited, UTC)
    note = note_of(collection, kept, now)
    told = re.search(r"until ([0-9: -]{16}) UTC", note)
    if told is not None:
        assert datetime.fromisoformat(told[1]).replace(tzinfo=UTC) >= now - timedelta(seconds=1e-3)
        assert "still missing: " in note
    elif kept < 10:
        assert f"until there are 10: {kept} kept" in note
    else:
        assert "its time is over, and the next picture ends it" in note


def test_the_time_that_passes_without_a_picture_is_counted_as_the_next_one_will_count() -> None:
    begun = Collection.begin(100, 400, 10, judged=False).after(1000, 1000)
    for waited in (0, 10, 25, 300):
        assert begun.left_at(1000 + waited) == begun.after(1000 + waited, 1000 + waited).left
