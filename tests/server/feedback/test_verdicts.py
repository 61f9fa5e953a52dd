"""Verdicts of people and programs on events and jobs."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from support.samples import JOB

TRUE, FALSE = {"verdict": "true drift"}, {"verdict": "false alarm", "text": "a crab"}


def on_event(experiment: dict[str, Any], event: str) -> str:
    return f"/experiment/{experiment['id']}/event/{event}/feedback"


def on_job(experiment: dict[str, Any], job: str) -> str:
    return f"/experiment/{experiment['id']}/drift/{job}/feedback"


@pytest.fixture(params=["event", "id of a job", "event id of a job"])
def place(request: Any, local: Any, pier: Any, event: Any) -> str:
    """The path of the verdict on something."""
    if request.param == "event":
        return on_event(pier, event(pier, "2026-06-01"))
    job = local.drift(pier, parameters={"event_id": "reef:7"})
    return on_job(pier, job["id"] if request.param == "id of a job" else "reef:7")


def test_a_verdict_can_be_given_changed_and_deleted(local: Any, place: str) -> None:
    missing = local.get(place)
    assert (missing.status_code, missing.json()["message"]) == (404, "Feedback not found.")
    first = local.put(place, json=TRUE)
    assert first.status_code == 200, first.text
    assert first.json() | TRUE | {"text": "", "author": "local@localhost"} == first.json()
    second = local.put(place, json=FALSE).json()
    assert second | FALSE == second
    assert second["created_at"] > first.json()["created_at"]
    assert local.get(place).json() == second
    assert local.delete(place).status_code == 204
    assert local.get(place).status_code == 404
    assert local.delete(place).json()["message"] == "Feedback not found."


@pytest.mark.parametrize(
    "body", [{}, {"verdict": "drift"}, TRUE | {"text": None}, TRUE | {"author": "me"}]
)
def test_what_is_no_verdict_is_refused(local: Any, place: str, body: Any) -> None:
    assert local.put(place, json=body).status_code == 422
    assert local.get(place).status_code == 404


def test_a_job_has_one_verdict_under_both_of_its_names(local: Any, pier: Any) -> None:
    event_id = "01a2015b-f0d6-77d3-a9dd-a79893ee8306"
    job = local.drift(pier, parameters={"event_id": event_id})
    given = local.put(on_job(pier, event_id), json=TRUE).json()
    assert local.get(on_job(pier, job["id"].upper())).json() == given


def test_a_verdict_on_what_is_not_there_is_refused(local: Any, pier: Any, event: Any) -> None:
    other = local.experiment()
    job = local.drift(other, parameters={"event_id": "reef:7"})["id"]
    elsewhere = event(other, "2026-06-01")
    for path, what in (
        (on_event(pier, elsewhere), "Event"),
        (on_event(pier, str(uuid.UUID(int=7))), "Event"),
        *((on_job(pier, name), "Drift") for name in (job, "reef:7", "no id at all!", "x" * 99)),
    ):
        for answer in (local.put(path, json=TRUE), local.get(path), local.delete(path)):
            assert (answer.status_code, answer.json()["message"]) == (404, f"{what} not found.")
    everywhere = {"experiment_id": uuid.UUID(int=7)}
    unknown = local.put(on_job({"id": everywhere["experiment_id"]}, job), json=TRUE)
    assert unknown.json()["message"] == "Experiment not found."


def test_a_verdict_goes_with_its_job(local: Any, pier: Any) -> None:
    job = local.drift(pier)
    local.put(on_job(pier, job["id"]), json=TRUE)
    replaced = local.put(f"/experiment/{pier['id']}/drift/{job['id']}", json=JOB | {"model": "n"})
    assert replaced.status_code == 200
    assert local.get(on_job(pier, job["id"])).json()["verdict"] == "true drift"
    assert local.delete(f"/experiment/{pier['id']}/drift/{job['id']}").status_code == 204
    assert local.delete(f"/experiment/{pier['id']}").status_code == 204


def test_who_may_read_may_not_judge(ann: Any, bob: Any, anonymous: Any) -> None:
    entries = [{"entity": bob.me(), "level": "Read"}]
    experiment = ann.experiment(permissions=entries, public=True)
    path = on_job(experiment, ann.drift(experiment)["id"])
    mine = ann.put(path, json=TRUE).json()
    assert bob.get(path).json() == mine
    assert anonymous.get(path).json() == mine | {"author": None}
    for caller, code in ((bob, 403), (anonymous, 401)):
        assert caller.put(path, json=FALSE).status_code == code
        assert caller.delete(path).status_code == code
    assert ann.get(path).json() == mine
