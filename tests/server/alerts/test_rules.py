"""Rules: counting verdicts, hours without messages, and what holds a message back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.alerts.rules import Quiet, Rule, View, blocked, in_kind, passed

SECOND = 10**6
HOUR = 3600 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


def test_quiet_hours_over_midnight_end_in_the_morning() -> None:
    quiet = Quiet("22:00", "06:00", "Europe/Lisbon")
    assert quiet.until(at("2026-01-10T23:30:00+00:00")) == at("2026-01-11T06:00:00+00:00")
    assert quiet.until(at("2026-01-11T05:59:59+00:00")) == at("2026-01-11T06:00:00+00:00")
    assert quiet.until(at("2026-01-11T06:00:00+00:00")) is None
    assert quiet.until(at("2026-07-10T21:30:00+00:00")) == at("2026-07-11T05:00:00+00:00")  # summer


def test_quiet_hours_follow_the_change_to_summer_time() -> None:
    quiet = Quiet("22:00", "06:00", "Europe/Berlin")
    night = at("2026-03-28T23:30:00+01:00")
    until = quiet.until(night)
    assert until == at("2026-03-29T06:00:00+02:00")
    assert until - night == int(5.5 * HOUR)  # an hour is left out


@given(st.times(), st.times(), st.integers(0, 10**9))
def test_quiet_hours_are_over_when_they_end(begins: object, ends: object, second: int) -> None:
    times = [str(time)[:5] for time in (begins, ends)]
    now = EPOCH + timedelta(seconds=second)
    if times[0] == times[1]:
        return
    quiet, stamp = Quiet(*times), second * SECOND
    until = quiet.until(stamp)
    minutes = now.strftime("%H:%M")
    inside = (
        times[0] <= minutes < times[1]
        if times[0] < times[1]
        else minutes >= times[0] or minutes < times[1]
    )
    assert (until is not None) == inside
    if until is not None:
        assert stamp < until <= stamp + 24 * HOUR
        assert quiet.until(until) is None
        end = EPOCH + timedelta(microseconds=until)
        assert end.strftime("%H:%M") == times[1]


@given(st.text("cwduzf", max_size=20), st.integers(1, 5), st.integers(0, 4), st.integers(0, 20))
def test_what_passed_is_what_a_look_at_each_verdict_would_have_seen(
    recent: str, count: int, more: int, new: int
) -> None:
    rule = Rule(("drift",), count=count, of=count + more)
    seen = [in_kind(rule, "drift", recent[:end]) for end in range(1, len(recent) + 1)]
    assert passed(rule, "drift", View("clean", recent=recent), new) == any(seen[-new:] * (new > 0))


def test_a_rule_and_a_camera_are_muted_until_a_time() -> None:
    assert blocked(Rule(("drift",), muted_until=100), View("drift"), None, 99) == (
        "the rule was muted",
        100,
    )
    assert blocked(Rule(("drift",), muted_until=100), View("drift"), None, 100) is None
    assert blocked(Rule(("drift",)), View("drift", muted_until=7), None, 6) == (
        "the camera was muted",
        7,
    )


def test_a_message_is_not_repeated_within_the_cooldown() -> None:
    rule = Rule(("drift",), cooldown=HOUR)
    found = blocked(rule, View("drift"), 0, HOUR - 1)
    assert found == ("told at 00:00 UTC, and not again so soon", HOUR)
    assert blocked(rule, View("drift"), 0, HOUR) is None
