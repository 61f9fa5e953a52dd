"""Alert rules as forms and as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lenswatch.server.pages.look import duration
from lenswatch.server.pages.words import listed
from lenswatch.server.values.refusals import Refusal

__all__ = ["KINDS", "rule_body", "rule_fields", "rule_words"]

KINDS = {
    "drift": "drifts",
    "warning": "gives a warning",
    "recovery": "is clean again",
    "silence": "is silent",
    "failure": "fails",
    "frozen": "is frozen",
    "shedding": "loses jobs for want of space",
}
_MINUTES = ("minimum", "cooldown", "digest", "remind")
_DEFAULTS = {"minimum": "0", "cooldown": "60", "digest": "1", "remind": "0"}
_NUMBERS = {"count": "1", "of": "1"}


def rule_fields(
    query: Any, rules: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the values of the form: those of the address, of the rule that it names, or the usual ones."""
    rule = next((r for r in rules if r["id"] == query.get("rule")), None)
    if "name" in query or rule is None:
        plain = {name: query.get(name, default) for name, default in (_DEFAULTS | _NUMBERS).items()}
        return plain | {
            "rule": query.get("rule", ""),
            "name": query.get("name", f"{chosen['name']} drifts" if chosen else ""),
            "stream": query.get("stream", "*"),
            "on": query.getlist("on") or ([] if "name" in query else ["drift", "recovery"]),
            "channels": query.getlist("channel"),
            "begins": query.get("begins", ""),
            "ends": query.get("ends", ""),
            "timezone": query.get("timezone", ""),
            "off": query.get("off", ""),
        }
    quiet = rule["quiet"] or {}
    minutes = {name: f"{rule[f'{name}_seconds'] / 60:g}" for name in _MINUTES}
    return minutes | {
        "count": str(rule["count"]),
        "of": str(rule["of"]),
        "rule": rule["id"],
        "name": rule["name"],
        "stream": "*" if rule["stream"] is None else rule["stream"],
        "on": rule["on"],
        "channels": rule["channels"],
        "begins": quiet.get("begins", ""),
        "ends": quiet.get("ends", ""),
        "timezone": quiet.get("timezone", ""),
        "off": "" if rule["enabled"] else "1",
    }


def rule_body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's body for the values of the form.

    Raises:
        Refusal: A number is none.
    """
    body: dict[str, Any] = {
        "name": fields["name"],
        "stream": None if fields["stream"] == "*" else fields["stream"],
        "enabled": not fields["off"],
        "on": list(fields["on"]),
        "count": int(_number(fields["count"])),
        "of": int(_number(fields["of"])),
        "channels": list(fields["channels"]),
        "quiet": None,
    }
    body |= {f"{name}_seconds": _number(fields[name]) * 60 for name in _MINUTES}
    if fields["begins"] and fields["ends"]:
        zone = fields["timezone"] or "UTC"
        body["quiet"] = {"begins": fields["begins"], "ends": fields["ends"], "timezone": zone}
    return body


def _number(text: str) -> float:
    try:
        return float(text or 0)
    except ValueError:
        raise Refusal(422, f'"{text}" is no number.') from None


def rule_words(rule: Mapping[str, Any]) -> str:
    """Return a rule as the sentence that it is, without whom it tells."""
    who = "any camera" if rule["stream"] is None else rule["stream"] or "(no name)"
    what = listed(KINDS[kind] for kind in rule["on"]).replace(" and ", " or ")
    parts = [f"{who} {what}"]
    if rule["of"] > 1:
        parts[0] += f" in {rule['count']} of {rule['of']} pictures"
    if rule["minimum_seconds"]:
        parts[0] += f" for {duration(rule['minimum_seconds'])}"
    if rule["cooldown_seconds"]:
        parts.append(f"at most once in {duration(rule['cooldown_seconds'])} for each camera")
    if rule["digest_seconds"]:
        parts.append(f"one message for all within {duration(rule['digest_seconds'])}")
    if rule["quiet"]:
        quiet = rule["quiet"]
        parts.append(f"quiet {quiet['begins']} to {quiet['ends']} ({quiet['timezone']})")
    if rule["remind_seconds"]:
        parts.append(f"again after {duration(rule['remind_seconds'])} if nobody is on it")
    return "; ".join(parts) + "."
