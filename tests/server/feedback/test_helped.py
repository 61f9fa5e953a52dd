"""Did it help? On values."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lenswatch.server.feedback.helped import COMPARED, chance, verdict

FOUL, CLEAN = [1.5 + i / 10 for i in range(10)], [0.2 + i / 100 for i in range(10)]


@given(
    st.lists(st.integers(0, 999), min_size=2, max_size=20, unique=True).filter(
        lambda v: len(v) > 1
    ),
    st.data(),
)
def test_the_chance_is_the_exact_test_of_mann_and_whitney(
    values: list[int], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(values) - 1))
    before, after = values[:cut], values[cut:]
    theirs = stats.mannwhitneyu(before, after, alternative="greater", method="exact").pvalue
    assert chance(before, after) == pytest.approx(theirs, abs=1e-12)


def test_the_chance_by_counting_orders() -> None:
    orders = list(itertools.permutations((1, 2, 3, 4, 5)))
    for before, after in (((3, 5), (1, 2, 4)), ((1, 2), (3, 4, 5)), ((4, 5), (1, 2, 3))):
        lower = sum(b > a for b in before for a in after)
        as_many = sum(sum(b > a for b in o[:2] for a in o[2:]) >= lower for o in orders)
        assert chance(before, after) == pytest.approx(float(Fraction(as_many, len(orders))))


def test_equal_values_are_not_lower() -> None:
    assert chance([0] * 10, [0] * 10) == 1


def test_a_lens_that_is_clean_again_was_helped() -> None:
    assert verdict(FOUL, CLEAN) == "helped"


def test_fewer_than_ten_pictures_are_too_early() -> None:
    assert verdict(FOUL, CLEAN[: COMPARED - 1]) == "too early"
    assert verdict(FOUL, []) == "too early"


def test_without_pictures_before_there_is_no_verdict() -> None:
    assert verdict(FOUL[:2], CLEAN) is None
    assert verdict(FOUL[:3], CLEAN) == "helped"


def test_a_lens_that_is_still_foul_was_not_helped() -> None:
    assert verdict(FOUL, FOUL) == "did not help"
    assert verdict([value + 5 for value in FOUL], FOUL) == "did not help"  # lower, and still drift


def test_a_difference_that_may_be_chance_is_no_help() -> None:
    assert verdict(CLEAN, [value - 0.01 for value in CLEAN]) == "did not help"
    assert verdict(CLEAN, [value - 0.05 for value in CLEAN]) == "helped"


def test_one_bad_picture_after_it_does_not_hide_the_help() -> None:
    assert verdict(FOUL, [2.0, 1.2, *CLEAN[2:]]) == "helped"
