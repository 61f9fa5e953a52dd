"""The reference and the calibrations in force, and when they are read again."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import pytest

from lenswatch.config import Config
from lenswatch.errors import ArtefactError
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.calibration_file import load_calibration, save_calibration
from lenswatch.node.current import Current
from lenswatch.reference.artefact import load_reference, save_reference
from lenswatch.reference.paths import calibration_folder


def wider(config: Config, reference: Any) -> Any:
    """Make a reference with twice the bandwidth current."""
    return save_reference(
        config.storage_path, dataclasses.replace(reference, sigma=2 * reference.sigma), {}
    )


def test_a_reference_is_loaded_once_until_another_is_made_current(trained: Config) -> None:
    current = Current(trained)
    first = current.fitted_reference()
    assert current.fitted_reference() is first
    made = wider(trained, first.reference)
    second = current.fitted_reference()
    assert second.reference.digest == made.digest != first.reference.digest
    assert second.fitted.window_size == first.fitted.window_size
    assert current.fitted_reference() is second


def test_a_judge_belongs_to_the_reference_it_is_asked_for(trained: Config) -> None:
    """A picture may be half-way when another reference is made current."""
    current = Current(trained)
    old = current.fitted_reference().reference
    wider(trained, old)
    new = current.fitted_reference().reference
    assert current.judge_of(old, "reef").calibration.digest == old.digest
    assert current.judge_of(new, "reef").calibration.digest == new.digest


def test_a_judge_is_kept_until_its_calibration_is_replaced(trained: Config) -> None:
    current = Current(trained)
    reference = current.fitted_reference().reference
    kept = current.judge_of(reference, "reef")
    assert current.judge_of(reference, "reef") is kept
    folder = calibration_folder(trained.storage_path)
    found = load_calibration(folder, reference.digest, "reef")
    assert found
    changed = dataclasses.replace(found, created_at="2026-06-01T08:00:00Z")
    save_calibration(folder, "reef", changed)
    assert current.judge_of(reference, "reef").calibration == changed


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, False])
def test_missing_thresholds_are_found_and_saved_unless_told_otherwise(
    trained: Config, keep: bool
) -> None:
    folder = calibration_folder(trained.storage_path)
    shutil.rmtree(folder)
    current = Current(trained, keep_calibrations=keep)
    reference = current.fitted_reference().reference
    found = current.judge_of(reference, "reef").calibration
    assert (load_calibration(folder, reference.digest, "reef") == found) is keep
    shutil.rmtree(folder, ignore_errors=True)
    saved = calibrate_stream(trained, reference)
    assert found.thresholds == saved.thresholds


def test_a_damaged_new_reference_is_an_error_until_it_is_repaired(trained: Config) -> None:
    current = Current(trained)
    made = wider(trained, current.fitted_reference().reference)
    file = trained.storage_path / "reference" / made.digest / "bandwidth.json"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(ArtefactError, match=r"bandwidth\.json"):
        current.fitted_reference()
    file.write_bytes(content)
    assert current.fitted_reference().reference.digest == made.digest
    assert load_reference(trained.storage_path).digest == made.digest


def test_streams_without_a_calibration_share_the_judge_of_default(trained: Config) -> None:
    current = Current(trained)
    reference = current.fitted_reference().reference
    shared = current.judge_of(reference, "default")
    assert current.judge_of(reference, "a") is current.judge_of(reference, "b") is shared
    folder = calibration_folder(trained.storage_path)
    save_calibration(
        folder, "a", dataclasses.replace(shared.calibration, created_at="2026-06-01T00:00:00Z")
    )
    own = current.judge_of(reference, "a")
    assert own.calibration.created_at == "2026-06-01T00:00:00Z"
    again = current.judge_of(reference, "b")
    assert again is current.judge_of(reference, "default") is not own
    assert again.calibration == shared.calibration


def test_few_samples_stand_for_the_reference_only_if_asked_to(
    trained: Config, caplog: pytest.LogCaptureFixture
) -> None:
    detector = dataclasses.replace(trained.detector, reference_samples=8)
    with caplog.at_level("INFO"):
        few = Current(dataclasses.replace(trained, detector=detector)).fitted_reference()
    found = few.fitted.reduction
    assert found is not None
    assert 0 < len(found.samples) <= 8 < len(few.reference.embeddings)
    assert "clean embeddings stand for all; a distance is off by" in caplog.text
    whole = Current(trained).fitted_reference().fitted
    assert whole.reduction is None
    for row in few.reference.embeddings[:20]:
        off = abs(few.fitted.entry(row).to_reference - whole.entry(row).to_reference)
        assert off <= found.bound + 1e-6
