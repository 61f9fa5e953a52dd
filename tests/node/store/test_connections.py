"""Connections that are kept between their uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from lenswatch.node.store.connections import Connections
from lenswatch.node.store.database import open_engine


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    kept = Connections(open_engine(tmp_path / "x.db", 5.0))
    with kept.writing("FULL") as connection:
        connection.exec_driver_sql("CREATE TABLE t (v INTEGER)")
    yield kept
    kept.dispose()


def put(connection: sa.Connection, value: int, *, by_driver: bool) -> None:
    if by_driver:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute("INSERT INTO t VALUES (?)", (value,))
    else:
        connection.execute(sa.text("INSERT INTO t VALUES (:v)"), {"v": value})


def put_where_there_is_no_table(connection: sa.Connection, *, by_driver: bool) -> None:
    put(connection, 3, by_driver=by_driver)
    put(connection, 4, by_driver=not by_driver)
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("INSERT INTO nothing VALUES (1)")


def values(connections: Connections) -> list[int]:
    with connections.reading() as connection:
        return list(connection.exec_driver_sql("SELECT v FROM t ORDER BY v").scalars())


@pytest.mark.parametrize("first", [True, False])
def test_what_sqlalchemy_and_the_driver_write_is_one_transaction(
    connections: Connections, first: bool
) -> None:
    with connections.writing("FULL") as connection:
        put(connection, 1, by_driver=first)
        put(connection, 2, by_driver=not first)
        with connections.reading() as other:
            assert list(other.exec_driver_sql("SELECT v FROM t")) == []
    assert values(connections) == [1, 2]
    with pytest.raises(sqlite3.OperationalError), connections.writing("FULL") as connection:
        put_where_there_is_no_table(connection, by_driver=first)
    assert values(connections) == [1, 2]


def test_a_commit_waits_for_the_disk_as_far_as_it_was_asked_to(connections: Connections) -> None:
    for synchronous, number in (("FULL", 2), ("NORMAL", 1), ("OFF", 0), ("FULL", 2)):
        with connections.writing(synchronous) as connection:  # type: ignore[arg-type]
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == number


def test_a_connection_is_used_again_until_all_are_closed(connections: Connections) -> None:
    def driver() -> object:
        with connections.reading() as connection:
            return connection.connection.driver_connection

    first = driver()
    assert driver() is first
    with connections.reading() as held:
        in_use = held.connection.driver_connection
        connections.dispose()
        assert held.exec_driver_sql("SELECT 1").scalar() == 1
    assert driver() is not first
    assert isinstance(in_use, sqlite3.Connection)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        in_use.execute("SELECT 1")


def test_a_read_that_was_not_finished_holds_no_old_state(connections: Connections) -> None:
    with connections.writing("OFF") as connection:
        for value in range(3):
            put(connection, value, by_driver=True)
    with connections.reading() as connection:
        connection.exec_driver_sql("SELECT v FROM t").first()
        connection.execute(sa.text("SELECT v FROM t"))
    with connections.writing("OFF") as connection:
        put(connection, 3, by_driver=True)
    assert values(connections) == [0, 1, 2, 3]


def test_threads_do_not_share_a_connection(connections: Connections) -> None:
    def add(value: int) -> None:
        with connections.writing("OFF") as connection:
            put(connection, value, by_driver=bool(value % 2))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(60)))
    assert values(connections) == list(range(60))
