"""The detector, held to Frouros itself."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from frouros.callbacks.streaming import HistoryConceptDrift
from frouros.detectors.data_drift import MMDStreaming as FrourosMMDStreaming
from frouros.detectors.data_drift.exceptions import MissingFitError
from frouros.utils.kernels import rbf_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

import lenswatch
from lenswatch.detect.mmd import FittedMMD, Window, gaussian_kernel, median_distance
from lenswatch.detect.mmd_streaming import MMDStreaming
from lenswatch.errors import BlindKernelError, EmbeddingError, StoreError


@st.composite
def streams(draw: Any) -> tuple[Any, ...]:
    """A reference, a stream and a bandwidth in which the kernel is not blind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(2, 60)), draw(st.integers(1, 40))
    window = draw(st.integers(2, 15))
    scale = 10 ** draw(st.floats(-3, 3))
    centre = draw(st.floats(-100, 100)) * scale
    shift = draw(st.floats(0, 3)) * scale
    reference = rng.normal(centre, scale, (n, d))
    values = rng.normal(centre + shift, scale, (window + draw(st.integers(0, 8)), d))
    sigma = median_distance(reference) * draw(st.floats(0.4, 5))
    return reference, values, window, sigma


@pytest.mark.slow
@settings(max_examples=150)
@given(streams())
def test_distances_equal_frouros_within_1e_9(case: Any) -> None:
    reference, values, window, sigma = case
    ours = MMDStreaming(window, sigma)
    theirs = FrourosMMDStreaming(window, kernel=partial(rbf_kernel, sigma=sigma))
    ours.fit(X=reference)
    theirs.fit(X=reference)
    for value in values:
        mine, his = ours.update(value)[0], theirs.update(value)[0]
        if his is None:
            assert mine is None
        else:
            assert mine.distance == pytest.approx(his.distance, abs=1e-9)


@pytest.mark.parametrize("rows", [1, 16, 17, 300])
def test_the_kernel_is_that_of_frouros(rows: int) -> None:
    rng = np.random.default_rng(rows)
    X, Y = rng.normal(50, 1, (rows, 32)), rng.normal(50.5, 1, (2500, 32))
    sigma = median_distance(Y)
    assert np.allclose(gaussian_kernel(X, Y, sigma), rbf_kernel(X, Y, sigma), rtol=0, atol=1e-12)
    assert np.diag(gaussian_kernel(X, X, sigma)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 999, 2500])
