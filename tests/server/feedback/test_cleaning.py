"""/experiment/E/annotation/A/effect: the pictures before and after what was done."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from support.samples import picture


def minute(at: int) -> str:
    return f"2026-06-01T{8 + at // 60:02}:{at % 60:02}:00Z"


def judge(api: Any, experiment: Any, at: int, value: float | None, **more: Any) -> Any:
    parameters = {"stream": "reef", "captured_at": minute(at)} | more.pop("parameters", {})
    if value is not None:
        name = more.pop("name", "score")
        parameters |= {name: value, f"drift_{name}": 2.0, "warning": value > 1}
    drift = value is not None and value > 2
    return api.drift(experiment, drift_detected=drift, parameters=parameters, **more)["id"]


def annotate(api: Any, experiment: Any, at: int, **fields: Any) -> str:
    body = {"kind": "lens cleaned", "stream": "reef", "begins_at": minute(at)} | fields
    answer = api.post(f"/experiment/{experiment['id']}/annotation", json=body)
    return str(answer.json()["id"])


def effect(api: Any, experiment: Any, annotation: str, **params: Any) -> Any:
    path = f"/experiment/{experiment['id']}/annotation/{annotation}/effect"
    answer = api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["annotation"] == annotation
    return answer.json()["streams"]


@pytest.fixture
def cleaned(local: Any, pier: Any) -> tuple[Any, list[str], str]:
    """15 pictures of a fouled lens, cleaned at 15, and 12 pictures of a clean one."""
    jobs = [judge(local, pier, at, 5.0 + at / 10) for at in range(15)]
    jobs += [judge(local, pier, at, at / 100) for at in range(15, 27)]
    return pier, jobs, annotate(local, pier, 15)


def test_the_last_ten_before_and_the_first_ten_after(local: Any, cleaned: Any) -> None:
    experiment, jobs, annotation = cleaned
    path = f"/experiment/{experiment['id']}/drift/{jobs[7]}/image"
    local.put(path, content=picture(), headers={"Content-Type": "image/jpeg"})
    [found] = effect(local, experiment, annotation)
    assert (found["verdict"], found["stream"], found["statistic"]) == ("helped", "reef", "score")
    assert [job["id"] for job in found["before"]] == jobs[5:15]
    assert [job["id"] for job in found["after"]] == jobs[15:25]
    assert [job["image"] for job in found["before"]] == [at == 7 for at in range(5, 15)]
    first = found["after"][0]
    expected = {"value": 0.15, "threshold": 2.0, "ratio": 0.075, "drift": False, "warning": False}
    assert first | expected == first
    assert first["taken_at"] == "2026-06-01T08:15:00.000000+00:00"
    assert found["before"][0]["drift"]
    assert found["ratio_before"] == pytest.approx(5.95 / 2)
    assert found["ratio_after"] == pytest.approx(0.195 / 2)


def test_too_early_and_no_help(local: Any, cleaned: Any) -> None:
    experiment, _, _ = cleaned
    [early] = effect(local, experiment, annotate(local, experiment, 18))
    assert (early["verdict"], len(early["after"]), early["wanted"]) == ("too early", 9, 10)
    [never] = effect(local, experiment, annotate(local, experiment, 5))
    assert never["verdict"] == "did not help"
    [nothing] = effect(local, experiment, annotate(local, experiment, 0))
    assert (nothing["verdict"], nothing["before"], nothing["ratio_before"]) == (None, [], None)


def test_a_span_is_left_out(local: Any, cleaned: Any) -> None:
    experiment, jobs, _ = cleaned
    [found] = effect(local, experiment, annotate(local, experiment, 12, ends_at=minute(17)))
    assert [job["id"] for job in found["before"]] == jobs[2:12]
    assert [job["id"] for job in found["after"]] == jobs[17:27]


def test_what_was_not_judged_does_not_count(local: Any, pier: Any) -> None:
    for at in range(3):
        judge(local, pier, at, 5.0)
    judge(local, pier, 3, 9.0, job_status="Failed")
    judge(local, pier, 4, None)
    judge(local, pier, 5, None, parameters={"score": "?", "drift_score": True})
    judge(local, pier, 6, 9.0, parameters={"drift_score": 0}, name="other")
    judge(local, pier, 1, 9.0, parameters={"late": True})
    judge(local, pier, 6, 9.0, parameters={"stream": "pool"})
    [found] = effect(local, pier, annotate(local, pier, 7))
    assert [job["value"] for job in found["before"]] == [5.0] * 3


def test_the_distance_is_compared_where_there_is_no_score(local: Any, pier: Any) -> None:
    for at in range(20):
        judge(local, pier, at, 5.0 if at < 10 else 0.1, name="distance")
    [found] = effect(local, pier, annotate(local, pier, 10))
    assert (found["statistic"], found["verdict"]) == ("distance", "helped")


def test_the_order_is_that_of_capture(local: Any, pier: Any) -> None:
    """An outage: what was captured before the cleaning arrives after it was told of."""
    annotation = annotate(local, pier, 10)
    jobs = [judge(local, pier, at, 5.0 if at < 10 else 0.1) for at in range(20)]
    [found] = effect(local, pier, annotation)
    assert [job["id"] for job in found["before"] + found["after"]] == jobs
    assert found["verdict"] == "helped"


def test_an_annotation_of_the_whole_experiment_is_about_each_stream(local: Any, pier: Any) -> None:
    for stream in ("pool", "reef", "weir"):
        for at in range(4):
            judge(local, pier, at, 5.0, parameters={"stream": stream})
    local.drift(pier, job_status="Failed", parameters={"stream": "lost"})
    annotation = annotate(local, pier, 2, stream=None)

    def names(**params: Any) -> list[str]:
        return [found["stream"] for found in effect(local, pier, annotation, **params)]

    assert names() == ["pool", "reef", "weir"]
    assert names(after="pool") == ["reef", "weir"]
    assert names(stream="weir") == ["weir"]
    assert effect(local, pier, annotate(local, pier, 2), stream="weir")[0]["stream"] == "reef"


def test_jobs_without_a_stream_have_an_effect_too(local: Any, pier: Any) -> None:
    job = local.drift(pier, parameters={"score": 1, "drift_score": 2, "captured_at": minute(1)})
    [found] = effect(local, pier, annotate(local, pier, 2, stream=""))
    assert [each["id"] for each in found["before"]] == [job["id"]]


def test_the_answer_is_what_the_document_says(local: Any, cleaned: Any) -> None:
    experiment, _, annotation = cleaned
    path = f"/experiment/{experiment['id']}/annotation/{annotation}/effect"
    document = local.client.get("/api/latest/specification.json").json()
    schema = {"$ref": "#/components/schemas/Effects", "components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(local.get(path).json())


def test_who_may_not_read_sees_no_effect(ann: Any, anonymous: Any) -> None:
    experiment = ann.experiment()
    path = f"/experiment/{experiment['id']}/annotation/{annotate(ann, experiment, 1)}/effect"
    assert anonymous.get(path).status_code == 403
    assert ann.get(path.replace("annotation/", "annotation/0")).status_code == 404
