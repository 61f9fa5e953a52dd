"""A camera with more jobs than its chart draws: what is left out is still counted, and has its pictures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lenswatch.server.values import stamps
from support.api import Api
from support.samples import JOB, picture

JOBS = 900
START = 1_750_000_000_000_000
SECOND = 1_000_000


def job(number: int, **parameters: Any) -> dict[str, Any]:
    values = {"stream": "reef", "distance": 0.01 + number % 7 / 1000, "drift_distance": 0.1}
    values |= {"captured_at": stamps.iso(START + number * SECOND)}
    return JOB | {"parameters": values | parameters}


@pytest.fixture
def path(local: Api, pier: dict[str, Any]) -> str:
    lost: dict[int, dict[str, Any]] = {
        17: {"shed": {"jobs": 3}},
        500: {"shed": {"jobs": 4}, "picture_shed": True},
    }
    jobs = [job(n, **lost.get(n, {})) for n in range(JOBS)]
    jobs[333]["parameters"]["distance"] = 0.09
    batch = local.post(f"/experiment/{pier['id']}/drift/batch", json={"drifts": jobs}).json()
    for number in (40, 850):
        kept = f"/experiment/{pier['id']}/drift/{batch['results'][number]['id']}/image"
        headers = {"Content-Type": "image/jpeg"}
        answer = local.put(kept, content=picture(size=(32, 18)), headers=headers)
        assert answer.status_code < 300, answer.text
    return f"/experiment/{pier['id']}"


def test_the_page_counts_all_jobs_and_shows_the_pictures(local: Api, path: str) -> None:
    page = local.client.get(path).text
    assert "900 jobs</span>" in page
    film = re.findall(r"Picture of [^\"]*", page)
    assert len(film) == 2


def test_the_chart_has_the_extremes_and_counts_what_is_missing(local: Api, path: str) -> None:
    chart = local.client.get(f"{path}/chart").json()
    [panel] = chart["panels"]
    assert 100 < len(panel["points"]["x"]) <= 300
    assert max(panel["points"]["y"]) == 0.09
    assert chart["missing"].startswith("7 jobs and 1 picture were not kept")


def test_the_neighbours_of_a_job_in_the_middle_are_found(local: Api, path: str) -> None:
    query = {"stream": "reef", "points": 50}
    series = local.get(f"{path}/series", params=query).json()
    middle = series["id"][len(series["id"]) // 2]
    page = local.client.get(path, params={"job": middle}).text
    taken = {}
    for way in ("older", "newer"):
        found = re.search(rf'data-{way} href="\?job=([0-9a-f-]+)"', page)
        assert found
        record = local.get(f"{path}/drift/{found[1]}").json()
        taken[way] = stamps.microseconds(record["parameters"]["captured_at"])
    here = stamps.microseconds(
        local.get(f"{path}/drift/{middle}").json()["parameters"]["captured_at"]
    )
    assert here is not None
    assert taken == {"older": here - SECOND, "newer": here + SECOND}
