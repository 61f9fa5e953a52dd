"""Rules: when people are told about a stream, and when they are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from lenswatch.server.values import stamps

__all__ = [
    "KINDS",
    "TROUBLES",
    "Quiet",
    "Rule",
    "View",
    "blocked",
    "holds",
    "in_kind",
    "lingers",
    "passed",
]

SECOND = 10**6
TROUBLES = ("drift", "frozen", "failure", "silence")  # what a recovery may follow
KINDS = ("drift", "warning", "recovery", "silence", "failure", "frozen", "shedding")
# A warning rule also holds while it is drift: that is a warning, and more.
_STATES: Mapping[str, tuple[str, ...]] = {
    "drift": ("drift",),
    "warning": ("warning", "drift"),
    "failure": ("failing",),
    "frozen": ("frozen",),
}
_LETTERS: Mapping[str, str] = {"drift": "d", "warning": "wd", "failure": "f", "frozen": "z"}


@dataclass(frozen=True)
class Quiet:
    """Hours of each day in which nobody is told.

    Attributes:
        begins: Time of day, as `22:00`.
        ends: Time of day; before `begins` if midnight lies between.
        timezone: IANA name of the zone of both.
    """

    begins: str
    ends: str
    timezone: str = "UTC"

    def until(self, now: int) -> int | None:
        """Return when the quiet hours end that are now, in microseconds since 1970; None outside of them.

        >>> Quiet("22:00", "06:00").until(0) == 6 * 3600 * 10**6
        True
        >>> Quiet("22:00", "06:00").until(12 * 3600 * 10**6) is None
        True
        """
        here = datetime.fromtimestamp(now // SECOND, ZoneInfo(self.timezone))
        begins, ends = time.fromisoformat(self.begins), time.fromisoformat(self.ends)
        for day in (here.date() - timedelta(days=1), here.date()):
            last = day if begins < ends else day + timedelta(days=1)
            start = datetime.combine(day, begins, here.tzinfo).astimezone(UTC)
            end = datetime.combine(last, ends, here.tzinfo).astimezone(UTC)
            if start <= here < end:
                return int(end.timestamp()) * SECOND
        return None


@dataclass(frozen=True)
class Rule:
    """One rule, as it decides. Durations are microseconds.

    Attributes:
        kinds: The troubles that it looks at.
        recovery: Whether it also says that a trouble is over.
        silent: Whether it says nothing of a trouble itself, only of its end.
        count: So many of the last `of` verdicts make the trouble.
        of: See `count`.
        minimum: Time for which the trouble must last.
        cooldown: Least time between two messages about the same trouble of a stream.
        digest: Time for which troubles are gathered into one message, from the first.
        remind: Time between reminders until somebody acknowledges; 0 for none.
        quiet: Hours without messages.
        muted_until: Moment before which it says nothing.
    """

    kinds: tuple[str, ...]
    recovery: bool = False
    silent: bool = False
    count: int = 1
    of: int = 1
    minimum: int = 0
    cooldown: int = 0
    digest: int = 0
    remind: int = 0
    quiet: Quiet | None = None
    muted_until: int | None = None

    @classmethod
    def of_terms(cls, terms: Mapping[str, Any], muted_until: int | None = None) -> Rule:
        """Return the rule with these terms, which are those that the API takes."""
        asked = [kind for kind in terms["on"] if kind != "recovery"]
        quiet = terms.get("quiet")
        return cls(
            kinds=tuple(asked) or TROUBLES,
            recovery="recovery" in terms["on"],
            silent=not asked,
            count=terms["count"],
            of=terms["of"],
            minimum=int(terms["minimum_seconds"] * SECOND),
            cooldown=int(terms["cooldown_seconds"] * SECOND),
            digest=int(terms["digest_seconds"] * SECOND),
            remind=int(terms["remind_seconds"] * SECOND),
            quiet=Quiet(**quiet) if quiet else None,
            muted_until=muted_until,
        )


@dataclass(frozen=True)
class View:
    """A stream as a rule sees it. Moments are microseconds since 1970.

    Attributes:
        state: One of `tables.STATES`.
        since: When its state began.
        recent: Letters of its newest verdicts, the newest last.
        judged: Number of all its verdicts so far.
        silent_since: When it was last heard of, if it is silent.
        acknowledged: Whether somebody has said that the trouble is known.
        muted_until: Moment before which nothing is said about it.
        retired: Whether it is out of use.
        shed: Number of drift jobs that its node could not keep.
    """

    state: str
    since: int | None = None
    recent: str = ""
    judged: int = 0
    silent_since: int | None = None
    acknowledged: bool = False
    muted_until: int | None = None
    retired: bool = False
    shed: int = 0

    def is_in(self, kind: str) -> bool:
        """Return whether the stream's present state is a trouble of this kind."""
        if self.retired or kind == "shedding":
            return False
        if kind == "silence":
            return self.silent_since is not None
        return self.state in _STATES[kind]

    def is_well(self, kind: str) -> bool:
        """Return whether a trouble of this kind is over."""
        if self.retired or kind in ("silence", "shedding"):
            return not self.is_in(kind)
        if kind == "failure":
            return self.state != "failing"
        well = ("clean", "unwatched", "waiting")
        return self.state in (*well, "warning", "drift") if kind == "frozen" else self.state in well

    def began(self, kind: str, now: int) -> int:
        """Return when the present trouble of this kind began."""
        since = self.silent_since if kind == "silence" else self.since
        return min(since, now) if since is not None and self.is_in(kind) else now


