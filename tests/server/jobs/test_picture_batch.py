"""/experiment/E/drift/images."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

from PIL import Image

from lenswatch.server.jobs.picture_batch import MAX_PICTURES
from support.api import Api
from support.samples import picture


def entry(drift: str, data: bytes) -> dict[str, str]:
    return {"id": drift, "data": b64encode(data).decode()}


def send(api: Api, experiment: dict[str, Any], *entries: Any) -> Any:
    path = f"/experiment/{experiment['id']}/drift/images"
    return api.post(path, json={"pictures": list(entries)})


def test_pictures_are_stored_as_one_by_one(local: Api, pier: dict[str, Any]) -> None:
    jobs = [local.drift(pier)["id"] for _ in range(3)]
    base = f"/experiment/{pier['id']}/drift"
    files = [picture(kind) for kind in ("PNG", "JPEG", "WEBP")]
    answer = send(local, pier, *map(entry, jobs, files))
    assert answer.status_code == 200
    assert answer.json() == {"results": [{"position": i, "status": 200} for i in range(3)]}
    for job, data, kind in zip(jobs, files, ("png", "jpeg", "webp"), strict=True):
        together = local.get(f"{base}/{job}/image")
        headers = {"Content-Type": f"image/{kind}"}
        local.put(f"{base}/{job}/image", content=data, headers=headers)
        alone = local.get(f"{base}/{job}/image")
        assert (together.content, together.headers["ETag"]) == (
            alone.content,
            alone.headers["ETag"],
        )
        assert Image.open(io.BytesIO(alone.content)).format == "JPEG"


def test_a_bad_picture_does_not_stop_the_others(local: Api, pier: dict[str, Any]) -> None:
    job, gone = local.drift(pier)["id"], local.drift(pier)["id"]
    other = local.drift(local.experiment("other"))["id"]
    local.delete(f"/experiment/{pier['id']}/drift/{gone}")
    answer = send(
        local,
        pier,
        entry(gone, picture()),
        entry(job, b"no picture"),
        {"id": job, "data": "?"},
        {"id": job, "data": 5},
        None,
        entry(other, picture()),
        entry(job.upper(), picture()),
    )
    assert [each["status"] for each in answer.json()["results"]] == [404, *[422] * 4, 404, 200]
    assert answer.json()["results"][2]["errors"] == {"json": {"data": ["Not Base64."]}}
    assert local.get(f"/experiment/{pier['id']}/drift/{job}/image").status_code == 200


def test_a_repeated_picture_replaces_the_first(local: Api, pier: dict[str, Any]) -> None:
    job = local.drift(pier)["id"]
    path = f"/experiment/{pier['id']}/drift/{job}/image"
    send(local, pier, entry(job, picture("PNG")))
    first = local.get(path).headers["ETag"]
    red = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(red, "PNG")
    assert send(local, pier, entry(job, red.getvalue())).status_code == 200
    assert local.get(path).headers["ETag"] != first


def test_so_many_pictures_and_no_more(local: Api, pier: dict[str, Any]) -> None:
    few: list[Any] = [None] * MAX_PICTURES
    assert send(local, pier, *few).status_code == 200
    assert send(local, pier, *few, None).status_code == 422
    assert send(local, pier).status_code == 422


def test_who_may_not_edit_stores_none(ann: Api, bob: Api) -> None:
    experiment = ann.experiment("pier")
    job = ann.drift(experiment)["id"]
    assert send(bob, experiment, entry(job, picture())).status_code == 403
    assert ann.get(f"/experiment/{experiment['id']}/drift/{job}/image").status_code == 404


def test_of_several_pictures_for_one_job_the_last_is_kept_and_counted(
    local: Api, pier: dict[str, Any]
) -> None:
    job, other = local.drift(pier)["id"], local.drift(pier)["id"]
    first, last = picture(size=(300, 200)), picture(size=(32, 16))
    for _ in range(2):  # the second time in place of what is there
        send(local, pier, entry(job, first), entry(other, first), entry(job, last))
        sizes = []
        for each in (job, other):
            kept = local.get(f"/experiment/{pier['id']}/drift/{each}/image").content
            sizes.append(len(kept))
            assert Image.open(io.BytesIO(kept)).size == ((32, 16) if each == job else (300, 200))
        used = local.get(f"/experiment/{pier['id']}/storage").json()
        assert (used["pictures"], used["picture_bytes"]) == (2, sum(sizes))
