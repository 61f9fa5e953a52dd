"""The protocol: configure on the first half, count false alarms on the second, then corrupt it.

A detector is anything with `update`, `reset` and `threshold`; a function makes it from clean images.
The protocol depends on nothing else of a detector; `check_detector` tests that one keeps to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from lenswatch.detect.arrays import Pixels
from lenswatch.detect.thresholds import decluster, false_alarm_rate_interval, level_with_events
from lenswatch.errors import InputError
from lenswatch.evaluate.corruptions import CORRUPTIONS, corruption
from lenswatch.progress import Progress, Step, no_progress

__all__ = [
    "Case",
    "Detector",
    "MakeDetector",
    "Outcome",
    "Plan",
    "Run",
    "Trial",
    "all_cases",
    "assess",
    "delay_of",
    "evaluate",
    "figures",
    "half_of",
    "halves",
]


class Detector(Protocol):
    """A drift detector that has been configured on clean images of one camera."""

    @property
    def threshold(self) -> float:
        """Score above which an image is drift; it does not change."""
        ...

    def update(self, image: Pixels) -> tuple[float | None, bool, bool]:
        """Take one more image, (h, w, 3) uint8 RGB, and return (score, warning, drift).

        The score is None until enough images were seen. The image is neither changed nor kept.
        """
        ...

    def reset(self) -> None:
        """Forget the images seen since the detector was made."""
        ...


MakeDetector = Callable[[Sequence[Pixels], float, int], Detector]


@dataclass(frozen=True)
class Plan:
    """Settings of an evaluation.

    Attributes:
        ert: Expected run time that detectors are asked for, in images.
        gap: Images left out between the halves.
        sudden: Severities of corruptions that appear from one image to the next.
        ramp: Severity that a growing corruption reaches after `horizon` images.
        horizon: Images within which drift has to be noticed.
        onsets: Starts tried for each corruption, evenly spaced over the second half.
        lead: Clean images before each start, after a reset.
        corruptions: Names of the corruptions.
        matched: False-alarm events per 1,000 clean images at the matched threshold.
        seed: Seed of the detectors and of the corruptions.
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
    """A corruption that begins at image `onset` of the second half."""

    corruption: str
    mode: str
    onset: int


@dataclass(frozen=True)
class Trial:
    """Scores of one detector on one case, an image each; NaN where there is none."""

    corruption: str
    mode: str
    onset: int
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """Scores of one detector on the clean images of a camera and on some of its cases."""

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
    progress: Progress = no_progress,
) -> Outcome:
    """Evaluate a detector on clean images of one camera, (h, w, 3) uint8 in time order.

    Args:
        make: Makes the detector from the first half, the expected run time and the seed.
        images: Clean images, all of one size.
        plan: Settings.
        detector: Name for the outcome.
        camera: Name for the outcome.
        progress: Called after each clean image and each case.

    Raises:
        InputError: footage too short for the plan.
    """
    first, second = halves(images, plan)
    cases = all_cases(len(second), plan)
    made = make(first, plan.ert, plan.seed)
    progress(Step("configuring", 1, 1))
    (run,) = assess([made], second, plan, cases, progress=progress)
    return Outcome(detector, camera, float(made.threshold), run.clean, run.trials)


def halves(images: Sequence[Pixels], plan: Plan) -> tuple[Sequence[Pixels], Sequence[Pixels]]:
    """Return the images that configure and those that test."""
    half = half_of(len(images), plan)
    return images[:half], images[len(images) - half :]


def half_of(images: int, plan: Plan) -> int:
    """Return the size of each half of so many images."""
    return (images - plan.gap) // 2


def assess(
    detectors: Sequence[Detector],
    second: Sequence[Pixels],
    plan: Plan,
    cases: Sequence[Case],
    *,
    clean: bool = True,
    progress: Progress = no_progress,
) -> list[Run]:
    """Run detectors side by side over the second half; each image is corrupted once for all of them.

    A detector is reset before each case, so cases can be shared out among processes.

    Args:
        detectors: Configured detectors.
        second: The second half.
        plan: Settings.
        cases: Cases to try.
        clean: Whether to begin with the clean images, before any reset.
        progress: Called after each clean image and each case.
    """
    scores: list[list[float]] = []
    for i, image in enumerate(second if clean else ()):
        scores.append([_score(detector, image) for detector in detectors])
        progress(Step("clean footage", i + 1, len(second)))
    trials = []
    for i, case in enumerate(cases):
        trials.append(_trials(detectors, second, plan, case))
        progress(Step("corrupted footage", i + 1, len(cases)))
    return [
        Run(tuple(row[k] for row in scores), tuple(row[k] for row in trials))
        for k in range(len(detectors))
    ]


def figures(outcomes: Sequence[Outcome], plan: Plan) -> dict[str, Any]:
    """Return false alarms and detections of one detector, pooled over cameras, as a JSON object."""
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
            modes.setdefault(trial.corruption, []).append(delay_of(trial.scores, threshold))
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
    """Share noticed within the horizon, and the median delay (None where half were missed)."""
    median = float(np.median(delays))
    return {
        "trials": len(delays),
        "share": float(np.isfinite(delays).mean()),
        "median delay": median if np.isfinite(median) else None,
    }


def delay_of(scores: Sequence[float], threshold: float) -> float:
    """Images until the first score above the threshold; 1 is the first corrupted image."""
    above = np.flatnonzero(np.asarray(scores) > threshold)
    return float(above[0] + 1) if above.size else np.inf


def _starts(images: int, plan: Plan) -> list[int]:
    last = images - plan.horizon
    if last < plan.lead:
        raise InputError(
            f"{images} images in the second half are too few for {plan.lead} clean and {plan.horizon} "
            f"corrupted ones; give at least {2 * (plan.lead + plan.horizon) + plan.gap} in all"
        )
    return [round(s) for s in np.linspace(plan.lead, last, plan.onsets)]


def all_cases(images: int, plan: Plan) -> list[Case]:
    """Return every corruption in every mode from every start, for a second half of so many images.

    Raises:
        InputError: too few images for the plan.
    """
    modes = [f"sudden {severity:g}" for severity in plan.sudden] + [f"ramp to {plan.ramp:g}"]
    return [
        Case(name, mode, start)
        for name in plan.corruptions
        for mode in modes
        for start in _starts(images, plan)
    ]


def _trials(
    detectors: Sequence[Detector], second: Sequence[Pixels], plan: Plan, case: Case
) -> list[Trial]:
    """Try one case on each of the detectors."""
    for detector in detectors:
        detector.reset()
    for image in second[case.onset - plan.lead : case.onset]:
        for detector in detectors:
            detector.update(image)
    corrupt = corruption(case.corruption, plan.seed + case.onset)
    kind, _, level = case.mode.rpartition(" ")
    rows = []
    for i, image in enumerate(second[case.onset : case.onset + plan.horizon]):
        grown = 1.0 if kind == "sudden" else (i + 1) / plan.horizon
        corrupted = corrupt(image, float(level) * grown)
        rows.append([_score(detector, corrupted) for detector in detectors])
    return [
        Trial(case.corruption, case.mode, case.onset, tuple(column))
        for column in zip(*rows, strict=True)
    ]


def _score(detector: Detector, image: Pixels) -> float:
    score = detector.update(image)[0]
    return float("nan") if score is None else float(score)
