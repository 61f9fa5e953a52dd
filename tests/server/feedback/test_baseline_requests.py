"""/experiment/E/baseline-request: what people ask the node of a stream to do."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


def path(experiment: dict[str, Any], *parts: str) -> str:
    return "/".join((f"/experiment/{experiment['id']}/baseline-request", *parts))


def post(api: Any, experiment: dict[str, Any], **fields: Any) -> Any:
    return api.post(path(experiment), json={"stream": "reef", "kind": "accept"} | fields)


def ask(api: Any, experiment: dict[str, Any], **fields: Any) -> Any:
    answer = post(api, experiment, **fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def answer(api: Any, experiment: dict[str, Any], request: dict[str, Any], **fields: Any) -> Any:
    told = api.put(path(experiment, request["id"], "answer"), json={"state": "done"} | fields)
    assert told.status_code == 200, told.text
    return told.json()


def listed(api: Any, experiment: dict[str, Any], **params: Any) -> list[tuple[str, str, str]]:
    found = api.get(path(experiment), params=params)
    assert found.status_code == 200, found.text
    return [(one["stream"], one["kind"], one["state"]) for one in found.json()]


def test_a_request_waits_until_the_node_answers_it(local: Any, pier: Any) -> None:
    asked = ask(local, pier)
    assert (asked["state"], asked["answer"], asked["answered_at"]) == ("waiting", "", None)
    assert asked["author"] == "local@localhost"
    assert 0 <= asked["age_seconds"] < 60
    assert listed(local, pier, state="waiting") == [("reef", "accept", "waiting")]
    done = answer(local, pier, asked, answer="baseline accepted", baseline=7)
    assert (done["state"], done["answer"], done["baseline"]) == ("done", "baseline accepted", 7)
    assert done["answered_at"] > done["asked_at"]
    assert listed(local, pier, state="waiting") == []
    assert listed(local, pier) == [("reef", "accept", "done")]


def test_the_first_answer_stays(local: Any, pier: Any) -> None:
    asked = ask(local, pier)
    first = answer(local, pier, asked, state="rejected", answer="no picture was judged")
    second = answer(local, pier, asked, answer="accepted", baseline=3)
    del first["age_seconds"], second["age_seconds"]
    assert second == first


def test_requests_are_listed_newest_first_by_stream_and_state(local: Any, pier: Any) -> None:
    answer(local, pier, ask(local, pier))
    ask(local, pier, stream="pool", kind="cleaned")
    ask(local, pier, kind="undo", baseline=7)
    assert listed(local, pier) == [
        ("reef", "undo", "waiting"),
        ("pool", "cleaned", "waiting"),
        ("reef", "accept", "done"),
    ]
    assert listed(local, pier, stream="reef", state="done") == [("reef", "accept", "done")]
    assert listed(local, pier, limit=1) == [("reef", "undo", "waiting")]
    assert listed(local, local.experiment("other")) == []


def test_one_request_of_a_stream_waits_at_a_time(local: Any, pier: Any) -> None:
    ask(local, pier)
    second = post(local, pier, kind="cleaned")
    assert (second.status_code, second.json()["message"]) == (
        409,
        "Another request of this stream waits for its node; withdraw that first.",
    )
    ask(local, pier, stream="pool")
    ask(local, local.experiment("other"))


def test_of_many_requests_at_once_one_waits(local: Any, pier: Any) -> None:
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda _: post(local, pier).status_code, range(12)))
    assert sorted(codes) == [201] + [409] * 11
    assert listed(local, pier) == [("reef", "accept", "waiting")]


def test_a_request_that_is_sent_again_is_stored_once(local: Any, pier: Any) -> None:
    chosen = str(uuid.uuid4())
    assert ask(local, pier, id=chosen.upper())["id"] == chosen
    assert ask(local, pier, id=chosen, kind="cleaned")["kind"] == "accept"
    assert len(listed(local, pier)) == 1


def test_a_request_that_waits_can_be_withdrawn(local: Any, pier: Any) -> None:
    asked = ask(local, pier)
    for _ in range(2):
        assert local.delete(path(pier, asked["id"])).status_code == 204
    assert listed(local, pier) == [("reef", "accept", "withdrawn")]
    ask(local, pier, kind="cleaned")


def test_what_the_node_did_is_told_though_the_request_was_withdrawn(local: Any, pier: Any) -> None:
    asked = ask(local, pier)
    local.delete(path(pier, asked["id"]))
    assert answer(local, pier, asked, baseline=2)["state"] == "done"


def test_an_answered_request_cannot_be_withdrawn(local: Any, pier: Any) -> None:
    asked = ask(local, pier)
    answer(local, pier, asked)
    refused = local.delete(path(pier, asked["id"]))
    assert refused.status_code == 409
    assert "answered this request already" in refused.json()["message"]


def test_a_request_of_another_experiment_is_not_found(local: Any, pier: Any) -> None:
    asked, other = ask(local, pier), local.experiment()
    for refused in (
        local.delete(path(other, asked["id"])),
        local.put(path(other, asked["id"], "answer"), json={"state": "done"}),
        local.delete(path(pier, str(uuid.uuid4()))),
    ):
        assert (refused.status_code, refused.json()["message"]) == (
            404,
            "Baseline request not found.",
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "renew"),
        ("stream", ""),
        ("stream", "reef,south"),
        ("stream", None),
        ("id", "7"),
        ("baseline", 7),  # only what is undone has one
        ("baseline", 0),
        ("baseline", 2**63),
        ("state", "done"),
    ],
)
def test_what_cannot_be_a_request_is_refused(
    local: Any, pier: Any, field: str, value: object
) -> None:
    refused = post(local, pier, **{field: value})
    assert refused.status_code == 422
    assert list(refused.json()["errors"]["json"]) == [field]
    assert listed(local, pier) == []


@pytest.mark.parametrize(
    "told", [{}, {"state": "waiting"}, {"state": "done", "answer": "x" * 2001}]
)
def test_what_cannot_be_an_answer_is_refused(local: Any, pier: Any, told: Any) -> None:
    asked = ask(local, pier)
    refused = local.put(path(pier, asked["id"], "answer"), json=told)
    assert refused.status_code == 422
    assert listed(local, pier) == [("reef", "accept", "waiting")]


def test_who_may_read_may_not_ask(ann: Any, bob: Any, anonymous: Any) -> None:
    entries = [{"entity": bob.me(), "level": "Read"}]
    experiment = ann.experiment(permissions=entries)
    asked = ask(ann, experiment)
    assert listed(bob, experiment) == [("reef", "accept", "waiting")]
    assert anonymous.get(path(experiment)).status_code == 403
    for caller, code in ((bob, 403), (anonymous, 401)):
        assert post(caller, experiment, stream="pool").status_code == code
        assert caller.delete(path(experiment, asked["id"])).status_code == code
        told = caller.put(path(experiment, asked["id"], "answer"), json={"state": "done"})
        assert told.status_code == code
    assert listed(ann, experiment) == [("reef", "accept", "waiting")]


def test_nobody_in_particular_learns_no_addresses(ann: Any, anonymous: Any) -> None:
    experiment = ann.experiment(public=True)
    assert ask(ann, experiment)["author"] == ann.get("/user/self").json()["email"]
    assert anonymous.get(path(experiment)).json()[0]["author"] is None


def test_requests_are_deleted_with_their_experiment(local: Any, pier: Any) -> None:
    ask(local, pier)
    assert local.delete(f"/experiment/{pier['id']}").status_code == 204
    with local.client.app.state.services.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM baseline_requests").scalar() == 0


def test_requests_are_no_part_of_the_contract(local: Any, pier: Any) -> None:
    assert local.under("/api/v1").get(path(pier)).status_code == 404
