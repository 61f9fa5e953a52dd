"""Experiments with many jobs: gone at once, deleted in batches."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import experiments, metadata
from lenswatch.server.experiments import api
from lenswatch.server.upkeep.erasing import erase_deleted
from support.jobs_of_the_past import left, put


def rows(database: Database) -> dict[str, int]:
    """How many rows each table has that belongs to experiments."""
    owned = [t for t in metadata.sorted_tables if "experiment" in t.c or t is experiments]
    with database.read() as connection:
        counts = {
            t.name: connection.execute(select(func.count()).select_from(t)).scalar_one()
            for t in owned
        }
    return {name: count for name, count in counts.items() if count}


@pytest.fixture(autouse=True)
def _a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "ERASED_AT_ONCE", 10)


def test_a_large_experiment_disappears_at_once_and_its_rows_later(
    local: Any, pier: Any, database_url: str
) -> None:
    database = Database(database_url)
    put(database, pier, [1] * 300, picture=10, tags=["a"])
    local.put(f"/experiment/{pier['id']}/retention", json={"jobs_days": 1000})
    path = f"/experiment/{pier['id']}"
    assert local.delete(path).status_code == 204
    assert len(left(database)[0]) > 200
    assert local.get(path).status_code == 404
    assert local.delete(path).status_code == 404
    assert local.post(f"{path}/drift/search", json={}).status_code == 404
    assert local.post("/experiment/search", json={}).json() == []
    metrics = local.client.get("/metrics").text
    assert "lenswatch_jobs{" not in metrics
    again = local.experiment("pier")
    assert again["id"] != pier["id"]
    while erase_deleted(database, threading.Event()):
        pass
    assert rows(database).keys() == {"experiments", "cursors", "permissions"}
    assert rows(database)["experiments"] == 1
    assert left(database) == ([], [])
    database.close()


def test_a_small_one_is_deleted_at_once(local: Any, pier: Any, database_url: str) -> None:
    database = Database(database_url)
    put(database, pier, [1, 2], picture=10)
    assert local.delete(f"/experiment/{pier['id']}").status_code == 204
    assert rows(database) == {}
    database.close()


def test_a_hidden_experiment_gives_nobody_its_permissions(ann: Any, database_url: str) -> None:
    experiment = ann.experiment(public=True)
    database = Database(database_url)
    put(database, experiment, [1] * 30)
    ann.delete(f"/experiment/{experiment['id']}")
    with database.read() as connection:
        row = connection.execute(select(experiments)).one()
    assert (row.public, row.permissions) == (False, [])
    assert ann.get(f"/experiment/{row.id}").status_code == 404
    database.close()
