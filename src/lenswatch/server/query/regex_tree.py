"""Regular expressions of our subset as trees, and their parser; `regex` describes the subset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ANY",
    "Anchor",
    "Chars",
    "Choice",
    "Ranges",
    "RegexError",
    "Repeat",
    "Sequence",
    "Tree",
    "parse_regex",
]

MAX_REPEAT = 100
MAX_GROUPS = 20  # levels of nesting
_FIRST, _LAST = 1, 0x10FFFF  # of characters: neither database stores NUL
_DIGIT = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE = ((9, 13), (32, 32))
_NAMED = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}

Ranges = tuple[tuple[int, int], ...]


class RegexError(ValueError):
    """The expression is broken or not in the subset."""


@dataclass(frozen=True)
class Chars:
    """One character in one of `ranges`, which are first and last code points."""

    ranges: Ranges


ANY = Chars(((_FIRST, _LAST),))


@dataclass(frozen=True)
class Anchor:
    """The beginning or the end of the text."""

    kind: Literal["^", "$"]


@dataclass(frozen=True)
class Sequence:
    """All parts, one after the other."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Choice:
    """One of the parts."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Repeat:
    """`part`, from `least` to `most` times; None for no upper limit."""

    part: Tree
    least: int
    most: int | None


Tree = Chars | Anchor | Sequence | Choice | Repeat
_NOTHING = Sequence(())  # left out of sequences and repeats, so that it costs nothing


class _RegexParser:
    """A recursive-descent parser: a method for each rule of the grammar."""

    def __init__(self, text: str, options: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.fold = "i" in options
        self.dot = ANY.ranges if "s" in options else _without(((10, 10),))

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
        return parts[0] if len(set(parts)) == 1 else Choice(tuple(parts))

    def sequence(self) -> Tree:
        parts: list[Tree] = []
        while self.peek() not in ("", "|", ")"):
            part = self.repeated(self.atom())
            if part != _NOTHING:
                parts.append(part)
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, part: Tree) -> Tree:
        bounds = self.bounds()
        if bounds is None:
            return part
        if isinstance(part, Anchor):
            raise RegexError("An anchor cannot be repeated.")
        if self.peek() == "?":  # "as few as possible" does not change whether there is a match
            self.at += 1
        if self.peek() in ("*", "+", "?", "{"):
            raise RegexError("A repeat cannot be repeated; use a group.")
        return _NOTHING if part == _NOTHING or bounds[1] == 0 else Repeat(part, *bounds)

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
            raise RegexError("The second number of a repeat must not be smaller than the first.")
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
            raise RegexError(f"Groups are nested more than {MAX_GROUPS} deep.")
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
        """Add the other case of letters if the option `i` is on; in ranges only of ASCII letters."""
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
    """Return all other characters."""
    start, rest = _FIRST, []
    for low, high in _merged(ranges):
        if start < low:
            rest.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        rest.append((start, _LAST))
    return tuple(rest)


def parse_regex(text: str, options: str) -> Tree:
    """Return the tree of the expression `text`; `options` may contain "i" and "s".

    Raises:
        RegexError: The expression is broken or not in the subset.
    """
    return _RegexParser(text, options).parse()
