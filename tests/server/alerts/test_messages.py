"""The words of a message."""

from __future__ import annotations

from typing import Any

import pytest

from lenswatch.server.alerts.messages import LISTED, Message, Statement

HOUR = 3600 * 10**6


def statement(**facts: Any) -> Statement:
    known = {
        **{"stream": "reef-03", "name": "reef-03", "place": None, "kind": "drift"},
        **{"what": "alarm", "since": 14 * HOUR, "ended_at": None, "held": None, "shed": 0},
    }
    return Statement(known | facts, "https://lens.example/e")


def message(*statements: Statement) -> Message:
    return Message("m", 16 * HOUR, {"id": "e", "name": "Reef"}, "drifts", statements, "link")


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({}, "reef-03 drifts since 14:00 UTC"),
        (
            {"causes": [{"name": "blur", "place": "lower left"}, {"name": "haze", "place": ""}]},
            "reef-03 drifts since 14:00 UTC: blur lower left, haze",
        ),
        ({"kind": "silence"}, "reef-03 is silent since 14:00 UTC"),
        ({"kind": "failure"}, "reef-03 is failing since 14:00 UTC"),
        ({"kind": "frozen"}, "reef-03 is frozen since 14:00 UTC"),
        ({"kind": "warning"}, "reef-03 gives a warning since 14:00 UTC"),
        (
            {"kind": "shedding", "shed": 1200},
            "reef-03: its node could not keep 1,200 drift jobs",
        ),
        (
            {"what": "recovery"},
            "reef-03 is clean again; it drifted since 14:00 UTC",
        ),
        (
            {"what": "recovery", "kind": "silence"},
            "reef-03 is heard of again; it was silent since 14:00 UTC",
        ),
        (
            {"what": "reminder"},
            "reef-03 still drifts since 14:00 UTC, and nobody has acknowledged it",
        ),
        (
            {"ended_at": 15 * HOUR},
            "reef-03 drifted from 14:00 UTC to 15:00 UTC, and is over it",
        ),
    ],
)
def test_one_camera_is_one_sentence(facts: dict[str, Any], title: str) -> None:
    assert message(statement(**facts)).title == title


def test_the_evidence_says_how_sure_it_is() -> None:
    said = message(
        statement(verdicts=[3, 5], ratio=4.6, in_a_row=5, place="pier 2", held="quiet hours")
    )
    assert said.lines == [
        "3 of the last 5 pictures.",
        "4.6 times the drift threshold: very sure.",
        "Place: pier 2.",
        "Not sent at once: quiet hours.",
    ]


def test_many_cameras_are_counted_by_what_is_wrong_and_the_first_are_listed() -> None:
    silent = [statement(stream=f"cam-{n}", kind="silence") for n in range(LISTED + 5)]
    said = message(statement(), *silent, statement(stream="x", what="recovery"))
    assert said.title == "27 cameras of Reef: 1 drifting, 25 silent, 1 well again"
    assert said.kind == "alarm"
    assert len(said.lines) == LISTED + 1
    assert said.lines[-1] == "And 7 more."
    assert "rule drifts" in said.text


def test_the_most_pressing_of_its_statements_makes_the_kind_of_a_message() -> None:
    assert message(statement(what="recovery"), statement(what="reminder")).kind == "reminder"
    assert message().kind == "test"
