"""Pages of forms for those who may: alerts, storage and retention, experiments and who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.identity.identity import LEVELS
from lenswatch.server.pages.asking import Asker, said_by
from lenswatch.server.pages.callers import Rights, rights_of
from lenswatch.server.pages.done import done_of
from lenswatch.server.pages.people import names_of
from lenswatch.server.pages.rendering import page
from lenswatch.server.pages.rule_forms import rule_body, rule_fields, rule_words
from lenswatch.server.values.refusals import Refusal

__all__ = ["access", "alerts", "storage"]

_SHOWN = 50  # deliveries


async def alerts(request: Request) -> Response:
    """Show who is told what, and whether it arrived."""
    asker = Asker(request)
    experiments, chosen, rights = await _chosen(request, asker)
    context: dict[str, Any] = {"rules": [], "channels": [], "deliveries": [], "cameras": []}
    if chosen and chosen["id"] in rights.edits:
        root = f"/experiment/{chosen['id']}"
        rules, channels, deliveries, cameras = await asyncio.gather(
            asker.find(f"{root}/rule", None),
            asker.find(f"{root}/channel", []),
            asker.find(
                f"{root}/deliveries", [], limit=_SHOWN, state=request.query_params.get("result")
            ),
            asker.get("/overview", experiment=chosen["id"], limit=1000),
        )
        context = {
            "rules": rules or [],
            "channels": channels,
            "deliveries": deliveries,
            "cameras": cameras["streams"],
        }
    fields = rule_fields(request.query_params, context["rules"], chosen)
    context["preview"] = await _preview(asker, chosen, fields, rights)
    context |= {"fields": fields, "words": {r["id"]: rule_words(r) for r in context["rules"]}}
    return await _page(request, "alerts.html", experiments, chosen, rights, context)


async def _preview(
    asker: Asker, chosen: Mapping[str, Any] | None, fields: Mapping[str, Any], rights: Rights
) -> dict[str, Any] | None:
    """Return what the rule in the form would have sent, or the words on why it is none."""
    if chosen is None or chosen["id"] not in rights.manages or not fields["on"]:
        return None
    try:
        body = rule_body(fields)
        return dict(await asker.send("POST", f"/experiment/{chosen['id']}/rule-preview", body))
    except Refusal as refusal:
        return None if refusal.code in (404, 405) else {"problem": said_by(refusal)}


async def storage(request: Request) -> Response:
    """Show what experiments use, and for how long they keep it."""
    asker = Asker(request)
    experiments, chosen, rights = await _chosen(request, asker)
    used = await asyncio.gather(
        *(asker.find(f"/experiment/{e['id']}/storage", None) for e in experiments[:_SHOWN])
    )
    rows = list(zip(experiments[:_SHOWN], used, strict=True))
    wishes = None
    if chosen:
        wishes = await asker.find(f"/experiment/{chosen['id']}/retention", None)
    context = {"rows": rows, "retention": wishes}
    return await _page(request, "storage.html", experiments, chosen, rights, context)


async def access(request: Request) -> Response:
    """Show experiments, and who may see and change them."""
    asker = Asker(request)
    experiments, chosen, rights = await _chosen(request, asker)
    record = await asker.get(f"/experiment/{chosen['id']}") if chosen else None
    people: Mapping[str, str] = {}
    if record and record["id"] in rights.manages:
        people = await anyio.to_thread.run_sync(names_of, request, record["permissions"])
    context = {
        "record": record,
        "people": people,
        "levels": LEVELS,
        "named": bool(request.query_params.get("experiment")),
    }
    return await _page(request, "access.html", experiments, chosen, rights, context)


async def _chosen(
    request: Request, asker: Asker
) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any] | None, Rights]:
    """Return the experiments, the one that the address names or the first that may be managed, and rights."""
    found = (await asker.get("/overview", limit=1))["experiments"]
    rights = await rights_of(request, [one["id"] for one in found])
    wanted = request.query_params.get("experiment", "")
    ranked = sorted(found, key=lambda one: one["id"] not in rights.edits)
    named = [one for one in found if one["id"] == wanted]
    return found, next(iter([*named, *ranked]), None), rights


async def _page(
    request: Request,
    template: str,
    experiments: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any] | None,
    rights: Rights,
    context: Mapping[str, Any],
) -> Response:
    shared: dict[str, Any] = {
        "experiments": experiments,
        "chosen": chosen,
        "rights": rights,
        "may_edit": bool(chosen and chosen["id"] in rights.edits),
        "may_manage": bool(chosen and chosen["id"] in rights.manages),
        "done": done_of(request),
    }
    return await anyio.to_thread.run_sync(lambda: page(request, template, **shared, **context))
