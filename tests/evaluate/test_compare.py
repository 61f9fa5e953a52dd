import json

import numpy as np
import pytest

from lenswatch.errors import EmbeddingError
from lenswatch.evaluate.compare import (
    compare,
    critical_distance,
    domain_classifier_auc,
    html_report,
    interleaved,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_samples_of_one_distribution_show_no_drift(rng):
    found = compare(rng.normal(size=(200, 8)), rng.normal(size=(100, 8)))
    assert not found.drift
    assert found.auc == pytest.approx(0.5, abs=0.1)


def test_a_shifted_dimension_is_drift(rng):
    current = rng.normal(size=(100, 8))
    current[:, 3] += 1.5
    found = compare(rng.normal(size=(200, 8)), current)
    assert found.drift
    assert int(np.argmin(found.p_values)) == 3
    assert found.corrected_p_value < 1e-6
    assert found.auc > 0.8


def test_bonferroni_keeps_the_level_over_all_dimensions(rng):
    found = [
        compare(rng.normal(size=(60, 16)), rng.normal(size=(60, 16))).drift for _ in range(200)
    ]
    assert np.mean(found) < 0.1


def test_neighbours_in_time_make_halves_differ_and_interleaving_hides_it(rng):
    slow = np.cumsum(rng.normal(size=(400, 4)), axis=0)
    assert compare(slow[:200], slow[200:]).drift
    reference, current = interleaved(slow, 200, rng)
    assert not compare(reference, current).drift


def test_the_classifier_is_symmetric_about_one_half(rng):
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
def test_unusable_embeddings_are_refused(reference, current, message):
    with pytest.raises(EmbeddingError, match=message):
        compare(reference, current)


def test_the_report_needs_nothing_from_elsewhere(rng):
    found = compare(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)))
    page = html_report([("a <b>", found)])
    assert "a &lt;b&gt;" in page
    assert "Plotly.newPlot" in page
    assert '<script src="' not in page
    assert "<link" not in page.split("</head>")[0]


def test_the_line_in_the_plot_is_where_the_test_decides(rng):
    for shift in np.linspace(0, 1, 21):
        current = rng.normal(size=(80, 4))
        current[:, 0] += shift
        found = compare(rng.normal(size=(120, 4)), current)
        distance = max(found.distances)
        if abs(distance - critical_distance(found)) > 0.02:
            assert found.drift == (distance > critical_distance(found))


def test_figures_are_json(rng):
    found = compare(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["drift"] == found.drift
