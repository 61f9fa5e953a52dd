"""Alarms against what was said of them, on values."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.feedback.outcomes import Alarm, Label, Outcomes, Span, outcomes, spans_of

STREAMS, MODELS = st.sampled_from("rs"), st.sampled_from("mn")
MOMENTS = st.integers(0, 40)


def labels(text: str) -> list[Label]:
    """A label for each letter but ".": D shows drift, c is clean."""
    return [Label("r", "m", at, letter == "D") for at, letter in enumerate(text) if letter != "."]


def test_a_span_ends_at_the_next_clean_label() -> None:
    found = spans_of(labels("cDD.DccD.c.D"))
    assert found == [Span("r", "m", 1, 4), Span("r", "m", 7, 7), Span("r", "m", 11, 11)]


def test_a_hand_computed_example() -> None:
    """Three drifts; the first is noticed after 2, the second was on already, the third is missed."""
    said = labels("ccDDDDcccDDccccDcc")
    alarms = [
        Alarm("r", "m", 4, 9),  # labels D D c c c D: true, and still on at 9
        Alarm("r", "m", 12, 13),  # labels c c: false
        Alarm("r", "m", 30, None),  # nothing said
        Alarm("r", "m", 18, 19, said=True),
    ]
    expected = Outcomes(true=2, false=1, unknown=1, delays=[0, 2], missed=1)
    assert outcomes(alarms, said) == {(None, None): expected, ("m", "r"): expected}


def test_a_person_s_word_on_an_alarm_counts_more_than_labels_in_it() -> None:
    for said in (True, False):
        counts = outcomes([Alarm("r", "m", 0, 3, said=said)], labels("DDcc"))[None, None]
        assert (counts.true, counts.false) == (said, not said)


def test_an_alarm_that_begins_after_the_last_label_of_a_drift_has_missed_it() -> None:
    counts = outcomes([Alarm("r", "m", 4, 9)], labels(".DDD....."))[None, None]
    assert (counts.missed, counts.delays, counts.unknown) == (1, [], 1)
    counts = outcomes([Alarm("r", "m", 3, 9)], labels(".DDD....."))[None, None]
    assert (counts.missed, counts.delays, counts.true) == (0, [2], 1)


def test_a_range_counts_what_began_in_it() -> None:
    alarms = [Alarm("r", "m", 2, 3), Alarm("r", "m", 12, 13)]
    said = labels(".DDDc.....DDDDc")
    assert outcomes(alarms, said, 5, 11)["m", "r"] == Outcomes(delays=[2])
    assert outcomes(alarms, said, 5, None)["m", "r"] == Outcomes(true=1, delays=[2])
    assert outcomes(alarms, said, None, 1)[None, None] == Outcomes()
    assert outcomes(alarms, said, 10, 12)["m", "r"] == Outcomes(delays=[2])


ALARMS = st.lists(
    st.builds(
        lambda stream, model, begin, length, said: Alarm(
            stream, model, begin, None if length is None else begin + length, said
        ),
        STREAMS,
        MODELS,
        MOMENTS,
        st.none() | st.integers(0, 9),
        st.none() | st.booleans(),
    ),
    max_size=8,
)
LABELS = st.lists(
    st.builds(Label, STREAMS, MODELS, MOMENTS, st.booleans()),
    max_size=25,
    unique_by=lambda label: (label.stream, label.taken_at),
)


def plainly(
    alarms: list[Alarm], said: list[Label]
) -> dict[tuple[str | None, str | None], Outcomes]:
    """The definitions of docs/feedback.md, one moment after the other."""
    found: dict[tuple[str | None, str | None], Outcomes] = {(None, None): Outcomes()}
    counted: Counter[tuple[str | None, str, str]] = Counter()
    for alarm in alarms:
        end = 99 if alarm.ended_at is None else alarm.ended_at
        of = [x for x in said if x.stream == alarm.stream and alarm.begun_at <= x.taken_at <= end]
        words = [alarm.said] if alarm.said is not None else [x.drift for x in of]
        word = "unknown" if not words else "true" if any(words) else "false"
        counted[alarm.model, alarm.stream, word] += 1
    for (model, stream, word), count in counted.items():
        for counts in (found[None, None], found.setdefault((model, stream), Outcomes())):
            setattr(counts, word, getattr(counts, word) + count)
    for stream in "rs":
        at = {x.taken_at: x for x in said if x.stream == stream}
        model, begin = "", -1  # of the drift that is on
        last = -1
        for moment in range(42):
            label = at.get(moment)
            if begin >= 0 and (moment == 41 or (label and not label.drift)):
                on = [
                    max(0, a.begun_at - begin)
                    for a in alarms
                    if a.stream == stream and a.begun_at <= last
                    if a.ended_at is None or a.ended_at >= begin
                ]
                for counts in (found[None, None], found.setdefault((model, stream), Outcomes())):
                    counts.delays = sorted([*counts.delays, *([min(on)] if on else [])])
                    counts.missed += not on
                begin = -1
            if label and label.drift:
                begin, model = (moment, label.model) if begin < 0 else (begin, model)
                last = moment
    return found


@given(ALARMS, LABELS, st.randoms())
def test_outcomes_are_what_their_definitions_say(
    alarms: list[Alarm], said: list[Label], chance: st.DrawFn
) -> None:
    expected = plainly(alarms, said)
    chance.shuffle(said)  # type: ignore[attr-defined]
    assert outcomes(alarms, said) == expected


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "feedback.md").read_text(encoding="utf-8")
    [verdicts] = re.findall(r"^verdict +(.*)$", page, re.M)
    [drawn] = re.findall(r"^(alarms  .*)$", page, re.M)
    [minutes] = re.findall(r"^(minute  .*)$", page, re.M)
    at: dict[str, list[int]] = {drawn[match.start()]: [] for match in re.finditer("[AB]", drawn)}
    for match in re.finditer(r"\d+", minutes):
        letter = drawn[match.start() : match.end()].strip()
        if letter:
            at[letter].append(int(match[0]))
    alarms = [Alarm("r", "m", moments[0], moments[-1]) for moments in at.values()]
    said = labels("".join(verdicts.split()))
    assert (at["A"], at["B"]) == ([6, 7, 8, 9, 10, 11], [12, 13, 14])
    expected = Outcomes(true=1, false=1, delays=[2], missed=1)
    assert outcomes(alarms, said)[None, None] == expected
