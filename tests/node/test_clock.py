"""The place of a picture in the time of its stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lenswatch.node.clock import MIXED, Newest, Place, place
from lenswatch.wire import CLOCK_ERROR, EARLIEST_CAPTURE

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MOMENTS = st.datetimes(
    datetime.fromisoformat("1970-01-01"),
    datetime.fromisoformat("2099-12-31"),
    timezones=st.just(UTC),
)
NEWEST = st.none() | st.builds(Newest, MOMENTS, st.booleans())


def test_the_first_picture_is_the_newest() -> None:
    taken = NOW - 40 * DAY
    assert place([taken], NOW, None) == Place(taken, None, False, Newest(taken))


def test_a_newer_picture_is_the_newest_and_an_older_one_is_late() -> None:
    newest = Newest(NOW - HOUR)
    assert place([NOW], NOW, newest).newest == Newest(NOW)
    late = place([NOW - 2 * HOUR], NOW, newest)
    assert (late.late, late.newest) == (True, newest)


def test_a_gap_is_known_only_between_two_times_of_capture() -> None:
    before = Newest(NOW - DAY)
    assert place([NOW], NOW, before).after_a_gap(before)
    assert place([NOW - DAY + HOUR], NOW, before).after_a_gap(before) is False
    assert place([NOW], NOW, None).after_a_gap(None) is None
    assert place([], NOW, before).after_a_gap(before) is None
    arrived = Newest(NOW - DAY, arrived=True)
    assert place([NOW], NOW, arrived).after_a_gap(arrived) is None


def test_pictures_of_one_burst_have_the_same_time_and_are_not_late() -> None:
    assert not place([NOW], NOW, Newest(NOW)).late


def test_a_picture_without_a_time_gets_that_of_its_arrival_and_is_not_late() -> None:
    ahead = Newest(NOW + MINUTE)
    assert place([], NOW, None) == Place(NOW, None, False, Newest(NOW, arrived=True))
    assert place([], NOW, ahead) == Place(NOW, None, False, ahead)


def test_clocks_that_cannot_be_right_are_told() -> None:
    for shown in (
        *(datetime(1970, 1, 1, tzinfo=UTC), datetime(1980, 1, 6, tzinfo=UTC)),
        *(datetime(1999, 12, 31, 23, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)),
        NOW + CLOCK_ERROR + timedelta(seconds=1),
    ):
        found = place([shown], NOW, Newest(NOW - HOUR))
        assert found == Place(NOW, shown, False, Newest(NOW, arrived=True))


def test_a_clock_that_starts_anew_years_ago_is_told_once_the_stream_has_pictures() -> None:
    restarted = datetime(2015, 1, 1, tzinfo=UTC)
    assert place([restarted], NOW, None).camera_time is None
    assert place([restarted], NOW, Newest(NOW - DAY)).camera_time == restarted
    assert place([NOW - 360 * DAY], NOW, Newest(NOW - DAY)).late


def test_in_a_folder_years_ago_is_late_and_no_wrong_clock() -> None:
    found = place([NOW - 3000 * DAY], NOW, Newest(NOW), backlog=True)
    assert (found.camera_time, found.late) == (None, True)


def test_a_clock_may_be_a_few_minutes_ahead() -> None:
    assert place([NOW + CLOCK_ERROR], NOW, None) == Place(
        NOW + CLOCK_ERROR, None, False, Newest(NOW + CLOCK_ERROR)
    )


def test_when_the_nodes_clock_is_set_back_pictures_are_not_late_until_it_catches_up() -> None:
    ahead = Newest(NOW + 30 * DAY, arrived=True)
    assert place([NOW], NOW, ahead) == Place(NOW, None, False, Newest(NOW))
    assert place([], NOW, ahead) == Place(NOW, None, False, Newest(NOW, arrived=True))


def test_a_node_whose_clock_stands_at_1970_trusts_the_camera() -> None:
    boot = datetime(1970, 1, 1, tzinfo=UTC)
    assert place([NOW], boot, Newest(NOW - MINUTE)) == Place(NOW, None, False, Newest(NOW))
    assert place([], boot, Newest(NOW)) == Place(boot, None, False, Newest(NOW))


def test_in_a_stream_with_and_without_times_transport_is_no_lateness() -> None:
    newest = Newest(NOW, arrived=True)
    assert not place([NOW - 3 * MINUTE], NOW, newest).late
    assert place([NOW - MIXED - MINUTE], NOW, newest).late


FIRST, SECOND = datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)


def test_in_the_repeated_hour_the_stream_goes_on() -> None:
    """A day's pictures are read out later: first those of 2:00 to 2:50, then those of 2:00 again."""
    newest, taken = None, []
    for step in range(12):
        minutes = timedelta(minutes=10 * (step % 6))
        found = place([FIRST + minutes, SECOND + minutes], NOW, newest)
        newest = found.newest
        assert not found.late
        taken.append(found.captured_at)
    assert taken == [FIRST + timedelta(minutes=10 * step) for step in range(12)]


def test_a_live_picture_of_the_repeated_hour_is_that_of_its_arrival() -> None:
    arrival = SECOND + 20 * MINUTE
    moments = [FIRST + 19 * MINUTE, SECOND + 19 * MINUTE]
    for newest in (None, Newest(FIRST + 5 * MINUTE), Newest(arrival, arrived=True)):
        assert place(moments, arrival, newest).captured_at == moments[1]
    assert place(moments, FIRST + 20 * MINUTE, None).captured_at == moments[0]


def test_without_a_zone_the_repeated_hour_is_late() -> None:
    assert place([FIRST + 5 * MINUTE], SECOND + 5 * MINUTE, Newest(FIRST + 55 * MINUTE)).late


@given(st.lists(MOMENTS, max_size=2).map(sorted), MOMENTS, NEWEST, st.booleans())
def test_whatever_the_clocks_say_there_is_a_place(
    moments: list[datetime], arrival: datetime, newest: Newest | None, backlog: bool
) -> None:
    found = place(moments, arrival, newest, backlog=backlog)
    assert found.captured_at in [*moments, arrival]
    assert found.camera_time is None or found.captured_at == arrival
    assert not (found.late and found.camera_time)
    if found.late:
        assert newest is not None
        assert (found.newest, found.captured_at < newest.at) == (newest, True)
    elif arrival >= EARLIEST_CAPTURE:
        assert found.newest.at <= arrival + CLOCK_ERROR


@given(
    st.lists(st.none() | MOMENTS, min_size=1),
    st.integers(0, 10**6),
    NEWEST,
)
def test_no_clock_makes_pictures_late_for_ever(
    shown: list[datetime | None], seconds: int, newest: Newest | None
) -> None:
    """Once all clocks are right, the next picture is not late, whatever came before."""
    for moment in shown:
        newest = place([] if moment is None else [moment], NOW, newest).newest
    arrival = NOW + CLOCK_ERROR + timedelta(seconds=seconds)
    assert not place([arrival], arrival, newest).late
    assert not place([], arrival, newest).late
