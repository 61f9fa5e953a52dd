"""/experiment/E/export."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.db.database import Database
from lenswatch.server.jobs import exports, store
from lenswatch.server.jobs.export_formats import _cell, make_format
from support.jobs_of_the_past import number_of, put
from support.samples import JOB
from support.servers import served

PARAMETERS = {
    "event_id": "e1",
    "stream": "pier",
    "captured_at": "2026-06-01T10:00:00.5+02:00",
    "distance": 0.25,
    "drift_distance": 1,
    "warning": True,
    "nested": {"text": "naïve\n"},
}


def fetched(api: Any, experiment: Any, **params: Any) -> Any:
    answer = api.get(f"/experiment/{experiment['id']}/export", params=params)
    assert answer.status_code == 200, answer.text
    return answer


def lines(api: Any, experiment: Any, **params: Any) -> list[Any]:
    text = fetched(api, experiment, format="jsonl", **params).text
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_hold_the_experiment_and_its_jobs_as_the_api_shows_them(local: Any) -> None:
    experiment = local.experiment("pier", description="wet", public=True)
    jobs = [local.drift(experiment, parameters=PARAMETERS), local.drift(experiment, tags=["a"])]
    answer = fetched(local, experiment, format="jsonl")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="pier.jsonl"'
    assert [json.loads(line) for line in answer.text.splitlines()] == [experiment, *jobs]


def test_csv_has_a_column_for_each_value_that_charts_draw(local: Any, pier: Any) -> None:
    job = local.drift(pier, parameters=PARAMETERS, tags=["a", "b"], drift_detected=True)
    [row] = csv.DictReader(io.StringIO(fetched(local, pier).text))
    assert row["id"] == job["id"]
    assert row["created_at"] == job["created_at"]
    assert row["captured_at"] == "2026-06-01T08:00:00.500000+00:00"
    assert (row["stream"], row["distance"], row["drift_distance"]) == ("pier", "0.25", "1.0")
    assert (row["drift_detected"], row["warning"], row["can_alarm"]) == ("true", "true", "")
    assert json.loads(row["tags"]) == ["a", "b"]
    assert json.loads(row["parameters"]) == PARAMETERS


def test_pandas_reads_parquet_with_its_types(local: Any, pier: Any) -> None:
    job = local.drift(pier, parameters=PARAMETERS, tags=["a"], drift_detected=True)
    local.drift(pier, job_status="Failed")
    data = fetched(local, pier, format="parquet").content
    table = pd.read_parquet(io.BytesIO(data))
    assert list(table["job_status"]) == ["Completed", "Failed"]
    assert table["created_at"][0] == pd.Timestamp(job["created_at"])
    assert table["captured_at"][0] == pd.Timestamp("2026-06-01T08:00:00.5Z")
    assert pd.isna(table["captured_at"][1])
    assert table["distance"].dtype == "float64"
    assert table["drift_detected"].dtype == "bool"
    assert list(table["tags"][0]) == ["a"]
    assert json.loads(table["parameters"][0]) == PARAMETERS


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_experiment_without_jobs_can_be_exported(local: Any, pier: Any, kind: str) -> None:
    answer = fetched(local, pier, format=kind)
    if kind == "parquet":
        assert len(pd.read_parquet(io.BytesIO(answer.content))) == 0
    else:
        assert len(answer.text.splitlines()) == 1


def test_what_is_filtered_is_exported(local: Any, pier: Any, database_url: str) -> None:
    database = Database(database_url)
    old, *_ = put(database, pier, [30, 1], parameters={"stream": "one"}, tags=["a", "b"])
    put(database, pier, [0.5], parameters={"stream": "two"}, tags=["a"], drift_detected=True)
    put(database, pier, [0], job_status="Failed")
    moment = local.get(f"/experiment/{pier['id']}/drift/{old}").json()["created_at"]

    def count(**params: Any) -> int:
        return len(lines(local, pier, **params)) - 1

    assert count() == 4
    assert count(stream="one") == 2
    assert count(stream="") == 1
    assert count(status="Failed") == 1
    assert count(drift="true") == 1
    assert count(tags="a") == 3
    assert count(tags="a, b") == 2
    assert count(**{"from": moment}) == 4
    assert count(to=moment) == 0
    assert count(stream="one", to="2100") == 2
    database.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("format", "xlsx"), ("status", "Done"), ("from", "yesterday"), ("drift", "perhaps")],
)
def test_what_cannot_be_selected_is_named(local: Any, pier: Any, name: str, value: str) -> None:
    answer = local.get(f"/experiment/{pier['id']}/export", params={name: value})
    assert answer.status_code == 422
    assert set(answer.json()["errors"]["query"]) == {name}


def test_whoever_may_read_may_export(ann: Any, bob: Any, anonymous: Any) -> None:
    private, public = ann.experiment(), ann.experiment(public=True)
    assert bob.get(f"/experiment/{private['id']}/export").status_code == 403
    assert anonymous.get(f"/experiment/{public['id']}/export").status_code == 200


def test_an_installation_without_pyarrow_says_what_is_missing(
    local: Any, pier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = local.get(f"/experiment/{pier['id']}/export", params={"format": "parquet"})
    assert answer.status_code == 501
    assert "lenswatch[parquet]" in answer.json()["message"]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "x;=1+1", "a\n=cmd", "\uff1d1", ";\t-1"],
)
def test_no_text_becomes_a_formula_in_a_spreadsheet(local: Any, pier: Any, text: str) -> None:
    local.drift(pier, model=text, tags=[text], parameters={"x": text, text: 1})
    row = next(csv.DictReader(io.StringIO(fetched(local, pier).text)))
    for cell in row.values():
        assert not begins_a_formula(cell)
    assert row["model"].replace("'", "") == text


@given(st.text("=+-@\t\r\n;,'\"x\uff1d"))
def test_no_part_of_a_cell_begins_a_formula(text: str) -> None:
    assert not begins_a_formula(_cell(text))
    assert _cell(text).replace("'", "") == text.replace("'", "")


def begins_a_formula(cell: str) -> bool:
    """Return True if a spreadsheet could see a formula, with commas, semicolons or tabs between cells."""
    parts = cell.replace("\t", ";").replace("\n", ";").replace("\r", ";").split(";")
    return cell.startswith(("\t", "\r")) or any(p.startswith(tuple("=+-@\uff1d")) for p in parts)


def test_numbers_stay_numbers(local: Any, pier: Any) -> None:
    local.drift(pier, parameters={"distance": -0.01})
    table = pd.read_csv(io.StringIO(fetched(local, pier).text), parse_dates=["created_at"])
    assert table["distance"][0] == -0.01
    assert table["drift_detected"].dtype == "bool"
    assert str(table["created_at"].dtype).startswith("datetime64")


@pytest.fixture
def large(local: Any, database_url: str) -> Any:
    """An experiment whose export takes several pieces."""
    experiment = local.experiment()
    database = Database(database_url)
    put(database, experiment, [1] * 400, parameters={"x": "y" * 1000})
    yield experiment, database
    database.close()


def test_an_export_shows_one_state(local: Any, large: Any) -> None:
    experiment, database = large
    reading = exports._Reading(
        local.client.app.state.services.database,
        experiment
        | {"number": number_of(database, experiment), "created_at": 0}
        | {"description": None},
        {},
        make_format("jsonl"),
    )
    pieces = [reading.next_piece()]
    local.drift(experiment)
    first = local.search(experiment, {}, order_by="asc", page_size=1).json()[0]
    last = local.search(experiment, {}, page=2, page_size=1).json()[0]
    for job in (first, last):
        path = f"/experiment/{experiment['id']}/drift/{job['id']}"
        assert local.delete(path).status_code == 204
    while piece := reading.next_piece():
        pieces.append(piece)
    reading.close()
    assert len(pieces) > 3
    assert len(b"".join(pieces).splitlines()) == 1 + 400


def test_a_client_that_goes_away_ends_its_transaction(local: Any, large: Any, port: int) -> None:
    import socket

    from support.waiting import until

    experiment, _ = large
    path = f"/api/latest/experiment/{experiment['id']}/export?format=jsonl"
    pool = local.client.app.state.services.database.engine.pool
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    until(lambda: pool.checkedout() == 0)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_export(tmp_path: Path) -> None:
    """20 MB and 100 MB, by a server process of its own; pyarrow takes about 90 MB for either."""
    with served(tmp_path) as running, running.client() as client:
        experiment = client.post("/experiment", json={"name": "large"}).json()
        database = Database(f"sqlite:///{tmp_path / 'storage' / 'server.db'}")
        number = number_of(database, experiment)
        for batch in range(10):
            stream = "few" if batch < 2 else "many"
            job = JOB | {"tags": [], "parameters": {"x": "y" * 100_000, "stream": stream}}
            with database.write() as connection:
                store.store(connection, number, [job] * 100)
        database.close()
        process = psutil.Process(running.process.pid)
        path = f"/experiment/{experiment['id']}/export"

        def peak_of(kind: str, **chosen: str) -> int:
            size = peak = 0
            with client.stream("GET", path, params={"format": kind, **chosen}) as answer:
                for piece in answer.iter_bytes():
                    size += len(piece)
                    peak = max(peak, process.memory_info().rss)
            assert kind == "parquet" or size > (19e6 if chosen else 95e6)
            return peak

        for kind in ("jsonl", "csv", "parquet"):
            before = peak_of(kind, stream="few")
            assert peak_of(kind) - before < 40e6, kind
