"""/experiment/E/series."""

from __future__ import annotations

from typing import Any

import pytest

from support.samples import picture


@pytest.fixture
def pier(local: Any) -> Any:
    experiment = local.experiment("pier")
    for number in range(6):
        parameters = {
            "stream": ["north", "south"][number % 2],
            "distance": number / 10,
            "drift_distance": 0.4,
        }
        local.drift(
            experiment,
            drift_detected=number > 3,
            parameters=parameters | {"captured_at": f"2026-06-0{number + 1}"},
        )
    local.drift(
        experiment,
        job_status="Failed",
        parameters={"stream": "south", "error": "no picture", "distance": "?"},
    )
    local.drift(experiment, parameters={"distance": True})
    return experiment


def get(api: Any, experiment: Any, what: str, **params: Any) -> Any:
    return api.get(f"/experiment/{experiment['id']}/{what}", params=params)


def test_a_series_is_columns_in_time_order(local: Any, pier: Any) -> None:
    series = get(local, pier, "series", stream="south").json()
    assert series["distance"] == [0.1, 0.3, 0.5, None]
    assert series["drift_distance"] == [0.4, 0.4, 0.4, None]
    assert series["warning_distance"] == [None] * 4
    assert series["drift"] == [False, False, True, False]
    assert series["status"] == ["Completed"] * 3 + ["Failed"]
    assert series["captured_at"] == ["2026-06-02", "2026-06-04", "2026-06-06", None]
    assert series["image"] == [False] * 4
    assert series["created_at"] == sorted(series["created_at"])
    assert {len(column) for column in series.values()} == {4}


@pytest.mark.slow
def test_a_series_has_the_lens_score_and_the_node_s_own_warning(local: Any) -> None:
    experiment = local.experiment("quay")
    score = {"score": 3.1, "drift_score": 1.4, "warning_score": 1.2}
    score |= {"warning": True, "can_alarm": True}
    local.drift(experiment, drift_detected=True, parameters=score)
    local.drift(experiment, parameters={"score": True, "drift_score": "1.4", "can_alarm": 1})
    series = get(local, experiment, "series").json()
    assert {name: series[name] for name in score} == {name: [v, None] for name, v in score.items()}


def test_a_series_tells_what_the_node_had_no_space_for(local: Any) -> None:
    experiment = local.experiment()
    since = "2026-06-01T08:00:00.000Z"
    for shed in ({"jobs": 3, "since": since}, {"jobs": 2.0}, 3, {"jobs": -1}, {"jobs": 1.5}, {}):
        local.drift(experiment, parameters={"shed": shed, "picture_shed": shed == 3 or None})
    series = get(local, experiment, "series").json()
    assert series["shed"] == [{"jobs": 3, "since": since}, {"jobs": 2, "since": None}] + [None] * 4
    assert series["picture_shed"] == [None, None, True, None, None, None]


def test_a_series_of_all_or_of_none(local: Any, pier: Any) -> None:
    assert len(get(local, pier, "series").json()["id"]) == 8
    nameless = get(local, pier, "series", stream="").json()
    assert (nameless["distance"], nameless["stream"]) == ([None], [None])


def test_a_series_is_the_newest_before_a_moment(local: Any, pier: Any) -> None:
    everything = get(local, pier, "series").json()
    assert get(local, pier, "series", limit=3).json()["id"] == everything["id"][-3:]
    before = everything["created_at"][4]
    assert get(local, pier, "series", limit=2, before=before).json()["id"] == everything["id"][2:4]


def test_a_series_tells_which_jobs_have_a_picture(local: Any, pier: Any) -> None:
    first = get(local, pier, "series").json()["id"][0]
    path = f"/experiment/{pier['id']}/drift/{first}/image"
    local.put(path, content=picture("PNG"), headers={"Content-Type": "image/png"})
    assert get(local, pier, "series").json()["image"] == [True] + [False] * 7


def test_a_series_takes_what_is_drawn_and_no_more(local: Any, statements: Any) -> None:
    experiment = local.experiment()
    odd = {
        "score": None,
        "distance": [1],
        "captured_at": "é\"'",
        "warning": False,
        "other": "x" * 99,
    }
    local.drift(experiment, parameters=odd | {"drift_score": -1.5e300, "warning_score": 2**63 - 1})
    statements.clear()
    series = get(local, experiment, "series").json()
    assert [series[name] for name in ("score", "distance", "captured_at", "warning")] == [
        [None],
        [None],
        ["é\"'"],
        [False],
    ]
    assert (series["drift_score"], series["warning_score"]) == ([-1.5e300], [2**63 - 1])
    assert not any("drifts.tags" in statement for statement, _ in statements)


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 10_001}, {"before": "soon"}, {"stream": "a\0"}]
)
def test_a_bad_query_string_is_422(local: Any, pier: Any, params: Any) -> None:
    answer = get(local, pier, "series", **params)
    assert answer.status_code == 422
    assert list(answer.json()["errors"]["query"]) == list(params)


def test_they_are_as_private_as_the_jobs(ann: Any, bob: Any, anonymous: Any) -> None:
    experiment = ann.experiment()
    for what in ("streams", "series", "drift/live"):
        assert get(bob, experiment, what).status_code == 403
        assert get(anonymous, experiment, what).status_code == 403
