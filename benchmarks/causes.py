"""First causes of faults on real clips: `python -m benchmarks.causes FOLDER ...`.

Each folder holds pictures of one fixed camera. A lens chart is fitted to the first half of each. In the
second half, each fault of `evaluate.faults` begins at three places, at three severities, after twelve clean
pictures. Places where the chart is in alarm before are left out. The table says how many were noticed within
sixteen pictures, and how many of these had a right first cause at that picture and at the last one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lenswatch.config import UploadConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.detect.chart.causes import Cause, causes
from lenswatch.detect.chart.features import Measured, measure_all
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.evaluate.faults import FAULTS, fault
from lenswatch.reference.footage import read_pictures
from lenswatch.reference.training import find_pictures

SIZE = (240, 320)
SEVERITIES, PLACES = (1.0, 3.0, 5.0), 3
BEFORE, AFTER = 12, 16  # pictures
RUN_TIME = 200.0  # pictures


@dataclass(frozen=True)
class Trial:
    """One fault in one place of a clip, with the measurements of its pictures."""

    name: str
    severity: float
    clean: Measured
    spoilt: Measured


@dataclass(frozen=True)
class Outcome:
    """First causes at the picture where a fault was noticed and at the last one; None if unnoticed.

    Where the chart was above a threshold at the last clean picture already, the fault is not what is noticed.
    """

    name: str
    alarmed: bool
    noticed: bool
    first: str | None
    last: str | None


def main(folders: list[str]) -> None:
    found: list[Outcome] = []
    for folder in folders:
        clip = pictures(Path(folder))
        fit = fitted(clip)
        found += [outcome(fit, trial) for trial in trials(clip)]
        print(f"{folder}: {len(clip)} pictures", flush=True)
    show(found)


def pictures(folder: Path) -> Pixels:
    """Return the pictures of a folder in the order of their names: (n, 240, 320, 3)."""
    found = find_pictures(folder, ["*"], key="FOLDER")
    return read_pictures(found, SIZE, UploadConfig()).pixels


def fitted(clip: Pixels) -> ChartFit:
    """Return a chart of the first half of a clip."""
    return fit_chart(measure_all(clip[: len(clip) // 2]), ert=RUN_TIME)


def trials(clip: Pixels) -> Iterator[Trial]:
    """Yield every fault at every place and severity."""
    half, steps = len(clip) // 2, np.arange(AFTER)
    starts = np.linspace(half + BEFORE, len(clip) - AFTER, PLACES).astype(int)
    for place, start in enumerate(starts):
        clean = measure_all(clip[start - BEFORE : start])
        for name, kind in FAULTS.items():
            for severity in SEVERITIES:
                spoil = fault(name, place)
                shown = start + (0 * steps if kind.freezes else steps)
                spoilt = measure_all(spoil(clip[i], severity) for i in shown)
                yield Trial(name, severity, clean, spoilt)


def outcome(fit: ChartFit, trial: Trial) -> Outcome:
    """Run a trial and return what was noticed and named."""
    chart, state = fit.chart, fit.chart.start()
    for i in range(len(trial.clean)):
        state = chart.update(state, trial.clean[i])
    alarmed = bool(causes(chart, state, fit.threshold.drift, fit.slow.drift))
    named: list[tuple[Cause, ...]] = []
    for i in range(len(trial.spoilt)):
        state = chart.update(state, trial.spoilt[i])
        named.append(causes(chart, state, fit.threshold.drift, fit.slow.drift))
    seen = [found[0].name for found in named if found]
    last = named[-1][0].name if named[-1] else None
    noticed = bool(seen) and not alarmed
    return Outcome(trial.name, alarmed, noticed, seen[0] if seen else None, last)


def show(found: list[Outcome]) -> None:
    """Print the table by kind, with the wrong names."""
    print("| fault | noticed | right at once | right at the last | wrong names |")
    print("| --- | --- | --- | --- | --- |")
    for name in [*FAULTS, "all"]:
        rows = [o for o in found if name in (o.name, "all") and not o.alarmed]
        noticed = [o for o in rows if o.noticed]
        last = [o for o in noticed if o.last]
        right = sum(o.first in FAULTS[o.name].causes for o in noticed)
        later = sum(o.last in FAULTS[o.name].causes for o in last)
        wrong = Counter(
            cause
            for o in noticed
            for cause in (o.first, o.last)
            if cause and cause not in FAULTS[o.name].causes
        )
        names = ", ".join(f"{cause} {n}" for cause, n in wrong.most_common(4))
        counts = f"{len(noticed)} of {len(rows)} | {_share(right, len(noticed))} | {_share(later, len(last))}"
        print(f"| {name} | {counts} | {names} |")
    print(
        f"{sum(o.alarmed for o in found)} of {len(found)} began in an alarm, and are not among these"
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / max(whole, 1):.0f} %)"


if __name__ == "__main__":
    main(sys.argv[1:])
