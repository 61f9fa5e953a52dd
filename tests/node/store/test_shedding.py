"""A bounded outbox: pictures go first, then every second clean job, and never a verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.node.store import shedding as shedding_module
from lenswatch.node.store.database import open_engine
from lenswatch.node.store.gaps import Gap, ShedCounts, shed_counts
from lenswatch.node.store.migrations import MIGRATIONS
from lenswatch.node.store.store import NodeStore
from lenswatch.wire import to_json
from support.node_processes import drift_job

PICTURE = b"\xff" * 19_000
FILLER = "x" * 900  # what makes a job as large as a real one


def post(store: NodeStore, i: int, stream: str = "reef", clean: bool = True, **rest: Any) -> bool:
    job = drift_job(f"e{i}", stream=stream, filler=FILLER)
    with store.begin() as transaction:
        return not transaction.post(job, clean=clean, **rest)


def waiting(store: NodeStore) -> list[dict[str, Any]]:
    """Return the parameters of all jobs that wait, the oldest first."""
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT job FROM outbox ORDER BY id").all()
    return [json.loads(job)["parameters"] for (job,) in rows]


def pictures(store: NodeStore) -> list[int]:
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT outbox_id FROM pictures ORDER BY 1").all()
    return [number for (number,) in rows]


def counts(store: NodeStore) -> ShedCounts:
    with store.read() as connection:
        return shed_counts(connection)


def really(store: NodeStore) -> int:
    """Return the bytes of all jobs and pictures, counted anew."""
    with store.read() as connection:
        jobs = "SELECT coalesce(sum(length(CAST(job AS BLOB))), 0) FROM outbox"
        data = "SELECT coalesce(sum(length(data)), 0) FROM pictures"
        return int(connection.exec_driver_sql(f"SELECT ({jobs}) + ({data})").scalar_one())


def numbers(parameters: Iterable[dict[str, Any]]) -> list[int]:
    return [int(each["event_id"][1:]) for each in parameters]


def missing(parameters: Iterable[dict[str, Any]]) -> int:
    """Return how many jobs the ones that are left say are missing."""
    gaps = (Gap.of(each) for each in parameters)
    return sum(gap.jobs for gap in gaps if gap is not None)


def test_the_oldest_pictures_go_first_and_their_jobs_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=400_000, durable=False)
    for i in range(100):
        assert post(store, i, picture=PICTURE)
    assert counts(store).bytes == really(store) <= 400_000
    left = pictures(store)
    assert left == list(range(100 - len(left) + 1, 101))
    assert len(left) >= 10
    jobs = waiting(store)
    assert numbers(jobs) == list(range(100))
    shed = [number + 1 for number, job in enumerate(jobs) if job.get("picture_shed")]
    assert shed == list(range(1, 101 - len(left)))
    assert counts(store).pictures == len(shed)
    assert counts(store).jobs == 0
    assert [
        record.message
        for record in caplog.records
        if "storage.max_bytes = 400000 is reached" in record.message
    ]
    assert len(caplog.records) == 1


def test_then_clean_jobs_are_thinned_evenly_and_verdicts_stay(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=100_000, durable=False)
    for i in range(1000):
        assert post(store, i, clean=i % 50 != 7, picture=PICTURE if i % 3 else None)
    assert counts(store).bytes == really(store) <= 100_000
    jobs = waiting(store)
    left = numbers(jobs)
    assert [i for i in left if i % 50 == 7] == list(range(7, 1000, 50))
    assert len(jobs) + missing(jobs) == 1000
    assert counts(store).jobs == missing(jobs)
    spaces = [after - before for before, after in pairwise(left)]
    assert max(spaces) <= 64, "a part of the series is gone"
    assert len(jobs) > 50


def test_no_stream_is_thinned_away_by_another(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=100_000, durable=False)
    for i in range(1200):
        assert post(store, i, stream=("reef", "pier", "quay")[i % 3])
    jobs = waiting(store)
    by_stream = Counter(job["stream"] for job in jobs)
    assert min(by_stream.values()) > 0.6 * max(by_stream.values())
    for stream in by_stream:
        mine = [job for job in jobs if job["stream"] == stream]
        assert len(mine) + missing(mine) == 400


def test_streams_that_sent_one_job_only_do_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shedding_module, "SPAN", 16)
    store = NodeStore(tmp_path / "node.db", max_bytes=150_000, durable=False)
    for i in range(100):
        assert post(store, i, stream=f"s{i}")
    for i in range(100, 300):
        assert post(store, i)
    jobs = waiting(store)
    assert {f"s{i}" for i in range(100)} <= {job["stream"] for job in jobs}
    assert len(jobs) + missing(jobs) == 300


def test_where_nothing_may_go_the_new_job_is_not_kept_and_the_next_one_says_so(
    tmp_path: Path,
) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=50_000, durable=False)
    kept = [post(store, i, clean=False, picture=PICTURE) for i in range(100)]
    assert kept == sorted(kept, reverse=True)
    assert 30 < sum(kept) < 60
    assert counts(store).unrecorded == 100 - sum(kept)
    assert counts(store).bytes == really(store) <= 50_000
    with store.begin() as transaction:  # the server takes two
        transaction.connection.exec_driver_sql("DELETE FROM outbox WHERE id < 3")
    assert post(store, 100, clean=False)
    last = waiting(store)[-1]
    assert last["shed"]["jobs"] == 100 - sum(kept)
    assert last["shed"]["since"].endswith("Z")
    with store.begin() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM outbox WHERE id < 6")
    assert post(store, 101, clean=False)
    assert "shed" not in waiting(store)[-1]


def test_an_outbox_that_has_drained_is_no_longer_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=100_000, durable=False)
    for i in range(30):
        post(store, i, picture=PICTURE)
    assert counts(store).since is not None
    with store.begin() as transaction:
        transaction.connection.exec_driver_sql("DELETE FROM outbox")
    assert counts(store).bytes == 0
    post(store, 31, picture=PICTURE)
    assert counts(store).since is None
    assert counts(store).last is not None
    assert [record.message.split(": ")[1][:11] for record in caplog.records] == [
        "storage.max",
        "drift jobs ",
    ]


def test_a_job_that_the_server_has_goes_with_its_picture(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db", max_bytes=100_000, durable=False)
    post(store, 0, picture=PICTURE)
    with store.begin() as transaction:
        transaction.connection.exec_driver_sql("UPDATE outbox SET drift_id = 'd'")
    for i in range(1, 10):
        post(store, i, picture=PICTURE)
    assert numbers(waiting(store)) == list(range(1, 10))
    assert counts(store).bytes == really(store)


def test_a_disk_that_is_nearly_full_is_not_filled_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the file stays, and what is new takes the place of what is old."""
    store = NodeStore(tmp_path / "node.db", durable=False)
    for i in range(300):
        post(store, i, picture=PICTURE)
    monkeypatch.setattr(shedding_module, "free_bytes", lambda folder: 1000)
    post(store, 300, picture=PICTURE)
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        before = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    for i in range(301, 2000):
        assert post(store, i, picture=PICTURE)
    with store.read() as connection:
        after = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    assert after <= before + 16
    assert counts(store).pictures > 1500
    assert numbers(waiting(store))[-1] == 1999


