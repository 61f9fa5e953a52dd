"""The pure core: what is said, in which order, and what is not said."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.alerts.rules import Quiet, Rule, View
from lenswatch.server.alerts.spells import Memory, Telling, Unsaid, decide, tell

MINUTE = 60 * 10**6
HOUR = 60 * MINUTE
CLEAN = View("clean", since=0, recent="c", judged=1)


class Watching:
    """A rule that looks at one stream, with a clock."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.memory = Memory(judged=0, shed=0)
        self.view = CLEAN
        self.said: list[tuple[int, str, str]] = []
        self.tellings: list[Telling] = []
        self.unsaid: list[Unsaid] = []
        self.due: int | None = None

    def look(self, now: int, view: View | None = None) -> Watching:
        """Look at the stream at every moment that is due until `now`, when it is like `view`."""
        while self.due is not None and self.due < now:
            self._look(self.due)
        if view is not None:
            self.view = view
        self._look(now)
        return self

    def _look(self, now: int) -> None:
        decision = decide(self.rule, self.memory, self.view, now)
        self.memory, self.due = decision.memory, decision.due_at
        self.unsaid += decision.unsaid
        assert self.due is None or self.due > now
        if self.memory.ready:
            self.memory, told = tell(self.memory, now)
            self.said += [(now, telling.kind, telling.what) for telling in told]
            self.tellings += told
            self._look(now)

    def letters(self, letters: str, start: int = 0, step: int = MINUTE) -> Watching:
        """Look after each verdict."""
        states = {"c": "clean", "w": "warning", "d": "drift", "f": "failing", "z": "frozen"}
        for n, letter in enumerate(letters):
            state, now = states[letter], start + n * step
            since = self.view.since if self.view.state == state else now
            recent, judged = (self.view.recent + letter)[-100:], self.view.judged + 1
            self.look(
                now, replace(self.view, state=state, since=since, recent=recent, judged=judged)
            )
        return self

    @property
    def whats(self) -> list[str]:
        return [what for _, _, what in self.said]


def test_a_drift_is_told_once_and_its_end_if_wanted() -> None:
    assert Watching(Rule(("drift",))).letters("ccddddcc").whats == ["alarm"]
    both = Watching(Rule(("drift",), recovery=True)).letters("ccddddccddc")
    assert both.said == [
        (2 * MINUTE, "drift", "alarm"),
        (6 * MINUTE, "drift", "recovery"),
        (8 * MINUTE, "drift", "alarm"),
        (10 * MINUTE, "drift", "recovery"),
    ]


def test_a_warning_between_two_drifts_is_no_end() -> None:
    assert Watching(Rule(("drift",), recovery=True)).letters("ddwwddc").whats == [
        "alarm",
        "recovery",
    ]


def test_three_of_five_are_told_at_the_third() -> None:
    rule = Rule(("drift",), recovery=True, count=3, of=5)
    assert Watching(rule).letters("cdcdcc").said == []
    assert Watching(rule).letters("cdcdd").said == [(4 * MINUTE, "drift", "alarm")]
    # It flaps, and is over only when fewer than 3 of 5 drift.
    flapping = Watching(rule).letters("cdddcdcdcc")
    assert flapping.said == [(3 * MINUTE, "drift", "alarm"), (8 * MINUTE, "drift", "recovery")]


def test_a_warning_rule_holds_while_it_drifts() -> None:
    rule = Rule(("warning",), minimum=3 * MINUTE)
    assert Watching(rule).letters("cwdd").said == []
    # The state began anew with the drift, the trouble did not.
    assert Watching(rule).letters("cwddd").said == [(4 * MINUTE, "warning", "alarm")]


def test_a_trouble_that_does_not_last_is_not_told() -> None:
    rule = Rule(("drift",), minimum=5 * MINUTE)
    short = Watching(rule).letters("cddddcddddc")
    assert (short.said, short.unsaid) == ([], [])
    lasting = Watching(rule).letters("cd").look(20 * MINUTE)
    assert lasting.said == [(6 * MINUTE, "drift", "alarm")]  # without a further picture


def test_verdicts_that_came_and_went_between_two_looks_are_told() -> None:
    seen = Watching(Rule(("drift",))).look(0)
    seen.look(MINUTE, replace(CLEAN, recent="cddc", judged=4))
    assert seen.whats == ["alarm"]
    assert seen.tellings[0].ended_at == MINUTE


def test_silence_and_its_end() -> None:
    seen = Watching(Rule(("silence",), recovery=True)).look(0)
    seen.look(HOUR, replace(CLEAN, silent_since=MINUTE)).look(2 * HOUR, CLEAN)
    assert seen.said == [(HOUR, "silence", "alarm"), (2 * HOUR, "silence", "recovery")]
    assert seen.tellings[0].since == MINUTE


