"""Tables of `benchmarks.matched`: what each of two builds notices at one rate of false alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Self

import numpy as np
from scipy.stats import binomtest

from lenswatch.detect.arrays import Floats
from lenswatch.detect.thresholds import decluster, level_with_events
from lenswatch.evaluate.protocol import Case, delay_of

ENOUGH = 2.0  # thresholds: no scale is as large, so a trial may end where both scores are above it
RATES = (4.0, 0.0, 2.0, 8.0)  # false alarms in 1,000 pictures
RESAMPLES = 1000
SEED = 0


class Pair(NamedTuple):
    """Scores of the build before and of this one, in thresholds, a picture each."""

    before: tuple[float, ...]
    now: tuple[float, ...]

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """Return the scores from those of both at each picture: (n, 2)."""
        before, now = rows.T.tolist()
        return cls(tuple(before), tuple(now))


class Both(NamedTuple):
    """A number of each build."""

    before: float
    now: float


@dataclass(frozen=True)
class Scored:
    """All scores of a clip."""

    name: str
    clean: Pair
    trials: Mapping[Case, Pair]
    horizon: int

    def delays(self, mode: str, scale: Both) -> list[Both]:
        """Return the delays of the trials of a mode; infinite where a build notices nothing."""
        return [
            Both(*(delay_of(s, t) for s, t in zip(pair, scale, strict=True)))
            for case, pair in self.trials.items()
            if case.mode == mode
        ]

    def highest(self, mode: str) -> Floats:
        """Return the highest score of each build in each trial of a mode: (n, 2)."""
        pairs = [pair for case, pair in self.trials.items() if case.mode == mode]
        return np.array([[np.nanmax(scores) for scores in pair] for pair in pairs])


def scales(clips: Sequence[Scored], rate: float) -> Both:
    """Return the scale of each build's threshold that gives a rate, in 1,000 pictures, pooled over clips."""
    allowed = int(rate * sum(len(clip.clean.now) for clip in clips) / 1000)
    runs = zip(*(clip.clean for clip in clips), strict=True)
    return Both(*(level_with_events([np.array(run) for run in of], allowed) for of in runs))


def show(clips: Sequence[Scored]) -> None:
    """Print the tables."""
    modes = list(dict.fromkeys(case.mode for clip in clips for case in clip.trials))
    scale = scales(clips, RATES[0])
    print(
        f"at {RATES[0]:g} in 1,000 ({_events(clips, scale)}; scales {scale.before:.2f}, {scale.now:.2f})\n"
    )
    print("| clip | trials of each | build before | this build |")
    print("| --- | --- | --- | --- |")
    for clip in clips:
        found = [clip.delays(mode, scale) for mode in modes]
        cells = [_cell([each[k] for each in rows] for rows in found) for k in range(2)]
        print(f"| {clip.name} | {len(found[0])} | {' | '.join(cells)} |")
    for rate in RATES:
        _table(f"{rate:g} in 1,000", clips, modes, partial(scales, rate=rate))
    _table("own thresholds", clips, modes, lambda _: Both(1.0, 1.0))


def _cell(delays: Iterable[list[float]]) -> str:
    known = list(delays)
    noticed = ", ".join(str(int(np.isfinite(each).sum())) for each in known)
    return f"{noticed} ({', '.join(_median(each) for each in known)})"


def _median(delays: Sequence[float] | Floats) -> str:
    middle = float(np.median(np.asarray(delays)))
    return f"{middle:g}" if np.isfinite(middle) else "-"


def _table(
    title: str,
    clips: Sequence[Scored],
    modes: Sequence[str],
    scale: Callable[[Sequence[Scored]], Both],
) -> None:
    """Print one line for each mode, with all clips."""
    at = scale(clips)
    if max(at) > ENOUGH:  # some trials were ended before
        print(
            f"\n{title}: a threshold is {max(at):.2f} times as high, judge again with a larger ENOUGH"
        )
        return
    print(f"\n{title}: {_events(clips, at)}, scales {at.before:.2f}, {at.now:.2f}\n")
    print(
        "| | build before (95 %) | this build (95 %) | by one alone (p) | clips with more, fewer | "
        "difference, clips drawn anew (95 %) | sooner, later (p) | clips sooner, later (p) | median delay |"
    )
    print("| --- " * 9 + "|")
    resampled = _resampled(clips, modes, scale)
    for k, mode in enumerate(modes):
        by_clip = [clip.delays(mode, at) for clip in clips]
        print(
            f"| {mode} | {_line(by_clip)[0]} | {_interval(resampled[:, k])} | {_line(by_clip)[1]} |"
        )


def _line(by_clip: Sequence[Sequence[Both]]) -> tuple[str, str]:
    every = [each for clip in by_clip for each in clip]
    before, now = (np.array([each[k] for each in every]) for k in range(2))
    seen = np.isfinite(before), np.isfinite(now)
    gained, lost = int((seen[1] & ~seen[0]).sum()), int((seen[0] & ~seen[1]).sum())
    more, fewer = _clips(
        [sum(int(np.isfinite(e.now)) - int(np.isfinite(e.before)) for e in c) for c in by_clip]
    )
    sooner, later = int((now < before).sum()), int((now > before).sum())
    clips = _clips([sum(int(e.now < e.before) - int(e.now > e.before) for e in c) for c in by_clip])
    noticed = (
        f"{_share(int(seen[0].sum()), len(every))} | {_share(int(seen[1].sum()), len(every))} | "
        f"{gained} now, {lost} before ({_p(gained, lost)}) | {more}, {fewer}"
    )
    delays = (
        f"{sooner}, {later} ({_p(sooner, later)}) | {clips[0]}, {clips[1]} ({_p(*clips)}) | "
        f"{_median(before)} to {_median(now)}"
    )
    return noticed, delays


def _clips(differences: Sequence[int]) -> tuple[int, int]:
    return sum(d > 0 for d in differences), sum(d < 0 for d in differences)


def _p(first: int, second: int) -> str:
    """Return the p-value of the exact sign test (McNemar's, for what one alone notices)."""
    return f"p = {binomtest(first, first + second).pvalue:.2g}" if first + second else "p = 1"


def _share(part: int, whole: int) -> str:
    low, high = binomtest(part, whole).proportion_ci()
    return f"{part} of {whole}: {100 * part / whole:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _resampled(
    clips: Sequence[Scored], modes: Sequence[str], scale: Callable[[Sequence[Scored]], Both]
) -> Floats:
    """Return differences of the share noticed, in %, with clips drawn anew: (n, modes).

    The thresholds are scaled anew each time, since the rate is as uncertain as what is noticed, up to
    `ENOUGH`; that flatters the build which needs more.
    """
    rng, found = np.random.default_rng(SEED), []
    highest = [[clip.highest(mode) for mode in modes] for clip in clips]
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(clips), len(clips))
        at = np.minimum(scale([clips[i] for i in drawn]), ENOUGH)
        pooled = [np.concatenate([highest[i][k] for i in drawn]) for k in range(len(modes))]
        found.append([100 * float(np.diff((each > at).mean(axis=0))[0]) for each in pooled])
    return np.array(found)


def _interval(differences: Floats) -> str:
    low, middle, high = np.percentile(differences, (2.5, 50, 97.5))
    return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


def _events(clips: Sequence[Scored], scale: Both) -> str:
    """Return the number of false alarms of each build."""
    pictures = sum(len(clip.clean.now) for clip in clips)
    counts = [
        sum(len(decluster(clip.clean[k], at)) for clip in clips) for k, at in enumerate(scale)
    ]
    return f"{counts[0]} and {counts[1]} false alarms in {pictures}"
