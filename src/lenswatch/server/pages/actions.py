"""The buttons of pages: each form posts here, and is answered by the page it came from.

An action is one or more requests to the API, so the API's permissions decide. Nothing asks "are you sure":
the page says what was done, and offers a way back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lenswatch.server.pages.asked import ask, has_node, take_back
from lenswatch.server.pages.asking import Asker, said_by, stream_name
from lenswatch.server.pages.done import done_query
from lenswatch.server.pages.forms import Form, back_address, read_form
from lenswatch.server.pages.forms import field as field_of
from lenswatch.server.pages.look import Look, look_of
from lenswatch.server.pages.rendering import NOT_STORED, page
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal

__all__ = ["ACTS", "Deed", "Outcome", "act", "action", "experiment_path"]

_MORNING = 6  # o'clock: until when a night's mute lasts
_LENGTHS = {"1h": timedelta(hours=1), "8h": timedelta(hours=8), "7d": timedelta(days=7)}
_FIELDS = ("title", "place", "owner", "link")


@dataclass(frozen=True)
class Deed:
    """One submitted form."""

    request: Request
    asker: Asker
    form: Form
    look: Look

    def text(self, name: str, default: str = "") -> str:
        """Return a field's text."""
        return field_of(self.form, name, default)

    @property
    def streams(self) -> list[str]:
        """The streams that the action is about."""
        return self.form.get("stream", [""])

    @property
    def experiment(self) -> str:
        """The API path of the experiment."""
        return experiment_path(self.text("experiment"))

    @property
    def about(self) -> str:
        """The name of what the action is about."""
        if len(self.streams) > 1:
            return f"{len(self.streams)} cameras"
        return self.text("called") or self.streams[0] or "(no name)"


@dataclass(frozen=True)
class Outcome:
    """An action that was done: the name of its thing, and the fields of the form that undoes it."""

    name: str
    undo: Mapping[str, str] = field(default_factory=dict)
    kind: str = ""  # the words to use, if not those of the action
    back: str = ""  # where to go instead of back
    secret: str = ""  # shown once, before going back


Action = Callable[[Deed], Awaitable[Outcome]]
ACTS: dict[str, Action] = {}


def action(*names: str) -> Callable[[Action], Action]:
    """Return a decorator that registers an action under these names."""

    def register(function: Action) -> Action:
        ACTS.update(dict.fromkeys(names, function))
        return function

    return register


def experiment_path(text: str) -> str:
    """Return the API path of an experiment.

    Raises:
        Refusal: `text` is no id.
    """
    try:
        return f"/experiment/{UUID(text)}"
    except ValueError:
        raise Refusal(404, "Experiment not found.") from None


async def act(request: Request) -> Response:
    """Do what the form says, and go back to the page it came from."""
    form = await read_form(request)
    name = field_of(form, "act")
    if name not in ACTS:
        raise Refusal(400, "This button is unknown to the server; load the page again.")
    deed = Deed(request, Asker(request), form, look_of(request))
    try:
        outcome = await ACTS[name](deed)
    except Refusal as refusal:
        raise Refusal(refusal.code, said_by(refusal), headers=refusal.headers) from None
    back = outcome.back or back_address(form)
    if outcome.secret:
        show: dict[str, Any] = {"name": outcome.name, "secret": outcome.secret, "back": back}
        return await anyio.to_thread.run_sync(
            lambda: page(request, "secret.html", headers=NOT_STORED, **show)
        )
    return RedirectResponse(done_query(back, outcome.kind or name, outcome.name, outcome.undo), 303)


async def _change(deed: Deed, change: Mapping[str, Any]) -> None:
    for stream in deed.streams:
        await deed.asker.send("PUT", f"{deed.experiment}/stream/{stream_name(stream)}", change)


def _undo(deed: Deed, name: str, **fields: str) -> dict[str, str]:
    """Return the fields of the form that undoes an action on one stream."""
    if len(deed.streams) > 1:
        return {}
    about = {"experiment": deed.text("experiment"), "stream": deed.streams[0]}
    return {"act": name, **about, "called": deed.about, **fields}


@action("acknowledge", "unacknowledge")
async def acknowledge(deed: Deed) -> Outcome:
    """Say that somebody is on it, or that nobody is."""
    wanted = deed.text("act") == "acknowledge"
    await _change(deed, {"acknowledged": wanted})
    return Outcome(deed.about, _undo(deed, "unacknowledge") if wanted else {})


@action("mute", "unmute")
async def mute(deed: Deed) -> Outcome:
    """Send no messages for a time."""
    wanted = deed.text("act") == "mute"
    until = _until(deed.text("until"), deed.look) if wanted else None
    await _change(deed, {"muted_until": until})
    return Outcome(deed.about, _undo(deed, "unmute") if wanted else {})


