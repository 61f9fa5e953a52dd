"""Storage used, which is always what measuring would give."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import drifts, experiments, picture_index, pictures, storage
from lenswatch.server.jobs.storage import bytes_of
from lenswatch.server.values.storable import storable
from support.samples import JOB, picture

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def used(api: Any, experiment: Any) -> Any:
    return api.get(f"/experiment/{experiment['id']}/storage").json()


def put_picture(api: Any, experiment: Any, drift: Any, size: tuple[int, int]) -> int:
    answer = api.put(
        f"/experiment/{experiment['id']}/drift/{drift['id']}/image",
        content=picture(size=size),
        headers={"Content-Type": "image/jpeg"},
    )
    assert answer.status_code == 200
    return int(answer.json()["bytes"])


def test_pictures_count_with_their_files_once(local: Any, pier: Any) -> None:
    first, second = local.drift(pier), local.drift(pier)
    put_picture(local, pier, first, (64, 48))
    small = put_picture(local, pier, first, (32, 32))
    other = put_picture(local, pier, second, (80, 60))
    assert used(local, pier)["pictures"] == 2
    assert used(local, pier)["picture_bytes"] == small + other
    local.delete(f"/experiment/{pier['id']}/drift/{second['id']}")
    assert used(local, pier)["picture_bytes"] == small
    assert used(local, pier)["jobs"] == 1


def test_a_picture_follows_the_verdict_of_its_job(local: Any, pier: Any, database_url: str) -> None:
    drift = local.drift(pier, drift_detected=False)
    put_picture(local, pier, drift, (32, 32))
    local.put(f"/experiment/{pier['id']}/drift/{drift['id']}", json=JOB | {"drift_detected": True})
    database = Database(database_url)
    with database.read() as connection:
        assert connection.execute(select(picture_index.c.drift_detected)).scalars().all() == [True]
    database.close()


def test_nothing_is_used_by_a_new_experiment(local: Any, pier: Any) -> None:
    assert used(local, pier) == {"jobs": 0, "job_bytes": 0, "pictures": 0, "picture_bytes": 0}


def test_whoever_may_read_sees_what_is_used(ann: Any, bob: Any) -> None:
    experiment = ann.experiment()
    assert ann.get(f"/experiment/{experiment['id']}/storage").status_code == 200
    assert bob.get(f"/experiment/{experiment['id']}/storage").status_code == 403


@pytest.mark.slow
@settings(max_examples=40)
@given(st.dictionaries(texts, values, max_size=4), st.lists(texts.filter(bool), max_size=2))
def test_a_job_counts_the_same_after_it_was_stored(
    local: Any, database_url: str, parameters: Any, tags: Any
) -> None:
    experiment = local.experiment()
    body = JOB | {"parameters": parameters, "tags": tags}
    answer = local.post(f"/experiment/{experiment['id']}/drift", json=body)
    assert answer.status_code == 201, answer.text
    job = body | {"parameters": storable(parameters)}
    assert used(local, experiment)["job_bytes"] == bytes_of(job)
    path = f"/experiment/{experiment['id']}/drift/{answer.json()['id']}"
    assert local.put(path, json=JOB | {"parameters": {"other": math.pi}}).status_code == 200
    assert local.delete(path).status_code == 204
    assert used(local, experiment) == dict.fromkeys(used(local, experiment), 0)


def test_the_migration_measures_what_is_there(local: Any, pier: Any, database_url: str) -> None:
    from lenswatch.server.db.migrations.versions import m0007_upkeep

    drift = local.drift(pier, parameters={"é": 1e-7, "n": 10**17, "f": 1.5e300}, tags=["ü"])
    local.drift(pier)
    put_picture(local, pier, drift, (32, 32))
    database = Database(database_url)
    with database.read() as connection:
        sizes: dict[int, int] = {}
        for number, _, size in m0007_upkeep._sizes_of_jobs(connection):
            sizes[number] = sizes.get(number, 0) + size
        kept = connection.execute(select(storage.c.experiment, storage.c.job_bytes)).all()
        assert sizes == dict(map(tuple, kept))
        stored = connection.execute(select(func.sum(func.length(pictures.c.data)))).scalar_one()
        assert used(local, pier)["picture_bytes"] == stored
        owner = connection.execute(
            select(experiments.c.id).join(drifts, drifts.c.experiment == experiments.c.number)
        )
        assert set(owner.scalars()) == {pier["id"]}
    database.close()
