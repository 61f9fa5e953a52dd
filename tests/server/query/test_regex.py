"""Regular expressions: what they match, and how much time and memory they may take."""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lenswatch.server.query.regex import MAX_WORK, RegexError, compile_regex
from lenswatch.server.query.sqlite_functions import regex_function

TEXT = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=1 << 20))
MANY_STATES = "[a-i].{30}(X|Y%d)"  # each character leads RE2 to another large set of states

characters = st.sampled_from(
    [
        *("a", "b", "B", "2", ".", "é", "中", r"\.", r"\n", r"\-"),
        *(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"[\d_]", r"[^\W\d]", r"[\S\s]", r"[^\S\s]"),
        *("[a-c]", "[^a]", "[^a-z0]", "[é-ö]", "[$😀]"),
    ]
)
repeats = st.sampled_from(
    ["?", "*", "+", "{2}", "{0,2}", "{1,3}", "{2,}", "{0}", "*?", "+?", "??", "{1,2}?"]
)
expressions = st.recursive(
    st.one_of(characters, st.tuples(characters, repeats).map("".join), st.sampled_from("^$")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map("|".join).map("(?:{})".format),
        st.tuples(inner.map("({})".format), repeats).map("".join),
    ),
    max_leaves=8,
)


def for_python(expression: str) -> str:
    """Write our `$` as Python's `\\Z`: `$` there also matches before a last line feed."""
    return re.sub(r"(?<!\[)\$", r"\\Z", expression)


def compare_with_python(expression: str, options: str, texts: list[str], flags: int) -> None:
    try:
        compiled = compile_regex(expression, options)
    except RegexError:  # a repeated anchor
        assume(False)
    oracle = re.compile(for_python(expression), re.ASCII | flags)
    for text in texts:
        assert compiled.search(text) == bool(oracle.search(text)), text


@pytest.mark.slow
@given(
    expressions,
    st.sampled_from(["", "s"]),
    st.lists(st.text("abB2. \n-_éöÖ中😀$", max_size=8), min_size=1, max_size=8),
)
def test_expressions_match_as_in_python(expression: str, options: str, texts: list[str]) -> None:
    compare_with_python(expression, options, texts, re.DOTALL if "s" in options else 0)


@pytest.mark.slow
@given(expressions, st.lists(st.text("aAbB2. \n-_中", max_size=8), min_size=1, max_size=8))
def test_case_is_ignored_as_in_python(expression: str, texts: list[str]) -> None:
    compare_with_python(expression, "i", texts, re.IGNORECASE)


@pytest.mark.parametrize("letters", ["éÉ", "σΣ", "яЯ"])
def test_case_is_ignored_beyond_ascii(letters: str) -> None:
    for letter in letters:
        for expression in (letter, f"[{letter}]"):
            assert all(compile_regex(expression, "i").search(other) for other in letters)
            assert compile_regex(expression).search(letters.replace(letter, "")) is False


SCATTERED = "".join(chr(0x4E00 + 0x47 * n) for n in range(45))  # costs RE2 two instructions each


@pytest.mark.parametrize(
    "expression", ["(a{10}){100}", "a{100}" * 10, "[^a]{100}" * 50, f"[{SCATTERED}]{{100}}" * 9]
)
def test_expressions_that_are_too_large_are_refused(
    expression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RegexError, match="too large"):
        compile_regex(expression)
    assert capfd.readouterr() == ("", "")


def test_no_expression_takes_long() -> None:
    start = time.monotonic()
    for regex in ("(a*)*b", "(a|a)*b", "(a|aa)+$b", "a*a*a*a*b", "((a{0,20}){0,2})*b"):
        assert not compile_regex(regex).search("a" * 1_000_000)
    assert time.monotonic() - start < 60


def test_a_search_that_could_take_long_is_refused(local: Any) -> None:
    regex = "(a?){100}(a?){100}(a|b){100}c"
    most = MAX_WORK // 1000  # bytes, for an expression of fewer than 1,000 instructions
    assert not compile_regex(regex).search("a" * 1000)
    assert not compile_regex("a.*c").search("a" * most)
    with pytest.raises(TimeoutError):
        compile_regex(regex).search("a" * 3 * most)
    experiment = local.experiment()
    local.drift(experiment, parameters={"t": "a" * 3 * most})
    answer = local.search(experiment, {"parameters.t": {"$regex": regex + "|c"}})
    if "sqlite" in str(local.client.app.state.services.database.engine.url):
        assert answer.status_code == 422
        assert answer.json()["errors"] == {"json": {"_schema": ["The query takes too long."]}}
    assert local.search(experiment, {"parameters.t": {"$regex": "a.*c"}}).json() == []


def test_time_that_is_up_ends_a_query() -> None:
    search = regex_function(deadline=time.monotonic() + 3600)
    assert search("a", "", "banana") is True
    assert search("a", "", 1) is None
    with pytest.raises(TimeoutError):
        regex_function(deadline=0.0)("a", "", "banana")


@pytest.mark.slow
def test_compiled_expressions_take_little_memory(capfd: pytest.CaptureFixture[str]) -> None:
    before = resident_bytes()
    for number in range(150):  # more than are kept; with RE2's own limit this took 400 MB
        assert not compile_regex(MANY_STATES % number).search(TEXT[:40_000])
    assert resident_bytes() - before < 160_000_000
    assert capfd.readouterr() == ("", "")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_threads_share_an_expression() -> None:
    expression = compile_regex("(ab|cd|e)+(x|y)z")
    texts = [TEXT[start : start + 2000] for start in range(0, 400_000, 2000)]
    expected = [expression.search(text) for text in texts]
    assert len(set(expected)) == 2
    answers: list[list[bool]] = []
    threads = [
        threading.Thread(target=lambda: answers.append([expression.search(t) for t in texts]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 8