def in_kind(rule: Rule, kind: str, letters: str) -> bool:
    """Return whether `letters`, the newest last, end with a verdict of this kind and enough of them before.

    >>> rule = Rule(("drift",), count=2, of=3)
    >>> [in_kind(rule, "drift", letters) for letters in ("d", "dd", "dcd", "dccd", "ddc")]
    [False, True, True, False, False]
    """
    wanted = _LETTERS[kind]
    newest = letters[-rule.of :]
    return letters[-1:] in tuple(wanted) and sum(x in wanted for x in newest) >= rule.count


def holds(rule: Rule, kind: str, view: View) -> bool:
    """Return whether the rule's trouble of this kind is there now."""
    if kind not in _LETTERS or rule.of == 1:
        return view.is_in(kind)
    return view.is_in(kind) and in_kind(rule, kind, view.recent)


def lingers(rule: Rule, kind: str, view: View) -> bool:
    """Return whether a trouble that was there is not over yet, if perhaps only by its newest verdicts."""
    if not view.is_well(kind):
        return True
    if kind not in _LETTERS or rule.of == 1 or view.retired:
        return False
    return sum(x in _LETTERS[kind] for x in view.recent[-rule.of :]) >= rule.count


def passed(rule: Rule, kind: str, view: View, new: int) -> bool:
    """Return whether the trouble was there within the last `new` verdicts, though it may be over."""
    if kind not in _LETTERS or view.retired or not new:
        return False
    first = max(len(view.recent) - new, 0) + 1
    ends = range(first, len(view.recent) + 1)
    return any(in_kind(rule, kind, view.recent[:end]) for end in ends)


def blocked(rule: Rule, view: View, last_told: int | None, now: int) -> tuple[str, int] | None:
    """Return why nothing may be said now, in words, and until when; None if it may."""
    if rule.muted_until is not None and rule.muted_until > now:
        return "the rule was muted", rule.muted_until
    if view.muted_until is not None and view.muted_until > now:
        return "the camera was muted", view.muted_until
    if last_told is not None and last_told + rule.cooldown > now:
        told = stamps.iso(last_told)[11:16]
        return f"told at {told} UTC, and not again so soon", last_told + rule.cooldown
    until = rule.quiet.until(now) if rule.quiet else None
    return None if until is None else ("quiet hours", until)
