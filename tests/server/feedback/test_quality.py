"""/experiment/E/quality: a hand-computed example, and what changes it."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

NOTHING = {"value": None, "low": None, "high": None, "count": 0, "of": 0}


def quality(api: Any, experiment: dict[str, Any], **params: Any) -> Any:
    answer = api.get(f"/experiment/{experiment['id']}/quality", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(api: Any, experiment: dict[str, Any], what: str, name: str, verdict: str) -> None:
    path = f"/experiment/{experiment['id']}/{what}/{name}/feedback"
    assert api.put(path, json={"verdict": verdict}).status_code == 200


def minute(at: int) -> str:
    return f"2026-06-01T{8 + at // 60:02}:{at % 60:02}:00Z"


@pytest.fixture
def judged(local: Any, pier: Any, event: Any) -> Any:
    """20 pictures of reef, one a minute: drift from 4 to 9 and from 15 to 16; alarms from 6 and from 12.

    The second alarm is said to be false. A third one, of the pool, is said to be true by a person.
    """
    for at in range(20):
        name = f"reef:{at}"
        parameters = {"event_id": name, "stream": "reef", "captured_at": minute(at)}
        local.drift(pier, parameters=parameters)
        truth = 4 <= at <= 9 or 15 <= at <= 16
        if at % 2 == 0 or at in (9, 15):  # the others are not labelled
            say(local, pier, "drift", name, "true drift" if truth else "false alarm")
    event(pier, minute(6), minute(11))
    event(pier, minute(12), minute(14))
    say(local, pier, "event", event(pier, minute(5), stream="pool"), "true drift")
    event(pier, minute(1), minute(2), kind="silent")
    return pier


def test_a_hand_computed_example(local: Any, judged: Any) -> None:
    """Of 3 alarms 2 were true, of 2 drifts 1 was noticed, after 2 minutes."""
    found = quality(local, judged)
    assert found["confidence"] == 0.95
    total = found["total"]
    assert (total["model"], total["stream"]) == (None, None)
    assert (total["alarms"], total["unknown"]) == (3, 0)
    precision, recall = total["precision"], total["recall"]
    assert (precision["count"], precision["of"], precision["value"]) == (2, 3, pytest.approx(2 / 3))
    # (2/3 + z²/6 ∓ z √(2/27 + z²/36)) / (1 + z²/3), z = 1.96
    assert (precision["low"], precision["high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert (recall["count"], recall["of"], recall["value"]) == (1, 2, 0.5)
    assert (recall["low"], recall["high"]) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert total["seconds_to_detection"] == {"median": 120, "low": None, "high": None, "of": 1}
    pool, reef = found["groups"]
    assert (pool["stream"], pool["precision"]["value"], pool["recall"]) == ("pool", 1, NOTHING)
    assert (reef["stream"], reef["model"], reef["precision"]["value"]) == ("reef", "m", 0.5)
    assert reef["recall"] == recall


def test_quality_of_a_stream_and_of_a_range(local: Any, judged: Any) -> None:
    assert quality(local, judged, stream="pool")["total"]["alarms"] == 1
    late = quality(local, judged, **{"from": minute(10), "to": minute(19)})["total"]
    assert (late["alarms"], late["precision"]["value"], late["recall"]["value"]) == (1, 0, 0)


def test_nothing_said_gives_no_figures(local: Any, pier: Any, event: Any) -> None:
    assert quality(local, pier)["groups"] == []
    event(pier, minute(0))
    total = quality(local, pier)["total"]
    assert (total["alarms"], total["unknown"]) == (1, 1)
    assert (total["precision"], total["recall"]) == (NOTHING, NOTHING)


def test_a_verdict_that_is_withdrawn_counts_no_more(local: Any, judged: Any) -> None:
    for at in range(20):
        local.delete(f"/experiment/{judged['id']}/drift/reef:{at}/feedback")
    total = quality(local, judged)["total"]
    assert (total["unknown"], total["precision"]["of"], total["recall"]["of"]) == (2, 1, 0)


def test_each_reference_is_counted_for_itself(local: Any, pier: Any, event: Any) -> None:
    for model in ("old", "new"):
        say(local, pier, "event", event(pier, minute(1), model=model), "true drift")
        job = local.drift(pier, model=model, parameters={"captured_at": minute(2)})
        say(local, pier, "drift", job["id"], "false alarm")
    groups = [(g["model"], g["stream"], g["alarms"]) for g in quality(local, pier)["groups"]]
    assert groups == [("new", "reef", 1), ("old", "reef", 1)]


def test_the_answer_is_what_the_document_says(local: Any, judged: Any) -> None:
    document = local.client.get("/api/latest/specification.json").json()
    schema = {"$ref": "#/components/schemas/Quality", "components": document["components"]}
    jsonschema_rs.Draft202012Validator(schema).validate(quality(local, judged))


def test_only_readers_see_the_quality(ann: Any, anonymous: Any) -> None:
    path = f"/experiment/{ann.experiment()['id']}/quality"
    assert anonymous.get(path).status_code == 403
    assert ann.get(path).status_code == 200
