"""Tuning: latent size, sparsity, window and bandwidth by a search over clean footage of one's own.

The footage is split in time: the first half makes each candidate, the next quarter chooses among them by
the protocol of `evaluate`, and the last quarter, which chose nothing, compares the chosen one with the
settings in use. Only the distance depends on these settings, so only the distance is measured.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lenswatch.config import Config
from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import FittedMMD, median_distance
from lenswatch.detect.thresholds import calibrate_scores
from lenswatch.errors import BlindKernelError, InputError
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.protocol import Outcome, Plan, all_cases, assess, delay_of, figures
from lenswatch.evaluate.rivals import Windowed
from lenswatch.evaluate.running import PictureFile, keep_pictures, tell
from lenswatch.progress import Progress, no_progress

__all__ = ["PLAN", "Candidate", "Scheduler", "Space", "Trialled", "Tuned", "tune"]

PLAN = Plan(
    horizon=60, onsets=2
)  # half as long as that of `evaluate`, since there is half the footage
_GAP = 12  # pictures between two parts
_CAMERA = "footage"
_ERRORS = 2.0  # standard errors that are taken for more than chance


@dataclass(frozen=True)
class Candidate:
    """One choice of the settings that are searched.

    Attributes:
        latent_dim: Length of an embedding.
        sparsity_weight: Weight of the embeddings' mean absolute value in the loss.
        window_size: Embeddings that are compared at once.
        width: Bandwidth of the kernel as a multiple of the median distance.
        sigma: Bandwidth as a number, instead of `width`.
    """

    latent_dim: int
    sparsity_weight: float
    window_size: int
    width: float = 1.0
    sigma: float | None = None

    @property
    def encoder(self) -> tuple[int, float]:
        """The settings that need a training of their own."""
        return self.latent_dim, self.sparsity_weight


@dataclass(frozen=True)
class Space:
    """The values of each setting."""

    latent_dim: tuple[int, ...] = (16, 32, 64)
    sparsity_weight: tuple[float, ...] = (0.0, 1e-4, 1e-2)
    window_size: tuple[int, ...] = (6, 12, 24)
    width: tuple[float, ...] = (0.5, 1.0, 2.0)

    def candidates(self, number: int | None = None, seed: int = 0) -> list[Candidate]:
        """Return all combinations, or a random choice of them.

        Args:
            number: How many; None for all.
            seed: Seed of the choice.
        """
        axes = dataclasses.astuple(self)
        grid = [Candidate(*values) for values in itertools.product(*axes)]
        if number is None or number >= len(grid):
            return grid
        rows = np.random.default_rng(seed).choice(len(grid), number, replace=False)
        return [grid[row] for row in sorted(rows)]


@dataclass(frozen=True)
class Trialled:
    """A candidate on footage that did not make it.

    Attributes:
        candidate: The settings.
        delay: Mean number of pictures until a corruption is noticed, over corruptions, ways and starts, at
            the threshold with `Plan.matched` false alarms; one that is not noticed counts as the horizon.
        noticed: Share of the trials that were noticed.
        false_alarms: Events per 1,000 clean pictures at the candidate's own threshold.
        sigma: The bandwidth.
        delays: The delay of each trial, of which `delay` is the mean.
        blind: The kernel could not tell pictures apart, so nothing was measured.
    """

    candidate: Candidate
    delay: float
    noticed: float
    false_alarms: float
    sigma: float
    delays: tuple[float, ...] = ()
    blind: bool = False

    @property
    def order(self) -> tuple[float, float]:
        """Key that is smallest for the best."""
        return self.delay, self.false_alarms


@dataclass(frozen=True)
class Tuned:
    """The outcome of a search.

    Attributes:
        trials: Each candidate on the footage that chooses, the best first.
        in_use: The candidate that the settings are.
        tested: The best candidate and the one in use on the footage that chose nothing.
    """

    trials: tuple[Trialled, ...]
    in_use: Candidate
    tested: tuple[Trialled, Trialled]

    @property
    def better(self) -> bool:
        """True if the best is better than the one in use by more than chance, without more false alarms.

        The mean difference of the delays, trial by trial, must exceed `_ERRORS` of its standard errors. At
        their own thresholds the best may have as many false alarms as the one in use, or as are allowed.
        """
        best, in_use = self.tested
        if best.blind or in_use.blind:
            return in_use.blind and not best.blind
        saved = np.subtract(in_use.delays, best.delays)
        error = float(np.std(saved) / np.sqrt(len(saved)))
        allowed = max(in_use.false_alarms, PLAN.matched)
        return float(saved.mean()) > _ERRORS * error and best.false_alarms <= allowed


class Scheduler(Protocol):
    """Work for other processes: `evaluate.running.Pool`, or anything with this method."""

    def each(self, work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the result of `work` for each of the arguments, in their order."""
        ...


