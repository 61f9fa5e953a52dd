"""The forms on alerts, storage and access, besides the buttons in `actions`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import anyio.to_thread

from lenswatch.server.pages.actions import Deed, Outcome, act, action
from lenswatch.server.pages.people import entity_of
from lenswatch.server.pages.rule_forms import rule_body, rule_fields
from lenswatch.server.values.refusals import Refusal

__all__ = ["act"]  # which knows these actions once this module is imported

_MEGABYTE = 1_000_000
_DAYS = ("jobs_days", "pictures_days", "drift_pictures_days")
_BYTES = ("jobs_bytes", "pictures_bytes")


class _Fields:
    """A posted form, read like the parameters of an address."""

    def __init__(self, form: dict[str, list[str]]) -> None:
        self.form = form

    def get(self, name: str, default: str = "") -> str:
        return self.form.get(name, [default])[0].strip()

    def getlist(self, name: str) -> list[str]:
        return self.form.get(name, [])

    def __contains__(self, name: str) -> bool:
        return name in self.form


def _here(deed: Deed, part: str) -> str:
    return f"{part}?{urlencode({'experiment': deed.text('experiment')})}"


@action("rule")
async def save_rule(deed: Deed) -> Outcome:
    """Make or change a rule."""
    body = rule_body(rule_fields(_Fields(deed.form), [], None))
    if not body["on"]:
        raise Refusal(422, "A rule needs something to tell about: drift, silence or another one.")
    path = f"{deed.experiment}/rule"
    if rule := deed.text("rule"):
        await deed.asker.send("PUT", f"{path}/{UUID(rule)}", body)
    else:
        await deed.asker.send("POST", path, body)
    return Outcome(f"Rule “{body['name']}”", kind="saved", back=_here(deed, "alerts"))


@action("unrule")
async def delete_rule(deed: Deed) -> Outcome:
    """Delete a rule."""
    await deed.asker.send("DELETE", f"{deed.experiment}/rule/{_id(deed, 'rule')}")
    return Outcome(f"Rule “{deed.about}”", kind="deleted", back=_here(deed, "alerts"))


@action("channel")
async def make_channel(deed: Deed) -> Outcome:
    """Make a channel; the secret of a webhook is shown once."""
    kind, target = deed.text("kind"), deed.text("target")
    to = [part.strip() for part in target.split(",") if part.strip()]
    body = {"name": deed.text("name") or target, "kind": kind}
    body |= {"to": to} if kind == "email" else {"url": target}  # type: ignore[dict-item]
    made = await deed.asker.send("POST", f"{deed.experiment}/channel", body)
    name = f"Channel “{made['name']}”"
    return Outcome(name, kind="created", back=_here(deed, "alerts"), secret=made.get("secret", ""))


@action("unchannel")
async def delete_channel(deed: Deed) -> Outcome:
    """Delete a channel."""
    await deed.asker.send("DELETE", f"{deed.experiment}/channel/{_id(deed, 'channel')}")
    return Outcome(f"Channel “{deed.about}”", kind="deleted", back=_here(deed, "alerts"))


@action("test")
async def test(deed: Deed) -> Outcome:
    """Send a test message."""
    await deed.asker.send("POST", f"{deed.experiment}/channel/{_id(deed, 'channel')}/test")
    return Outcome(deed.about, kind="tested", back=_here(deed, "alerts"))


@action("retention")
async def keep(deed: Deed) -> Outcome:
    """Set for how long an experiment keeps jobs and pictures."""
    body: dict[str, Any] = {name: _number(deed, name) for name in _DAYS}
    for name in _BYTES:
        megabytes = _number(deed, name)
        body[name] = None if megabytes is None else round(megabytes * _MEGABYTE)
    await deed.asker.send("PUT", f"{deed.experiment}/retention", body)
    return Outcome("What is kept", kind="saved")


@action("create-experiment")
async def create(deed: Deed) -> Outcome:
    """Create an experiment."""
    body = {
        "name": deed.text("name"),
        "description": deed.text("description"),
        "public": deed.text("public") == "1",
        "permissions": [],
    }
    made = await deed.asker.send("POST", "/experiment", body)
    back = f"access?{urlencode({'experiment': made['id']})}"
    return Outcome(f"Experiment “{made['name']}”", kind="created", back=back)


@action("edit-experiment")
async def edit(deed: Deed) -> Outcome:
    """Rename, describe, publish or hide an experiment."""
    record = await deed.asker.get(deed.experiment)
    change = {
        "name": deed.text("name"),
        "description": deed.text("description"),
        "public": deed.text("public") == "1",
    }
    await _put(deed, record, change)
    return Outcome(f"Experiment “{change['name']}”", kind="saved")


@action("grant")
async def grant(deed: Deed) -> Outcome:
    """Give somebody a permission, by e-mail, user id or entitlement."""
    said, level = deed.text("entity"), deed.text("level")
    if not said:
        raise Refusal(422, "Say who: an e-mail address, a user id or an entitlement.")
    entity = await anyio.to_thread.run_sync(entity_of, deed.request, said)
    record = await deed.asker.get(deed.experiment)
    others = [entry for entry in record["permissions"] if entry["entity"] != entity]
    given = [*others, {"entity": entity, "level": level}]
    await _put(deed, record, {"permissions": given})
    return Outcome(f"{level} for {said}", kind="saved")


@action("revoke")
async def revoke(deed: Deed) -> Outcome:
    """Take a permission away."""
    record = await deed.asker.get(deed.experiment)
    entity = deed.text("entity")
    left = [entry for entry in record["permissions"] if entry["entity"] != entity]
    await _put(deed, record, {"permissions": left})
    return Outcome(f"Permission of {deed.text('called') or entity}", kind="deleted")


@action("delete-experiment")
async def delete(deed: Deed) -> Outcome:
    """Delete an experiment whose name was typed."""
    record = await deed.asker.get(deed.experiment)
    if deed.text("confirm") != record["name"]:
        raise Refusal(
            422, f'Type the name "{record["name"]}" to delete the experiment and all its jobs.'
        )
    await deed.asker.send("DELETE", deed.experiment)
    return Outcome(f"Experiment “{record['name']}”", kind="deleted", back="access")


async def _put(deed: Deed, record: dict[str, Any], change: dict[str, Any]) -> None:
    kept = {name: record.get(name) for name in ("name", "description", "public", "permissions")}
    body = {name: value for name, value in (kept | change).items() if value is not None}
    await deed.asker.send("PUT", deed.experiment, body)


def _number(deed: Deed, name: str) -> float | None:
    text = deed.text(name)
    try:
        return float(text) if text else None
    except ValueError:
        raise Refusal(422, f'"{text}" is no number.') from None


def _id(deed: Deed, name: str) -> str:
    try:
        return str(UUID(deed.text(name)))
    except ValueError:
        raise Refusal(404, "There is no such thing any more.") from None
