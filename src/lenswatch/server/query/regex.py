"""`$regex`: a subset of regular expressions that both databases answer alike, in linear time.

Literals, `.`, classes (`[a-z]`, `[^...]`, `\\d \\w \\s` and their opposites, which are ASCII), the anchors
`^` and `$` (the very beginning and end), groups, alternation, and the repeats `? * + {n} {n,} {n,m}`. The
options are `i` (letters in either case) and `s` (`.` also stands for a line feed). Anything else is refused:
back-references, look-around, word boundaries, inline options.

PostgreSQL gets the expression in its own syntax, written anew from the tree. SQLite has none, so there the
expression is run here, by sets of states (Thompson 1968), which cannot backtrack. Where backtracking is
harmless, in a short text and with one repeat or alternation at most, Python's own `re` is quicker.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from lenswatch.server.query.regex_tree import (
    Anchor,
    Chars,
    Choice,
    Ranges,
    RegexError,
    Repeat,
    Sequence,
    Tree,
    parse_regex,
)

__all__ = ["OPTIONS", "Regex", "RegexError", "RegexTimeout", "Steps", "compile_regex"]

OPTIONS = frozenset("is")
MAX_LENGTH = 500
MAX_STATES = 1000
SHORT = 512  # characters
_MAX_REMEMBERED = 100_000  # states in the sets that are remembered for one search
_CHECK_EVERY = 4096  # characters between two looks at the clock, where sets are remembered


class RegexTimeout(Exception):  # noqa: N818
    """Matching took longer than it may."""


@dataclass
class _State:
    """`ranges` leads to `target`; without ranges, `free` leads on at no cost, where the anchor holds."""

    ranges: Ranges | None = None
    target: int = -1
    free: list[int] = field(default_factory=list)
    anchor: str = ""


class Steps(dict[tuple["Regex", frozenset[int], str, bool], frozenset[int]]):
    """Where expressions get from sets of states by a character; forgotten when it becomes too much."""

    size = 0

    def remember(
        self, key: tuple[Regex, frozenset[int], str, bool], found: frozenset[int]
    ) -> frozenset[int]:
        """Keep that `key` leads to `found`."""
        self.size += len(found) + 1
        if self.size > _MAX_REMEMBERED:
            self.clear()
            self.size = len(found) + 1
        self[key] = found
        return found


class Regex:
    """A compiled expression."""

    def __init__(self, text: str, options: str) -> None:
        self.tree = parse_regex(text, options)
        self._states: list[_State] = []
        self._accept = self._add(_State())
        self._start = self._build(self.tree, self._accept)
        self._quick = re.compile(_write_python(self.tree)) if _branches(self.tree) <= 1 else None

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
        point = ord(character)
        targets = [self._states[n].target for n in states if _within(self._states[n].ranges, point)]
        return self._closure([self._start, *targets], False, at_end)

    def search(self, text: str, deadline: float = float("inf"), steps: Steps | None = None) -> bool:
        """Whether the expression matches somewhere in `text`.

        `steps` keeps what was found out for the next text. The expression itself keeps nothing: there may be
        many of them, and what they find out is large.

        Raises:
            RegexTimeout: the monotonic clock passed `deadline`.
        """
        if self._quick is not None and len(text) <= SHORT:
            return self._quick.search(text) is not None
        steps = Steps() if steps is None else steps
        current = self._closure([self._start], True, not text)
        last = len(text) - 1
        for position, character in enumerate(text):
            if self._accept in current:
                return True
            key = (self, current, character, position == last)
            known = steps.get(key)
            if (known is None or position % _CHECK_EVERY == 0) and time.monotonic() > deadline:
                raise RegexTimeout
            current = steps.remember(key, self._step(*key[1:])) if known is None else known
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


def _branches(tree: Tree) -> int:
    """In how many places backtracking may choose; a repeat of more than characters counts twice."""
    match tree:
        case Sequence(parts):
            return sum(map(_branches, parts))
        case Choice(parts):
            return 1 + sum(map(_branches, parts))
        case Repeat(Chars(), least, most):
            return int(least != most)
        case Repeat():
            return 2
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
            upper = "" if most is None else str(most)
            return f"(?:{_write(part)}){{{least},{upper}}}"


def _write_part(tree: Tree) -> str:
    return f"(?:{_write(tree)})" if isinstance(tree, Choice) else _write(tree)


def _write_class(ranges: Ranges) -> str:
    # PostgreSQL knows no character 0.
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
    if not set(options) <= OPTIONS:
        raise RegexError('Only the options "i" and "s" are supported.')
    return Regex(text, options)
