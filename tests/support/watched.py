"""A tracking server with cameras in every state, as somebody on watch meets them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from support.samples import picture
from support.tracking_server import Server

REFERENCE = "c74b8392" * 8
_CELLS = [[row, column] for row in range(4) for column in range(5)]


@dataclass(frozen=True)
class Watched:
    """The experiment, its drifting camera's jobs, and the event."""

    experiment: str
    jobs: list[str]
    event: str


def watched(server: Server, name: str = "") -> Watched:
    """Fill the server: "reef-03" drifts with pictures, the other cameras are in other states."""
    experiment, now = server.experiment(name), datetime.now(UTC)

    def body(stream: str, minutes: float, **values: Any) -> dict[str, Any]:
        taken = now - timedelta(minutes=minutes)
        usual: dict[str, Any] = {
            "captured_at": taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "warning": False,
        }
        return server.body(0, stream=stream, **usual | values)

    root = f"{server.root}/api/latest/experiment/{experiment}"
    clean = f"{root}/reference/{REFERENCE}/picture/clean.jpg"
    headers = {"Content-Type": "image/jpeg"}
    image = picture(size=(320, 180))
    server.session.put(clean, image, headers=headers, timeout=60).raise_for_status()
    jobs = server.jobs(experiment, [body("reef-03", 30 - i, **_reef(i)) for i in range(30)])
    for i in (0, 12, 20, 29):
        server.picture(experiment, jobs[i])
    frozen = {"warning": True, "causes": [{"name": "frozen", "strength": 1, "cells": []}]}
    waiting = {"can_alarm": False, "calibration_notes": ["38 of 100 clean pictures are collected."]}
    for stream, values in (
        ("quay-01", {}),
        ("quay-02", {"warning": True, "score": 1.3}),
        ("yard-11", frozen),
        ("reef-14", waiting),
    ):
        shown: dict[str, Any] = {"score": 0.4, "drift_score": 1.4, "warning_score": 1.2} | values
        server.jobs(experiment, [body(stream, 20 - i, **shown) for i in range(20)])
    event = server.session.get(f"{root}/events", params={"stream": "reef-03"}, timeout=60).json()
    return Watched(experiment, jobs, event[0]["id"])


def _reef(number: int) -> dict[str, Any]:
    """Return the values of one picture of a lens that gets dirty from picture 12 on."""
    drift = number >= 12
    deviations = [[6.5 if drift and row > 1 else 0.4] * 5 for row in range(4)]
    causes = [
        {"name": "blurred", "strength": 4.5, "cells": _CELLS},
        {"name": "colour cast", "strength": 1.3, "cells": [[3, 0], [3, 1]]},
    ]
    return {
        "drift_detected": drift,
        "warning": drift,
        "alarm": drift,
        "can_alarm": True,
        "score": 6.3 if drift else 0.4,
        "drift_score": 1.4,
        "warning_score": 1.2,
        "deviations": deviations,
        "causes": causes if drift else [],
        "nearest_clean": {"reference": REFERENCE, "name": "clean.jpg"},
    }
