"""/experiment/E/reference/DIGEST: the clean pictures of references."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from lenswatch.server.db import tables
from lenswatch.server.jobs import reference_pictures
from lenswatch.server.jobs.reference_pictures import find_nearest
from support.samples import picture

DIGEST = "0123456789abcdef"
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def path(pier: dict[str, Any]) -> str:
    return f"/experiment/{pier['id']}/reference/{DIGEST}"


def put(api: Any, path: str, name: str, data: bytes | None = None) -> Any:
    content = picture() if data is None else data
    return api.put(f"{path}/picture/{name}", content=content, headers=JPEG)


def names(api: Any, path: str) -> list[str]:
    return [each["name"] for each in api.get(path).json()["pictures"]]


def test_a_reference_without_pictures_has_an_empty_list(local: Any, path: str) -> None:
    assert local.get(path).json() == {"reference": DIGEST, "pictures": []}


def test_a_picture_is_listed_read_and_replaced(local: Any, path: str) -> None:
    stored = put(local, path, "00042", picture(size=(1920, 1080)))
    assert stored.status_code == 200
    assert (stored.json()["width"], stored.json()["height"]) == (512, 288)
    assert local.get(path).json()["pictures"] == [stored.json()]
    got = local.get(f"{path}/picture/00042")
    assert got.headers["ETag"] == f'"{stored.json()["etag"]}"'
    assert len(got.content) == stored.json()["bytes"]
    with Image.open(io.BytesIO(got.content)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 288))
    put(local, path, "00042", picture(size=(32, 32)))
    assert [each["width"] for each in local.get(path).json()["pictures"]] == [32]


def test_a_known_picture_is_not_sent_again(local: Any, path: str) -> None:
    put(local, path, "00001")
    where = f"{path}/picture/00001"
    head = local("HEAD", where)
    assert (head.status_code, head.content) == (200, b"")
    again = local.get(where, headers={"If-None-Match": head.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert local("HEAD", f"{path}/picture/00002").status_code == 404


def test_pictures_are_of_one_experiment_and_one_reference(local: Any, path: str) -> None:
    put(local, path, "00001")
    other = f"/experiment/{local.experiment()['id']}/reference/{DIGEST}"
    for elsewhere in (other, path[:-1] + "0"):
        assert names(local, elsewhere) == []
        assert local.get(f"{elsewhere}/picture/00001").status_code == 404


def test_a_full_reference_takes_no_further_picture(
    local: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_pictures, "MOST_PICTURES", 3)
    for name in "abc":
        assert put(local, path, name).status_code == 200
    refused = put(local, path, "d")
    assert refused.status_code == 422
    assert "3 pictures" in refused.json()["errors"]["path"]["name"][0]
    assert put(local, path, "b").status_code == 200  # one of them may be replaced
    assert put(local, path[:-1] + "0", "d").status_code == 200
    assert names(local, path) == ["a", "b", "c"]


def test_a_full_experiment_takes_no_further_reference(
    local: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_pictures, "MOST_REFERENCES", 2)
    for digit in "01":
        assert put(local, path[:-1] + digit, "a").status_code == 200
    refused = put(local, path[:-1] + "2", "a")
    assert refused.status_code == 422
    assert "2 references already" in refused.json()["errors"]["path"]["reference"][0]
    assert put(local, path[:-1] + "1", "a").status_code == 200
    assert put(local, path[:-1] + "1", "b").status_code == 200
    other = f"/experiment/{local.experiment()['id']}/reference/{DIGEST}"
    assert put(local, other, "a").status_code == 200


@pytest.mark.parametrize("name", ["%20", ".hidden", "a" * 65, "%00", "%C3%A4"])
def test_a_name_that_is_none_is_refused(local: Any, path: str, name: str) -> None:
    code = 404 if name == "%00" else 422  # no path has such a character
    assert put(local, path, name).status_code == code
    assert local.get(f"{path}/picture/{name}").status_code == 404
    elsewhere = path.removesuffix(DIGEST) + name
    assert put(local, elsewhere, "a").status_code == code
    assert local.get(elsewhere).status_code == 404


def test_what_is_no_picture_is_refused(local: Any, path: str) -> None:
    assert put(local, path, "a", b"none").status_code == 422
    wrong = local.put(f"{path}/picture/a", content=b"<svg/>", headers={"Content-Type": "text/xml"})
    assert wrong.status_code == 415
    assert names(local, path) == []


def test_the_contract_has_no_such_path(local: Any, path: str) -> None:
    assert local.under("/api/v1").get(path).status_code == 404


def test_readers_see_pictures_and_only_editors_send_them(
    anonymous: Any, ann: Any, bob: Any
) -> None:
    experiment = ann.experiment(permissions=[{"entity": bob.me(), "level": "Read"}])
    path = f"/experiment/{experiment['id']}/reference/{DIGEST}"
    assert put(ann, path, "a").status_code == 200
    assert names(bob, path) == ["a"]
    assert bob.get(f"{path}/picture/a").status_code == 200
    assert put(bob, path, "b").status_code == 403
    assert put(anonymous, path, "b").status_code == 401
    assert anonymous.get(path).status_code == 403
    assert anonymous.get(f"{path}/picture/a").status_code == 403


def test_pictures_go_with_their_experiment(local: Any, pier: Any, path: str) -> None:
    put(local, path, "a")
    database = local.client.app.state.services.database
    table = tables.reference_pictures
    with database.read() as connection:
        assert len(connection.execute(table.select()).all()) == 1
    local.delete(f"/experiment/{pier['id']}")
    with database.read() as connection:
        assert connection.execute(table.select()).all() == []
    assert put(local, path, "a").status_code == 404


def test_the_picture_that_a_job_names_is_found(local: Any, pier: Any, path: str) -> None:
    put(local, path, "00007")
    database = local.client.app.state.services.database

    def find(nearest: Any) -> bytes | None:
        with database.read() as connection:
            number = connection.exec_driver_sql("SELECT number FROM experiments").scalar_one()
            return find_nearest(connection, number, {"nearest_clean": nearest})

    assert (
        find({"reference": DIGEST, "name": "00007"}) == local.get(f"{path}/picture/00007").content
    )
    for other in (None, "00007", {}, {"reference": DIGEST}, {"reference": 7, "name": "00007"}):
        assert find(other) is None
    assert find({"reference": DIGEST, "name": "00008"}) is None
