"""The overview: which cameras are in trouble, and how all the others are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from lenswatch.server.pages.asking import Asker
from lenswatch.server.pages.callers import rights_of
from lenswatch.server.pages.cards import cards
from lenswatch.server.pages.done import done_of
from lenswatch.server.pages.rendering import page
from lenswatch.server.pages.words import STATES, TROUBLES
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal

__all__ = ["overview"]

_MOST_CARDS = 20
_AT_ONCE = 1000  # streams of one answer
_STORM = 5  # cameras of one experiment in the same trouble
_STORM_MICROSECONDS = 10 * 60 * 1_000_000  # within which they fall
_OPEN_GROUP = 60  # cameras of a group that is not folded
_ORDERS = {
    "experiment": "by experiment",
    "near": "nearest to its threshold",
    "quiet": "longest without a picture",
}

Stream = Mapping[str, Any]


@dataclass
class _Groups:
    """The cameras by where the overview shows them."""

    storms: list[list[Stream]] = field(default_factory=list)
    troubles: list[Stream] = field(default_factory=list)
    known: list[Stream] = field(default_factory=list)
    fine: list[Stream] = field(default_factory=list)
    retired: list[Stream] = field(default_factory=list)


async def overview(request: Request) -> Response:
    """Show all cameras, those in trouble first."""
    asker, query = Asker(request), request.query_params
    asked = {name: query.get(name, "") for name in ("q", "state", "experiment")}
    answer = await _all(asker, asked)
    groups = _grouped(answer["streams"])
    rights = await rights_of(request, [entry["id"] for entry in answer["experiments"]])
    known = groups.known[:_MOST_CARDS]
    shown = await cards(asker, [*groups.troubles[:_MOST_CARDS], *known])
    everywhere = _numbers(answer["counts"], answer["trouble"])
    context = everywhere | {
        "head": _of(answer["streams"]) if any(asked.values()) else everywhere,
        "newest": max((s["last_at"] or "" for s in answer["streams"]), default=""),
        "asked": asked,
        "answer": answer,
        "storms": groups.storms,
        "cards": shown[: len(shown) - len(known)] if known else shown,
        "more": groups.troubles[_MOST_CARDS:],
        "known": shown[len(shown) - len(known) :] if known else [],
        "more_known": groups.known[_MOST_CARDS:],
        "fine": _sections(groups.fine, query.get("order", "experiment")),
        "fine_count": len(groups.fine),
        "retired": groups.retired,
        "order": query.get("order", "experiment"),
        "orders": _ORDERS,
        "pictures": query.get("show") == "pictures",
        "open_group": _OPEN_GROUP,
        "rights": rights,
        "done": done_of(request),
    }
    return await anyio.to_thread.run_sync(lambda: page(request, "overview.html", **context))


async def _all(asker: Asker, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the overview with all its streams, however many there are."""
    answer = dict(await asker.get("/overview", limit=_AT_ONCE, **asked))
    while answer["streams"] and len(answer["streams"]) % _AT_ONCE == 0:
        last = answer["streams"][-1]
        after = f"{last['experiment']}/{last['stream'] or '-'}"
        try:
            more = await asker.get("/overview", limit=_AT_ONCE, after=after, **asked)
        except Refusal:  # the last stream has been deleted meanwhile
            return await _all(asker, asked)
        if not more["streams"]:
            break
        answer["streams"] = [*answer["streams"], *more["streams"]]
    return answer


def _of(streams: Sequence[Stream]) -> dict[str, Any]:
    """Return the numbers of the cameras that a filter leaves."""
    counts = Counter(stream["state"] for stream in streams)
    return _numbers(counts, sum(stream["trouble"] for stream in streams))


def _numbers(found: Mapping[str, int], trouble: int) -> dict[str, Any]:
    """Return the numbers of cameras by state, of those in use, and of troubles, new and known."""
    counts = {state: found.get(state, 0) for state in STATES}
    total = sum(count for state, count in counts.items() if state != "retired")
    bad = sum(counts[state] for state in TROUBLES)
    return {
        "counts": counts,
        "total": total,
        "trouble": trouble,
        "known_count": bad - trouble,
    }


def _grouped(streams: Iterable[Stream]) -> _Groups:
    groups, loud = _Groups(), []
    for stream in streams:
        if stream["state"] == "retired":
            groups.retired.append(stream)
        elif stream["trouble"]:
            loud.append(stream)
        elif stream["state"] in TROUBLES:
            groups.known.append(stream)
        else:
            groups.fine.append(stream)
    loud.sort(key=lambda stream: STATES.index(stream["state"]))
    groups.storms, groups.troubles = _storms(loud)
    return groups


def _storms(loud: list[Stream]) -> tuple[list[list[Stream]], list[Stream]]:
    """Return groups of cameras of one experiment that fell at once, and the others."""

    def key(stream: Stream) -> tuple[str, str]:
        return str(stream["experiment"]), str(stream["state"])

    storms, alone = [], set()
    for _, members in groupby(sorted(loud, key=key), key):
        group = sorted(members, key=lambda stream: stream["since"] or "")
        times = [stamps.microseconds(stream["since"] or "") or 0 for stream in group]
        if len(group) > _STORM and times[-1] - times[0] <= _STORM_MICROSECONDS:
            storms.append(group)
        else:
            alone |= {id(stream) for stream in group}
    return storms, [stream for stream in loud if id(stream) in alone]


def _sections(streams: list[Stream], order: str) -> list[tuple[Stream | None, list[Stream]]]:
    """Return the other cameras as sections: one for each experiment, or one list in another order."""
    if order == "near":
        ranked = sorted(streams, key=lambda stream: -(stream["ratio"] or 0))
        return [(None, ranked)] if ranked else []
    if order == "quiet":
        ranked = sorted(streams, key=lambda stream: stream["last_at"] or "")
        return [(None, ranked)] if ranked else []

    def key(stream: Stream) -> tuple[str, str]:
        return str(stream["experiment_name"]), str(stream["experiment"])

    groups = groupby(sorted(streams, key=key), key)
    return [(group[0], group) for group in (list(members) for _, members in groups)]
