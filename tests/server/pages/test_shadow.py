"""The page of a camera compares the reference in use with the one in shadow, on the same pictures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lenswatch.server.values import stamps
from support.api import Api
from support.samples import JOB

START = 1_750_000_000_000_000
NEW = "lenswatch@feedfacefeedface"


def job(number: int, **parameters: Any) -> dict[str, Any]:
    values = {"stream": "reef", "warning": False, "alarm": False, "score": 1.0, "drift_score": 2.0}
    values |= {"captured_at": stamps.iso(START + number * 1_000_000)}
    return JOB | {"model": "lenswatch@0123456789abcdef", "parameters": values | parameters}


def shadow(**said: Any) -> dict[str, Any]:
    quiet = {"drift": False, "warning": False, "alarm": False, "score": 0.5, "drift_score": 2.0}
    return {"shadow": {"model": NEW} | quiet | said}


def post(api: Api, experiment: dict[str, Any], *jobs: dict[str, Any]) -> Any:
    body = {"drifts": list(jobs)}
    return api.post(f"/experiment/{experiment['id']}/drift/batch", json=body).json()["results"]


def part(page: str) -> str:
    """Return the text of the comparison, "" if there is none."""
    found = re.search(r'<section class="card" id="shadow".*?</section>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split()) if found else ""


def test_both_are_counted_on_the_same_pictures_and_differences_lead_to_the_job(
    local: Api, pier: dict[str, Any]
) -> None:
    judged = [
        job(0),  # before there was a shadow
        job(1, **shadow()),
        job(2, **shadow(warning=True)),
        job(3, **shadow(drift=True, warning=True, alarm=True)),
        job(4, **shadow(model="lenswatch@another")),  # an earlier reference in shadow
        job(5, shadow="nonsense"),
        job(6, **shadow(alarm=True)),
    ]
    made = post(local, pier, *judged)
    page = local.client.get(f"/experiment/{pier['id']}?stream=reef").text
    text = part(page)
    assert "4 pictures of this range, judged by both" in text
    assert "01234567 in use 4 0 0 0" in text
    assert "feedface in shadow 2 1 1 2" in text
    assert "2 pictures judged differently" in text
    assert "clean in use, drift in shadow" in text
    assert f"job={made[3]['id']}" in page
    assert f"job={made[1]['id']}" not in page.partition('id="shadow"')[2].partition("</section>")[0]
    # The experiment's own page shows its most urgent camera.
    assert part(local.client.get(f"/experiment/{pier['id']}").text) == text


@pytest.mark.parametrize("last", [{}, {"shadow": None}, {"shadow": {"drift": True}}])
def test_nothing_is_compared_after_the_switch(
    local: Api, pier: dict[str, Any], last: dict[str, Any]
) -> None:
    post(local, pier, job(1, **shadow()), job(2, **last))
    assert part(local.client.get(f"/experiment/{pier['id']}?stream=reef").text) == ""


def test_the_range_and_the_axes_of_the_page_hold(local: Api, pier: dict[str, Any]) -> None:
    post(local, pier, *(job(n, **shadow()) for n in range(5)))
    span = {"from": stamps.iso(START + 1_000_000), "to": stamps.iso(START + 3_000_000)}
    query = {"stream": "reef"} | span
    text = part(local.client.get(f"/experiment/{pier['id']}", params=query).text)
    assert "2 pictures of this range" in text
    assert "All pictures are judged alike." in text
    drawn = {"stream": "reef", "y": "score, shadow.score"}
    panels = local.client.get(f"/experiment/{pier['id']}/chart", params=drawn).json()["panels"]
    assert [panel["points"]["y"][0] for panel in panels] == [1.0, 0.5]
