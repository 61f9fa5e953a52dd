"""Replies of servers, without a server."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests


def reply(status: int, body: bytes, **headers: str) -> requests.Response:
    """Return a reply to a POST; `_` in the name of a header stands for `-`."""
    response = requests.Response()
    response.status_code, response._content = status, body
    response.url, response.reason = "http://tracking/api/latest/experiment", "Reason"
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    response.request = requests.Request("POST", response.url).prepare()
    return response


def verdict(status: int, **more: Any) -> dict[str, Any]:
    """Return the body of an error in the contract's shape."""
    return {"code": status, "status": HTTPStatus(status).phrase, **more}
