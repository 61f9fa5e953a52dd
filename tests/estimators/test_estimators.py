"""The scikit-learn estimators, held to scikit-learn's own checks."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from lenswatch.config import Config
from lenswatch.detect.mmd import FittedMMD
from lenswatch.estimators import ImageEncoder, KSDrift, MMDDrift
from lenswatch.reference.artefact import load_reference

# A row's score is that of the window that ends there.
IN_ORDER = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "rows are in the order of time",
)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [MMDDrift(), KSDrift()], ids=["mmd", "ks"])
def test_scikit_learns_checks_pass(detector: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(detector, expected_failed_checks=IN_ORDER, on_fail=None)
    failed = [(one["check_name"], one["exception"]) for one in results if one["status"] == "failed"]
    assert failed == []
    assert sum(one["status"] == "passed" for one in results) > 30


@pytest.mark.parametrize("detector", [MMDDrift(), KSDrift()], ids=["mmd", "ks"])
def test_drift_is_found_and_clean_rows_are_not(detector: Any) -> None:
    random = np.random.default_rng(0)
    detector.fit(random.normal(size=(400, 5)))
    assert (detector.predict(random.normal(size=(100, 5))) == 1).mean() > 0.95
    assert (detector.predict(random.normal(1.5, 1, (30, 5)))[-10:] == -1).all()


def test_the_distances_are_those_of_the_node() -> None:
    random = np.random.default_rng(1)
    clean, rows = random.normal(size=(60, 3)), random.normal(size=(20, 3))
    fitted = FittedMMD.fit(clean, 12)
    expected = fitted.distances(np.concatenate((clean[-12:], rows)))[12:]
    assert MMDDrift().fit(clean).score_samples(rows) == pytest.approx(-expected)


def test_pictures_go_through_a_pipeline_that_can_be_saved(trained: Config) -> None:
    files = sorted((trained.image_folder / "clean").glob("*.jpg"))
    encoder = ImageEncoder(trained.storage_path)
    pipeline = make_pipeline(encoder, PCA(4), MMDDrift())
    pipeline.fit(files)
    said = pipeline.predict(files[:20])
    assert set(said) == {1}
    again = pickle.loads(pickle.dumps(pipeline))
    assert (again.score_samples(files[:20]) == pipeline.score_samples(files[:20])).all()
    embeddings = encoder.transform(files)
    assert embeddings == pytest.approx(load_reference(trained.storage_path).embeddings, abs=1e-4)
    assert list(encoder.get_feature_names_out())[:2] == ["embedding0", "embedding1"]
    assert encoder.transform([files[0].read_bytes()]) == pytest.approx(embeddings[:1])
