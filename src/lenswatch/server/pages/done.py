"""The line that says what an action did, with a way back.

After an action the page's address names it (`?done=acknowledge&undo=...`). The words are made here, so that
an address from elsewhere cannot say anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

__all__ = ["DONE", "Done", "done_of", "done_query"]

DONE = {
    "acknowledge": "{} acknowledged: everybody sees that somebody is on it.",
    "unacknowledge": "{} is no longer acknowledged.",
    "mute": "{} muted: no messages about it for now.",
    "unmute": "{} is no longer muted.",
    "retire": "{} retired: it is not expected any more.",
    "unretire": "{} is in use again.",
    "cleaned": "Cleaning of {} noted. The next pictures say whether it helped.",
    "cleaned node": "Cleaning of {} noted. Its node compares with the first clean pictures again.",
    "accept": "{}: its node is asked to take the pictures of now as clean.",
    "unask": "{}: the request was withdrawn.",
    "undo": "{}: its node is asked to undo that.",
    "note": "Note on {} added.",
    "unnote": "Note on {} removed.",
    "false alarm": "{}: called a false alarm.",
    "true drift": "{}: called true drift.",
    "unverdict": "{}: the answer was taken back.",
    "describe": "{} saved.",
    "saved": "{} saved.",
    "created": "{} created.",
    "deleted": "{} deleted.",
    "tested": "A test was sent to {}.",
}
# What a link may offer.
_UNDOING = {"unacknowledge", "unmute", "unretire", "unnote", "unverdict", "unask"}
_LONGEST = 300  # characters of a name in an address


@dataclass(frozen=True)
class Done:
    """An action that was done, and the fields of a form that undoes it."""

    words: str
    undo: Mapping[str, str]


def done_of(request: Request) -> Done | None:
    """Return what the address says was done; None if it says nothing."""
    query = request.query_params
    kind = query.get("done", "")
    if kind not in DONE:
        return None
    name = query.get("about", "")[:_LONGEST]
    return Done(DONE[kind].format(name or "It"), _fields(query.get("undo", "")))


def done_query(address: str, kind: str, name: str, undo: Mapping[str, str] | None = None) -> str:
    """Return `address` with what was done added to its query."""
    told = {"done": kind, "about": name[:_LONGEST]}
    if undo:
        told["undo"] = json.dumps(undo, separators=(",", ":"))
    path, _, query = address.partition("?")
    return f"{path or '.'}?{query}{'&' if query else ''}{urlencode(told)}"


def _fields(text: str) -> dict[str, str]:
    try:
        found: Any = json.loads(text) if text else {}
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    fields = {str(key): value for key, value in found.items() if isinstance(value, str)}
    return fields if fields.get("act") in _UNDOING else {}