def test_the_bandwidth_is_the_median_distance_of_at_most_1000_rows(n: int) -> None:
    X = np.random.default_rng(n).normal(7, 2, (n, 5))
    assert median_distance(X) == pytest.approx(np.median(pdist(X[:: -(-n // 1000)])), rel=1e-12)


@pytest.mark.parametrize(("n", "window"), [(2, 2), (2, 5), (50, 2)])
def test_the_smallest_sizes_equal_frouros(n: int, window: int) -> None:
    rng = np.random.default_rng(n + window)
    reference, values = rng.normal(size=(n, 3)), rng.normal(size=(window + 3, 3))
    kernel = partial(rbf_kernel, sigma=1.3)
    ours, theirs = MMDStreaming(window, kernel=kernel), FrourosMMDStreaming(window, kernel=kernel)
    ours.fit(X=reference)
    theirs.fit(X=reference)
    for value in values:
        mine, his = ours.update(value)[0], theirs.update(value)[0]
        assert (mine is None) == (his is None)
        assert mine is None or mine.distance == pytest.approx(his.distance, abs=1e-9)


def test_the_tutorials_kernel_and_row_vectors_are_taken() -> None:
    rng = np.random.default_rng(5)
    detector = lenswatch.MMDStreaming(window_size=12, kernel=partial(rbf_kernel, sigma=0.3))
    detector.fit(rng.normal(0, 0.1, (40, 4)).astype(np.float32))
    results = [detector.update(rng.normal(0, 0.1, (1, 4)))[0] for _ in range(12)]
    assert results[:11] == [None] * 11
    assert abs(results[11].distance) < 0.05


def test_float32_embeddings_lose_nothing() -> None:
    rng = np.random.default_rng(6)
    reference, values = (rng.normal(size=(k, 8)).astype(np.float32) for k in (200, 20))
    theirs = FrourosMMDStreaming(12, kernel=partial(rbf_kernel, sigma=4.0))
    theirs.fit(X=reference)
    expected = [r.distance for v in values if (r := theirs.update(v)[0])]
    found = FittedMMD.fit(reference, 12, 4.0).distances(values)
    assert found[11:] == pytest.approx(expected, abs=1e-9)


def test_one_dimensional_samples_are_taken_as_frouros_takes_them() -> None:
    rng = np.random.default_rng(7)
    ours, theirs = (
        MMDStreaming(4, 1.0),
        FrourosMMDStreaming(4, kernel=partial(rbf_kernel, sigma=1.0)),
    )
    reference = rng.normal(size=30)
    ours.fit(X=reference)
    theirs.fit(X=reference)
    for value in rng.normal(size=8):
        mine, his = ours.update(value)[0], theirs.update(value)[0]
        assert mine is None or mine.distance == pytest.approx(his.distance, abs=1e-9)


@pytest.mark.parametrize(
    "bad", [np.full(3, np.nan), [0, np.inf, 0], np.zeros(2), np.zeros((2, 3)), "text", None]
)
def test_a_refused_embedding_leaves_the_window_as_it_was(bad: Any) -> None:
    rng = np.random.default_rng(8)
    detector, untouched = MMDStreaming(3, 2.0), MMDStreaming(3, 2.0)
    reference, values = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    for each in (detector, untouched):
        each.fit(X=reference)
        each.update(values[0])
    with pytest.raises(EmbeddingError):
        detector.update(bad)
    for value in values[1:]:
        mine, other = detector.update(value)[0], untouched.update(value)[0]
        assert (mine and mine.distance) == (other and other.distance)


def test_the_caller_may_reuse_the_buffers_it_passed() -> None:
    rng = np.random.default_rng(9)
    reference, buffer = rng.normal(size=(20, 3)), np.zeros(3)
    detector = MMDStreaming(2, 2.0)
    detector.fit(X=reference)
    detector.update(buffer)
    expected = FittedMMD.fit(reference, 2, 2.0).distances([np.zeros(3), np.ones(3)])[-1]
    reference[:] = 0
    buffer[:] = 1
    assert detector.update(buffer)[0].distance == pytest.approx(expected, abs=1e-12)


def test_reset_clears_the_window_and_keeps_the_reference() -> None:
    rng = np.random.default_rng(10)
    detector = MMDStreaming(2)
    detector.fit(X=rng.normal(size=(20, 3)))
    detector.update(np.zeros(3))
    before = detector.update(np.ones(3))[0].distance
    detector.reset()
    assert detector.update(np.zeros(3))[0] is None
    assert detector.update(np.ones(3))[0].distance == before


def test_update_before_fit_is_frouros_own_error() -> None:
    with pytest.raises(MissingFitError):
        MMDStreaming().update(np.zeros(3))


def test_compare_judges_a_batch_and_leaves_the_window_alone() -> None:
    rng = np.random.default_rng(11)
    reference, batch = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    kernel = partial(rbf_kernel, sigma=1.0)
    ours, theirs = MMDStreaming(3, kernel=kernel), FrourosMMDStreaming(3, kernel=kernel)
    ours.fit(X=reference)
    theirs.fit(X=reference)
    assert ours.compare(batch)[0].distance == pytest.approx(
        theirs.compare(batch)[0].distance, abs=1e-9
    )
    assert len(ours.window) == 0


def test_callbacks_hear_of_every_update() -> None:
    class Counter(HistoryConceptDrift):  # type: ignore[misc]  # Frouros has no types
        heard = 0

        def on_update_end(self, value: Any) -> None:
            self.heard += 1

    counter = Counter()
    detector = MMDStreaming(2, callbacks=counter)
    detector.fit(X=np.eye(4))
    detector.update(np.zeros(4))
    _, logs = detector.update(np.ones(4))
    assert counter.heard == 2
    assert counter.name in logs


@pytest.mark.parametrize(("sigma", "extreme"), [(0.01, "too small"), (1e6, "too large")])
def test_a_blind_kernel_is_refused_with_the_bandwidth_that_works(
    sigma: float, extreme: str
) -> None:
    reference = np.random.default_rng(12).normal(size=(50, 32))
    with pytest.raises(BlindKernelError, match=extreme) as refusal:
        FittedMMD.fit(reference, 12, sigma)
    advised = float(str(refusal.value).split("sigma = ")[1].split(" ")[0])
    assert 0.1 < FittedMMD.fit(reference, 12, advised).mean_kernel < 0.9


def test_identical_reference_embeddings_are_refused() -> None:
    with pytest.raises(BlindKernelError, match="the same"):
        FittedMMD.fit(np.ones((20, 3)))


@pytest.mark.parametrize(
    "bad", [np.zeros((1, 3)), np.zeros((4, 0)), np.zeros((2, 2, 2)), [[1, np.nan], [0, 0]], "x"]
)
def test_a_useless_reference_is_refused(bad: Any) -> None:
    with pytest.raises(EmbeddingError):
        FittedMMD.fit(bad)


@pytest.mark.slow
@given(streams())
def test_a_window_survives_being_stored_bit_for_bit(case: Any) -> None:
    reference, values, size, sigma = case
    fitted = FittedMMD.fit(reference, size, sigma)
    window = Window.empty(fitted.dimensions)
    for value in values:
        window = Window.from_bytes(window.push(fitted.entry(value), size).to_bytes())
    assert fitted.distance(window) == fitted.distances(values)[-1]


@pytest.mark.parametrize("data", [b"", b"nonsense", Window.empty(3).to_bytes()[:-1] + b""])
def test_a_damaged_window_says_how_to_clear_it(data: Any) -> None:
    if data and data != b"nonsense":
        data = data[:20]
    with pytest.raises(StoreError, match="lenswatch reset"):
        Window.from_bytes(data)


def test_a_warm_window_is_full_and_near_zero() -> None:
    reference = np.random.default_rng(13).normal(size=(60, 4))
    fitted = FittedMMD.fit(reference, 12)
    assert fitted.distance(fitted.warm()) == pytest.approx(0, abs=0.1)


def test_no_distance_exceeds_the_stated_largest() -> None:
    reference = np.random.default_rng(14).normal(size=(60, 4))
    fitted = FittedMMD.fit(reference, 5)
    far = fitted.distances(np.full((5, 4), 1e4))[-1]
    assert far == pytest.approx(fitted.largest_distance)


def test_the_kernel_matrix_of_a_large_reference_is_never_held_whole() -> None:
    reference = np.random.default_rng(15).normal(size=(2500, 3))
    seen = []

    def kernel(X: Any, Y: Any) -> Any:
        seen.append(X.shape[0] * Y.shape[0])
        return rbf_kernel(X, Y, sigma=2.0)

    fitted = FittedMMD.fit(reference, 12, kernel=kernel)
    assert max(seen) < 2500**2 / 2
    assert fitted.mean_kernel == pytest.approx(
        FittedMMD.fit(reference, 12, sigma=2.0).mean_kernel, abs=1e-12
    )


def test_the_distance_of_one_picture_over_and_over_is_that_of_such_windows() -> None:
    reference = np.random.default_rng(4).normal(size=(41, 3))
    fitted = FittedMMD.fit(reference, 5)
    found = []
    for i, row in enumerate(reference):
        others = fitted.kernel(row[None], np.delete(reference, i, axis=0))
        found.append(fitted.mean_kernel + 1 - 2 * others.mean())
    assert fitted.one_picture_distance == pytest.approx(np.median(found))
    assert fitted.one_picture_distance < fitted.largest_distance
