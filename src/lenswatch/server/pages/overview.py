"""The overview: which cameras are in trouble, and how all the others are."""

from __future__ import annotations

import asyncio
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
_MOST = 10_000  # streams of one answer that lists all
_STORM = 5  # cameras of one experiment in the same trouble
_STORM_MICROSECONDS = 10 * 60 * 1_000_000  # within which they fall
_OF_EACH = 60  # cameras of one experiment in the grid, until all are asked for
_IN_GRID = 240  # cameras in the grid, until all are asked for
_FINE = tuple(state for state in STATES if state not in (*TROUBLES, "retired"))
_ORDERS = {
    "experiment": "by experiment",
    "near": "nearest to its threshold",
    "quiet": "longest without a picture",
}

Stream = Mapping[str, Any]
Answer = Mapping[str, Any]


@dataclass
class _Groups:
    """The cameras in trouble by where the overview shows them."""

    storms: list[list[Stream]] = field(default_factory=list)
    troubles: list[Stream] = field(default_factory=list)
    known: list[Stream] = field(default_factory=list)


@dataclass(frozen=True)
class _Section:
    """A part of the grid: cameras of one experiment, or all in another order."""

    experiment: Mapping[str, Any] | None
    total: int
    shown: Sequence[Stream]


@dataclass(frozen=True)
class _Asked:
    """The wishes in the address."""

    q: str
    state: str
    experiment: str
    order: str
    whole: bool  # all cameras of the grid

    @property
    def filters(self) -> dict[str, str]:
        """The arguments for the API, without the state."""
        return {"q": self.q, "experiment": self.experiment}

    def of(self, states: Sequence[str]) -> list[str]:
        """Return those of the states that are asked for."""
        return [state for state in states if self.state in ("", state)]


async def overview(request: Request) -> Response:
    """Show all cameras, those in trouble first."""
    asker, query = Asker(request), request.query_params
    order = query.get("order", "")
    asked = _Asked(
        query.get("q", ""),
        query.get("state", ""),
        query.get("experiment", "").lower(),
        order if order in _ORDERS else "experiment",
        query.get("all") == "1",
    )
    bad, fine = await asyncio.gather(_troubled(asker, asked), _fine(asker, asked))
    answer = bad or fine or await asker.get("/overview", state=asked.state, limit=1)
    retired = await _retired(asker, asked) if answer["counts"]["retired"] else None
    groups = _grouped(bad["streams"] if bad else ())
    rights = await rights_of(request, [entry["id"] for entry in answer["experiments"]])
    known = groups.known[:_MOST_CARDS]
    shown = await cards(asker, [*groups.troubles[:_MOST_CARDS], *known])
    sections = _sections(asked, answer, fine["streams"] if fine else ())
    everywhere = _numbers(answer["counts"], answer["trouble"])
    context = everywhere | {
        "head": _head(asked, answer, groups, [one for one in (bad, fine, retired) if one]),
        "newest": max((one["newest"] or "" for one in answer["experiments"]), default=""),
        "asked": asked,
        "answer": answer,
        "storms": groups.storms,
        "cards": shown[: len(shown) - len(known)] if known else shown,
        "more": groups.troubles[_MOST_CARDS:],
        "known": shown[len(shown) - len(known) :] if known else [],
        "more_known": groups.known[_MOST_CARDS:],
        "fine": sections,
        "fine_count": sum(section.total for section in sections),
        "retired": retired["streams"] if retired else [],
        "retired_count": _total(asked, answer, ("retired",)),
        "order": asked.order,
        "orders": _ORDERS,
        "pictures": query.get("show") == "pictures",
        "rights": rights,
        "done": done_of(request),
    }
    return await anyio.to_thread.run_sync(lambda: page(request, "overview.html", **context))


async def _troubled(asker: Asker, asked: _Asked) -> Answer | None:
    """Return the overview with all streams in trouble, however many there are."""
    if not (states := asked.of(TROUBLES)):
        return None
    wanted = asked.filters | {"state": ",".join(states)}
    answer = dict(await asker.get("/overview", limit=_AT_ONCE, **wanted))
    while answer["streams"] and len(answer["streams"]) % _AT_ONCE == 0:
        last = answer["streams"][-1]
        after = f"{last['experiment']}/{last['stream'] or '-'}"
        try:
            more = await asker.get("/overview", limit=_AT_ONCE, after=after, **wanted)
        except Refusal:  # the last stream has been deleted meanwhile
            return await _troubled(asker, asked)
        if not more["streams"]:
            break
        answer["streams"] = [*answer["streams"], *more["streams"]]
    return answer


async def _fine(asker: Asker, asked: _Asked) -> Answer | None:
    """Return the overview with the streams of the grid.

    A search lists all that it finds, since only so their number is known.
    """
    if not (states := asked.of(_FINE)):
        return None
    wanted = asked.filters | {"state": ",".join(states), "order": asked.order}
    if asked.whole or asked.q:
        return dict(await asker.get("/overview", limit=_MOST, **wanted))
    each = _OF_EACH if asked.order == "experiment" else None
    return dict(await asker.get("/overview", limit=_IN_GRID, each=each, **wanted))


async def _retired(asker: Asker, asked: _Asked) -> Answer | None:
    if not asked.of(["retired"]):
        return None
    limit = _MOST if asked.whole or asked.q else _OF_EACH
    return dict(await asker.get("/overview", state="retired", limit=limit, **asked.filters))


def _head(
    asked: _Asked, answer: Answer, groups: _Groups, found: Sequence[Answer]
) -> dict[str, Any]:
    """Return the numbers of the cameras that the filters leave."""
    if asked.q:
        counts: Mapping[str, int] = Counter(
            stream["state"] for one in found for stream in one["streams"]
        )
    else:
        counts = {state: _total(asked, answer, (state,)) for state in STATES}
    return _numbers(counts, len(groups.troubles) + sum(map(len, groups.storms)))


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
    groups = _Groups()
    loud: list[Stream] = []
    for stream in streams:
        (loud if stream["trouble"] else groups.known).append(stream)
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


def _sections(asked: _Asked, answer: Answer, streams: Sequence[Stream]) -> list[_Section]:
    """Return the grid: a section for each experiment, or one in another order."""
    if asked.order != "experiment":
        total = len(streams) if asked.q else _total(asked, answer, _FINE)
        shown = streams if asked.whole else streams[:_IN_GRID]
        return [_Section(None, total, shown)] if total else []
    members: dict[str, list[Stream]] = {}
    for stream in streams:
        members.setdefault(stream["experiment"], []).append(stream)
    sections = []
    for experiment in answer["experiments"]:
        own = members.get(experiment["id"], [])
        total = len(own) if asked.q else _count(asked, experiment, _FINE)
        if total:
            shown = own if asked.whole else own[:_OF_EACH]
            sections.append(_Section(experiment, total, shown))
    return sections


def _total(asked: _Asked, answer: Answer, states: Sequence[str]) -> int:
    return sum(_count(asked, experiment, states) for experiment in answer["experiments"])


def _count(asked: _Asked, experiment: Mapping[str, Any], states: Sequence[str]) -> int:
    """Return the number of an experiment's streams in some of the states, as asked for without a search."""
    if asked.experiment not in ("", experiment["id"]):
        return 0
    return sum(experiment["counts"][state] for state in asked.of(states))
