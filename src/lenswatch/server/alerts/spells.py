"""The pure core of alerts: what a rule remembers of a stream, and what follows from how the stream is.

A trouble of a stream is a spell. It is `due` until it may be told, then `ready` until the message is complete
in which troubles are gathered, then `told`. Then it is `again` when a reminder is ready, and `better` when
the news of its end is. It ends as `over`, which remembers when it was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lenswatch.server.alerts.rules import Rule, View, blocked, holds, lingers, passed

__all__ = ["Decision", "Memory", "Spell", "Telling", "Unsaid", "decide", "tell"]

_READY = ("ready", "again", "better")
_OPEN = ("due", "ready", "told", "again", "better")


@dataclass(frozen=True)
class Spell:
    """A trouble of one kind. Moments are microseconds since 1970.

    Attributes:
        phase: See the module.
        since: When it began.
        ended_at: When it was seen to be over, before it was told.
        told: Whether people know of it.
        told_at: When a message of this kind about this stream was last complete, in this spell or before.
        held: Why it could not be told at once, if so.
        shed: Number of jobs that were shed, in a spell of that kind.
    """

    phase: str
    since: int
    ended_at: int | None = None
    told: bool = False
    told_at: int | None = None
    held: str | None = None
    shed: int = 0


@dataclass(frozen=True)
class Memory:
    """All that a rule remembers of a stream: its spells by kind, and how far it has looked."""

    spells: Mapping[str, Spell] = field(default_factory=dict)
    judged: int | None = None
    shed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Memory:
        """Return what was stored."""
        spells = {kind: Spell(**spell) for kind, spell in stored["spells"].items()}
        return cls(spells, stored["judged"], stored["shed"])

    @property
    def ready(self) -> bool:
        """True if there is something to say."""
        return any(spell.phase in _READY for spell in self.spells.values())


@dataclass(frozen=True)
class Telling:
    """One statement of a message.

    Attributes:
        kind: Of trouble.
        what: "alarm", "reminder" or "recovery".
        since: When the trouble began.
        ended_at: When it was over, if that was before it was told.
        held: Why it was not told at once.
        shed: Number of jobs that were shed.
    """

    kind: str
    what: str
    since: int
    ended_at: int | None = None
    held: str | None = None
    shed: int = 0


@dataclass(frozen=True)
class Unsaid:
    """A telling that never becomes a message, and why."""

    telling: Telling
    reason: str


@dataclass(frozen=True)
class Decision:
    """The consequences of a look at a stream.

    Attributes:
        memory: To keep.
        due_at: When to look again though nothing has changed; None for never.
        unsaid: What was held back until it was over.
    """

    memory: Memory
    due_at: int | None
    unsaid: tuple[Unsaid, ...] = ()


def decide(rule: Rule, memory: Memory, view: View, now: int) -> Decision:
    """Return what follows from a look at a stream."""
    new = 0 if memory.judged is None else max(view.judged - memory.judged, 0)
    shed = 0 if memory.shed is None else max(view.shed - memory.shed, 0)
    spells: dict[str, Spell] = {}
    dues: list[int] = []
    unsaid: list[Unsaid] = []
    for kind in rule.kinds:
        spell = memory.spells.get(kind)
        if spell is None or spell.phase == "over":
            spell = _begin(rule, kind, view, now, spell, new, shed)
        elif kind == "shedding":
            spell = replace(spell, shed=spell.shed + shed)
        if spell is None:
            continue
        spell, due, reason = _step(rule, kind, spell, view, now)
        if due is not None:
            dues.append(due)
        if reason is not None:
            unsaid.append(Unsaid(_telling(kind, "alarm", spell), reason))
        if spell.phase != "over" or (spell.told_at or 0) + rule.cooldown > now:
            spells[kind] = spell
    return Decision(Memory(spells, view.judged, view.shed), min(dues, default=None), tuple(unsaid))


def _begin(
    rule: Rule, kind: str, view: View, now: int, before: Spell | None, new: int, shed: int
) -> Spell | None:
    """Return the spell that begins, else the one `before`."""
    told_at = before.told_at if before else None
    if holds(rule, kind, view):
        return Spell("due", view.began(kind, now), told_at=told_at)
    brief = shed > 0 if kind == "shedding" else not rule.minimum and passed(rule, kind, view, new)
    if brief and not view.retired:
        return Spell("due", now, ended_at=now, told_at=told_at, shed=shed)
    return before


def _step(
    rule: Rule, kind: str, spell: Spell, view: View, now: int
) -> tuple[Spell, int | None, str | None]:
    """Return the spell after a look, when to look again, and why it was never told if it ended so."""
    if spell.phase == "due":
        return _step_due(rule, kind, spell, view, now)
    if spell.phase == "ready":
        ended = None if view.is_in(kind) else (spell.ended_at or now)
        return replace(spell, ended_at=ended), None, None
    if spell.phase == "over":
        return spell, None, None
    return *_step_told(rule, kind, spell, view, now), None


def _step_due(
    rule: Rule, kind: str, spell: Spell, view: View, now: int
) -> tuple[Spell, int | None, str | None]:
    if spell.ended_at is None and not view.is_in(kind):
        over = replace(spell, phase="over", ended_at=now)
        return over, None, None if rule.silent else spell.held
    if view.acknowledged:
        return replace(spell, phase="told"), None, None
    if now < spell.since + rule.minimum:
        return spell, spell.since + rule.minimum, None
    if rule.silent:
        return replace(spell, phase="told", told=True), None, None
    block = blocked(rule, view, spell.told_at, now)
    if block is None:
        return replace(spell, phase="ready"), None, None
    reason, until = block
    if spell.ended_at is not None:
        return replace(spell, phase="over", held=reason), None, reason
    return replace(spell, held=reason), until, None


def _step_told(
    rule: Rule, kind: str, spell: Spell, view: View, now: int
) -> tuple[Spell, int | None]:
    if not lingers(rule, kind, view):
        if not (rule.recovery and spell.told) or view.retired or kind == "shedding":
            return replace(spell, phase="over"), None
        block = blocked(rule, view, None, now)
        return replace(spell, phase="told" if block else "better"), block[1] if block else None
    if not rule.remind or view.acknowledged or not spell.told or spell.told_at is None:
        return replace(spell, phase="told"), None
    due = spell.told_at + rule.remind
    block = blocked(rule, view, None, now) if now >= due else ("", due)
    return replace(spell, phase="told" if block else "again"), block[1] if block else None


def tell(memory: Memory, now: int) -> tuple[Memory, list[Telling]]:
    """Return the memory after its message is complete, and the statements of the message."""
    spells: dict[str, Spell] = {}
    tellings: list[Telling] = []
    for kind, spell in memory.spells.items():
        if spell.phase not in _READY:
            spells[kind] = spell
            continue
        what = {"ready": "alarm", "again": "reminder", "better": "recovery"}[spell.phase]
        over = spell.phase == "better" or spell.ended_at is not None
        tellings.append(_telling(kind, what, spell))
        phase = "over" if over else "told"
        spells[kind] = replace(spell, phase=phase, told=True, told_at=now, held=None)
    return replace(memory, spells=spells), tellings


def _telling(kind: str, what: str, spell: Spell) -> Telling:
    return Telling(kind, what, spell.since, spell.ended_at, spell.held, spell.shed)
