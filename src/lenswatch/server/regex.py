"""`$regex`: a subset of regular expressions that both databases answer alike, in linear time.

Literals, `.`, classes (`[a-z]`, `[^...]`, `\\d \\w \\s` and their opposites, which are ASCII), the anchors
`^` and `$` (the very beginning and end), groups, alternation, and the repeats `? * + {n} {n,} {n,m}`. The
options are `i` (letters in either case) and `s` (`.` also stands for a line feed). Anything else is refused:
back-references, look-around, word boundaries, inline options.

PostgreSQL gets the expression in its own syntax, written anew from the tree. SQLite has none, so there the
expression is run here, by sets of states (Thompson 1968), which cannot backtrack. Where backtracking is
harmless, with one repeat at most and in a short text, Python's own `re` does it, which is quicker.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Regex", "RegexError", "compile_regex"]

MAX_LENGTH = 500
MAX_REPEAT = 100
MAX_STATES = 1000
MAX_GROUPS = 20  # within each other
SHORT = 512  # characters
_MAX_SETS = 2000  # of states that are remembered
_CHECK_EVERY = 4096  # characters between two looks at the clock
_LAST = 0x10FFFF
_DIGIT = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 13), (32, 32))
_NAMED = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_SPECIAL = frozenset(".^$*+?{}[]\\|()")

Ranges = tuple[tuple[int, int], ...]


class RegexError(ValueError):
    """An expression that is broken or not in the subset."""


class RegexTimeout(Exception):  # noqa: N818
    """Matching took longer than it may."""


@dataclass(frozen=True)
class Chars:
    """One character out of these ranges."""

    ranges: Ranges


@dataclass(frozen=True)
class Anchor:
    """The beginning or the end."""

    kind: Literal["^", "$"]


@dataclass(frozen=True)
class Sequence:
    """One after the other."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Choice:
    """One of these."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """`part`, from `least` to `most` times; None for any number."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Anchor | Sequence | Choice | Repeat


