"""Channels, rules and pictures as the tests of alerts make them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from support.api import Api
from support.waiting import until

__all__ = ["channel", "deliveries", "judged", "rule", "tell", "wait_for_end"]


def channel(api: Api, experiment: dict[str, Any], url: str | None, **fields: Any) -> dict[str, Any]:
    """Create a webhook."""
    body = {"name": "ops", "kind": "webhook", "url": url} | fields
    answer = api.post(f"/experiment/{experiment['id']}/channel", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def rule(
    api: Api,
    experiment: dict[str, Any],
    channels: Iterable[dict[str, Any]],
    *on: str,
    **fields: Any,
) -> dict[str, Any]:
    """Create a rule that gathers nothing."""
    body = {"name": "drifts", "on": on or ["drift"], "digest_seconds": 0} | fields
    body["channels"] = [each["id"] for each in channels]
    answer = api.post(f"/experiment/{experiment['id']}/rule", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def judged(stream: str, *, drift: bool, **parameters: Any) -> dict[str, Any]:
    """The body of a job as a node sends it."""
    ratio = 2.6 if drift else 0.2
    told = {
        "stream": stream,
        "captured_at": datetime.now(UTC).isoformat(),
        "distance": ratio / 10,
        "drift_distance": 0.1,
        "warning_distance": 0.08,
        "warning": False,
        "can_alarm": True,
        "causes": [{"name": "blur", "strength": 3.0, "cells": [[3, 0], [3, 1]]}] if drift else [],
    }
    return {
        "job_status": "Completed",
        "model": "lenswatch@0123456789abcdef",
        "drift_detected": drift,
        "parameters": told | parameters,
    }


def tell(api: Api, experiment: dict[str, Any], jobs: Iterable[dict[str, Any]]) -> None:
    """Post jobs in one batch."""
    path = f"/experiment/{experiment['id']}/drift/batch"
    answer = api.post(path, json={"drifts": list(jobs)})
    assert answer.status_code == 200, answer.text
    assert {result["status"] for result in answer.json()["results"]} == {201}


def deliveries(api: Api, experiment: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    """List deliveries, the newest first."""
    answer = api.get(f"/experiment/{experiment['id']}/deliveries", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def wait_for_end(api: Api, experiment: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """Wait until so many deliveries have ended, and return them."""
    return until(lambda: found if len(found := _ended(api, experiment)) >= count else [])


def _ended(api: Api, experiment: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in deliveries(api, experiment) if each["ended_at"]]
