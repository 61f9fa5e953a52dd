"""Figures of the protocol of weeks for people: tables for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from lenswatch.evaluate.page import Cell, render
from lenswatch.evaluate.weeks import POLICIES

__all__ = ["weeks_page", "weeks_tables"]

Figures = Mapping[str, Any]
_Rows = list[tuple[Cell, ...]]


def weeks_tables(camera: str, found: Figures) -> list[Table]:
    """Return the tables of one camera."""
    shown = []
    for title, columns, rows in _tables(found):
        table = Table(*columns, title=f"{camera}: {title}")
        for row in rows:
            table.add_row(*(cell if isinstance(cell, str) else cell[0] for cell in row))
        shown.append(table)
    return shown


def weeks_page(cameras: Mapping[str, Figures]) -> str:
    """Return a page with the tables of all cameras."""
    tables = {camera: list(_tables(found)) for camera, found in cameras.items()}
    return render("weeks.html", cameras=cameras, tables=tables, policies=POLICIES)


def _tables(found: Figures) -> Iterator[tuple[str, list[str], _Rows]]:
    plan = found["plan"]
    yield "clean days", *_clean(found)
    yield f"sudden faults of severity {plan['severity']:g}", *_sudden(found, plan["after"])
    yield f"faults that grow to severity 5 in {plan['creeping']:g} days", *_creeping(found)


def _clean(found: Figures) -> tuple[list[str], _Rows]:
    columns = ["baseline", "false alarms", "per 1,000", "in drift", "accepted", "largest witness"]
    rows: _Rows = []
    for policy, one in found["clean"].items():
        numbers = f"{one['events']} in {one['images']}", f"{one['per 1000']:.1f}"
        drift = _percent(one["in drift"])
        rows.append(
            (policy, *numbers, drift, str(one["accepted"]), f"{one['largest witness']:.2f}")
        )
    return columns, rows


def _sudden(found: Figures, after: int) -> tuple[list[str], _Rows]:
    columns = [
        "fault",
        "baseline",
        "first alarm, pictures",
        f"day {after} in alarm",
        "by the score alone",
        "absorbed",
    ]
    rows: _Rows = []
    for fault, policy in dict.fromkeys((one["fault"], one["policy"]) for one in found["sudden"]):
        some = [o for o in found["sudden"] if (o["fault"], o["policy"]) == (fault, policy)]
        delays = ", ".join("never" if o["delay"] is None else str(o["delay"]) for o in some)
        absorbed = [o["absorbed on day"] for o in some if o["absorbed on day"] is not None]
        days = f": day {', '.join(map(str, absorbed))}" if absorbed else ""
        rows.append(
            (
                fault,
                policy,
                delays,
                _mean(some, "last day"),
                _mean(some, "last day, score alone"),
                f"{len(absorbed)} of {len(some)}{days}",
            )
        )
    return columns, rows


def _creeping(found: Figures) -> tuple[list[str], _Rows]:
    columns = [
        "fault",
        "score alarms at",
        "witness alarms at",
        "named",
        "in alarm from severity 2.5 on",
    ]
    rows: _Rows = []
    for one in found["creeping"]:
        severe = one["severe in alarm"]
        rows.append(
            (
                one["fault"],
                _severity(one["score"]),
                _severity(one["witness"]),
                one["named"] or "-",
                "-" if severe is None else _shaded(severe),
            )
        )
    return columns, rows


def _mean(some: Sequence[Figures], key: str) -> Cell:
    return _shaded(sum(one[key] for one in some) / len(some))


def _shaded(share: float) -> Cell:
    return _percent(share), share


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _severity(found: float | None) -> str:
    return "never" if found is None else f"{found:.1f}"
