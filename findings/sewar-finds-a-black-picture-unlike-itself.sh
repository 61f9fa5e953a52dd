#!/usr/bin/env bash
# sewar 0.4.6 answers 0 or NaN when a picture of one colour is compared with itself.
#
# Expected: each of its full-reference measures answers for two equal pictures what it always answers for them: 1.
# Seen: for a textured picture and its copy, all do. For a black picture, or one of any other single colour, the
# structural similarity and the universal quality index are 1, the spatial correlation (scc) is 0, and the visual
# information fidelity (vifp) is NaN.
# 0 is also what scc answers for a textured picture against a black one. vifp answers 0 for that, and NaN for the two
# in the other order.
# Why it matters: a camera in the dark, with its cap on, or without a signal gives such pictures. The measure says
# "nothing in common" about two that are equal, and NaN passes each comparison with a threshold.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    sewar==0.4.6 numpy==2.1.3 scipy==1.14.1 pillow==11.3.0

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math
import sys
from importlib.metadata import version

import numpy as np
from sewar import scc, ssim, uqi, vifp

print(f"sewar {version('sewar')}")
MEASURES = {"ssim": lambda a, b: ssim(a, b)[0], "uqi": uqi, "scc": scc, "vifp": vifp}
textured = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
black, grey = np.zeros_like(textured), np.full_like(textured, 90)


def measured(first, second):
    """Each measure of two pictures."""
    return {name: float(measure(first, second)) for name, measure in MEASURES.items()}


seen = {
    "textured, textured": measured(textured, textured),
    "black, black": measured(black, black),
    "grey, grey": measured(grey, grey),
    "textured, black": measured(textured, black),
    "black, textured": measured(black, textured),
}
for pair, values in seen.items():
    print(f"{pair}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()))
same = all(math.isclose(value, 1, abs_tol=1e-6) for value in seen["textured, textured"].values())
for pair in ("black, black", "grey, grey"):
    values = seen[pair]
    same = same and math.isclose(values["ssim"], 1) and math.isclose(values["uqi"], 1)
    same = same and values["scc"] == 0 and math.isnan(values["vifp"])
same = same and seen["textured, black"]["scc"] == 0 and seen["textured, black"]["vifp"] == 0
same = same and math.isnan(seen["black, textured"]["vifp"])
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
