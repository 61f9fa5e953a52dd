"""/experiment, /experiment/search and /experiment/E."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from lenswatch.server.db.database import Database


def manages(api: Any) -> dict[str, str]:
    return {"entity": api.me(), "level": "Manage"}


def test_creating_answers_201_with_the_record(ann: Any) -> None:
    body = {"name": "pier", "description": "a pier", "public": True, "permissions": []}
    answer = ann.post("/experiment", json=body)
    record = answer.json()
    assert answer.status_code == 201
    assert record == body | {
        "id": record["id"],
        "created_at": record["created_at"],
        "permissions": [manages(ann)],
    }
    assert uuid.UUID(record["id"]).version == 4
    assert record["id"] == record["id"].lower()
    assert datetime.fromisoformat(record["created_at"]).utcoffset() == UTC.utcoffset(None)


def test_only_the_name_is_required(ann: Any) -> None:
    record = ann.post("/experiment", json={"name": "pier"}).json()
    assert "description" not in record
    assert record["public"] is False
    assert record["permissions"] == [manages(ann)]


def test_permissions_left_out_are_nobody_elses(ann: Any, bob: Any) -> None:
    ann.experiment("one")
    assert bob.experiment("two")["permissions"] == [manages(bob)]
    assert ann.experiment("three")["permissions"] == [manages(ann)]


def test_who_manages_by_the_list_already_is_not_added(bob: Any) -> None:
    entries = [{"entity": "crew", "level": "Manage"}]
    assert bob.experiment(permissions=entries)["permissions"] == entries


def test_putting_adds_nobody_who_manages_by_an_entitlement(ann: Any, bob: Any) -> None:
    entries = [{"entity": "crew", "level": "Manage"}]
    path = f"/experiment/{ann.experiment(permissions=entries)['id']}"
    answer = bob.put(path, json={"name": "x", "permissions": entries})
    assert answer.json()["permissions"] == entries
    assert bob.get(path).json() == answer.json()


def test_there_must_be_room_for_ones_own_manage(ann: Any) -> None:
    def entries(count: int) -> list[dict[str, str]]:
        return [{"entity": f"group {number}", "level": "Manage"} for number in range(count)]

    made = ann.experiment("999", permissions=entries(999))
    assert made["permissions"] == [*entries(999), manages(ann)]
    for answer in (
        ann.post("/experiment", json={"name": "1000", "permissions": entries(1000)}),
        ann.put(f"/experiment/{made['id']}", json={"name": "x", "permissions": entries(1000)}),
    ):
        assert answer.status_code == 422
        assert list(answer.json()["errors"]["json"]) == ["permissions"]
    assert ann.post("/experiment/search", json={}).json() == [made]
    full = [*entries(999), manages(ann)]
    assert ann.experiment("full", permissions=full)["permissions"] == full


def test_booleans_in_many_spellings(ann: Any) -> None:
    for spelling in (True, "true", "t", "yes", "y", "on", "1", 1, "True", "ON"):
        assert ann.experiment(public=spelling)["public"] is True
    for spelling in (False, "false", "f", "no", "n", "off", "0", 0):
        assert ann.experiment(public=spelling)["public"] is False


def test_all_complaints_come_at_once(ann: Any) -> None:
    body = {
        "nmae": "pier",
        "description": None,
        "public": "maybe",
        "permissions": [{"entity": 1, "level": "Own", "since": 1}, "x"],
        "id": "1",
        "created_at": "2025",
    }
    answer = ann.post("/experiment", json=body)
    assert answer.status_code == 422
    assert answer.json() == {
        "code": 422,
        "status": "Unprocessable Entity",
        "errors": {
            "json": {
                "name": ["Missing data for required field."],
                "nmae": ["Unknown field."],
                "id": ["Unknown field."],
                "created_at": ["Unknown field."],
                "description": ["Field may not be null."],
                "public": ["Not a valid boolean."],
                "permissions": {
                    "0": {
                        "entity": ["Not a valid string."],
                        "level": ["Must be one of: Read, Edit, Manage."],
                        "since": ["Unknown field."],
                    },
                    "1": {"_schema": ["Invalid input type."]},
                },
            }
        },
    }


@pytest.mark.parametrize("name", ["", " ", "\t\n", 5, None, "a\0b"])
def test_blank_and_broken_names_are_422(ann: Any, name: Any) -> None:
    record = ann.experiment()
    for answer in (
        ann.post("/experiment", json={"name": name}),
        ann.put(f"/experiment/{record['id']}", json={"name": name}),
    ):
        assert answer.status_code == 422
        assert list(answer.json()["errors"]["json"]) == ["name"]
    assert ann.get(f"/experiment/{record['id']}").json() == record


WRONG: dict[str, list[Any]] = {
    "description": [5, None, True, ["x"], {"$ne": 1}, "a\0b"],
    "public": [None, "maybe", 2, [True], "", "yess"],
    "permissions": [None, "x", {}, 5],
}


@pytest.mark.parametrize("field", WRONG)
def test_other_fields_of_another_type_are_422(ann: Any, field: str) -> None:
    record = ann.experiment("pier", description="here")
    for value in WRONG[field]:
        body = {"name": "quay", field: value}
        for answer in (
            ann.post("/experiment", json=body),
            ann.put(f"/experiment/{record['id']}", json=body),
        ):
            assert answer.status_code == 422, value
            assert list(answer.json()["errors"]["json"]) == [field]
    assert ann.post("/experiment/search", json={}).json() == [record]


def test_a_fetched_record_cannot_be_sent_back(ann: Any) -> None:
    record = ann.experiment("pier", description="here")
    answer = ann.put(f"/experiment/{record['id']}", json=record)
    assert answer.status_code == 422
    assert set(answer.json()["errors"]["json"]) == {"id", "created_at"}
    sent = {key: value for key, value in record.items() if key not in ("id", "created_at")}
    assert ann.put(f"/experiment/{record['id']}", json=sent).json() == record


def test_names_may_be_long_and_differ_by_case(ann: Any) -> None:
    assert ann.experiment("x" * 10_000)["name"] == "x" * 10_000
    ann.experiment("Pier")
    ann.experiment("pier")


def test_a_name_is_taken_once(ann: Any, bob: Any) -> None:
    ann.experiment("pier")
    answer = bob.post("/experiment", json={"name": "pier"})
    assert answer.status_code == 409
    assert answer.json() == {"code": 409, "status": "Conflict", "message": "Name conflict."}


def test_a_name_is_taken_once_by_many_at_once(ann: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda _: ann.post("/experiment", json={"name": "pier"}).status_code, range(8))
        )
    assert sorted(codes) == [201] + [409] * 7


def test_anybody_reads_a_public_experiment(ann: Any, bob: Any, anonymous: Any, issuer: Any) -> None:
    record = ann.experiment(public=True)
    path = f"/experiment/{record['id'].upper()}"
    stranger = anonymous.as_(issuer.account("eve", "user"))
    for api in (ann, bob, anonymous, stranger, anonymous.as_("rubbish.rubbish.rubbish")):
        assert api.get(path).json() == record


def test_a_private_experiment_is_not_there_for_others(ann: Any, bob: Any, anonymous: Any) -> None:
    path = f"/experiment/{ann.experiment('secret')['id']}"
    assert ann.get(path).status_code == 200
    for api in (bob, anonymous):
        answer = api.get(path)
        assert answer.status_code == 404
        assert answer.json()["message"] == "Experiment not found."
        found = api.post("/experiment/search", json={"name": "secret"})
        assert found.json() == []
        assert json.loads(found.headers["X-Pagination"]) == {"total": 0, "total_pages": 0}


def test_a_permission_may_name_a_user_or_an_entitlement(ann: Any, bob: Any, anonymous: Any) -> None:
    for entity in (bob.me(), "crew"):
        record = ann.experiment(permissions=[{"entity": entity, "level": "Read"}])
        path = f"/experiment/{record['id']}"
        assert bob.get(path).json() == record
        assert bob.put(path, json={"name": "mine"}).status_code == 403
        assert anonymous.get(path).status_code == 404
        query = {"permissions.entity": entity}
        assert bob.post("/experiment/search", json=query).json() == [record]


@pytest.mark.parametrize(
    "path", ["nonsense", "123", "00000000-0000-4000-8000-000000000000", "0" * 32]
)
def test_what_is_no_experiment_is_404(ann: Any, path: str) -> None:
    for answer in (ann.get(f"/experiment/{path}"), ann.delete(f"/experiment/{path}")):
        assert answer.status_code == 404
        assert answer.json()["status"] == "Not Found"


def test_putting_replaces_all_but_the_description(ann: Any) -> None:
    before = ann.experiment(
        "pier", description="a pier", public=True, permissions=[{"entity": "x", "level": "Edit"}]
    )
    answer = ann.put(f"/experiment/{before['id']}", json={"name": "quay"})
    assert answer.status_code == 200
    assert answer.json() == before | {
        "name": "quay",
        "public": False,
        "permissions": [manages(ann)],
    }
    assert ann.get(f"/experiment/{before['id']}").json() == answer.json()


def test_putting_needs_the_name_again(ann: Any) -> None:
    answer = ann.put(f"/experiment/{ann.experiment()['id']}", json={"public": True})
    assert answer.json()["errors"] == {"json": {"name": ["Missing data for required field."]}}


def test_of_many_puts_of_one_name_at_once_one_gets_it(ann: Any) -> None:
    experiments = [ann.experiment() for _ in range(6)]

    def rename(experiment: Any) -> int:
        answer = ann.put(f"/experiment/{experiment['id']}", json={"name": "wanted by all"})
        return int(answer.status_code)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(rename, experiments)) == [200, *[409] * 5]
    assert len(ann.post("/experiment/search", json={"name": "wanted by all"}).json()) == 1


def test_putting_a_name_that_is_taken_is_a_conflict(ann: Any) -> None:
    ann.experiment("pier")
    other = ann.experiment("quay")
    assert ann.put(f"/experiment/{other['id']}", json={"name": "pier"}).status_code == 409
    assert ann.put(f"/experiment/{other['id']}", json={"name": "quay"}).status_code == 200


def test_one_cannot_lock_oneself_out(ann: Any) -> None:
    record = ann.experiment()
    entries = [{"entity": ann.me(), "level": "Read"}]
    answer = ann.put(f"/experiment/{record['id']}", json={"name": "x", "permissions": entries})
    assert answer.json()["permissions"] == [*entries, manages(ann)]
    assert ann.experiment(permissions=entries)["permissions"] == [*entries, manages(ann)]


def test_an_administrators_edit_does_not_add_them(ann: Any, root: Any) -> None:
    record = ann.experiment()
    answer = root.put(
        f"/experiment/{record['id']}", json={"name": "x", "permissions": [manages(ann)]}
    )
    assert answer.json()["permissions"] == [manages(ann)]
    assert root.experiment()["permissions"] == [manages(root)]


def test_deleting_takes_jobs_and_pictures_along(ann: Any, database_url: str) -> None:
    record = ann.experiment()
    drift = ann.drift(record, tags=["a"], parameters={"event_id": "e", "stream": "s"})
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8"
        "cfc0000003010100c9fe92ef0000000049454e44ae426082"
    )
    path = f"/experiment/{record['id']}/drift/{drift['id']}/image"
    assert ann.put(path, content=png, headers={"Content-Type": "image/png"}).status_code == 200
    answer = ann.delete(f"/experiment/{record['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert ann.get(f"/experiment/{record['id']}").status_code == 404
    database = Database(database_url)
    with database.read() as connection:
        for table in (
            "experiments",
            "drifts",
            "drift_tags",
            "pictures",
            "tallies",
            "tag_tallies",
            "permissions",
            "cursors",
        ):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0, table
    database.close()


def test_a_name_is_free_again_after_deleting(ann: Any) -> None:
    first = ann.experiment("pier")
    ann.drift(first)
    ann.delete(f"/experiment/{first['id']}")
    second = ann.experiment("pier")
    assert second["id"] != first["id"]
    assert ann.search(second, {}).json() == []


@pytest.mark.parametrize("level", ["Read", "Edit"])
def test_changing_an_experiment_needs_manage(
    ann: Any, bob: Any, anonymous: Any, level: str
) -> None:
    record = ann.experiment(public=True, permissions=[{"entity": bob.me(), "level": level}])
    path = f"/experiment/{record['id']}"
    for answer in (bob.put(path, json={"name": "x"}), bob.delete(path)):
        assert answer.status_code == 403
        assert answer.json()["message"] == "Insufficient permissions."
    assert anonymous.put(path, json={"name": "x"}).status_code == 401
    assert anonymous.delete(path).status_code == 401
    assert ann.get(path).json() == record


def test_the_highest_matching_level_counts(ann: Any, bob: Any) -> None:
    entries = [{"entity": "crew", "level": "Manage"}, {"entity": bob.me(), "level": "Read"}]
    record = ann.experiment(permissions=entries)
    assert bob.delete(f"/experiment/{record['id']}").status_code == 204


def test_a_lapsed_user_may_not_create_but_reads_what_is_public(ann: Any, issuer: Any) -> None:
    public, private = ann.experiment(public=True), ann.experiment()
    issuer.account("ann")
    lapsed = ann.as_(issuer.token("ann", jti="later"))
    assert lapsed.post("/experiment", json={"name": "x"}).status_code == 403
    assert lapsed.get(f"/experiment/{public['id']}").status_code == 200
    assert lapsed.get(f"/experiment/{private['id']}").status_code == 404
    assert lapsed.delete(f"/experiment/{private['id']}").status_code == 403


def test_search_by_exact_name_as_the_client_does(ann: Any) -> None:
    for name in ("pier", "pier 2", "Pier"):
        ann.experiment(name, public=True)
    answer = ann.post(
        "/experiment/search", json={"name": "pier"}, params={"page": 1, "page_size": 10}
    )
    assert [record["name"] for record in answer.json()] == ["pier"]
    assert json.loads(answer.headers["X-Pagination"])["total"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["a1", "b2", "c3"]),
        ({"name": {"$regex": "^[AB]", "$options": "i"}}, ["a1", "b2"]),
        ({"public": True}, ["b2"]),
        ({"description": "sea"}, ["b2"]),
        ({"description": None}, ["a1", "c3"]),
        ({"description": {"$exists": True}}, ["b2"]),
        ({"permissions.level": "Edit"}, ["c3"]),
        ({"permissions": {"$elemMatch": {"entity": "x", "level": "Edit"}}}, ["c3"]),
        ({"permissions": {"$size": 2}}, ["c3"]),
        ({"created_at": {"$gt": "2025"}}, ["a1", "b2", "c3"]),
        ({"created_at": {"$lte": "2025-10-17"}}, []),
        ({"nothing": 1}, []),
    ],
)
def test_search_by_fields(ann: Any, query: Any, names: list[str]) -> None:
    ann.experiment("a1")
    ann.experiment("b2", public=True, description="sea")
    ann.experiment("c3", permissions=[{"entity": "x", "level": "Edit"}])
    params = {"sort_by": "name", "order_by": "asc"}
    answer = ann.post("/experiment/search", json=query, params=params)
    assert [record["name"] for record in answer.json()] == names


@pytest.mark.parametrize("key", ["id", "_id"])
def test_search_by_id_under_both_names(ann: Any, key: str) -> None:
    record = ann.experiment()
    ann.experiment()
    assert ann.post("/experiment/search", json={key: record["id"]}).json() == [record]


def test_the_newest_come_first_unless_asked_otherwise(ann: Any) -> None:
    records = [ann.experiment() for _ in range(3)]
    assert ann.post("/experiment/search").json() == records[::-1]
    assert ann.post("/experiment/search", params={"order_by": "asc"}).json() == records
