"""Verdicts on alarms as jobs make them, and the quality that follows."""

from __future__ import annotations

from typing import Any

from support.samples import JOB

TRUTH = "cccDDDDDccccccccDDcc"  # of each minute's picture
JUDGED = "....ddddd....d......"  # in which the node is in drift


def jobs() -> list[dict[str, Any]]:
    return [
        JOB
        | {
            "drift_detected": letter == "d",
            "parameters": {
                "event_id": f"reef:{at}",
                "stream": "reef",
                "captured_at": f"2026-06-01T08:{at:02}:00Z",
                "score": 3.0 if letter == "d" else 0.5,
                "drift_score": 2.0,
                "alarm": letter == "d",
                "can_alarm": True,
            },
        }
        for at, letter in enumerate(JUDGED)
    ]


def test_ground_truth_of_a_program_gives_precision_recall_and_delay(local: Any, pier: Any) -> None:
    """Drift from 3 to 7 is noticed at 4; the alarm at 13 is false; the drift from 16 on is missed."""
    experiment = f"/experiment/{pier['id']}"
    assert local.post(f"{experiment}/drift/batch", json={"drifts": jobs()}).status_code == 200
    for at, letter in enumerate(TRUTH):
        verdict = "true drift" if letter == "D" else "false alarm"
        path = f"{experiment}/drift/reef:{at}/feedback"
        assert local.put(path, json={"verdict": verdict}).status_code == 200
    [reef] = local.get(f"{experiment}/quality").json()["groups"]
    assert (reef["model"], reef["stream"]) == ("m", "reef")
    assert (reef["precision"]["count"], reef["precision"]["of"], reef["unknown"]) == (1, 2, 0)
    assert (reef["recall"]["count"], reef["recall"]["of"]) == (1, 2)
    assert reef["seconds_to_detection"]["median"] == 60


def test_a_person_s_word_stays_with_the_alarm_while_it_lasts(local: Any, pier: Any) -> None:
    experiment = f"/experiment/{pier['id']}"
    for job in jobs()[:7]:
        local.post(f"{experiment}/drift", json=job)
    [event] = local.get(f"{experiment}/events").json()
    feedback = f"{experiment}/event/{event['id']}/feedback"
    assert local.put(feedback, json={"verdict": "true drift"}).status_code == 200
    for job in jobs()[7:]:
        local.post(f"{experiment}/drift", json=job)
    found = local.get(f"{experiment}/events", params={"kind": "drift"}).json()
    assert [each["id"] == event["id"] for each in found] == [False, True]
    assert local.get(feedback).json()["verdict"] == "true drift"
    total = local.get(f"{experiment}/quality").json()["total"]
    assert (total["alarms"], total["unknown"], total["precision"]["value"]) == (2, 1, 1)
    for at in range(20):  # with its jobs the alarm goes, and what was said of it
        [job] = local.search(pier, {"parameters.event_id": f"reef:{at}"}).json()
        assert local.delete(f"{experiment}/drift/{job['id']}").status_code == 204
    assert local.get(feedback).json()["message"] == "Event not found."
    assert local.get(f"{experiment}/quality").json()["total"]["alarms"] == 0
