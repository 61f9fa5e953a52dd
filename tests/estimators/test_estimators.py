"""The scikit-learn estimators, held to scikit-learn's own checks."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from conftest import SIZE, Camera, camera_pixels
from lenswatch.config import Config
from lenswatch.detect.mmd import FittedMMD
from lenswatch.estimators import (
    DomainClassifierDrift,
    ImageEncoder,
    ImagePixels,
    KSDrift,
    LensChart,
    MMDDrift,
    UntrainedEncoder,
)
from lenswatch.node.compare import Judging
from lenswatch.reference.artefact import load_reference

# A row's score is that of the window that ends there.
IN_ORDER = dict.fromkeys(
    ("check_methods_sample_order_invariance", "check_methods_subset_invariance"),
    "rows are in the order of time",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "detector",
    [MMDDrift(), KSDrift(), DomainClassifierDrift()],
    ids=["mmd", "ks", "classifier"],
)
def test_scikit_learns_checks_pass(detector: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(detector, expected_failed_checks=IN_ORDER, on_fail=None)
    failed = [(one["check_name"], one["exception"]) for one in results if one["status"] == "failed"]
    assert failed == []
    assert sum(one["status"] == "passed" for one in results) > 30


@pytest.mark.parametrize(
    "detector",
    [MMDDrift(), KSDrift(), DomainClassifierDrift()],
    ids=["mmd", "ks", "classifier"],
)
def test_drift_is_found_and_clean_rows_are_not(detector: Any) -> None:
    random = np.random.default_rng(0)
    detector.fit(random.normal(size=(400, 5)))
    assert (detector.predict(random.normal(size=(100, 5))) == 1).mean() > 0.95
    assert (detector.predict(random.normal(1.5, 1, (40, 5)))[-10:] == -1).all()


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


@pytest.mark.parametrize(
    "reducer",
    [make_pipeline(ImagePixels((16, 24)), PCA(4)), UntrainedEncoder(SIZE, latent_dim=8)],
    ids=["pca", "untrained"],
)
def test_other_reducers_than_the_trained_encoder(reducer: Any, tmp_path: Path) -> None:
    clean = [camera_pixels(i) for i in range(40)]
    later = [camera_pixels(i, blurred=i >= 48) for i in range(40, 64)]
    pipeline = make_pipeline(reducer, MMDDrift(window_size=6)).fit(clean)
    again = saved_by_skops(pipeline, tmp_path / "pipeline.skops")
    scores = again.score_samples(later)
    assert scores[-1] < scores[:8].min()
    assert scores == pytest.approx(pipeline.score_samples(later), abs=1e-6)


def test_the_lens_chart_says_what_the_node_says(
    trained: Config, tmp_path: Path, camera: Camera
) -> None:
    clean = sorted((trained.image_folder / "clean").glob("*.jpg"))
    chart = saved_by_skops(LensChart(size=SIZE).fit(clean), tmp_path / "chart.skops")
    later = [camera(i, blurred=i >= 72) for i in range(60, 80)]
    assert list(chart.predict(later)) == [1] * 12 + [-1] * 8
    judging = Judging(trained, load_reference(trained.storage_path))
    assert chart.score_samples(clean[:1])[0] == pytest.approx(-judging.judge(clean[0])["score"])


def saved_by_skops(estimator: Any, file: Path) -> Any:
    """Save an estimator and load it again, as nothing but scikit-learn's types and ours."""
    skops.io.dump(estimator, file)
    types = skops.io.get_untrusted_types(file=file)
    assert all(name.startswith("lenswatch.estimators.") for name in types)
    loaded: Pipeline = skops.io.load(file, trusted=types)
    return loaded
