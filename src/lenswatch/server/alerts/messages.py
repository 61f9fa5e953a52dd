"""A message in words: what is wrong with which camera, since when, how sure that is, and where to look."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["Message", "Picture", "Statement", "moment", "sureness"]

SECOND = 10**6
LISTED = 20  # cameras that a text names; the others are counted
_WHATS = ("alarm", "reminder", "recovery")
_NOW = {
    "drift": "drifts",
    "warning": "gives a warning",
    "silence": "is silent",
    "failure": "is failing",
    "frozen": "is frozen",
}
_BEFORE = {
    "drift": "drifted",
    "warning": "gave a warning",
    "silence": "was silent",
    "failure": "was failing",
    "frozen": "was frozen",
}
_WELL = {"silence": "is heard of again", "failure": "is readable again", "frozen": "moves again"}
_KIND = {
    "drift": "drifting",
    "warning": "with a warning",
    "silence": "silent",
    "failure": "failing",
}


@dataclass(frozen=True)
class Picture:
    """A picture that a message carries.

    Attributes:
        role: "picture" of the trouble, or the "nearest clean" one.
        caption: Under the picture.
        data: A JPEG.
    """

    role: str
    caption: str
    data: bytes


@dataclass(frozen=True)
class Statement:
    """One item of a message: its facts, and the addresses and pictures that belong to it."""

    facts: Mapping[str, Any]
    link: str
    pictures: Sequence[Picture] = ()
    drift: str | None = None  # id of the job with the picture

    def headline(self, now: int) -> str:
        """Return the item in a sentence without its full stop."""
        facts = self.facts
        name, kind, since = facts["name"], facts["kind"], moment(facts["since"], now)
        if kind == "shedding":
            return f"{name}: its node could not keep {facts['shed']:,} drift jobs"
        if facts["what"] == "recovery":
            return f"{name} {_WELL.get(kind, 'is clean again')}; it {_BEFORE[kind]} since {since}"
        if facts["ended_at"] is not None:
            until = moment(facts["ended_at"], now)
            return f"{name} {_BEFORE[kind]} from {since} to {until}, and is over it"
        causes = ", ".join(" ".join(filter(None, cause.values())) for cause in self.causes)
        still = "still " if facts["what"] == "reminder" else ""
        nobody = ", and nobody has acknowledged it" if still else ""
        found = f": {causes}" if causes else ""
        return f"{name} {still}{_NOW[kind]} since {since}{nobody}{found}"

    @property
    def causes(self) -> Sequence[Mapping[str, str]]:
        """Causes by name and place."""
        return self.facts.get("causes") or ()

    def evidence(self) -> list[str]:
        """Return sentences that say how sure it is, and what else is known."""
        facts, said = self.facts, []
        if facts.get("verdicts"):
            said.append("{} of the last {} pictures.".format(*facts["verdicts"]))
        if facts.get("ratio") is not None and facts["what"] != "recovery":
            said.append(sureness(facts["ratio"], facts.get("in_a_row", 0)))
        if facts["place"]:
            said.append(f"Place: {facts['place']}.")
        if facts["held"]:
            said.append(f"Not sent at once: {facts['held']}.")
        return said


@dataclass(frozen=True)
class Message:
    """Everything that a channel sends.

    Attributes:
        id: Of the delivery, the same in each try.
        created_at: When it was decided, in microseconds since 1970.
        experiment: Id and name.
        rule: Name of the rule; None in a test.
        statements: At least one, or none in a test.
        link: Address of the page to open.
    """

    id: str
    created_at: int
    experiment: Mapping[str, str]
    rule: str | None
    statements: Sequence[Statement] = field(default_factory=tuple)
    link: str = ""

    @property
    def kind(self) -> str:
        """`test`, `alarm`, `reminder` or `recovery`: the most pressing of its statements."""
        whats = {statement.facts["what"] for statement in self.statements}
        return next((what for what in _WHATS if what in whats), "test")

    @property
    def title(self) -> str:
        """The message in a line, whatever is in the names that people chose."""
        return " ".join(self._title().split())

    def _title(self) -> str:
        if not self.statements:
            return f"TEST: this is how messages about {self.experiment['name']} arrive"
        if len(self.statements) == 1:
            return self.statements[0].headline(self.created_at)
        cameras = len({statement.facts["stream"] for statement in self.statements})
        kinds = Counter(map(_group, self.statements))
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        noun = "camera" if cameras == 1 else "cameras"
        return f"{cameras} {noun} of {self.experiment['name']}: {listed}"

    @property
    def lines(self) -> list[str]:
        """The text below the title, plain."""
        if not self.statements:
            return ["Nothing is wrong. Somebody pressed the test button."]
        if len(self.statements) == 1:
            return self.statements[0].evidence()
        said = [
            " ".join([f"{s.headline(self.created_at)}.", *s.evidence()])
            for s in self.statements[:LISTED]
        ]
        more = len(self.statements) - LISTED
        return [*said, *([f"And {more:,} more."] if more > 0 else [])]

    @property
    def text(self) -> str:
        """The message as plain text, without its title."""
        told = f"Experiment {self.experiment['name']}"
        told += f", rule {self.rule}." if self.rule else "."
        return "\n".join([*self.lines, "", told, self.link])

    @property
    def pictures(self) -> list[Picture]:
        """All pictures of the message."""
        return [picture for statement in self.statements for picture in statement.pictures]

    def html(self, source: Mapping[int, str]) -> str:
        """Return the message as HTML; `source` has the address of each picture, by its position."""
        parts = [f"<h2>{html.escape(self.title)}</h2>"]
        parts += [f"<p>{html.escape(line)}</p>" for line in self.lines]
        for position, picture in enumerate(self.pictures):
            caption = html.escape(picture.caption)
            image = f'<img src="{html.escape(source[position])}" alt="{caption}" width="320">'
            parts.append(f"<p>{image}<br>{caption}</p>")
        rule = f", rule {html.escape(self.rule)}" if self.rule else ""
        name = html.escape(self.experiment["name"])
        parts.append(f'<p><a href="{html.escape(self.link)}">Open it</a></p>')
        parts.append(f"<p>Experiment {name}{rule}.</p>")
        return "\n".join(parts)


def _group(statement: Statement) -> str:
    if statement.facts["what"] == "recovery":
        return "well again"
    kind: str = statement.facts["kind"]
    still = "still " if statement.facts["what"] == "reminder" else ""
    return still + _KIND.get(kind, kind)


def sureness(ratio: float, in_a_row: int) -> str:
    """Return how sure a verdict is, in words.

    Args:
        ratio: The value over the drift threshold.
        in_a_row: Number of the newest verdicts that agree.

    >>> sureness(2.61, 3)
    '2.6 times the drift threshold: sure.'
    >>> sureness(0.8, 1)
    '80 % of the way to the drift threshold.'
    """
    if ratio < 1:
        return f"{max(ratio, 0) * 100:.0f} % of the way to the drift threshold."
    words = "sure" if ratio >= 2 or in_a_row >= 5 else "likely"
    if ratio > 4 and in_a_row >= 5:
        words = "very sure"
    return f"{ratio:.1f} times the drift threshold: {words}."


def moment(stamp: int, now: int) -> str:
    """Return a moment as messages write it: without the date on the day of `now`, in UTC.

    >>> moment(0, 3600 * 10**6), moment(0, 48 * 3600 * 10**6)
    ('00:00 UTC', '1 January 00:00 UTC')
    """
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at, today = (epoch + timedelta(microseconds=each) for each in (stamp, now))
    clock = at.strftime("%H:%M UTC")
    if at.date() == today.date():
        return clock
    year = f" {at.year}" if abs(today - at) > timedelta(days=300) else ""
    return f"{at.day} {at.strftime('%B')}{year} {clock}"
