from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lenswatch.errors import EmbeddingError
from lenswatch.evaluate.compare import (
    compare,
    domain_classifier_auc,
    html_report,
    interleaved,
)


@pytest.fixture
def rng() -> Any:
    return np.random.default_rng(5)


def test_samples_of_one_distribution_show_no_drift(rng: np.random.Generator) -> None:
    found = compare(rng.normal(size=(200, 8)), rng.normal(size=(100, 8)))
    assert not found.drift
    assert found.auc == pytest.approx(0.5, abs=0.1)


def test_a_shifted_dimension_is_drift(rng: np.random.Generator) -> None:
    current = rng.normal(size=(100, 8))
    current[:, 3] += 1.5
    found = compare(rng.normal(size=(200, 8)), current)
    assert found.drift
    assert int(np.argmin(found.p_values)) == 3
    assert found.corrected_p_value < 1e-6
    assert found.auc > 0.8


@pytest.mark.slow
def test_bonferroni_keeps_the_level_over_all_dimensions(rng: np.random.Generator) -> None:
    found = [
        compare(rng.normal(size=(60, 16)), rng.normal(size=(60, 16))).drift for _ in range(200)
    ]
    assert np.mean(found) < 0.1


def test_neighbours_in_time_make_halves_differ_and_interleaving_hides_it(
    rng: np.random.Generator,
) -> None:
    slow = np.cumsum(rng.normal(size=(400, 4)), axis=0)
    assert compare(slow[:200], slow[200:]).drift
    reference, current = interleaved(slow, 200, rng)
    assert not compare(reference, current).drift


def test_the_classifier_is_symmetric_about_one_half(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) + 10
    assert domain_classifier_auc(a, b) == 1.0


@pytest.mark.parametrize(
    ("reference", "current", "message"),
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), "reference embeddings have shape"),
        (np.zeros((9, 2)), np.zeros(9), "current embeddings have shape"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "2 and 3 dimensions"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), "NaN"),
    ],
)
def test_unusable_embeddings_are_refused(reference: Any, current: Any, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        compare(reference, current)


@pytest.mark.slow
def test_the_page_needs_nothing_from_elsewhere(rng: np.random.Generator) -> None:
    found = compare(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)))
    page = html_report([("a <b>", found)])
    assert "a &lt;b&gt;" in page
    assert "Plotly.newPlot" in page
    assert '<script src="' not in page
    assert "<link" not in page.split("</head>")[0]


sizes = st.integers(4, 60) | st.sampled_from([100, 400, 401])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(sizes, sizes, st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_the_line_in_the_plot_is_where_the_test_decides(
    n: Any, m: Any, dimensions: Any, seed: int, shift: Any
) -> None:
    rng = np.random.default_rng(seed)
    found = compare(rng.normal(size=(n, dimensions)), rng.normal(shift, 1, (m, dimensions)))
    level = found.alpha / dimensions
    line = math.inf if found.critical_distance is None else found.critical_distance
    assert found.conclusive == (found.critical_distance is not None)
    for distance, p_value in zip(found.distances, found.p_values, strict=True):
        assert (distance > line) == (p_value < level)
    assert found.drift == (max(found.distances) > line)


@pytest.mark.parametrize("n", [5, 7, 30])
def test_samples_that_alternate_give_a_p_value_of_1(n: int) -> None:
    """SciPy's exact p-value is 1.0000000000000002 for these sizes, of which it warns."""
    pairs = np.arange(2 * n, dtype=float).reshape(n, 2)
    found = compare(pairs[:, :1], pairs[:, 1:])
    assert found.p_values[0] == pytest.approx(1, abs=1e-3)


def test_the_line_for_few_pictures_is_where_the_exact_test_decides(
    rng: np.random.Generator,
) -> None:
    """By the asymptotic distribution it would be at 0.519."""
    found = compare(rng.normal(size=(400, 32)), rng.normal(size=(12, 32)))
    assert found.critical_distance == pytest.approx(0.5271, abs=1e-4)


@pytest.mark.slow
@given(sizes, sizes, st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_comparison_is_inconclusive_when_even_samples_apart_are_no_drift(
    n: Any, m: Any, d: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = compare(rng.normal(size=(n, d)), rng.normal(size=(m, d)))
    apart = stats.ks_2samp(np.zeros(n), np.ones(m)).pvalue * d
    assert found.smallest_p_value == pytest.approx(min(1, apart))
    assert found.conclusive == (apart < found.alpha)
    assert (m >= found.fewest) == found.conclusive


def test_the_page_says_when_there_are_too_few_pictures(rng: np.random.Generator) -> None:
    few = compare(rng.normal(size=(6, 32)), rng.normal(size=(4, 32)))
    enough = compare(rng.normal(size=(6, 32)), rng.normal(size=(40, 32)))
    assert few.verdict == "too few pictures to conclude"
    page = html_report([("few", few), ("enough", enough)])
    assert "With 4 pictures against 6 and 32 dimensions" in page
    assert "possible is 0.3, which is not below 0.05" in " ".join(page.split())
    assert "Give at least 7 pictures to compare with 6" in page
    assert "enough: too few" not in page
    assert f">{enough.critical_distance:.3f}</td>" in page  # "drift above", as the line is drawn


def test_figures_are_json(rng: np.random.Generator) -> None:
    found = compare(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["drift"] == found.drift