def test_lost_jobs_are_told_with_their_number() -> None:
    seen = Watching(Rule(("shedding",))).look(0)
    seen.look(MINUTE, replace(CLEAN, shed=7)).look(2 * MINUTE).look(HOUR, replace(CLEAN, shed=9))
    assert [telling.shed for telling in seen.tellings] == [7, 2]


def test_a_rule_on_recovery_alone_tells_only_ends() -> None:
    rule = Rule.of_terms(
        {
            "on": ["recovery"],
            "count": 1,
            "of": 1,
            "minimum_seconds": 0,
            "cooldown_seconds": 0,
            "digest_seconds": 0,
            "remind_seconds": 0,
            "quiet": None,
        }
    )
    assert Watching(rule).letters("ccddzzc").said == [
        (6 * MINUTE, "drift", "recovery"),
        (6 * MINUTE, "frozen", "recovery"),
    ]


def test_a_muted_trouble_is_told_when_the_mute_ends_if_it_lasts() -> None:
    rule = Rule(("drift",), muted_until=HOUR)
    lasting = Watching(rule).letters("cd").look(2 * HOUR)
    assert lasting.said == [(HOUR, "drift", "alarm")]
    assert lasting.tellings[0].held == "the rule was muted"
    over = Watching(rule).letters("cdc").look(2 * HOUR)
    assert over.said == []
    assert [unsaid.reason for unsaid in over.unsaid] == ["the rule was muted"]


def test_quiet_hours_hold_messages_until_they_end() -> None:
    seen = Watching(Rule(("drift",), quiet=Quiet("00:00", "06:00"))).letters("cd").look(8 * HOUR)
    assert seen.said == [(6 * HOUR, "drift", "alarm")]


def test_the_second_drift_within_the_cooldown_waits_for_its_end() -> None:
    rule = Rule(("drift",), cooldown=HOUR)
    seen = Watching(rule).letters("dcd").look(2 * HOUR)
    assert seen.said == [(0, "drift", "alarm"), (HOUR, "drift", "alarm")]
    over = Watching(rule).letters("dcdc").look(2 * HOUR)
    assert over.whats == ["alarm"]
    assert len(over.unsaid) == 1


def test_reminders_come_until_somebody_acknowledges() -> None:
    seen = Watching(Rule(("drift",), remind=HOUR)).letters("d").look(150 * MINUTE)
    assert seen.said == [(n * HOUR, "drift", "reminder" if n else "alarm") for n in range(3)]
    seen.look(151 * MINUTE, replace(seen.view, acknowledged=True)).look(9 * HOUR)
    assert len(seen.said) == 3


def test_what_is_acknowledged_before_it_is_told_is_not_told() -> None:
    seen = Watching(Rule(("drift",), minimum=HOUR, recovery=True)).letters("d")
    seen.look(2, replace(seen.view, acknowledged=True)).look(2 * HOUR)
    seen.look(3 * HOUR, CLEAN)
    assert seen.said == []


def test_a_retired_stream_is_not_spoken_of() -> None:
    seen = Watching(Rule(("drift", "silence"), recovery=True)).letters("d")
    gone = replace(seen.view, retired=True, silent_since=MINUTE)
    assert seen.look(HOUR, gone).look(2 * HOUR).whats == ["alarm"]


RULES = st.builds(
    Rule,
    kinds=st.sampled_from((("drift",), ("drift", "frozen"), ("warning",))),
    recovery=st.booleans(),
    count=st.just(2),
    of=st.integers(2, 4),
    minimum=st.sampled_from((0, 2 * MINUTE)),
    cooldown=st.sampled_from((0, 5 * MINUTE)),
    remind=st.sampled_from((0, 7 * MINUTE)),
    quiet=st.sampled_from((None, Quiet("00:10", "00:20"))),
    muted_until=st.sampled_from((None, 5 * MINUTE)),
)


@given(RULES, st.text("cwdz", max_size=60))
def test_alarms_and_their_ends_alternate_and_keep_the_cooldown(rule: Rule, letters: str) -> None:
    seen = Watching(rule).letters(letters)
    for kind in rule.kinds:
        own = [(now, what) for now, of_kind, what in seen.said if of_kind == kind]
        alarms = [now for now, what in own if what == "alarm"]
        assert all(b - a >= rule.cooldown for a, b in itertools.pairwise(alarms))
        plain = [what for _, what in own if what != "reminder"]
        ends = plain.count("recovery")
        assert rule.recovery or not ends
        assert not plain or plain[0] == "alarm"
        assert all(pair != ("recovery", "recovery") for pair in itertools.pairwise(plain))
    for now, _, _ in seen.said:
        assert rule.quiet is None or not 10 * MINUTE <= now < 20 * MINUTE
        assert rule.muted_until is None or now >= rule.muted_until


@given(RULES, st.text("cwdz", max_size=60))
def test_memory_survives_its_storage(rule: Rule, letters: str) -> None:
    memory = Watching(rule).letters(letters).memory
    assert Memory.from_json(memory.to_json()) == memory
