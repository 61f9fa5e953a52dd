"""The nearest embedding, and the comparison with each as the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lenswatch.detect.nearest import Nearest


def plain(embeddings: Any, embedding: Any) -> int:
    return int(((embeddings - embedding) ** 2).sum(axis=1).argmin())


@example(0, 50, 32, 1e4, 1e-3)
@given(
    st.integers(0, 10**6),
    st.integers(1, 60),
    st.integers(1, 600),
    st.sampled_from([0.0, 1.0, 100.0, 1e4]),
    st.sampled_from([0.0, 1e-3, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_it_is_the_one_that_comparing_with_each_finds(
    seed: int, count: int, dimensions: int, offset: float, spread: float
) -> None:
    """Far from zero and close together, where the product rounds away what tells them apart."""
    rng = np.random.default_rng(seed)
    embeddings = (offset + spread * rng.normal(size=(count, dimensions))).astype(np.float32)
    nearest = Nearest(embeddings)
    for at in (
        embeddings[count // 2],
        offset + spread * rng.normal(size=dimensions),
        np.zeros(dimensions),
    ):
        wanted = np.asarray(at, np.float32)
        assert nearest.row(wanted) == plain(embeddings, wanted)
