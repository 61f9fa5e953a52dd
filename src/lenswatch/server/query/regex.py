r"""`$regex`: a subset of regular expressions with one meaning on both databases, searched in linear time.

Supported: literals, `.`, classes (`[a-z]`, `[^...]`, `\d \w \s` and their opposites, which are ASCII), the
anchors `^` and `$` (the very beginning and end of the text), groups, alternation, and the repeats
`? * + {n} {n,} {n,m}`. The options are `i` (ignore case) and `s` (`.` also matches a line feed). Everything
else is refused: back-references, look-around, word boundaries, inline options.

Each database gets the expression as written from our own parse tree: PostgreSQL in its own syntax; SQLite,
which has no regular expressions, in that of RE2 (google/re2).
"""

from __future__ import annotations

import functools

import re2

from lenswatch.server.query.regex_tree import (
    ANY,
    Anchor,
    Chars,
    Choice,
    RegexError,
    Repeat,
    Sequence,
    Tree,
    parse_regex,
)

__all__ = ["OPTIONS", "UNSUPPORTED_OPTIONS", "Regex", "RegexError", "compile_regex"]

OPTIONS = frozenset("is")
UNSUPPORTED_OPTIONS = 'Only the options "i" and "s" are supported.'
MAX_LENGTH = 500  # characters of an expression
MAX_STATES = 1000  # of an expression, its repeats written out
MAX_WORK = 200_000_000  # instructions of RE2 times bytes of text: up to 3 s of processor time
_CACHED = 128  # compiled expressions, as many as the module re2 keeps itself
_MAX_MEMORY = 1 << 20  # bytes that RE2 may use for one expression
_POSTGRES_CHARACTER = "\\U{:08X}"
_RE2_CHARACTER = "\\x{{{:X}}}"


class Regex:
    """A compiled expression. Threads may share it."""

    def __init__(self, text: str, options: str) -> None:
        self.tree = parse_regex(text, options)
        if _states(self.tree) >= MAX_STATES:
            raise RegexError("The expression is too large.")
        try:
            self._compiled = re2.compile(_write(self.tree, _RE2_CHARACTER), _re2_options())
        except re2.error:
            raise RegexError("The expression is too large.") from None

    def search(self, text: str) -> bool:
        """Return whether the expression matches somewhere in `text`.

        A search cannot be interrupted. RE2 needs time in proportion to the size of the expression and to the
        length of the text, so that product is bounded.

        Raises:
            TimeoutError: The search could take several seconds.
        """
        encoded = text.encode()
        if len(encoded) * self._compiled.programsize > MAX_WORK:
            raise TimeoutError
        return self._compiled.search(encoded) is not None

    @functools.cached_property
    def literal(self) -> str:
        """The longest text that every match contains, or "" if none is known."""
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
        """The expression in the syntax of PostgreSQL."""
        return "***:" + _write(self.tree, _POSTGRES_CHARACTER)


def _re2_options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False  # RE2 would write them to standard error
    return options


def _states(tree: Tree) -> int:
    """Return the number of states of an automaton for `tree`, without the final one."""
    match tree:
        case Sequence(parts):
            return sum(map(_states, parts))
        case Choice(parts):
            return 1 + sum(map(_states, parts))
        case Repeat(part, least, None):
            return 1 + _states(part) * (least + 1)
        case Repeat(part, least, int(most)):
            return most - least + _states(part) * most
    return 1


def _write(tree: Tree, character: str) -> str:
    """Return `tree` as an expression; `character` formats a code point within a class."""
    match tree:
        case Chars(ranges):
            members = (f"{character.format(low)}-{character.format(high)}" for low, high in ranges)
            return f"[{''.join(members)}]" if ranges else f"[^{_write(ANY, character)[1:]}"
        case Anchor(kind):
            return kind
        case Sequence(parts):
            return "".join(_write(part, character) for part in parts)
        case Choice(parts):
            return f"(?:{'|'.join(_write(part, character) for part in parts)})"
        case Repeat(part, least, most):
            return f"(?:{_write(part, character)}){{{least},{'' if most is None else most}}}"


@functools.lru_cache(maxsize=_CACHED)
def compile_regex(text: str, options: str = "") -> Regex:
    """Compile the expression `text` with a choice of OPTIONS.

    Raises:
        RegexError: It is broken, too large or not in the subset.
    """
    if len(text) > MAX_LENGTH:
        raise RegexError(f"Longer than {MAX_LENGTH} characters.")
    if not set(options) <= OPTIONS:
        raise RegexError(UNSUPPORTED_OPTIONS)
    return Regex(text, options)
