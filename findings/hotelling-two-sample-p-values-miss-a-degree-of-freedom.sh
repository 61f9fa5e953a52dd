#!/usr/bin/env bash
# hotelling 0.5.0 takes one degree of freedom too few for the p-value of its two-sample T-squared test.
#
# Expected: with n and m observations of p measures, the F statistic has p and n + m - p - 1 degrees of freedom. The
# article that the docstring names says so, and statsmodels 0.14.5 does so.
# Seen: T-squared and F are right to the last digits, and the p-value is taken with n + m - p - 2.
# The one-sample test is right.
# For 3 against 3 observations of 2 measures that come from one population, the test at a level of 5 % rejects in 2 % of
# the trials. With the p-value of statsmodels it is 5 %, as it must be.
# For 4 against 4 observations of 6 measures, where the test has one degree of freedom left, the p-value is NaN.
# Why it matters: a check of a few new pictures against a few clean ones misses changes that it was chosen to find. The
# NaN is never below a threshold, so it passes for "no change".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    hotelling==0.5.0 statsmodels==0.14.5 numpy==2.1.3 scipy==1.14.1 pandas==2.2.3 matplotlib==3.9.3

"$folder/venv/bin/python" - <<'PYTHON'
import math
import sys
from importlib.metadata import version

import numpy as np
from hotelling.stats import hotelling_t2
from scipy.stats import f
from statsmodels.stats.multivariate import test_mvmean_2indep

print(f"hotelling {version('hotelling')}, statsmodels {version('statsmodels')}")
generator = np.random.default_rng(0)


def both(observations, measures):
    """F statistic and p-value, by each package, of two samples from one population."""
    first, second = generator.normal(size=(2, observations, measures))
    _, statistic, p_value, _ = hotelling_t2(first, second)
    other = test_mvmean_2indep(first, second)
    return (float(statistic), float(p_value)), (float(other.statistic), float(other.pvalue))


(statistic, p_value), (other_statistic, other_p_value) = both(4, 2)
short = float(f.sf(statistic, 2, 4 + 4 - 2 - 2))
print(f"4 against 4, 2 measures: F {statistic:.6f}, p {p_value:.6f}")
print(f"the same by statsmodels: F {other_statistic:.6f}, p {other_p_value:.6f}")
print(f"p of this F with one degree of freedom less: {short:.6f}")
same = math.isclose(statistic, other_statistic) and math.isclose(p_value, short)
same = same and not math.isclose(p_value, other_p_value, rel_tol=0.01)

trials = [both(3, 2) for _ in range(4000)]
rejected = [sum(trial[package][1] < 0.05 for trial in trials) / len(trials) for package in (0, 1)]
print(f"3 against 3, 2 measures, no difference: rejected at 5 % in {rejected[0]:.2%}; statsmodels {rejected[1]:.2%}")
same = same and 0.01 < rejected[0] < 0.03 and 0.04 < rejected[1] < 0.06

(_, p_value), (_, other_p_value) = both(4, 6)
print(f"4 against 4, 6 measures: p {p_value}; statsmodels p {other_p_value:.6f}")
same = same and math.isnan(p_value) and 0 < other_p_value < 1
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
