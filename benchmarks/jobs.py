"""Jobs like those of a node, one a minute."""

from __future__ import annotations

from typing import Any

from lenswatch.server.values.stamps import iso

__all__ = ["MINUTE", "START", "job"]

MINUTE = 60_000_000
START = 1_700_000_000_000_000


def job(number: int) -> dict[str, Any]:
    """A job like those of a node, the same for the same number."""
    share = number * 7919 % 10_007 / 10_007
    failed = number % 50 == 7
    return {
        "job_status": "Failed" if failed else "Completed",
        "model": "lenswatch@0123456789abcdef",
        "drift_detected": not failed and share > 0.9,
        "tags": ["pier", "night"] if number % 10 == 0 else ["pier"],
        "parameters": {
            "event_id": f"e{number}",
            "stream": f"cam{number % 5}",
            "captured_at": iso(START + number * MINUTE),
            "image_name": f"img_{number:08d}.jpg",
            "distance": share / 10,
            "drift_distance": 0.09,
            "warning_distance": 0.05,
            "warning": share > 0.5,
            "window": {"filled": 12, "size": 12},
            "calibrated": True,
        },
    }
