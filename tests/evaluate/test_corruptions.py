from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lenswatch.errors import InputError
from lenswatch.evaluate.corruptions import CORRUPTIONS, corruption, smudge_mask

RNG = np.random.default_rng(0)
IMAGE = np.kron(RNG.integers(40, 180, (32, 40, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def change(name: Any, severity: Any, image: Any = IMAGE) -> Any:
    return float(np.abs(corruption(name, 3)(image, severity).astype(float) - image).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_0_changes_nothing(name: Any) -> None:
    np.testing.assert_array_equal(corruption(name)(IMAGE, 0), IMAGE)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_severe_is_more_change(name: Any) -> None:
    changes = [change(name, severity) for severity in (0.2, 1, 2, 5)]
    assert changes == sorted(changes)
    assert changes[-1] > changes[0]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_shape_and_type_of_a_picture_stay(name: Any) -> None:
    spoilt = corruption(name)(IMAGE, 3)
    assert spoilt.shape == IMAGE.shape
    assert spoilt.dtype == np.uint8


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_picture_given_is_left_alone(name: Any) -> None:
    before = IMAGE.copy()
    corruption(name)(IMAGE, 5)
    np.testing.assert_array_equal(IMAGE, before)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"gaussian noise"}))
def test_what_fouls_a_lens_stays_the_same_from_picture_to_picture(name: Any) -> None:
    spoil = corruption(name, 7)
    np.testing.assert_array_equal(spoil(IMAGE, 3), spoil(IMAGE, 3))


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"gaussian noise"}))
def test_what_came_before_does_not_matter(name: Any) -> None:
    spoil, small = corruption(name, 7), np.ascontiguousarray(IMAGE[:100, :130])
    for image, severity in [(IMAGE, 3), (small, 3), (small, 1.5), (IMAGE, 3)]:
        np.testing.assert_array_equal(spoil(image, severity), corruption(name, 7)(image, severity))


def test_noise_differs_from_picture_to_picture() -> None:
    spoil = corruption("gaussian noise", 7)
    assert (spoil(IMAGE, 3) != spoil(IMAGE, 3)).any()


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_a_smudge_covers_three_percent_for_each_step(severity: int, seed: Any) -> None:
    mask = smudge_mask(np.random.default_rng(seed), (128, 160), 0.03 * severity)
    assert mask.mean() == pytest.approx(0.03 * severity, rel=0.25)


def test_lengths_scale_with_the_height_of_the_picture() -> None:
    large = np.kron(IMAGE, np.ones((2, 2, 1))).astype(np.uint8)
    assert change("defocus", 3, large) == pytest.approx(change("defocus", 3), rel=0.1)


def test_blur_keeps_the_mean() -> None:
    for name in ("defocus", "motion blur"):
        spoilt = corruption(name)(IMAGE, 3)
        assert spoilt.mean() == pytest.approx(IMAGE.mean(), abs=2)


def test_an_unknown_corruption_is_refused() -> None:
    with pytest.raises(InputError, match="known are: gaussian noise"):
        corruption("rain")


@pytest.mark.parametrize("severity", [-1, 5.1])
def test_a_severity_outside_0_to_5_is_refused(severity: float) -> None:
    with pytest.raises(InputError, match="severity"):
        corruption("fog")(IMAGE, severity)
