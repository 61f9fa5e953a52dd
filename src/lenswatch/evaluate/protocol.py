"""The protocol: configure on the first half, count false alarms on the second, then spoil it.

A detector is anything with `update`, `reset` and `threshold`; a function makes it from clean images.
Nothing here knows how a detector works.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from lenswatch.detect.arrays import Pixels
from lenswatch.detect.thresholds import decluster, false_alarm_rate_interval, level_with_events
from lenswatch.errors import InputError
from lenswatch.evaluate.corruptions import CORRUPTIONS, corruption

__all__ = [
    "Case",
    "Detector",
    "MakeDetector",
    "Outcome",
    "Plan",
    "Progress",
    "Run",
    "Trial",
    "all_cases",
    "evaluate",
    "figures",
    "half_of",
    "halves",
    "judge",
]


class Detector(Protocol):
    """What is judged."""

    @property
    def threshold(self) -> float:
        """A score above it is drift."""
        ...

    def update(self, image: Pixels) -> tuple[float | None, bool, bool]:
        """One more image, (h, w, 3) uint8 RGB: (score or None, warning, drift)."""
        ...

    def reset(self) -> None:
        """Forget the images seen since it was made."""
        ...


MakeDetector = Callable[[Sequence[Pixels], float, int], Detector]


@dataclass(frozen=True)
class Plan:
    """What is tried.

    Attributes:
        ert: the expected run time that detectors are asked for, in images.
        gap: images left out between the halves.
        sudden: severities of corruptions that are there from one image to the next.
        ramp: severity reached by one that grows over `horizon` images.
        horizon: images within which drift has to be noticed.
        onsets: starts tried for each corruption, evenly spaced over the second half.
        lead: clean images before each start, after a reset.
        corruptions: their names.
        matched: false-alarm events per 1,000 clean images of the second threshold.
    """

    ert: float = 200.0
    gap: int = 12
    sudden: tuple[float, ...] = (1.0, 3.0)
    ramp: float = 5.0
    horizon: int = 100
    onsets: int = 3
    lead: int = 24
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    matched: float = 4.0
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """A corruption to be tried from a start in the second half on."""

    corruption: str
    mode: str
    onset: int


@dataclass(frozen=True)
class Trial:
    """One corruption from one start on: the score of each image, NaN where there is none."""

    corruption: str
    mode: str
    onset: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Progress:
    """How far an evaluation is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Run:
    """The scores of one detector on a part of what is tried on one camera."""

    clean: tuple[float, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Outcome:
    """All scores of one detector on one camera."""

    detector: str
    camera: str
    threshold: float
    clean: tuple[float, ...]
    trials: tuple[Trial, ...]


def evaluate(
    make: MakeDetector,
    images: Sequence[Pixels],
    plan: Plan,
    *,
    detector: str = "detector",
    camera: str = "camera",
) -> Iterator[Progress | Outcome]:
    """Judge a detector on clean images of one camera in time order; the last thing yielded is the outcome.

    Raises:
        InputError: footage too short for the plan.
    """
    first, second = halves(images, plan)
    cases = all_cases(len(second), plan)
    yield Progress("configuring", 0, 1)
    made = make(first, plan.ert, plan.seed)
    (run,) = yield from judge([made], second, plan, cases)
    yield Outcome(detector, camera, float(made.threshold), run.clean, run.trials)


def halves(images: Sequence[Pixels], plan: Plan) -> tuple[Sequence[Pixels], Sequence[Pixels]]:
    """The images that configure, and those that are judged."""
    half = half_of(len(images), plan)
    return images[:half], images[len(images) - half :]


def half_of(images: int, plan: Plan) -> int:
    """How many of so many images configure, and how many are judged."""
    return (images - plan.gap) // 2


def judge(
    detectors: Sequence[Detector],
    judged: Sequence[Pixels],
    plan: Plan,
    cases: Sequence[Case],
    *,
    clean: bool = True,
) -> Generator[Progress, None, list[Run]]:
    """Run detectors side by side over the second half; each image is spoilt once for all of them.

    A detector is reset before each case, so cases can be shared out among processes.

    Args:
        detectors: configured.
        judged: the second half.
        plan: how long a case is.
        cases: those to be tried.
        clean: whether to begin with the clean images, as the detectors were made.
    """
    scores: list[list[float]] = []
    for i, image in enumerate(judged if clean else ()):
        scores.append([_score(detector, image) for detector in detectors])
        yield Progress("clean footage", i + 1, len(judged))
    trials = []
    for i, case in enumerate(cases):
        trials.append(_trials(detectors, judged, plan, case))
        yield Progress("corrupted footage", i + 1, len(cases))
    return [
        Run(tuple(row[k] for row in scores), tuple(row[k] for row in trials))
        for k in range(len(detectors))
    ]


def figures(outcomes: Sequence[Outcome], plan: Plan) -> dict[str, Any]:
    """False alarms and detections of one detector, pooled over cameras, as a JSON object."""
    own = [o.threshold for o in outcomes]
    frames = sum(len(o.clean) for o in outcomes)
    allowed = int(plan.matched * frames / 1000)
    scale = level_with_events([np.array(o.clean) / o.threshold for o in outcomes], allowed)
    matched = [o.threshold * scale for o in outcomes]
    return {
        "detector": outcomes[0].detector,
        "cameras": {o.camera: _false_alarms([o], [t]) for o, t in zip(outcomes, own, strict=True)},
        "plan": asdict(plan),
        "own threshold": _summary(outcomes, own),
        "matched threshold": _summary(outcomes, matched) | {"scale": scale},
    }


def _summary(outcomes: Sequence[Outcome], thresholds: Sequence[float]) -> dict[str, Any]:
    delays: dict[str, dict[str, list[float]]] = {}
    for outcome, threshold in zip(outcomes, thresholds, strict=True):
        for trial in outcome.trials:
            modes = delays.setdefault(trial.mode, {})
            modes.setdefault(trial.corruption, []).append(_delay(trial.scores, threshold))
    detections = {
        mode: {name: _detections(found) for name, found in names.items()}
        for mode, names in delays.items()
    }
    return {"false alarms": _false_alarms(outcomes, thresholds), "detections": detections}


def _false_alarms(outcomes: Sequence[Outcome], thresholds: Sequence[float]) -> dict[str, float]:
    pairs = zip(outcomes, thresholds, strict=True)
    events = sum(len(decluster(o.clean, threshold)) for o, threshold in pairs)
    frames = sum(len(o.clean) for o in outcomes)
    rate, low, high = (1000 * r for r in false_alarm_rate_interval(events, frames))
    return {"events": events, "images": frames, "per 1000": rate, "low": low, "high": high}


def _detections(delays: Sequence[float]) -> dict[str, float | None]:
    """Share within the horizon, and the median delay (None where half were not noticed)."""
    median = float(np.median(delays))
    return {
        "trials": len(delays),
        "share": float(np.isfinite(delays).mean()),
        "median delay": median if np.isfinite(median) else None,
    }


def _delay(scores: Sequence[float], threshold: float) -> float:
    """Images until the first score above the threshold, the first drifted one being 1."""
    above = np.flatnonzero(np.asarray(scores) > threshold)
    return float(above[0] + 1) if above.size else np.inf


def _starts(judged: int, plan: Plan) -> list[int]:
    last = judged - plan.horizon
    if last < plan.lead:
        raise InputError(
            f"{judged} images in the second half are too few for {plan.lead} clean and {plan.horizon} "
            f"spoilt ones; give at least {2 * (plan.lead + plan.horizon) + plan.gap} in all"
        )
    return [round(s) for s in np.linspace(plan.lead, last, plan.onsets)]


def all_cases(judged: int, plan: Plan) -> list[Case]:
    """Every corruption in every mode from every start, for so many judged images.

    Raises:
        InputError: too few for the plan.
    """
    modes = [f"sudden {severity:g}" for severity in plan.sudden] + [f"ramp to {plan.ramp:g}"]
    return [
        Case(name, mode, start)
        for name in plan.corruptions
        for mode in modes
        for start in _starts(judged, plan)
    ]


def _trials(
    detectors: Sequence[Detector], judged: Sequence[Pixels], plan: Plan, case: Case
) -> list[Trial]:
    """One case, for each of the detectors."""
    for detector in detectors:
        detector.reset()
    for image in judged[case.onset - plan.lead : case.onset]:
        for detector in detectors:
            detector.update(image)
    spoil = corruption(case.corruption, plan.seed + case.onset)
    kind, _, level = case.mode.rpartition(" ")
    rows = []
    for i, image in enumerate(judged[case.onset : case.onset + plan.horizon]):
        grown = 1.0 if kind == "sudden" else (i + 1) / plan.horizon
        spoilt = spoil(image, float(level) * grown)
        rows.append([_score(detector, spoilt) for detector in detectors])
    return [
        Trial(case.corruption, case.mode, case.onset, tuple(column))
        for column in zip(*rows, strict=True)
    ]


def _score(detector: Detector, image: Pixels) -> float:
    score = detector.update(image)[0]
    return float("nan") if score is None else float(score)
