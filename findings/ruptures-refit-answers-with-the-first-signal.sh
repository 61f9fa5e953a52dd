#!/usr/bin/env bash
# ruptures 1.1.10: a fitted search with model "rbf" or "cosine" that is fitted again reports the changes of the first signal.
#
# Expected: `search.fit(SIGNAL).predict(...)` gives the change points of SIGNAL, whether the object is new or was used
# before. The documentation of `predict` says that the change points belong to the signal that was passed to `fit`.
# Seen: the second signal, which changes at 90, is said to change at 40, where the first one does. A new object says 90.
# Pelt, Binseg, BottomUp and Dynp do this for "rbf" and "cosine". With "l2" and "mahalanobis" they do not.
# The kernel matrix is computed once for each object, and `fit` does not discard it.
# A second signal of 200 values gets the change at 40 too, and another at 120, where the first signal ended.
# Why it matters: a report that makes one detector and fits it to the distances of each camera in turn shows the changes
# of the first camera beside the name of every other one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check ruptures==1.1.10 numpy==2.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import ruptures


def signal(change, *, length=120):
    """One value a picture: around -3 before `change`, and around 3 from there on."""
    levels = np.where(np.arange(length) < change, -3.0, 3.0)
    return levels + np.random.default_rng(0).normal(scale=0.5, size=length)


def changes(search, values):
    """The positions where the search finds a change, and the end."""
    penalty = {"pen": 8} if isinstance(search, ruptures.Pelt) else {"n_bkps": 1}
    return [int(position) for position in search.fit(values).predict(**penalty)]


print(f"ruptures {version('ruptures')}")
first, second = signal(40), signal(90)
same = True
for search in (ruptures.Pelt, ruptures.Binseg, ruptures.BottomUp, ruptures.Dynp):
    for model in ("rbf", "cosine", "l2", "mahalanobis"):
        used = search(model=model)
        seen = (changes(used, first), changes(used, second), changes(search(model=model), second))
        print(f"{search.__name__} {model}: first {seen[0]}, second {seen[1]}, second by a new object {seen[2]}")
        stale = model in ("rbf", "cosine")
        same = same and seen == ([40, 120], [40, 120] if stale else [90, 120], [90, 120])
used = ruptures.Pelt(model="rbf")
changes(used, first)
longer = changes(used, signal(90, length=200))
print(f"Pelt rbf, first 120 values, then 200 that change at 90: {longer}")
sys.exit(0 if same and longer == [40, 120, 200] else "This has changed: read the script again.")
PYTHON