def _until(text: str, look: Look) -> str:
    now = look.moment(look.now)
    assert now is not None
    if text in _LENGTHS:
        moment = now + _LENGTHS[text]
    elif text == "06:00":
        moment = now.replace(hour=_MORNING, minute=0, second=0, microsecond=0)
        moment += timedelta(days=int(moment <= now))
    else:
        found = look.moment(look.read(text))
        if found is None:
            raise Refusal(422, f'"{text}" is no time to mute until; use one like 2026-06-03T06:00.')
        moment = found
    return moment.astimezone(UTC).isoformat()


@action("retire", "unretire")
async def retire(deed: Deed) -> Outcome:
    """Say that a camera is not in use any more."""
    wanted = deed.text("act") == "retire"
    await _change(deed, {"retired": wanted})
    return Outcome(deed.about, _undo(deed, "unretire") if wanted else {})


@action("describe")
async def describe(deed: Deed) -> Outcome:
    """Name and describe a camera."""
    change: dict[str, Any] = {name: deed.text(name) or None for name in _FIELDS}
    interval = deed.text("interval")
    try:
        change["interval_seconds"] = float(interval) * 60 if interval else None
    except ValueError:
        raise Refusal(422, f'"{interval}" is no number of minutes.') from None
    await _change(deed, change)
    return Outcome(deed.text("title") or deed.about)


@action("cleaned", "note")
async def note(deed: Deed) -> Outcome:
    """Note something that people did, at a time or over a span."""
    begins = deed.look.read(deed.text("at")) or deed.look.now
    ends = deed.look.read(deed.text("until"))
    kind = "lens cleaned" if deed.text("act") == "cleaned" else deed.text("kind", "note")
    body = {
        "stream": None if deed.text("whole") else deed.streams[0],
        "kind": kind,
        "text": deed.text("text"),
        "begins_at": stamps.iso(begins),
        "ends_at": stamps.iso(ends) if ends else None,
    }
    made = await deed.asker.send("POST", f"{deed.experiment}/annotation", body)
    undo = _undo(deed, "unnote", note=str(made["id"]))
    if kind != "lens cleaned":
        return Outcome(deed.about, undo, kind="note")
    request = await _cleaned_now(deed) if body["stream"] and begins == deed.look.now else ""
    asked = {"request": request} if request and undo else {}
    return Outcome(deed.about, undo | asked, kind="cleaned node" if request else "cleaned")


async def _cleaned_now(deed: Deed) -> str:
    """Ask the node to go back to its calibration; return the request's id, "" if there is none to ask."""
    stream = deed.streams[0]
    if not await has_node(deed.asker, deed.experiment, stream):
        return ""
    try:
        return await ask(deed.asker, deed.experiment, stream, "cleaned")
    except Refusal as refusal:
        if refusal.code == 409:  # something else waits for the node; the note is stored
            return ""
        raise


@action("unnote")
async def unnote(deed: Deed) -> Outcome:
    """Remove a note, and take back what came with it."""
    note_id = _id(deed.text("note"))
    await deed.asker.send("DELETE", f"{deed.experiment}/annotation/{note_id}")
    if request := deed.text("request"):
        await take_back(deed.asker, deed.experiment, deed.streams[0], request)
    return Outcome(deed.about)


@action("accept")
async def accept(deed: Deed) -> Outcome:
    """Ask the node to take the present pictures as clean."""
    made = await ask(deed.asker, deed.experiment, deed.streams[0], "accept")
    return Outcome(deed.about, _undo(deed, "unask", request=made))


@action("unask")
async def unask(deed: Deed) -> Outcome:
    """Withdraw a request, or ask the node to undo what it did."""
    request = _id(deed.text("request"))
    undone = await take_back(deed.asker, deed.experiment, deed.streams[0], request)
    return Outcome(deed.about, kind="undo" if undone else "unask")


@action("true drift", "false alarm")
async def verdict(deed: Deed) -> Outcome:
    """Say whether an alarm was right."""
    said, event = deed.text("act"), _id(deed.text("event"))
    path = f"{deed.experiment}/event/{event}/feedback"
    await deed.asker.send("PUT", path, {"verdict": said})
    return Outcome(deed.about, _undo(deed, "unverdict", event=event))


@action("unverdict")
async def unverdict(deed: Deed) -> Outcome:
    """Take back an answer."""
    path = f"{deed.experiment}/event/{_id(deed.text('event'))}/feedback"
    await deed.asker.send("DELETE", path)
    return Outcome(deed.about)


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Refusal(404, "There is no such thing any more.") from None
