"""The count of worker deaths by request."""

from __future__ import annotations

from lenswatch.api import deaths
from lenswatch.api.deaths import Deaths


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_tries_that_follow_each_other_are_counted_until_one_succeeds() -> None:
    clock = Clock()
    counted = Deaths(clock)
    assert not counted
    for count in (1, 2, 3):
        clock.now += 1
        assert counted.add("a", began=clock.now) == count
    assert counted.add("b", began=clock.now) == 1
    assert (counted.count("a"), counted.count("b"), counted.count("c")) == (3, 1, 0)
    counted.forget("a")
    assert (counted.count("a"), bool(counted)) == (0, True)


def test_tries_that_were_lost_together_count_once() -> None:
    clock = Clock()
    counted = Deaths(clock)
    assert [counted.add("a", began=99.0) for _ in range(4)] == [1, 1, 1, 1]
    clock.now += 1
    assert counted.add("a", began=100.5) == 2


def test_deaths_are_forgotten_after_an_hour_without_one() -> None:
    clock = Clock()
    counted = Deaths(clock)
    counted.add("a", began=clock.now)
    clock.now += deaths.FORGET_SECONDS - 1
    assert counted.add("a", began=clock.now) == 2
    clock.now += deaths.FORGET_SECONDS
    assert counted.count("a") == 0
    assert counted.add("a", began=clock.now) == 1


def test_only_the_newest_are_remembered() -> None:
    counted = Deaths()
    for key in range(deaths.MOST + 1):
        counted.add(key, began=counted.clock())
    assert (counted.count(0), counted.count(1), counted.count(deaths.MOST)) == (0, 1, 1)
