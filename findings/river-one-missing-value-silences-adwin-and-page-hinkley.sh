#!/usr/bin/env bash
# One NaN ends the drift detection of river 0.26.1's ADWIN and PageHinkley for good; KSWIN goes on.
#
# Expected: a missing measurement, NaN, is refused or skipped, or costs the detector at most its present window.
# Seen: after one NaN among 1,000 values, neither ADWIN nor PageHinkley ever reports drift again, however large the
# change, and nothing is raised or logged.
# KSWIN, which compares windows, finds the change at the same value as without the NaN.
# Why it matters: a camera that delivers one unreadable picture turns its alarm off for the rest of its life.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check river==0.26.1

"$folder/venv/bin/python" - <<'PYTHON'
import math
import random
import sys

import river
from river import drift


def alarms(detector, *, missing):
    """Positions at which drift is reported: 1,000 values that rise by 3 standard deviations at 500."""
    source, found = random.Random(0), []
    for position in range(1000):
        value = source.gauss(0, 1) + (3 if position >= 500 else 0)
        detector.update(math.nan if missing and position == 100 else value)
        if detector.drift_detected:
            found.append(position)
    return found


print(f"river {river.__version__}")
makers = {
    "ADWIN": drift.ADWIN,
    "PageHinkley": drift.PageHinkley,
    "KSWIN": lambda: drift.KSWIN(seed=1),
}
seen = {}
for name, make in makers.items():
    seen[name] = (alarms(make(), missing=False), alarms(make(), missing=True))
    print(f"{name}: alarms at {seen[name][0]}; with one NaN at 100: {seen[name][1]}")
expected = {"ADWIN": ([511], []), "PageHinkley": ([509], []), "KSWIN": ([511], [511])}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON
