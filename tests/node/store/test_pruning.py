"""Answers are kept for a week and in a bounded number, however the clock jumps."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.node.store.pruning import WEEK_SECONDS, Pruning
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer

EVERY = 5
YEAR = 365 * 24 * 3600.0


@dataclass
class Machine:
    """A node whose clocks we set, and when it gave each answer, in true time.

    Attributes:
        true: Seconds that have really elapsed.
        wall: The clock that people see and that jumps.
        booted: True time of the last boot.
    """

    path: Path
    most: int = 10**6
    every: int = EVERY
    true: float = 5e6
    wall: float = 1.8e9
    booted: float = 0.0
    given: dict[str, float] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start the node, as after a crash."""
        pruning = Pruning(
            most=self.most,
            every=self.every,
            uptime=lambda: (f"boot {self.booted}", self.true - self.booted),
        )
        self.store = NodeStore(self.path, durable=False, pruning=pruning, clock=lambda: self.wall)

    def boot(self) -> None:
        self.booted = self.true
        self.store.close()
        self.start()

    def wait(self, seconds: float) -> None:
        self.true += seconds
        self.wall += seconds

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            event_id = f"e{next(self._numbers)}"
            with self.store.begin() as transaction:
                transaction.put_answer(event_id, Answer("judged", {}))
            self.given[event_id] = self.true

    def kept(self) -> set[str]:
        connection = sqlite3.connect(self.path)
        try:
            return {name for (name,) in connection.execute("SELECT event_id FROM answers")}
        finally:
            connection.close()

    def younger_than(self, seconds: float) -> set[str]:
        return {name for name, at in self.given.items() if self.true - at < seconds}

    def keeps_for(self, seconds: float) -> bool:
        """Return True when younger answers are kept, and few older ones: those of one round."""
        kept, younger = self.kept(), self.younger_than(seconds)
        return younger <= kept and len(kept - younger) < self.every


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "node.db")


def test_answers_older_than_a_week_go(machine: Machine) -> None:
    machine.answer(2 * EVERY)
    machine.wait(WEEK_SECONDS + 60)
    machine.answer(2 * EVERY)
    assert machine.keeps_for(60)


def test_a_clock_that_showed_next_year_for_a_while_keeps_no_answer_for_longer(
    machine: Machine,
) -> None:
    machine.wall += YEAR
    machine.answer(2 * EVERY)
    machine.wall -= YEAR
    for _ in range(4):
        machine.wait(WEEK_SECONDS)
        machine.answer(EVERY)
    machine.wait(60)
    machine.answer(EVERY)
    assert machine.keeps_for(WEEK_SECONDS)


@pytest.mark.parametrize("jump", [YEAR, -YEAR, -1.8e9])
def test_no_answer_goes_too_early_after_a_jump(machine: Machine, jump: float) -> None:
    machine.answer(2 * EVERY)
    machine.wall += jump
    machine.answer(2 * EVERY)
    machine.wall -= jump
    machine.answer(2 * EVERY)
    assert machine.kept() == set(machine.given)


def test_time_goes_on_after_the_machine_was_restarted(machine: Machine) -> None:
    machine.answer(EVERY)
    for _ in range(8):
        machine.wait(WEEK_SECONDS / 7)
        machine.boot()
        machine.wait(WEEK_SECONDS / 7)
        machine.answer(EVERY)
    kept = machine.kept()
    assert kept >= machine.younger_than(WEEK_SECONDS)
    assert len(kept) < len(machine.given)


def test_the_number_is_bounded_when_many_come_in_a_week(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "node.db", most=20)
    machine.answer(100)
    newest = set(list(machine.given)[-20:])
    assert newest <= machine.kept()
    assert len(machine.kept()) < 20 + EVERY


def test_a_node_that_never_stops_deletes_as_fast_as_it_answers(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "node.db", every=100)
    machine.answer(250)
    machine.wait(WEEK_SECONDS + 60)
    machine.answer(250)
    assert machine.keeps_for(60)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("answer"), st.integers(1, 3 * EVERY)),
            st.tuples(st.just("wait"), st.floats(0, 2 * WEEK_SECONDS)),
            st.tuples(st.just("jump"), st.floats(-2 * YEAR, 2 * YEAR)),
            st.tuples(st.just("boot"), st.just(0)),
        ),
        max_size=25,
    )
)
@settings(max_examples=60)
def test_whatever_the_clocks_do_the_number_is_bounded_and_recent_answers_stay(
    steps: list[tuple[str, float]],
) -> None:
    most = 4 * EVERY
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(Path(folder) / "node.db", most=most)
        for what, amount in steps:
            if what == "answer":
                machine.answer(int(amount))
            elif what == "wait":
                machine.wait(amount)
            elif what == "jump":
                machine.wall += amount
            else:
                machine.boot()
            kept = machine.kept()
            newest = set(list(machine.given)[-most:])
            assert machine.younger_than(WEEK_SECONDS) & newest <= kept
            assert len(kept) < most + EVERY
        machine.store.close()
