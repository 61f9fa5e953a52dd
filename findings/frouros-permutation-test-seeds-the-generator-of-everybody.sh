#!/usr/bin/env bash
# A permutation test of Frouros 0.9.0 with `random_state` sets the seed of NumPy's global generator at each call.
#
# Expected: `random_state` makes the test itself repeatable and touches nothing else, as in scikit-learn.
# Seen: after each `compare`, `np.random` gives the same numbers again, in all other code of the process.
# Without `random_state`, each call seeds the global generator anew, so that a seed set by the user no longer holds.
# Why it matters: augmentation or sampling that runs between drift checks draws the same "random" numbers each time,
# or stops being repeatable.
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

samples = np.random.default_rng(0).normal(size=(2, 30))


def draws(random_state):
    """Numbers that other code draws after each of three comparisons, from a generator seeded with 123."""
    test = PermutationTestDistanceBased(
        num_permutations=10, random_state=random_state, num_jobs=1, name="test"
    )
    detector = EMD(callbacks=[test])
    detector.fit(X=samples[0])
    np.random.seed(123)
    found = []
    for _ in range(3):
        detector.compare(X=samples[1])
        found.append(int(np.random.randint(10**9)))
    return found


print(f"Frouros {version('frouros')}")
fixed, free, again = draws(0), draws(None), draws(None)
print(f"random_state=0: {fixed}")
print(f"no random_state, twice from the same seed: {free} and {again}")
same = len(set(fixed)) == 1 and free != again
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
