"""A reduced reference, and the whole one as its oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lenswatch.detect.mmd import FittedMMD


def embeddings(seed: int, n: int, d: int = 8) -> Any:
    """Return embeddings of some scenes, as those of a camera are."""
    rng = np.random.default_rng(seed)
    scenes = rng.normal(0, 2, (4, d))
    return scenes[rng.integers(0, 4, n)] + rng.normal(0, 0.7, (n, d))


@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_no_distance_is_farther_off_than_the_bound(seed: int, n: int, samples: int) -> None:
    whole = FittedMMD.fit(embeddings(seed, n), 12)
    few = whole.reduced(samples)
    assert few.reduction is not None
    assert len(few.reduction.samples) <= samples
    rng = np.random.default_rng(seed)
    for pictures in (embeddings(seed + 1, 14), rng.normal(0, 30, (14, 8)), whole.reference[:14]):
        for row in pictures:
            off = abs(few.entry(row).to_reference - whole.entry(row).to_reference)
            assert off <= few.reduction.bound + 1e-6
        differences = np.abs(few.distances(pictures) - whole.distances(pictures))
        assert np.nan_to_num(differences).max() <= 2 * few.reduction.bound + 1e-6


def test_more_samples_are_closer_and_all_are_exact() -> None:
    whole = FittedMMD.fit(embeddings(3, 400), 12)
    bounds = []
    for samples in (4, 16, 64, 256, 400):
        found = whole.reduced(samples).reduction
        assert found is not None
        bounds.append(found.bound)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[2] < 0.02
    assert bounds[-1] < 1e-5


def test_the_same_sample_many_times_is_one() -> None:
    rows = np.repeat(embeddings(1, 3), 50, axis=0)
    found = FittedMMD.fit(rows, 12, sigma=1.0).reduced(20).reduction
    assert found is not None
    assert len(found.samples) == 3
    assert found.bound == pytest.approx(0, abs=1e-6)
