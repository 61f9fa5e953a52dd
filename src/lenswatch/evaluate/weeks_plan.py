"""The protocol of weeks on footage of one's own: clean days, sudden faults and creeping ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.detect.chart.baseline import First
from lenswatch.detect.chart.features import Measured, measure, view
from lenswatch.errors import InputError
from lenswatch.evaluate.fouling import FAULTS, fault
from lenswatch.evaluate.weeks import POLICIES, Policy, Stay, ends_of, learn, live, replaced
from lenswatch.progress import Progress, Step, no_progress

__all__ = ["WeeksPlan", "assess_weeks"]

_FEWEST = 60  # pictures to learn from
_SEVERE = 2.5  # from which on a creeping fault should be in alarm


@dataclass(frozen=True)
class WeeksPlan:
    """Settings of the protocol.

    Attributes:
        learn: Days that are learnt from.
        ert: Expected run time, in images.
        faults: Names of the faults.
        severity: Of a sudden fault.
        onsets: Days on which it begins, evenly spread over the live days.
        after: Days that it is watched; the last of them is reported.
        creeping: Days in which a creeping fault grows from nothing to 5.
        policies: Rules that sudden faults are tried with.
        seed: Seed of the faults.
    """

    learn: float
    ert: float = 200.0
    faults: tuple[str, ...] = tuple(FAULTS)
    severity: float = 3.0
    onsets: int = 3
    after: int = 5
    creeping: float = 14.0
    policies: tuple[Policy, ...] = ("daily", "person")
    seed: int = 0


def assess_weeks(
    pictures: Sequence[Pixels], days: Floats, plan: WeeksPlan, progress: Progress = no_progress
) -> dict[str, Any]:
    """Return all figures of one camera as a JSON object.

    Args:
        pictures: Clean pictures (h, w, 3) uint8 in time order.
        days: (n,) their capture times in days.
        plan: Settings.
        progress: Called after each piece of work.

    Raises:
        InputError: Too few pictures to learn from, or too few days to live.
    """
    learnt = int((days < days[0] + plan.learn).sum())
    left = float(days[-1] - days[learnt - 1])
    if learnt < _FEWEST or left < plan.after + 1:
        raise InputError(
            f"{learnt} pictures in the first {plan.learn:g} days, and {left:.1f} days after them: give "
            f"{_FEWEST} pictures or more to learn from, and {plan.after + 1} days or more to live"
        )
    work = _Work(pictures, days, learnt, plan, progress)
    return work.figures()


class _Work:
    def __init__(
        self,
        pictures: Sequence[Pixels],
        days: Floats,
        learnt: int,
        plan: WeeksPlan,
        progress: Progress,
    ) -> None:
        self._plan, self._progress = plan, progress
        self._pictures = pictures[learnt:]
        self._days = days[learnt:]
        clean = self._measured(pictures, "measuring clean pictures")
        self._learnt = clean[:learnt], days[:learnt]
        self._live = clean[learnt:]
        spacing = float(np.median(np.diff(days[:learnt]))) * 86400
        self._first: First = learn(*self._learnt, plan.ert, spacing)
        self._whole = np.floor(self._days - self._days[0]).astype(int)  # the day of each picture
        last = int(self._whole[-1]) + 1 - plan.after
        onsets = np.linspace(min(1, last), last, plan.onsets).round().astype(int)
        self._onsets: list[int] = np.unique(onsets).tolist()

    def figures(self) -> dict[str, Any]:
        witness = self._first.witness
        clean, until = {}, dict[Policy, list[Stay]]()
        for i, policy in enumerate(POLICIES):
            clean[policy], until[policy] = self._clean(policy)
            self._progress(Step("clean days", i + 1, len(POLICIES)))
        found = {"sudden": [], "creeping": []}  # type: dict[str, list[dict[str, Any]]]
        for name in self._plan.faults:
            found["sudden"] += self._sudden(name, until)
            found["creeping"].append(self._creeping(name))
        scales = self._first.chart.scales
        return {
            "plan": asdict(self._plan),
            "learnt": {
                "images": len(self._learnt[1]),
                "days": witness.days,
                "light states": len(getattr(scales, "states", (scales,))),
                "witness votes": witness.votes,
            },
            "live days": int(self._whole[-1]) + 1,
            "clean": clean,
            **found,
        }

    def _clean(self, policy: Policy) -> tuple[dict[str, Any], list[Stay]]:
        """Return figures of the clean days, and the stream as it was when each sudden fault begins."""
        stay, ends = Stay(self._first, self._learnt, policy), ends_of(self._days)
        begun = []
        for day in self._onsets:
            onset = int(np.searchsorted(self._whole, day))
            stay.go_on(self._live[:onset], self._days, ends)
            begun.append(stay.copy())
        stay.go_on(self._live, self._days, ends)
        return stay.life().figures(), begun

    def _sudden(self, name: str, until: Mapping[Policy, Sequence[Stay]]) -> list[dict[str, Any]]:
        corrupt = fault(name, self._plan.seed)
        faulty = self._measured(
            (corrupt(picture, self._plan.severity) for picture in self._pictures), f"sudden {name}"
        )
        ends, found = ends_of(self._days), []
        for policy in self._plan.policies:
            for day, begun in zip(self._onsets, until[policy], strict=True):
                onset = int(np.searchsorted(self._whole, day))
                end = int(np.searchsorted(self._whole, day + self._plan.after))
                stay = begun.copy()
                stay.go_on(replaced(self._live, faulty, onset)[:end], self._days, ends, onset)
                life = stay.life()
                found.append(
                    {"fault": name, "policy": policy, "day": day}
                    | self._told(life.alarm, life.drift, onset, day)
                )
        return found

    def _told(
        self, alarm: NDArray[np.bool_], drift: NDArray[np.bool_], onset: int, day: int
    ) -> dict[str, Any]:
        """Return the delay, the share in alarm on the last day, and the day that it was absorbed on."""
        seen = np.flatnonzero(alarm[onset:])
        first = int(seen[0]) if seen.size else None
        hours = None
        if first is not None:
            hours = float(24 * (self._days[onset + first] - self._days[onset]))
        shares = [
            float(alarm[onset:][self._whole[onset : len(alarm)] == day + i].mean())
            for i in range(self._plan.after)
        ]
        absorbed = next((i + 1 for i, share in enumerate(shares) if i and share < 0.1), None)
        last = self._whole[: len(alarm)] == day + self._plan.after - 1
        return {
            "delay": None if first is None else first + 1,
            "hours": hours,
            "last day": shares[-1],
            "last day, score alone": float(drift[last].mean()),
            "absorbed on day": absorbed,
        }

    def _creeping(self, name: str) -> dict[str, Any]:
        corrupt, span = fault(name, self._plan.seed), self._plan.creeping
        grown = np.minimum(5.0, 5.0 * (self._days - self._days[0]) / span)
        faulty = self._measured(
            (corrupt(p, float(s)) for p, s in zip(self._pictures, grown, strict=True)),
            f"creeping {name}",
        )
        life = live(self._first, self._learnt, faulty, self._days, "person", onset=0)
        severe = grown >= _SEVERE
        return {
            "fault": name,
            "score": _severity(grown, life.drift),
            "witness": _severity(grown, life.witness > 1),
            "named": next((n for n, r in zip(life.named, life.ratios, strict=True) if r > 1), None),
            "severe in alarm": float(life.alarm[severe].mean()) if severe.any() else None,
        }

    def _measured(self, pictures: Iterable[Pixels], what: str) -> Measured:
        """Measure pictures one by one, so that few of them are in memory."""
        total = len(self._pictures) if not isinstance(pictures, Sequence) else len(pictures)
        found = list(self._each(pictures, what, total))
        return Measured(np.stack([m.cells for m in found]), np.stack([m.thumbs for m in found]))

    def _each(self, pictures: Iterable[Pixels], what: str, total: int) -> Iterator[Measured]:
        for i, picture in enumerate(pictures):
            yield measure(view(picture))
            self._progress(Step(what, i + 1, total))


def _severity(grown: Floats, said: NDArray[np.bool_]) -> float | None:
    """Return the severity at which something was said first."""
    rows = np.flatnonzero(said)
    return float(grown[rows[0]]) if rows.size else None
