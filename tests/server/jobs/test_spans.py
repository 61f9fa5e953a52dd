"""/experiment/E/series of a span of capture times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from lenswatch.server.db.tables import drifts
from lenswatch.server.jobs import spans
from lenswatch.server.jobs.buckets import content_of
from lenswatch.server.jobs.derived import keep
from lenswatch.server.values import stamps
from support.samples import JOB

HOUR = 3600 * 10**6
START = stamps.microseconds("2026-05-01") or 0
COUNT = 700


def taken(number: int) -> int:
    """One picture every ten minutes."""
    return START + number * HOUR // 6


def job(number: int) -> dict[str, Any]:
    """A job; they arrive in another order than their pictures were taken."""
    high = {111: 9.0, 400: -5.0}
    return JOB | {
        "drift_detected": 300 <= number < 340,
        "parameters": {
            "event_id": f"e{number}",
            "stream": "north",
            "captured_at": stamps.iso(taken(number)),
            "distance": high.get(number, number % 7 / 10),
            "warning": number == 500,
            "window": {"filled": 99 if number == 222 else 12},
            "light": {"mean": number},
        },
    }


def fill(api: Any, experiment: Any, numbers: list[int]) -> None:
    for start in range(0, len(numbers), 500):
        body = {"drifts": [job(number) for number in numbers[start : start + 500]]}
        answer = api.post(f"/experiment/{experiment['id']}/drift/batch", json=body)
        assert {result["status"] for result in answer.json()["results"]} == {201}


@pytest.fixture
def pier(local: Any) -> Any:
    experiment = local.experiment("pier")
    numbers = [n for n in range(COUNT) if n % 5] + [n for n in range(COUNT) if n % 5 == 0]
    fill(local, experiment, numbers)
    return experiment


@pytest.fixture(params=["from jobs", "from roll-ups"])
def way(request: Any, monkeypatch: Any) -> str:
    """Both ways to find extremes; the second one is for more jobs than a test should store."""
    if request.param == "from roll-ups":
        monkeypatch.setattr(spans, "READ", 60)
    return str(request.param)


def series(api: Any, experiment: Any, **params: Any) -> Any:
    params = {name.rstrip("_"): value for name, value in params.items()}
    answer = api.get(f"/experiment/{experiment['id']}/series", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers_of(found: Any) -> list[int]:
    """The jobs of an answer, by the moment of their capture."""
    return [(stamps.microseconds(t) - START) * 6 // HOUR for t in found["taken_at"]]  # type: ignore[operator]


def test_few_jobs_of_a_span_are_all_there_in_the_order_of_capture(local: Any, pier: Any) -> None:
    found = series(local, pier, from_=stamps.iso(taken(100)), to=stamps.iso(taken(140)))
    assert numbers_of(found) == list(range(100, 140))
    assert (found["method"], found["total"]) == ("all", 40)
    assert (found["begin"], found["end"]) == (stamps.iso(taken(100)), stamps.iso(taken(140)))


def test_extremes_and_changes_of_verdict_are_kept(local: Any, pier: Any, way: str) -> None:
    found = series(local, pier, stream="north", points=100)
    numbers = numbers_of(found)
    assert numbers == sorted(set(numbers))
    assert {111, 400, 300, 339, 500} <= set(numbers)
    assert len(numbers) <= 100
    assert found["total"] == COUNT
    assert found["method"] == {"from jobs": "extremes", "from roll-ups": "rollups"}[way]
    verdicts = dict(zip(numbers, found["verdict"], strict=True))
    assert (verdicts[300], verdicts[339], verdicts[500], verdicts[111]) == (
        *("drift", "drift", "warning"),
        "clean",
    )
    values = dict(zip(numbers, found["distance"], strict=True))
    assert (values[111], values[400]) == (9.0, -5.0)
    assert None not in found["id"]


def test_a_span_has_its_jobs_and_no_others(local: Any, pier: Any, way: str) -> None:
    found = series(
        local,
        pier,
        stream="north",
        points=50,
        from_=stamps.iso(taken(105)),
        to=stamps.iso(taken(395)),
    )
    numbers = set(numbers_of(found))
    assert {111, 300, 339} <= numbers <= set(range(105, 395))
    assert found["total"] == 290


def test_extremes_of_a_parameter_by_its_path(local: Any, pier: Any) -> None:
    path = "parameters.window.filled"
    found = series(local, pier, points=50, values=f"{path},parameters.light.mean")
    assert 222 in numbers_of(found)
    assert set(found["values"]) == {path, "parameters.light.mean"}
    values = dict(zip(numbers_of(found), found["values"][path], strict=True))
    assert values[222] == 99
    assert found["values"]["parameters.light.mean"] == numbers_of(found)


def test_the_newest_jobs_with_a_parameter(local: Any, pier: Any) -> None:
    found = series(local, pier, limit=5, values="parameters.light.mean,parameters.stream")
    assert found["values"]["parameters.light.mean"] == numbers_of(found)
    assert found["values"]["parameters.stream"] == [None] * 5
    assert "method" not in found


def test_a_scatter_has_jobs_with_both_parameters(local: Any, pier: Any, way: str) -> None:
    local.drift(pier, parameters={"stream": "north", "light": {"mean": 1}})
    local.drift(pier, job_status="Running", parameters={"stream": "north", "light": {"mean": 1}})
    found = series(
        local, pier, stream="north", points=60, x="parameters.light.mean", y="parameters.distance"
    )
    assert found["method"] == "spread"
    assert 20 < len(found["id"]) <= 60
    numbers = numbers_of(found)
    assert found["values"]["parameters.light.mean"] == numbers
    assert found["values"]["parameters.distance"] == found["distance"]
    assert max(numbers) - min(numbers) > COUNT / 2 or way == "from roll-ups"


def test_streams_share_the_points(local: Any, pier: Any) -> None:
    for stream in ("south", "west"):
        for number in range(3):
            local.drift(
                pier, parameters={"stream": stream, "captured_at": stamps.iso(taken(number))}
            )
    local.drift(pier, parameters={"captured_at": stamps.iso(taken(7))})
    found = series(local, pier, stream="north,south,", points=150, to=stamps.iso(taken(COUNT)))
    assert {*found["stream"]} == {"north", "south", None}
    assert found["stream"].count("south") == 3
    assert len(found["id"]) <= 150
    assert {*series(local, pier, points=200)["stream"]} == {"north", "south", "west", None}
    few = series(local, pier, points=50)  # too few for four streams
    assert (few["method"], len(few["id"])) == ("spread", 50)


def test_what_retention_deleted_stays_in_the_chart(local: Any, pier: Any, way: str) -> None:
    database = local.client.app.state.services.database
    with database.write() as connection:
        old = drifts.c.taken_at < taken(450)
        rows = connection.execute(delete(drifts).where(old).returning(drifts)).mappings().all()
        keep(connection, rows[0]["experiment"], expired=rows)
    found = series(local, pier, stream="north", points=200)
    numbers = numbers_of(found)
    assert {111, 400, 300, 339, 500} <= set(numbers)
    assert found["total"] == COUNT
    assert found["begin"] == stamps.iso(taken(0))
    gone = numbers.index(111)
    assert (found["id"][gone], found["created_at"][gone]) == (None, None)
    assert (found["distance"][gone], found["verdict"][gone]) == (9.0, "clean")
    assert found["id"][numbers.index(500)] is not None
    with database.read() as connection:
        assert len(connection.execute(select(drifts.c.id)).all()) == COUNT - 450


def test_an_experiment_without_jobs_has_an_empty_span(local: Any) -> None:
    found = series(local, local.experiment(), points=50)
    assert (found["id"], found["total"], found["begin"]) == ([], 0, None)
    assert series(local, local.experiment(), from_="2026", to="2027")["id"] == []


@pytest.mark.parametrize(
    ("params", "at_fault"),
    [
        ({"from": "soon"}, "from"),
        ({"from": "2026-02", "to": "2026-01"}, "to"),
        ({"points": 49}, "points"),
        ({"points": 5001}, "points"),
        ({"points": 60, "stream": "a,b"}, "points"),
        ({"stream": ",".join("abcdefghijklmnopqrstu")}, "stream"),
        ({"values": "distance"}, "values"),
        ({"values": "parameters"}, "values"),
        ({"values": "parameters.a,"}, "values"),
        ({"values": ",".join(f"parameters.{letter}" for letter in "abcdefghi")}, "values"),
        ({"x": "parameters.a,parameters.b"}, "x"),
        ({"y": 'parameters.a"b'}, "y"),
        ({"y": "parameters.a\n"}, "y"),
        ({"y": "parameters." + ".".join("abcdefgh")}, "y"),
    ],
)
def test_a_bad_span_is_422(local: Any, pier: Any, params: Any, at_fault: str) -> None:
    answer = local.get(f"/experiment/{pier['id']}/series", params=params)
    assert answer.status_code == 422, answer.text
    assert list(answer.json()["errors"]["query"]) == [at_fault]


@given(
    st.lists(
        st.tuples(st.integers(0, 9999), st.sampled_from("cwdufz"), st.none() | st.floats(-9, 9)),
        min_size=1,
        max_size=300,
    ),
    st.integers(50, 90),
)
def test_points_are_few_and_have_the_extremes(jobs: list[Any], most: int) -> None:
    pieces = [
        (at, content_of([(at, number, letter, value)], ["distance"]))
        for number, (at, letter, value) in sorted(enumerate(jobs), key=lambda pair: pair[1][0])
    ]
    points = spans.chosen_of(pieces, 0, 10_000, most)
    assert len(points) <= most
    assert [(p.at, p.number) for p in points] == sorted({(p.at, p.number) for p in points})
    known = [value for _, _, value in jobs if value is not None]
    shown = [p.values["distance"] for p in points if "distance" in p.values]
    assert (min(shown, default=None), max(shown, default=None)) == (
        min(known, default=None),
        max(known, default=None),
    )
    assert {p.verdict for p in points} == {letter for _, letter, _ in jobs}
