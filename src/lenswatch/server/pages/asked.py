"""Requests of people to the node of a camera: the buttons, and how a page tells what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lenswatch.server.pages.asking import Asker
from lenswatch.server.pages.points import points_of
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal

__all__ = ["Asked", "ask", "asked_of", "has_node", "take_back"]

_SHOWN_SECONDS = 86_400.0  # after the answer
_TITLES = {
    "accept": "This is clean",
    "cleaned": "Lens cleaned: back to the first clean pictures",
    "undo": "Undo",
}


@dataclass(frozen=True)
class Asked:
    """The newest request of a camera, as a page shows it.

    Attributes:
        id: Of the request.
        title: What was asked.
        author: Who asked; "" if the visitor may not know.
        at: When.
        state: waiting, done or rejected.
        words: What the node said.
        undo: Its button's words, "" for none.
    """

    id: str
    title: str
    author: str
    at: str
    state: str
    words: str
    undo: str


async def asked_of(asker: Asker, root: str, stream: str | None) -> Asked | None:
    """Return the newest request of a camera if it waits, or was answered within a day."""
    if not stream:
        return None
    found = await asker.find(f"{root}/baseline-request", [], stream=stream, limit=1)
    if not found or found[0]["state"] == "withdrawn":
        return None
    one = found[0]
    answered = stamps.microseconds(one["answered_at"] or "")
    if answered is not None and stamps.now() - answered > _SHOWN_SECONDS * 1e6:
        return None
    can_undo = one["state"] == "done" and one["kind"] != "undo" and one["baseline"]
    words = "Withdraw" if one["state"] == "waiting" else "Undo" if can_undo else ""
    title, author = _TITLES[one["kind"]], one["author"] or ""
    return Asked(one["id"], title, author, one["asked_at"], one["state"], one["answer"], words)


async def ask(asker: Asker, root: str, stream: str, kind: str, baseline: int | None = None) -> str:
    """Ask the node of a camera to do something, and return the id of the request.

    Raises:
        Refusal: The visitor may not, or another request of the camera waits.
    """
    body = {"stream": stream, "kind": kind, "baseline": baseline}
    made = await asker.send("POST", f"{root}/baseline-request", body)
    return str(made["id"])


async def take_back(asker: Asker, root: str, stream: str, request: str) -> bool:
    """Withdraw a request, and return False; if it was done, ask to undo it, and return True."""
    path = f"{root}/baseline-request"
    listed = await asker.get(path, stream=stream)
    found: Mapping[str, Any] | None = next((one for one in listed if one["id"] == request), None)
    if found is None:
        raise Refusal(404, "There is no such request any more.")
    if found["state"] == "done" and found["baseline"]:
        await ask(asker, root, stream, "undo", found["baseline"])
        return True
    if found["state"] == "waiting":
        await asker.send("DELETE", f"{path}/{request}")
    return False


async def has_node(asker: Asker, root: str, stream: str) -> bool:
    """Return whether the newest job of a camera has a lens score, so that a node with a baseline sent it."""
    columns = await asker.find(f"{root}/series", None, stream=stream, limit=1) if stream else None
    points = points_of(columns or {"id": []})
    return bool(points) and points[-1].score.value is not None
