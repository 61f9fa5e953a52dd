"""What an expression costs; what it finds is tested in test_queries.py and test_query_properties.py."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

import pytest

from lenswatch.server.query.regex import RegexTimeout, Steps, compile_regex

GREEDY = (
    "[a-i].{100}.{100}.{100}.{100}(X|Y%03d)"  # each character leads to another large set of states
)
TEXT = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=1200))


def test_an_expression_keeps_nothing_of_its_searches() -> None:
    expression = compile_regex(GREEDY % 1)
    before = {name: repr(value) for name, value in vars(expression).items()}
    assert not expression.search(TEXT)
    assert {name: repr(value) for name, value in vars(expression).items()} == before


def test_what_is_remembered_for_a_search_is_bounded() -> None:
    steps = Steps()
    for number in range(3):
        compile_regex(GREEDY % number).search(TEXT, steps=steps)
        assert 0 < steps.size <= 200_000
        assert steps.size == sum(len(states) + 1 for states in steps.values())


def test_the_next_text_is_searched_by_what_is_remembered() -> None:
    steps, expression = Steps(), compile_regex("(ab|cd|e)+(x|y)z")
    assert not expression.search(TEXT, steps=steps)
    known = dict(steps)
    assert not expression.search(TEXT, steps=steps)
    assert steps == known


def test_time_that_is_up_ends_a_search() -> None:
    with pytest.raises(RegexTimeout):
        compile_regex(GREEDY % 1).search(TEXT, deadline=0.0)


def test_searches_leave_no_memory_behind(local: Any) -> None:
    experiment = local.experiment()
    local.drift(experiment, parameters={"t": TEXT})

    def search(number: int) -> None:
        answer = local.search(experiment, {"parameters.t": {"$regex": GREEDY % number}})
        assert answer.status_code == 200

    search(0)
    tracemalloc.start()
    try:
        for number in range(1, 4):
            search(number)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 6_000_000  # three expressions, each of which would remember ten million bytes
