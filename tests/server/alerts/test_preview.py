"""Messages that a rule would have sent, from the events that are kept."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.alerts.preview import simulate
from lenswatch.server.alerts.rules import Quiet, Rule
from support.alerts import judged, tell
from support.api import Api

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
NOW = 100 * HOUR


def told(rule: Rule, *spans: tuple[str, str, int, int | None]) -> tuple[list[list[str]], int]:
    messages, held_back, complete = simulate(rule, spans, 0, NOW)
    assert complete
    return messages, held_back


def test_a_drift_is_one_message_and_its_end_another() -> None:
    span = ("reef", "drift", HOUR, 2 * HOUR)
    assert told(Rule(("drift",)), span) == ([["reef"]], 0)
    assert told(Rule(("drift",), recovery=True), span) == ([["reef"], ["reef"]], 0)
    assert told(Rule(("frozen",)), span) == ([], 0)
    assert told(Rule(("drift",), minimum=HOUR + 1), span) == ([], 0)
    assert told(Rule(("drift",), minimum=HOUR - 1), span) == ([["reef"]], 0)


def test_a_storm_is_one_message() -> None:
    storm = [(f"cam-{n}", "silent", HOUR + n, None) for n in range(40)]
    [message], _ = told(Rule(("silence",), digest=MINUTE), *storm)
    assert len(message) == 40
    assert len(told(Rule(("silence",)), *storm)[0]) == 40


def test_reminders_quiet_hours_and_the_cooldown_count() -> None:
    lasting = ("reef", "drift", NOW - 5 * HOUR, None)
    assert len(told(Rule(("drift",), remind=HOUR), lasting)[0]) == 6
    quiet = Rule(("drift",), quiet=Quiet("00:00", "06:00"))
    at_night = 24 * HOUR + HOUR
    assert told(quiet, ("reef", "drift", at_night, at_night + HOUR)) == ([], 1)
    flapping = [("reef", "drift", n * 10 * MINUTE, (n * 10 + 5) * MINUTE) for n in range(12)]
    messages, held_back = told(Rule(("drift",), cooldown=HOUR), *flapping)
    assert (len(messages), held_back) == (2, 10)


def test_what_was_before_the_time_that_counts_is_left_out() -> None:
    spans = [("reef", "drift", HOUR, 2 * HOUR), ("reef", "drift", 50 * HOUR, 51 * HOUR)]
    messages, _, _ = simulate(Rule(("drift",)), spans, 40 * HOUR, NOW)
    assert messages == [["reef"]]


def test_too_many_reminders_are_not_all_gone_through() -> None:
    rule = Rule(("drift",), remind=10**6)
    assert simulate(rule, [("reef", "drift", 0, None)], 0, NOW)[2] is False


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=30, unique=True))
def test_each_event_is_told_once(starts: list[tuple[str, int]]) -> None:
    spans = [(name, "drift", hour * HOUR, hour * HOUR + MINUTE) for name, hour in starts]
    messages, held_back = told(Rule(("drift",)), *spans)
    assert sorted(name for message in messages for name in message) == sorted(n for n, _ in starts)
    assert held_back == 0


def test_the_api_counts_the_events_of_thirty_days(local: Api) -> None:
    pier = local.experiment("pier")
    for _ in range(3):
        tell(local, pier, [judged("reef", drift=drift) for drift in (True, False)])
    tell(local, pier, [judged("quay", drift=True)])

    def ask(**fields: Any) -> Any:
        body = {"name": "r", "on": ["drift"], "digest_seconds": 0} | fields
        answer = local.post(f"/experiment/{pier['id']}/rule-preview", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    found = ask()
    assert (found["days"], found["alarms"], found["unknown"]) == (30, 4, [])
    assert found["streams"] == {"reef": 3, "quay": 1}
    assert ask(stream="quay")["messages"] == 1
    assert ask(on=["warning", "drift"])["unknown"] == ["warning"]
    assert ask(on=["silence"])["messages"] == 0
    assert local.get(f"/experiment/{pier['id']}/rule").json() == []  # nothing is saved