def tune(
    pictures: Sequence[Path],
    config: Config,
    candidates: Sequence[Candidate],
    scheduler: Callable[[Path], Any],
    plan: Plan = PLAN,
    progress: Progress = no_progress,
) -> Tuned:
    """Search for the settings that notice corruptions soonest.

    Args:
        pictures: Clean pictures of one camera in time order, all of one size.
        config: The settings in use. They are one of the candidates in any case.
        candidates: What to try.
        scheduler: Makes a context manager of a `Scheduler` from a folder for temporary files.
        plan: Settings of the protocol.
        progress: Called after each picture that was read.

    Raises:
        InputError: There are too few pictures, or one cannot be used.
    """
    needed = 4 * (plan.lead + plan.horizon) + 2 * _GAP
    if len(pictures) < needed:
        raise InputError(
            f"{len(pictures)} pictures are too few for a search; give {needed} or more of one camera"
        )
    in_use = _in_use(config)
    wanted = list(dict.fromkeys([*candidates, in_use]))
    with tempfile.TemporaryDirectory(prefix="lenswatch-tune-") as scratch:
        footage = keep_pictures(Path(scratch) / "0", _CAMERA, pictures, config, progress)
        with scheduler(Path(scratch)) as pool:
            trials = _tried(pool, wanted, footage, config, plan, last=False)
            trials.sort(key=lambda each: each.order)
            best = trials[0].candidate
            found = _tried(pool, [best, in_use], footage, config, plan, last=True)
    return Tuned(tuple(trials), in_use, (found[0], found[-1]))


def _in_use(config: Config) -> Candidate:
    encoder, detector = config.encoder, config.detector
    found = Candidate(encoder.latent_dim, encoder.sparsity_weight, detector.window_size)
    if detector.sigma == "median":
        return found
    return dataclasses.replace(found, sigma=float(detector.sigma))


def _tried(
    pool: Scheduler,
    candidates: Sequence[Candidate],
    footage: PictureFile,
    config: Config,
    plan: Plan,
    *,
    last: bool,
) -> list[Trialled]:
    """Try candidates on a part of the footage. Those with one encoder share its training."""
    groups: dict[tuple[int, float], list[Candidate]] = {}
    for each in dict.fromkeys(candidates):
        groups.setdefault(each.encoder, []).append(each)
    work = [
        (part, len(groups), group, footage, config, plan, last)
        for part, group in enumerate(groups.values())
    ]
    found = {one.candidate: one for trials in pool.each(_try, work) for one in trials}
    return [found[each] for each in dict.fromkeys(candidates)]


def _try(
    part: int,
    parts: int,
    group: Sequence[Candidate],
    footage: PictureFile,
    config: Config,
    plan: Plan,
    last: bool,
) -> list[Trialled]:
    """Train one encoder, and try the candidates that share it side by side."""
    images = footage.images()
    quarter = (len(images) - 2 * _GAP) // 4
    if last:
        made, tested = images[: len(images) - quarter - _GAP], images[len(images) - quarter :]
    else:
        end = len(images) - quarter - _GAP
        made, tested = images[: end - quarter - _GAP], images[end - quarter : end]
    settings = dataclasses.replace(
        config.encoder, latent_dim=group[0].latent_dim, sparsity_weight=group[0].sparsity_weight
    )
    stage = "testing" if last else "searching"
    encoder = Encoder.train(made, settings.seed, settings, transform=config.transform)
    tell(_CAMERA, stage, part, 1, 2 * parts)
    detectors: list[Windowed] = []
    measured: list[Candidate] = []
    blind: list[Candidate] = []
    sigmas = {}
    for each in group:
        try:
            detector, sigmas[each] = _detector(encoder, each, plan.ert)
        except BlindKernelError:
            blind.append(each)
            continue
        detectors.append(detector)
        measured.append(each)
    cases = all_cases(len(tested), plan)
    runs = assess(detectors, tested, plan, cases) if detectors else []
    tell(_CAMERA, stage, part, 2, 2 * parts)
    trials = []
    for each, one, run in zip(measured, detectors, runs, strict=True):
        outcome = Outcome("distance", _CAMERA, one.threshold, run.clean, run.trials)
        trials.append(_trialled(each, outcome, plan, sigmas[each]))
    worst = float(plan.horizon)
    return trials + [Trialled(each, worst, 0.0, 0.0, np.nan, blind=True) for each in blind]


def _detector(encoder: Encoder, candidate: Candidate, ert: float) -> tuple[Windowed, float]:
    """Return the detector, and its bandwidth."""
    clean, size = encoder.embeddings.astype(np.float64), candidate.window_size
    sigma = candidate.sigma or candidate.width * median_distance(clean)
    fitted = FittedMMD.fit(clean, size, sigma)
    half = (len(clean) - size) // 2
    first, second = clean[:half], clean[len(clean) - half :]
    runs = [
        FittedMMD.fit(known, size, sigma).distances(other)
        for known, other in ((first, second), (second, first))
    ]
    found = calibrate_scores(
        runs,
        ert=ert,
        tail="additive",
        reach=fitted.largest_distance,
        least=fitted.one_picture_distance,
    )

    def score(window: Floats) -> float:
        return float(fitted.distances(window)[-1])

    return Windowed(encoder, size, score, found.warning, found.drift), sigma


def _trialled(candidate: Candidate, outcome: Outcome, plan: Plan, sigma: float) -> Trialled:
    found = figures([outcome], plan)
    threshold = outcome.threshold * found["matched threshold"]["scale"]
    delays = [delay_of(trial.scores, threshold) for trial in outcome.trials]
    cut = np.minimum(delays, plan.horizon)
    return Trialled(
        candidate,
        float(np.mean(cut)),
        float(np.mean(np.isfinite(delays))),
        float(found["own threshold"]["false alarms"]["per 1000"]),
        sigma,
        tuple(cut.tolist()),
    )
