"""The faults that causes are tried on."""

from __future__ import annotations

import numpy as np
import pytest

from lenswatch.errors import InputError
from lenswatch.evaluate.faults import FAULTS, fault

RNG = np.random.default_rng(0)
IMAGE = np.kron(RNG.integers(40, 180, (60, 80, 3)), np.ones((4, 4, 1))).astype(np.uint8)


@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if not kind.freezes])
def test_a_fault_changes_a_picture_and_keeps_its_shape(name: str) -> None:
    before = IMAGE.copy()
    for severity in (1, 3, 5):
        spoilt = fault(name, 1)(IMAGE, severity)
        assert spoilt.shape == IMAGE.shape
        assert spoilt.dtype == np.uint8
        assert np.abs(spoilt.astype(float) - IMAGE).mean() > 0.1
    np.testing.assert_array_equal(IMAGE, before)


def test_a_frozen_camera_sends_the_picture_as_it_is() -> None:
    np.testing.assert_array_equal(fault("frozen")(IMAGE, 3), IMAGE)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(InputError, match="known are"):
        fault("stolen")
