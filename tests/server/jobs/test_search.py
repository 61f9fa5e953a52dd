"""/experiment/E/drift/search."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest


def test_a_stream_in_a_list_is_found_as_in_mongodb(local: Any, pier: Any) -> None:
    local.drift(pier, parameters={"stream": ["north", "south"]})
    local.drift(pier, parameters={"stream": "north"})
    local.drift(pier, parameters={"stream": "west"})
    assert len(local.search(pier, {"parameters.stream": "north"}).json()) == 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"tags": {"$all": ["a"]}}, "01"),
        ({"tags": {"$all": ["b", "a"]}}, "1"),
        ({"tags": {"$in": ["a", "c"]}}, "012"),
        ({"tags": ["a", "b"]}, "1"),
        ({"tags": "b"}, "1"),
        ({"tags": {"$size": 0}}, "3"),
        ({"tags": {"$nin": ["a"]}}, "23"),
        ({"job_status": "Failed"}, "2"),
        ({"job_status": {"$ne": "Failed"}}, "013"),
        ({"model": {"$gte": "m1", "$lt": "m3"}}, "12"),
        ({"drift_detected": True}, "13"),
        ({"drift_detected": 1}, ""),
        ({"schema_version": "1.0.0"}, "0123"),
        ({"parameters.distance": {"$gt": 0.1}}, "23"),
        ({"parameters.distance": 0}, "0"),
        ({"parameters.distance": "0"}, ""),
        ({"parameters.stream": "s1"}, "13"),
        ({"parameters.stream": {"$in": ["s0", "s1"]}}, "0123"),
        ({"parameters.event_id": "e2"}, "2"),
        ({"parameters": {"stream": "s1"}}, ""),
        ({"$or": [{"model": "m0"}, {"job_status": "Failed"}]}, "02"),
        ({"$nor": [{"model": "m0"}, {"job_status": "Failed"}]}, "13"),
        ({"model": {"$regex": "M[12]", "$options": "i"}}, "12"),
        ({"model": {"$eq": "m1"}}, "1"),
        ({"model": {"$gt": "m1"}}, "23"),
        ({"model": {"$lte": "m1"}}, "01"),
        ({"model": {"$not": {"$in": ["m1", "m2"]}}}, "03"),
        ({"parameters.distance": {"$exists": True}}, "0123"),
        ({"parameters.nothing": {"$exists": False}}, "0123"),
        ({"parameters.nothing": None}, "0123"),
        ({"parameters.null": None}, "0123"),
        ({"parameters.null": {"$exists": True}}, "2"),
        ({"parameters.null": {"$ne": None}}, ""),
        ({"parameters.boxes.label": "eel"}, "13"),
        ({"parameters.boxes.1.label": "eel"}, "3"),
        ({"parameters.boxes": {"$size": 2}}, "3"),
        ({"parameters.boxes": {"$elemMatch": {"label": "eel", "size": {"$gte": 2}}}}, "3"),
        ({"parameters.boxes": {"$elemMatch": {"label": "eel", "size": 1}}}, "1"),
        ({"parameters.boxes": [{"size": 1, "label": "eel"}]}, "1"),
        ({"parameters.boxes": {"label": "eel", "size": 1}}, "1"),
        ({"parameters.distance": {"$gt": "0"}}, ""),
        ({"parameters.distance": True}, ""),
        ({"parameters.stream": {"$gt": 0}}, ""),
        ({"drift_detected": "true"}, ""),
        ({"job_status": None}, ""),
        ({"nothing": None}, "0123"),
        ({"tags": {"$exists": True}}, "0123"),
        ({"tags.0": "a"}, "01"),
        ({"tags": {"$regex": "^[BC]$", "$options": "i"}}, "12"),
        ({"$and": [{"tags": "a"}, {"$nor": [{"tags": "b"}]}]}, "0"),
        ({"tags": "a", "drift_detected": True}, "1"),
        ({"parameters.stream": "s1", "job_status": "Completed", "drift_detected": True}, "13"),
    ],
)
def test_searching(local: Any, pier: Any, query: Any, found: str) -> None:
    for number, tags in enumerate((["a"], ["a", "b"], ["c"], [])):
        parameters: dict[str, Any] = {"distance": number / 10, "stream": f"s{number % 2}"}
        parameters["event_id"] = f"e{number}"
        if number % 2:
            parameters["boxes"] = [{"label": "eel", "size": number}, {"label": "eel", "size": 0}]
            parameters["boxes"] = parameters["boxes"][: 1 + (number > 1)]
        if number == 2:
            parameters["null"] = None
        local.drift(
            pier,
            model=f"m{number}",
            tags=tags,
            parameters=parameters,
            job_status="Failed" if number == 2 else "Completed",
            drift_detected=number % 2 == 1,
        )
    answer = local.search(pier, query, order_by="asc")
    assert "".join(record["model"][1:] for record in answer.json()) == found
    assert json.loads(answer.headers["X-Pagination"])["total"] == len(found)


@pytest.mark.parametrize("key", ["id", "_id"])
def test_searching_by_id_under_both_names(local: Any, pier: Any, key: str) -> None:
    record, other = local.drift(pier), local.drift(pier)
    assert local.search(pier, {key: record["id"]}).json() == [record]
    assert local.search(pier, {key: {"$ne": record["id"]}}).json() == [other]


@pytest.mark.slow
def test_every_filter_of_the_page_with_every_other(local: Any, pier: Any) -> None:
    records = [
        local.drift(pier, job_status=status, tags=tags)
        for status in ("Running", "Completed", "Failed")
        for tags in ([], ["a"], ["a", "b"], ["b"])
    ]
    middle = datetime.fromisoformat(records[6]["created_at"])
    bound = middle.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    moment = datetime.fromisoformat(bound)

    def at(record: Any) -> datetime:
        return datetime.fromisoformat(record["created_at"])

    filters: list[list[tuple[Any, Any]]] = [
        [
            ({}, lambda r: True),
            *(
                ({"tags": {"$all": tags}}, lambda r, tags=tags: set(tags) <= set(r["tags"]))
                for tags in (["a"], ["a", "b"], ["b", "a"])
            ),
        ],
        [
            ({}, lambda r: True),
            *(
                ({"job_status": status}, lambda r, status=status: r["job_status"] == status)
                for status in ("Running", "Completed", "Failed")
            ),
        ],
        [
            ({}, lambda r: True),
            ({"created_at": {"$lt": bound}}, lambda r: at(r) < moment),
            ({"created_at": {"$gt": bound}}, lambda r: at(r) > moment),
            (
                {"created_at": {"$lt": "2125-01-01T00:00:00.000Z", "$gt": bound}},
                lambda r: at(r) > moment,
            ),
        ],
    ]
    for choice in itertools.product(*filters):
        query = {key: value for part, _ in choice for key, value in part.items()}
        expected = [r for r in records if all(holds(r) for _, holds in choice)]
        answer = local.search(pier, query, page_size=100, order_by="asc")
        assert answer.json() == expected, query
        assert json.loads(answer.headers["X-Pagination"])["total"] == len(expected)


def test_searching_by_time_as_the_page_does(local: Any, pier: Any) -> None:
    records = [local.drift(pier) for _ in range(3)]
    middle = datetime.fromisoformat(records[1]["created_at"])
    hour = timedelta(hours=1)

    def page_writes(moment: datetime) -> str:
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def total(**bounds: Any) -> int:
        return len(local.search(pier, {"created_at": bounds}).json())

    around = {"$gt": page_writes(middle - hour), "$lt": page_writes(middle + hour)}
    assert total(**around) == 3
    assert total(**{"$lt": page_writes(middle - hour)}) == 0
    assert total(**{"$eq": records[1]["created_at"]}) == 1
    assert total(**{"$lt": records[1]["created_at"]}) == 1
    assert total(**{"$gte": records[1]["created_at"]}) == 2
    assert total(**{"$gt": "2025", "$lt": "2125-10-17"}) == 3
    assert total(**{"$gt": (middle + hour).replace(tzinfo=None).isoformat()}) == 0
    assert total(**{"$in": [records[0]["created_at"], records[2]["created_at"]]}) == 2
    offset = (middle - hour).astimezone(UTC).isoformat().replace("+00:00", "-02:00")
    assert total(**{"$gt": offset}) == 0