class _Parser:
    def __init__(self, text: str, options: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.fold = "i" in options
        self.dot = ((0, _LAST),) if "s" in options else _without(((10, 10),))

    def parse(self) -> Tree:
        tree = self.choice()
        if self.at < len(self.text):
            raise RegexError(f'Unexpected "{self.text[self.at]}".')
        return tree

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        character = self.peek()
        if not character:
            raise RegexError("The expression ends too early.")
        self.at += 1
        return character

    def choice(self) -> Tree:
        parts = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self) -> Tree:
        parts: list[Tree] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, part: Tree) -> Tree:
        bounds = self.bounds()
        if bounds is None:
            return part
        if isinstance(part, Anchor):
            raise RegexError("An anchor cannot be repeated.")
        if self.peek() == "?":  # as few as possible: the same for whether there is a match
            self.at += 1
        if self.peek() in ("*", "+", "?", "{"):
            raise RegexError("A repeat cannot be repeated; use a group.")
        return Repeat(part, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        simple = {"?": (0, 1), "*": (0, None), "+": (1, None)}
        if self.peek() in simple:
            return simple[self.take()]
        if self.peek() != "{":
            return None
        end = self.text.find("}", self.at)
        inside = self.text[self.at + 1 : end] if end > 0 else ""
        least, comma, most = inside.partition(",")
        numbers = [n for n in (least, most) if n]
        if not least or not all(
            n.isascii() and n.isdigit() and int(n[:4]) <= MAX_REPEAT for n in numbers
        ):
            raise RegexError(f"A repeat must be {{n}}, {{n,}} or {{n,m}}, up to {MAX_REPEAT}.")
        self.at = end + 1
        upper = (int(most) if most else None) if comma else int(least)
        if upper is not None and upper < int(least):
            raise RegexError("A repeat's second number must not be the smaller one.")
        return int(least), upper

    def atom(self) -> Tree:
        character = self.take()
        match character:
            case "^" | "$":
                return Anchor(character)
            case ".":
                return Chars(self.dot)
            case "(":
                return self.group()
            case "[":
                return Chars(self.bracket())
            case "\\":
                return Chars(self.folded(self.escape()))
            case "*" | "+" | "?" | "{":
                raise RegexError(f'There is nothing before "{character}".')
        return Chars(self.folded(_one(character)))

    def group(self) -> Tree:
        if self.peek() == "?":
            if self.text[self.at : self.at + 2] != "?:":
                raise RegexError("Of groups only (...) and (?:...) are supported.")
            self.at += 2
        self.depth += 1
        if self.depth > MAX_GROUPS:
            raise RegexError(f"Over {MAX_GROUPS} groups within each other.")
        tree = self.choice()
        if self.take() != ")":
            raise RegexError("A group is not closed.")
        self.depth -= 1
        return tree

    def escape(self) -> Ranges:
        character = self.take()
        if character.lower() in _NAMED:
            ranges = _NAMED[character.lower()]
            return ranges if character.islower() else _without(ranges)
        if character in _CONTROL:
            return _one(_CONTROL[character])
        if character.isalnum():
            raise RegexError(f"\\{character} is not supported.")
        return _one(character)

    def bracket(self) -> Ranges:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            ranges.extend(self.bracket_item())
        self.at += 1
        merged = self.folded(_merged(ranges))
        return _without(merged) if negated else merged

    def bracket_item(self) -> Ranges:
        low = self.bracket_member()
        if self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("]", ""):
            return low
        self.at += 1
        high = self.bracket_member()
        single = all(len(r) == 1 and r[0][0] == r[0][1] for r in (low, high))
        if not single or low[0][0] > high[0][0]:
            raise RegexError("Not a valid range of characters.")
        return ((low[0][0], high[0][0]),)

    def bracket_member(self) -> Ranges:
        character = self.take()
        if character == "[" and self.peek() in (":", ".", "="):
            raise RegexError("Named classes are not supported.")
        return self.escape() if character == "\\" else _one(character)

    def folded(self, ranges: Ranges) -> Ranges:
        """With the option `i`: the other case of letters too; in ranges, of ASCII letters."""
        if not self.fold:
            return ranges
        more = list(ranges)
        for low, high in ranges:
            if low == high:
                more.extend((ord(c), ord(c)) for c in _cases(chr(low)))
            for start, shift in ((65, 32), (97, -32)):
                inside = max(low, start), min(high, start + 25)
                if inside[0] <= inside[1]:
                    more.append((inside[0] + shift, inside[1] + shift))
        return _merged(more)


def _cases(character: str) -> list[str]:
    return [other for other in (character.lower(), character.upper()) if len(other) == 1]


def _one(character: str) -> Ranges:
    return ((ord(character), ord(character)),)


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _without(ranges: Ranges) -> Ranges:
    """All characters but these."""
    start, rest = 0, []
    for low, high in _merged(ranges):
        if start < low:
            rest.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        rest.append((start, _LAST))
    return tuple(rest)


@dataclass
class _State:
    """`ranges` leads to `target`; without ranges, `free` leads on at no cost, where the anchor holds."""

    ranges: Ranges | None = None
    target: int = -1
    free: list[int] = field(default_factory=list)
    anchor: str = ""


class Regex:
    """A compiled expression."""

    def __init__(self, text: str, options: str) -> None:
        self.tree = _Parser(text, options).parse()
        self._states: list[_State] = []
        self._accept = self._add(_State())
        self._start = self._build(self.tree, self._accept)
        self._quick = re.compile(_write_python(self.tree)) if _repeats(self.tree) <= 1 else None
        self._sets: dict[tuple[frozenset[int], str, bool], frozenset[int]] = {}

    def _add(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise RegexError("The expression is too large.")
        self._states.append(state)
        return len(self._states) - 1

    def _build(self, tree: Tree, then: int) -> int:
        """States that match `tree` and go on at `then`; the first of them."""
        match tree:
            case Chars(ranges):
                return self._add(_State(ranges, then))
            case Anchor(kind):
                return self._add(_State(free=[then], anchor=kind))
            case Sequence(parts):
                for part in reversed(parts):
                    then = self._build(part, then)
                return then
            case Choice(parts):
                return self._add(_State(free=[self._build(part, then) for part in parts]))
            case Repeat(part, least, most):
                return self._build_repeat(part, least, most, then)

    def _build_repeat(self, part: Tree, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = self._add(_State(free=[then]))
            self._states[loop].free.append(self._build(part, loop))
            first = loop
        else:
            first = then
            for _ in range(most - least):
                first = self._add(_State(free=[then, self._build(part, first)]))
        for _ in range(least):
            first = self._build(part, first)
        return first

    def _closure(self, states: Iterable[int], at_start: bool, at_end: bool) -> frozenset[int]:
        seen: set[int] = set()
        left = list(states)
        while left:
            number = left.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self._states[number]
            if (state.anchor == "^" and not at_start) or (state.anchor == "$" and not at_end):
                continue
            left.extend(state.free)
        return frozenset(n for n in seen if self._states[n].ranges is not None or n == self._accept)

    def _step(self, states: frozenset[int], character: str, at_end: bool) -> frozenset[int]:
        key = (states, character, at_end)
        found = self._sets.get(key)
        if found is None:
            if len(self._sets) >= _MAX_SETS:
                self._sets.clear()
            point = ord(character)
            targets = [
                self._states[n].target for n in states if _within(self._states[n].ranges, point)
            ]
            found = self._sets[key] = self._closure([self._start, *targets], False, at_end)
        return found

    def search(self, text: str, deadline: float = float("inf")) -> bool:
        """Whether the expression matches somewhere in `text`.

        Raises:
            RegexTimeout: the monotonic clock passed `deadline`.
        """
        if self._quick is not None and len(text) <= SHORT:
            return self._quick.search(text) is not None
        current = self._closure([self._start], True, not text)
        last = len(text) - 1
        for position, character in enumerate(text):
            if self._accept in current:
                return True
            if position % _CHECK_EVERY == 0 and time.monotonic() > deadline:
                raise RegexTimeout
            current = self._step(current, character, position == last)
        return self._accept in current

    @functools.cached_property
    def literal(self) -> str:
        """The longest text that every match contains; empty if none is known."""
        parts = self.tree.parts if isinstance(self.tree, Sequence) else (self.tree,)
        runs = [""]
        for part in parts:
            if isinstance(part, Chars) and len(part.ranges) == 1 and len(set(part.ranges[0])) == 1:
                runs[-1] += chr(part.ranges[0][0])
            elif not isinstance(part, Anchor):
                runs.append("")
        return max(runs, key=len)

    @functools.cached_property
    def postgres(self) -> str:
        """The expression as PostgreSQL writes it."""
        return "***:" + _write(self.tree)


def _repeats(tree: Tree) -> int:
    """How many repeats there are; one within another counts as many."""
    match tree:
        case Sequence(parts) | Choice(parts):
            return sum(map(_repeats, parts))
        case Repeat(part, _, most):
            simple = isinstance(part, Chars)
            return (0 if most == 1 and simple else 1) + (0 if simple else 2)
    return 0


def _write_python(tree: Tree) -> str:
    match tree:
        case Chars(ranges):
            inside = "".join(f"\\U{low:08X}-\\U{high:08X}" for low, high in ranges)
            return f"[{inside}]" if ranges else r"[^\U00000000-\U0010FFFF]"
        case Anchor(kind):
            return r"\A" if kind == "^" else r"\Z"
        case Sequence(parts):
            return "".join(map(_write_python, parts))
        case Choice(parts):
            return f"(?:{'|'.join(map(_write_python, parts))})"
        case Repeat(part, least, most):
            return f"(?:{_write_python(part)}){{{least},{'' if most is None else most}}}"


def _within(ranges: Ranges | None, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges or ())


def _write(tree: Tree) -> str:
    match tree:
        case Chars(ranges):
            return _write_class(ranges)
        case Anchor(kind):
            return kind
        case Sequence(parts):
            return "".join(map(_write_part, parts))
        case Choice(parts):
            return "|".join(map(_write, parts))
        case Repeat(part, least, most):
            if most == 0:
                return "(?:)"
            upper = "" if most is None else str(most)
            return f"(?:{_write(part)}){{{least},{upper}}}"


def _write_part(tree: Tree) -> str:
    return f"(?:{_write(tree)})" if isinstance(tree, Choice) else _write(tree)


def _write_class(ranges: Ranges) -> str:
    # PostgreSQL knows no character 0 and none of the surrogates.
    usable = [(max(low, 1), high) for low, high in ranges if high >= 1]
    if not usable:
        return r"[^\U00000001-\U0010FFFF]"
    return "[" + "".join(f"\\U{low:08X}-\\U{high:08X}" for low, high in usable) + "]"


@functools.lru_cache(maxsize=256)
def compile_regex(text: str, options: str = "") -> Regex:
    """The compiled expression.

    Raises:
        RegexError: it is broken, too large or not in the subset.
    """
    if len(text) > MAX_LENGTH:
        raise RegexError(f"Longer than {MAX_LENGTH} characters.")
    if not set(options) <= {"i", "s"}:
        raise RegexError('Of options only "i" and "s" are supported.')
    return Regex(text, options)
