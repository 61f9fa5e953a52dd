"""Roll-ups are what a plain sum over the jobs gives, whatever happens to them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.migrations.versions import m0006_rollups
from lenswatch.server.db.tables import cursors, drifts, experiments, rollups
from lenswatch.server.jobs import store
from lenswatch.server.jobs.derived import keep
from lenswatch.server.values import stamps

HOUR = 3600 * 10**6
START = stamps.microseconds("2026-06-01T22:00:00") or 0


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def an_experiment(connection: Connection) -> int:
    name = uuid.uuid4().hex
    row = {"id": str(uuid.uuid4()), "created_at": START, "name": name, "name_digest": name}
    row |= {"public": True, "permissions": []}
    made = insert(experiments).values(row).returning(experiments.c.number)
    number = int(connection.execute(made).scalar_one())
    connection.execute(insert(cursors).values(experiment=number, seq=0, irregular=False))
    return number


def bodies() -> st.SearchStrategy[dict[str, Any]]:
    """Jobs of a few hours about midnight, some of them as odd as clients can be."""
    value = st.none() | st.integers(-3, 3) | st.floats(-9, 9) | st.booleans() | st.just("?")
    value |= st.sampled_from([1.7e308, -1.7e308])
    parameters = st.fixed_dictionaries(
        {},
        optional={
            "stream": st.sampled_from(["north", "south"]),
            "captured_at": st.integers(0, 4 * HOUR).map(lambda after: stamps.iso(START + after)),
            "distance": value,
            "score": value,
            "warning": st.sampled_from([True, False, "?"]),
            "warning_distance": st.just(1),
            "can_alarm": st.booleans(),
            "causes": st.just([{"name": "frozen"}]),
        },
    )
    return st.fixed_dictionaries(
        {
            "job_status": st.sampled_from(["Completed", "Completed", "Failed", "Running"]),
            "model": st.just("m"),
            "drift_detected": st.booleans(),
            "tags": st.just([]),
            "parameters": parameters,
        }
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.lists(bodies(), min_size=1, max_size=8)),
        st.tuples(st.just("change"), st.integers(0, 50), bodies()),
        st.tuples(st.just("remove"), st.integers(0, 50)),
        st.tuples(st.just("expire"), st.integers(0, 50)),
    ),
    min_size=1,
    max_size=8,
)


def play(connection: Connection, experiment: int, steps: Any) -> tuple[list[dict[str, Any]], ...]:
    """Do `steps`; return the rows of the jobs that are stored, and of those that expired."""
    stored: list[dict[str, Any]] = []
    expired: list[dict[str, Any]] = []
    for kind, *rest in steps:
        if kind == "store":
            jobs = [dict(body) for body in rest[0]]
            stored += [dict(row) for row, _ in store.store(connection, experiment, jobs)]
        elif stored:
            place = rest[0] % len(stored)
            if kind == "change":
                stored[place] = dict(store.change(connection, stored[place], rest[1]))
            elif kind == "remove":
                store.remove(connection, stored.pop(place))
            else:
                gone = stored[: place + 1]
                del stored[: place + 1]
                numbers = [row["number"] for row in gone]
                connection.execute(delete(drifts).where(drifts.c.number.in_(numbers)))
                keep(connection, experiment, expired=gone)
                expired += gone
    return stored, expired


def summed_up(jobs: list[dict[str, Any]]) -> dict[Any, Any]:
    """Return the sums that the roll-ups should have, by stream, width and begin."""
    found: dict[Any, Any] = {}
    for width in (3600, 86_400):
        for job in jobs:
            if job["verdict"]:
                begin = job["taken_at"] // (width * 10**6) * width * 10**6
                found.setdefault((job["stream"] or "", width, begin), []).append(job)
    return {key: told_by(rows) for key, rows in found.items()}


def told_by(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {"verdicts": {}, "values": {}}
    # SQLite gives the number of a deleted job to a new one, so only the times tell them apart.
    ordered = sorted(
        ((job["taken_at"], job["number"], job["verdict"], job) for job in jobs),
        key=lambda entry: entry[:2],
    )
    for letter in {job["verdict"] for job in jobs}:
        mine = [number for _, number, verdict, _ in ordered if verdict == letter]
        told["verdicts"][letter] = (len(mine), mine[0], mine[-1])
    for name in ("distance", "score"):
        values = [
            (float(job["parameters"][name]), number)
            for _, number, _, job in ordered
            if type(job["parameters"].get(name)) in (int, float)
        ]
        if values:
            least = min(values, key=lambda pair: pair[0])
            most = max(values, key=lambda pair: pair[0])
            huge = any(abs(value) > 1e300 for value, _ in values)  # such sums depend on the order
            total = None if huge else math.fsum(value for value, _ in values)
            told["values"][name] = (len(values), least, most, total)
    return told


def kept(connection: Connection, experiment: int, *, expired: bool) -> dict[Any, Any]:
    """Return the sums that the roll-ups have."""
    here = (rollups.c.experiment == experiment) & rollups.c.expired.is_(expired)
    rows = connection.execute(select(rollups).where(here)).all()
    return {(row.stream, row.width, row.begin): as_told(row.content) for row in rows}


def as_told(content: Any) -> dict[str, Any]:
    verdicts = {
        letter: (jobs, first[1], last[1])
        for letter, (jobs, first, last) in content["verdicts"].items()
    }
    values = {
        name: (jobs, (least[3], least[1]), (most[3], most[1]), total)
        for name, (jobs, total, least, most) in content["values"].items()
    }
    return {"verdicts": verdicts, "values": values}


def assert_same(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, told in expected.items():
        assert found[key]["verdicts"] == told["verdicts"]
        assert found[key]["values"].keys() == told["values"].keys()
        for name, (*exact, total) in told["values"].items():
            *kept_exact, kept_total = found[key]["values"][name]
            assert kept_exact == exact
            if total is not None:
                assert kept_total == pytest.approx(total)


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    with suppress(InterruptedError), database.write() as connection:
        yield connection
        raise InterruptedError


def test_rollups_are_the_sums_of_the_jobs(database: Database) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def check(steps: Any) -> None:
        with undone(database) as connection:
            experiment = an_experiment(connection)
            stored, expired = play(connection, experiment, steps)
            assert_same(kept(connection, experiment, expired=False), summed_up(stored))
            assert_same(kept(connection, experiment, expired=True), summed_up(expired))

    check()


def test_the_migration_sums_up_what_is_there(database: Database) -> None:
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def check(steps: Any) -> None:
        with undone(database) as connection:
            experiment = an_experiment(connection)
            stored, _ = play(connection, experiment, steps)
            context = MigrationContext.configure(connection)
            with Operations.context(context):
                m0006_rollups.downgrade()
                m0006_rollups.upgrade()
            columns = select(drifts.c.taken_at, drifts.c.verdict).order_by(drifts.c.number)
            here = columns.where(drifts.c.experiment == experiment)
            assert connection.execute(here).all() == [
                (job["taken_at"], job["verdict"]) for job in sorted(stored, key=_number)
            ]
            assert_same(kept(connection, experiment, expired=False), summed_up(stored))

    check()


def _number(job: dict[str, Any]) -> int:
    return int(job["number"])
