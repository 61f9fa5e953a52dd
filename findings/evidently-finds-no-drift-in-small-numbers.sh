#!/usr/bin/env bash
# Evidently 0.7.23 finds no drift in a column of small numbers once it has more than 1,000 rows, however large the drift is.
#
# Expected: a verdict on drift is the same in metres and in kilometres: the default for large tables is the Wasserstein distance
# divided by the standard deviation of the reference, which has no unit. More rows make a drift easier to see.
# Seen: a column rises by 3 standard deviations. In units of 1 it drifts, by 3.0. In units of 0.00001 it does not, by 0.03.
# The divisor is never less than 0.001, so for columns that spread less than that the distance has their unit, and stays under the limit, 0.1.
# With 1,000 rows the same column drifts in both units: up to there, the default is a test of Kolmogorov and Smirnov.
# Why it matters: distances such as a squared Maximum Mean Discrepancy, reconstruction errors and shares of odd pixels may spread by far less
# than 0.001. Their drift is reported in the first week and goes away as more pictures come in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    evidently==0.7.23 pandas==2.3.3 numpy==2.1.3 scipy==1.14.1 scikit-learn==1.6.1

DO_NOT_TRACK=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import evidently
import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

print(f"Evidently {evidently.__version__}")
generator = np.random.default_rng(0)


def verdict(rows, unit):
    """The default test of a column that rises by 3 standard deviations, and whether it says drift."""
    reference = generator.normal(size=rows)
    risen = generator.normal(size=rows) + 3
    tables = [
        Dataset.from_pandas(
            pd.DataFrame({"distance": values * unit}),
            data_definition=DataDefinition(numerical_columns=["distance"]),
        )
        for values in (risen, reference)
    ]
    result = Report([ValueDrift(column="distance")]).run(*tables).dict()["metrics"][0]
    kind, value = result["metric_name"], float(result["value"])
    is_test = "p_value" in kind
    drifts = value < 0.05 if is_test else value >= 0.1
    print(f"{rows} rows in units of {unit}: {kind} = {value:.3g}, drift: {drifts}")
    return ("test" if is_test else "distance"), drifts


seen = [verdict(rows, unit) for rows in (1000, 2000) for unit in (1, 0.00001)]
expected = [("test", True), ("test", True), ("distance", True), ("distance", False)]
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON
