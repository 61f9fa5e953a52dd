"""Work that is done ahead, in order."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.ahead import ahead


@given(st.lists(st.integers(), max_size=20), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_results_are_those_of_map(items: list[int], threads: int, at_most: int) -> None:
    assert list(ahead(lambda i: i * 2, iter(items), threads, at_most)) == [i * 2 for i in items]


def test_a_slow_item_holds_back_the_later_ones_but_not_their_work() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(30)
        else:
            later.set()
        return item

    assert list(ahead(work, range(5), threads=2, at_most=3)) == list(range(5))


def test_no_more_is_done_ahead_than_asked_for() -> None:
    taken = []

    def items() -> object:
        for i in range(10):
            taken.append(i)
            yield i

    results = ahead(str, items(), threads=2, at_most=3)  # type: ignore[arg-type]
    assert next(results) == "0"
    assert len(taken) <= 4
    results.close()  # type: ignore[attr-defined]


def test_an_exception_comes_in_its_turn() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = ahead(work, range(5), threads=3, at_most=5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
