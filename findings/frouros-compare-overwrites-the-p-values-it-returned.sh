#!/usr/bin/env bash
# Frouros 0.9.0 puts one dictionary into the log of each `compare`, so a later call overwrites earlier p-values.
#
# Expected: `result, log = detector.compare(X=...)` gives each call a log of its own, as it gives a result of its own.
# Seen: the callback's entry in the logs of two calls is one dictionary. After a second call with drifted data, the p-value that was kept
# from the first call, with clean data, has become that of the second.
# Why it matters: a report that collects (distance, log) for each camera and then prints them shows the right distances
# beside the p-value of the last camera.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check frouros==0.9.0

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from frouros.callbacks import PermutationTestDistanceBased
from frouros.detectors.data_drift import EMD

generator = np.random.default_rng(0)
test = PermutationTestDistanceBased(num_permutations=100, random_state=0, num_jobs=1, name="test")
detector = EMD(callbacks=[test])
detector.fit(X=generator.normal(size=60))

clean, clean_log = detector.compare(X=generator.normal(size=60))
before = float(clean_log["test"]["p_value"])
drifted, drifted_log = detector.compare(X=generator.normal(size=60) + 3)
after = float(clean_log["test"]["p_value"])

print(f"Frouros {version('frouros')}")
print(f"distances: clean {clean.distance:.3f}, drifted {drifted.distance:.3f}")
print(f"p-value kept from the clean call: {before:.3f}; after the next call: {after:.3f}")
one = clean_log["test"] is drifted_log["test"]
print(f"the entries of the two logs are one object: {one}")
same = one and before > 0.05 > after and clean.distance < 1 < drifted.distance
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
