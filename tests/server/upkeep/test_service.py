"""The periodic runner: one process of all does the work, and another one goes on when it dies."""

from __future__ import annotations

import threading

import pytest

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import leases
from lenswatch.server.http.logs import make_log
from lenswatch.server.upkeep.service import Chore, Upkeep, hold
from lenswatch.server.values import stamps
from support.waiting import until


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


def test_a_lease_has_one_holder_until_it_runs_out(database: Database) -> None:
    with database.write() as connection:
        assert hold(connection, "x", "one", seconds=60)
        assert not hold(connection, "x", "two")
        assert hold(connection, "x", "one", seconds=-1)
    with database.write() as connection:
        assert hold(connection, "x", "two")
        assert not hold(connection, "x", "one")
    database.close()


def test_a_clock_that_was_set_back_keeps_nobody_from_working(database: Database) -> None:
    with database.write() as connection:
        hold(connection, "upkeep", "one", seconds=3600)
    runs = {"two": 0}
    upkeep = _upkeep(database, "two", runs)
    upkeep.start()
    until(lambda: runs["two"] > 0)
    upkeep.stop()
    database.close()


def test_one_of_two_runs_a_chore_and_the_other_goes_on_when_it_stops(database: Database) -> None:
    runs = {"one": 0, "two": 0}
    both = {name: _upkeep(database, name, runs) for name in runs}
    both["one"].start()
    until(lambda: runs["one"] > 0)
    both["two"].start()
    before = runs["one"]
    until(lambda: runs["one"] > before + 2)
    assert runs["two"] == 0
    both["one"].stop()
    until(lambda: runs["two"] > 0)
    both["two"].stop()
    database.close()


def test_a_chore_is_told_since_when_nobody_worked(database: Database) -> None:
    told: list[int] = []
    done: list[bool] = []

    def chore() -> Chore:
        return Chore(
            "count",
            0,
            lambda _database, _stopping: done.append(True),
            after_absence=lambda _connection, ended: told.append(ended),
        )

    with database.write() as connection:
        connection.execute(leases.delete())
    first = Upkeep(database, [chore()], make_log("warning"))
    first.start()
    until(lambda: bool(done))
    before = stamps.now()
    first.stop()
    after = stamps.now()
    assert not told, "nobody had worked before"
    second = Upkeep(database, [chore()], make_log("warning"))
    second.start()
    until(lambda: bool(told))
    second.stop()
    assert before <= told[0] <= after
    database.close()


def test_a_chore_that_fails_does_not_end_the_others(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = threading.Event()

    def fail(_database: Database, _stopping: threading.Event) -> None:
        raise ValueError("broken")

    chores = [Chore("a", 0, fail), Chore("b", 0, lambda _database, _stopping: ran.set())]
    upkeep = Upkeep(database, chores, make_log("warning"))
    upkeep.start()
    assert ran.wait(30)
    upkeep.stop()
    assert "ValueError: broken" in capfd.readouterr().err
    database.close()


def _upkeep(database: Database, name: str, runs: dict[str, int]) -> Upkeep:
    def run(_database: Database, _stopping: threading.Event) -> None:
        runs[name] += 1

    return Upkeep(database, [Chore("count", 0, run)], make_log("warning"))


def test_a_slow_chore_keeps_no_other_one_waiting(database: Database) -> None:
    begun, go_on, ran = threading.Event(), threading.Event(), threading.Event()

    def wait(_database: Database, _stopping: threading.Event) -> None:
        begun.set()
        go_on.wait(30)

    def note(_database: Database, _stopping: threading.Event) -> None:
        if begun.is_set():
            ran.set()

    upkeep = Upkeep(
        database, [Chore("slow", 0, wait, slow=True), Chore("quick", 0, note)], make_log("warning")
    )
    upkeep.start()
    assert ran.wait(30)
    go_on.set()
    upkeep.stop()
    database.close()


def test_a_chore_that_has_more_to_do_goes_on_before_its_time(database: Database) -> None:
    runs: list[int] = []
    done = threading.Event()

    def run(_database: Database, _stopping: threading.Event) -> bool:
        runs.append(1)
        if len(runs) == 3:
            done.set()
        return len(runs) < 3

    upkeep = Upkeep(database, [Chore("much", 3600, run)], make_log("warning"))
    upkeep.start()
    assert done.wait(30)
    upkeep.stop()
    assert len(runs) == 3
    database.close()