def test_a_small_outbox_may_use_the_last_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that somebody else has filled to 96 % does not end delivery."""
    monkeypatch.setattr(shedding_module, "total_bytes", lambda folder: 10**12)
    monkeypatch.setattr(shedding_module, "free_bytes", lambda folder: 10**10)
    monkeypatch.setattr(shedding_module, "SMALL_BYTES", 10 * len(PICTURE))
    store = NodeStore(tmp_path / "node.db", durable=False)
    for i in range(9):
        post(store, i, picture=PICTURE)
    assert len(pictures(store)) == 9
    for i in range(9, 30):
        post(store, i, picture=PICTURE)
    assert len(pictures(store)) < 15


def test_an_outbox_of_an_earlier_version_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    engine = open_engine(path, 30, durable=False)
    size = 0
    with engine.begin() as connection:
        for migration in MIGRATIONS[:3]:
            migration(connection)
        connection.exec_driver_sql("PRAGMA user_version = 3")
        for i, (warning, alarm) in enumerate([(0, 0), (1, 0), (0, 1), (0, 0), (0, 0)], 1):
            job = drift_job(f"e{i}", stream="reef", warning=bool(warning), alarm=bool(alarm))
            text = to_json(job.to_json())
            size += len(text) + len(PICTURE)
            columns = "id, posted_at, due_at, attempts, tried, job"
            connection.exec_driver_sql(
                f"INSERT INTO outbox ({columns}) VALUES (?, 0, 0, 0, 0, ?)", (i, text)
            )
            connection.exec_driver_sql("INSERT INTO pictures VALUES (?, ?)", (i, PICTURE))
    engine.dispose()
    store = NodeStore(path)
    assert counts(store) == ShedCounts(size, 0, 0, 0, None, None)
    with store.read() as database:
        rows = database.exec_driver_sql("SELECT clean FROM outbox ORDER BY id").all()
    assert [clean for (clean,) in rows] == [1, 0, 0, 0, 1]


steps = st.lists(
    st.tuples(
        st.sampled_from(["reef", "pier"]),
        st.booleans(),  # clean
        st.sampled_from([None, b"j" * 100, PICTURE]),
        st.sampled_from(["", "", "", "deliver", "arrive", "park", "mark"]),
    ),
    min_size=20,
    max_size=150,
)


@pytest.mark.slow
@settings(max_examples=25)
@given(steps=steps, limit=st.sampled_from([5_000, 30_000, 200_000]))
def test_the_limit_holds_and_each_job_is_accounted_for(
    steps: list[Any], limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = NodeStore(tmp_path_factory.mktemp("shed") / "node.db", max_bytes=limit, durable=False)
    delivered: list[dict[str, Any]] = []
    kept_verdicts = set()
    for i, (stream, clean, picture, then) in enumerate(steps):
        if post(store, i, stream, clean, picture=picture) and not clean:
            kept_verdicts.add(i)
        change = {
            "arrive": "UPDATE outbox SET drift_id = 'd' WHERE id = (SELECT min(id) FROM outbox)",
            "park": "UPDATE outbox SET parked_because = 'no' WHERE id = (SELECT max(id) FROM outbox)",
            "mark": "UPDATE outbox SET job = json_set(job, '$.parameters.late', json('true'))",
            "deliver": "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)",
        }.get(then)
        if then in {"arrive", "deliver"}:
            with store.read() as connection:
                found = connection.exec_driver_sql(
                    "SELECT job FROM outbox WHERE drift_id IS NULL AND id = (SELECT min(id) FROM outbox)"
                ).first()
            delivered += [json.loads(found[0])["parameters"]] if found else []
        if change:
            with store.begin() as transaction:
                transaction.connection.exec_driver_sql(change)
        assert counts(store).bytes == really(store)
        assert counts(store).bytes <= limit + 150 * 50  # "mark" enlarges jobs that wait
    with store.read() as connection:
        on_server = "SELECT job FROM outbox WHERE drift_id IS NULL ORDER BY id"
        left = [
            json.loads(job)["parameters"] for (job,) in connection.exec_driver_sql(on_server).all()
        ]
        owed = connection.exec_driver_sql("SELECT coalesce(sum(jobs), 0) FROM gaps").scalar_one()
    there = delivered + left
    assert len(there) + missing(there) + int(owed) == len(steps)
    assert kept_verdicts <= set(numbers(there))
    store.close()
